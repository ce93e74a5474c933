package webhook

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
	"github.com/spawnwatch/spawnwatch/sources/sourcetest"
)

// TestContract runs the suite of all sources, with a client that does what the API server does: it sends each batch
// until it is answered 200.
func TestContract(t *testing.T) {
	const maxRecord = 64 << 10
	settings := Settings{Name: "contract", Drain: 300 * time.Millisecond, MaxRecord: maxRecord, Memory: 1 << 20}
	sourcetest.Run(t, sourcetest.Harness{
		Open:       func(t testing.TB) sourcetest.Transport { return openTransport(t, settings) },
		Name:       settings.Name,
		Drain:      settings.Drain,
		Partitions: 2,
		InFlight:   int(settings.Memory),
	})
}

func openTransport(t testing.TB, settings Settings) sourcetest.Transport {
	// A port that was free a moment ago: several sources must listen on it in turn.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	settings.Logger = slog.New(slog.DiscardHandler)
	end, stop := context.WithCancel(context.Background())
	var senders sync.WaitGroup
	t.Cleanup(func() { stop(); senders.Wait() })
	cl := client(t, nil)
	tr := cl.Transport.(*http.Transport)
	tr.MaxConnsPerHost, tr.MaxIdleConnsPerHost = 40, 40 // more than the source lets in at once
	var mu sync.Mutex
	acked := 0
	return sourcetest.Transport{
		Source: func(t testing.TB) sources.Source {
			s, err := New(Config{Listen: address}, settings)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Produce: func(_ testing.TB, partition int, values [][]byte) {
			url := fmt.Sprintf("http://%s/%d", address, partition)
			for _, v := range values {
				senders.Go(func() {
					for end.Err() == nil {
						req, err := http.NewRequestWithContext(end, http.MethodPost, url, bytes.NewReader(v))
						if err != nil {
							t.Error(err)
							return
						}
						resp, err := cl.Do(req)
						if err == nil {
							resp.Body.Close()
							if resp.StatusCode == http.StatusOK {
								mu.Lock()
								acked++
								mu.Unlock()
								return
							}
						}
						select {
						case <-end.Done():
						case <-time.After(20 * time.Millisecond):
						}
					}
				})
			}
		},
		Acked: func(testing.TB) int { mu.Lock(); defer mu.Unlock(); return acked },
	}
}
