package nats

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sinks/sinktest"
)

// serverLeaks are goroutines of the embedded server.
func serverLeaks() []goleak.Option {
	var all []goleak.Option
	for _, f := range []string{
		"(*client).readLoop", "(*client).writeLoop", "(*stream).internalLoop", "(*msgBlock).flushLoop", "(*fileStore).syncBlocks",
		"(*fileStore).flushStreamStateLoop", "(*Server).startGoRoutine.func1",
	} {
		all = append(all, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server."+f))
	}
	return all
}

var unsafe = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// place is what the template alerts.{namespace}.{severity} comes to.
func place(l sinks.Labels) string {
	word := func(s string) string {
		if s == "" {
			return "_"
		}
		return unsafe.ReplaceAllString(s, "_")
	}
	return "alerts." + word(l.Namespace) + "." + word(l.Severity)
}

func received(subject string, data []byte, h nats.Header) sinktest.Received {
	r := sinktest.Received{Place: subject, ID: h.Get(jetstream.MsgIDHeader), Value: slices.Clone(data)}
	for key, values := range h {
		for _, v := range values {
			r.Headers = append(r.Headers, sinks.Header{Key: key, Value: v})
		}
	}
	return r
}

func TestContractJetStream(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		TooLarge: 1 << 20, // the server's default max_payload
		Leaks:    serverLeaks(),
		Open: func(t testing.TB) sinktest.Peer {
			s := startServer(t, natsdemo.Settings{})
			alerts := jetstream.StreamConfig{Name: "ALERTS", Subjects: []string{"alerts.>"}}
			s.stream(alerts)
			return sinktest.Peer{
				Sink: func(t testing.TB) sinks.Sink {
					k, err := New(Config{Access: s.access(), Subject: "alerts.{namespace}.{severity}"}, Settings{Name: "siem"})
					if err != nil {
						t.Fatal(err)
					}
					return k
				},
				Read: func(testing.TB, int) (all []sinktest.Received) {
					for _, m := range s.stored("ALERTS") {
						all = append(all, received(m.Subject, m.Data, m.Header))
					}
					return all
				},
				Place: place,
				Stop:  s.stop,
				Start: s.start,
				// A stream without room, until the first message has come by.
				RefuseOnce: func(t testing.TB) {
					full := alerts
					full.MaxBytes, full.Discard = 1, jetstream.DiscardNew
					s.stream(full)
					sub, err := s.nc.SubscribeSync("alerts.>")
					if err != nil {
						t.Fatal(err)
					}
					var undo sync.WaitGroup
					t.Cleanup(undo.Wait)
					undo.Go(func() {
						if _, err := sub.NextMsg(patience); err != nil {
							t.Errorf("no message came by: %v", err)
						}
						ctx, cancel := context.WithTimeout(context.Background(), patience)
						defer cancel()
						if _, err := s.js.UpdateStream(ctx, alerts); err != nil {
							t.Errorf("the stream stays full: %v", err)
						}
					})
				},
			}
		},
	})
}

func TestContractCore(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		TooLarge: 1 << 20,
		Leaks:    serverLeaks(),
		Open: func(t testing.TB) sinktest.Peer {
			s := startServer(t, natsdemo.Settings{})
			var mu sync.Mutex
			var got []sinktest.Received
			if _, err := s.nc.Subscribe("alerts.>", func(m *nats.Msg) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, received(m.Subject, m.Data, m.Header))
			}); err != nil {
				t.Fatal(err)
			}
			if err := s.nc.Flush(); err != nil {
				t.Fatal(err)
			}
			return sinktest.Peer{
				Sink: func(t testing.TB) sinks.Sink {
					k, err := New(Config{Access: s.access(), Mode: Core, Subject: "alerts.{namespace}.{severity}"}, Settings{Name: "siem"})
					if err != nil {
						t.Fatal(err)
					}
					return k
				},
				Read: func(t testing.TB, n int) []sinktest.Received {
					for deadline := time.Now().Add(time.Second); ; {
						mu.Lock()
						all := slices.Clone(got)
						mu.Unlock()
						if len(all) >= n || time.Now().After(deadline) {
							return all
						}
						select {
						case <-time.After(2 * time.Millisecond):
						case <-t.Context().Done():
							return all
						}
					}
				},
				Place: place,
				Stop:  s.stop,
				// The subscriber must be back before anything is published: nobody keeps it for him.
				Start: func(t testing.TB) {
					s.start(t)
					for deadline := time.Now().Add(patience); s.Inside().GlobalAccount().Interest("alerts.x.y") == 0; {
						if time.Now().After(deadline) {
							t.Fatal("the subscriber does not come back")
						}
						select {
						case <-time.After(2 * time.Millisecond):
						case <-t.Context().Done():
						}
					}
				},
			}
		},
	})
}
