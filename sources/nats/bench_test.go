package nats

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
	"github.com/spawnwatch/spawnwatch/sources"
)

// The benchmarks consume the same stream of 3,600-byte messages, each acknowledged, and report the CPU time of this
// process per GB. SPAWNWATCH_NATS_URL names a server of its own process; without it the server is embedded, and its
// work, the same for both, is in the numbers as well.
const (
	benchMessages = 60_000
	benchSize     = 3600
)

func benchStream(b *testing.B) (url string, js jetstream.JetStream) {
	b.Helper()
	options := []nats.Option{nats.MaxReconnects(-1)}
	if url = os.Getenv("SPAWNWATCH_NATS_URL"); url == "" {
		s := startServer(b, natsdemo.Settings{Store: 1 << 30})
		url = s.URL()
	}
	nc, err := nats.Connect(url, options...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	if js, err = jetstream.New(nc); err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	_ = js.DeleteStream(ctx, "BENCH") // of an earlier run
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "BENCH", Subjects: []string{"bench.>"}}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = js.DeleteStream(context.Background(), "BENCH") })
	value := append([]byte(`{"pad":"`), bytes.Repeat([]byte{'x'}, benchSize-10)...)
	value = append(value, `"}`...)
	for range benchMessages {
		if _, err := js.PublishAsync("bench.a", value, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	return url, js
}

// cpu is the time that this process has worked.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs the loop b.N times over the whole stream, each time by a new consumer.
func measure(b *testing.B, js jetstream.JetStream, loop func(durable string)) {
	b.SetBytes(benchMessages * benchSize)
	var used time.Duration
	for i := range b.N {
		b.StopTimer()
		durable := "bench" + strconv.Itoa(i)
		if _, err := js.CreateConsumer(context.Background(), "BENCH", jetstream.ConsumerConfig{
			Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: maxAckPending,
		}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		began := cpu(b)
		loop(durable)
		used += cpu(b) - began
	}
	gb := float64(b.N) * benchMessages * benchSize / 1e9
	b.ReportMetric(used.Seconds()/gb, "cpu-s/GB")
}

func BenchmarkConsume(b *testing.B) {
	url, js := benchStream(b)
	measure(b, js, func(durable string) {
		src, err := New(Config{Access: natsconn.Access{URL: url}, Stream: "BENCH", Durable: durable}, Settings{Name: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var n, calls atomic.Int64
		err = src.Run(ctx, func(_ context.Context, batch *sources.Batch) error {
			calls.Add(1)
			if n.Add(int64(len(batch.Records))) == benchMessages {
				stop()
			}
			return nil
		})
		if err != nil || n.Load() != benchMessages {
			b.Fatalf("%d messages, %v", n.Load(), err)
		}
		b.ReportMetric(float64(benchMessages)/float64(calls.Load()), "records/call")
	})
}

// BenchmarkBareConsume is the loop of the client library's own documentation.
func BenchmarkBareConsume(b *testing.B) {
	url, js := benchStream(b)
	measure(b, js, func(durable string) {
		nc, err := nats.Connect(url)
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		own, err := jetstream.New(nc)
		if err != nil {
			b.Fatal(err)
		}
		c, err := own.Consumer(context.Background(), "BENCH", durable)
		if err != nil {
			b.Fatal(err)
		}
		var n int
		done := make(chan error, 1)
		consuming, err := c.Consume(func(m jetstream.Msg) {
			if err := m.Ack(); err != nil {
				done <- fmt.Errorf("message %d: %w", n, err)
			}
			if n++; n == benchMessages {
				done <- nil
			}
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		consuming.Stop()
		if err := nc.Flush(); err != nil {
			b.Fatal(err)
		}
	})
}
