package forward

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
	"github.com/spawnwatch/spawnwatch/sources/sourcetest"
)

// TestContract runs the suite of all sources, with senders that send each chunk until it is answered.
func TestContract(t *testing.T) {
	const calls = 4
	settings := Settings{Name: "contract", Drain: 300 * time.Millisecond, Memory: 1 << 20, Calls: calls}
	sourcetest.Run(t, sourcetest.Harness{
		Open:       func(t testing.TB) sourcetest.Transport { return openTransport(t, settings) },
		Name:       settings.Name,
		Drain:      settings.Drain,
		Partitions: 3,
		InFlight:   calls * (batchBytes + 64<<10),
	})
}

func openTransport(t testing.TB, settings Settings) sourcetest.Transport {
	path := filepath.Join(t.TempDir(), "s")
	cfg := Config{Listen: "unix:" + path}
	settings.Logger = slog.New(slog.DiscardHandler)
	var senders sync.WaitGroup
	end := make(chan struct{})
	t.Cleanup(func() { close(end); senders.Wait() })
	var acked, produced atomic.Int64
	return sourcetest.Transport{
		Source: func(t testing.TB) sources.Source {
			s, err := New(cfg, settings)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Produce: func(_ testing.TB, partition int, values [][]byte) {
			const perChunk = 50
			for len(values) > 0 {
				part := values[:min(perChunk, len(values))]
				values = values[len(part):]
				entries := make([][]byte, len(part))
				for i, v := range part {
					entries[i] = entry(logRecord(string(v)))
				}
				id := fmt.Sprintf("chunk %d\n", produced.Add(1))
				message := array(str(fmt.Sprintf("partition.%d", partition)), array(entries...), chunkOption(id))
				senders.Go(func() {
					for !deliver(path, message, ackOf(id), end) {
						select {
						case <-end:
							return
						case <-time.After(5 * time.Millisecond):
						}
					}
					acked.Add(int64(len(part)))
				})
			}
		},
		Acked: func(testing.TB) int { return int(acked.Load()) },
	}
}

// deliver sends a chunk and says whether it was answered.
func deliver(path string, message, ack []byte, end <-chan struct{}) bool {
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-end:
		case <-done:
		}
		c.Close()
	}()
	if _, err := c.Write(message); err != nil {
		return false
	}
	b := make([]byte, len(ack))
	_, err = io.ReadFull(c, b)
	return err == nil && bytes.Equal(b, ack)
}
