package nats

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
	"github.com/spawnwatch/spawnwatch/sources"
	"github.com/spawnwatch/spawnwatch/sources/sourcetest"
)

// serverLeaks are goroutines of the embedded server and of the test's own client.
func serverLeaks() []goleak.Option {
	var all []goleak.Option
	for _, f := range []string{
		"github.com/nats-io/nats-server/v2/server.(*client).readLoop",
		"github.com/nats-io/nats-server/v2/server.(*client).writeLoop",
		"github.com/nats-io/nats-server/v2/server.(*consumer).loopAndGatherMsgs",
		"github.com/nats-io/nats-server/v2/server.(*consumer).loopAndForwardProposals",
		"github.com/nats-io/nats-server/v2/server.(*consumer).processInboundAcks",
		"github.com/nats-io/nats-server/v2/server.(*consumer).processInboundNextMsgReqs",
		"github.com/nats-io/nats-server/v2/server.(*consumerFileStore).flushLoop",
		"github.com/nats-io/nats-server/v2/server.(*msgBlock).flushLoop",
		"github.com/nats-io/nats-server/v2/server.(*fileStore).syncBlocks",
		"github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop",
		"github.com/nats-io/nats-server/v2/server.(*stream).internalLoop",
		"github.com/nats-io/nats-server/v2/server.(*Server).startGoRoutine.func1",
	} {
		all = append(all, goleak.IgnoreAnyFunction(f))
	}
	return all
}

func TestContractJetStream(t *testing.T) {
	const bytes = 512 << 10
	sourcetest.Run(t, sourcetest.Harness{
		Name:        "audit",
		Drain:       400 * time.Millisecond,
		Partitions:  2,
		InFlight:    bytes,
		OffsetsGrow: true,
		Leaks:       serverLeaks(),
		Open: func(t testing.TB) sourcetest.Transport {
			s := startServer(t, natsdemo.Settings{}).connect()
			s.stream("AUDIT", "audit.>")
			produced := 0
			return sourcetest.Transport{
				Source: func(t testing.TB) sources.Source {
					src, err := New(s.config(), Settings{Name: "audit", Drain: 400 * time.Millisecond, Bytes: bytes})
					if err != nil {
						t.Fatal(err)
					}
					return src
				},
				Produce: func(t testing.TB, partition int, values [][]byte) {
					s.publish(fmt.Sprintf("audit.p%d", partition), values...)
					produced += len(values)
				},
				Acked: func(t testing.TB) int { return produced - s.unanswered("AUDIT") },
			}
		},
	})
}

func TestContractCore(t *testing.T) {
	const bytes = 512 << 10
	sourcetest.Run(t, sourcetest.Harness{
		Name:     "audit",
		Drain:    400 * time.Millisecond,
		InFlight: bytes,
		OnceOnly: true,
		Leaks:    serverLeaks(),
		Open: func(t testing.TB) sourcetest.Transport {
			s := startServer(t, natsdemo.Settings{}).connect()
			var sending sync.WaitGroup
			t.Cleanup(sending.Wait)
			return sourcetest.Transport{
				Source: func(t testing.TB) sources.Source {
					cfg := Config{Access: natsconn.Access{URL: s.URL()}, Mode: Core, Subjects: []string{"audit.p0"}}
					src, err := New(cfg, Settings{Name: "audit", Drain: 400 * time.Millisecond, Bytes: bytes})
					if err != nil {
						t.Fatal(err)
					}
					return src
				},
				// Nobody keeps what is published before the source listens.
				Produce: func(t testing.TB, _ int, values [][]byte) {
					sending.Go(func() {
						for s.listeners("audit.p0") == 0 {
							select {
							case <-time.After(2 * time.Millisecond):
							case <-t.Context().Done():
								return
							}
						}
						for _, v := range values {
							if err := s.nc.Publish("audit.p0", v); err != nil {
								t.Error(err)
							}
						}
						if err := s.nc.Flush(); err != nil {
							t.Error(err)
						}
					})
				},
			}
		},
	})
}

// listeners counts the subscriptions to a subject.
func (s *peer) listeners(subject string) int {
	return s.Inside().GlobalAccount().Interest(subject)
}
