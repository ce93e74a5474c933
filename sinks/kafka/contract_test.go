package kafka

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sinks/sinktest"
)

// gate lets connections through, or cuts them and takes no new ones.
type gate struct {
	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

func (g *gate) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	return &gated{l, g}, err
}

type gated struct {
	net.Listener
	g *gate
}

func (l *gated) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.g.mu.Lock()
		down := l.g.down
		if !down {
			l.g.conns[c] = true
		}
		l.g.mu.Unlock()
		if !down {
			return c, nil
		}
		_ = c.Close()
	}
}

func (g *gate) set(down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = down
	if down {
		for c := range g.conns {
			_ = c.Close()
		}
		clear(g.conns)
	}
}

func TestContract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		TooLarge: 1 << 20,
		Leaks: []goleak.Option{
			goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read"),
			goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read.func1"),
			goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).write"),
			goleak.IgnoreAnyFunction("github.com/segmentio/kafka-go.(*conn).run"), // of the reader below
			goleak.IgnoreAnyFunction("github.com/segmentio/kafka-go.(*connPool).discover"),
		},
		Open: func(t testing.TB) sinktest.Peer {
			g := &gate{conns: map[net.Conn]bool{}}
			c := newCluster(t, kfake.ListenFn(g.listen), kfake.DefaultNumPartitions(1))
			return sinktest.Peer{
				Sink: func(t testing.TB) sinks.Sink {
					return c.open(t, Config{Topic: "alerts.{severity}.{namespace}", Create: true})
				},
				Place: func(l sinks.Labels) string {
					return strings.Join([]string{"alerts", string(cleanTopic(nil, l.Severity)), string(cleanTopic(nil, l.Namespace))}, ".")
				},
				Read: func(t testing.TB, n int) (all []sinktest.Received) {
					var names []string
					ctx := t.Context()
					m, err := c.client.Metadata(ctx, &kafka.MetadataRequest{})
					if err != nil {
						t.Fatal(err)
					}
					for _, topic := range m.Topics {
						names = append(names, topic.Name)
					}
					_ = n // what is durable can be read at once
					for _, name := range names {
						for _, r := range c.read(t, name) {
							all = append(all, sinktest.Received{Place: r.topic, ID: r.headers[IDHeader], Value: []byte(r.value), Headers: r.raw})
						}
					}
					return all
				},
				Stop:  func(testing.TB) { g.set(true) },
				Start: func(testing.TB) { g.set(false) },
				RefuseOnce: func(testing.TB) {
					c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 1})
				},
			}
		},
		Patience: 10 * time.Second,
	})
}
