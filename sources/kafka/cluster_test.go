package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/spawnwatch/spawnwatch/sources"
)

// cluster is an in-process Kafka.
type cluster struct {
	*kfake.Cluster
	client *kafka.Client
}

func newCluster(t testing.TB, opts ...kfake.Opt) *cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(time.Millisecond), kfake.SeedTopics(1, "audit"),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	transport := &kafka.Transport{MetadataTTL: time.Second}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		c.Close()
	})
	return &cluster{Cluster: c, client: &kafka.Client{Addr: kafka.TCP(c.ListenAddrs()...), Transport: transport, Timeout: 10 * time.Second}}
}

// produce writes one batch.
func (c *cluster) produce(t testing.TB, topic string, partition int, codec kafka.Compression, records ...kafka.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		res, err := c.client.Produce(ctx, &kafka.ProduceRequest{
			Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll, Compression: codec, Records: kafka.NewRecordReader(records...),
		})
		if err == nil {
			err = res.Error
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		if sleep(ctx, 50*time.Millisecond) != nil { // a topic that was just made, a leader that moved
			t.Fatal(err)
		}
	}
}

func (c *cluster) config(topics ...string) Config {
	return Config{Brokers: c.ListenAddrs(), Topics: topics, Group: "spawnwatch"}
}

// committed sums up the offsets that the group has committed.
func (c *cluster) committed(group string) (sum int) {
	info := c.GroupInfo(group)
	if info == nil {
		return 0
	}
	for _, partitions := range info.Commits {
		for _, at := range partitions {
			sum += int(at.Offset)
		}
	}
	return sum
}

func value(i int) []byte { return fmt.Appendf(nil, `{"n":%d}`, i) }

func records(from, to int) []kafka.Record {
	var rs []kafka.Record
	for i := from; i < to; i++ {
		rs = append(rs, kafka.Record{Key: kafka.NewBytes(fmt.Appendf(nil, "k%d", i)), Value: kafka.NewBytes(value(i)), Time: time.UnixMilli(1_700_000_000_000 + int64(i))})
	}
	return rs
}

// sink collects what a source hands over.
type sink struct {
	mu   sync.Mutex
	cond *sync.Cond
	got  []seen
}

// seen is a record that outlives its loan.
type seen struct {
	origin  sources.Origin
	offset  int64
	key     string
	value   string
	time    time.Time
	headers string
	cut     *sources.Oversized
}

func newSink() *sink {
	s := &sink{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *sink) handle(_ context.Context, b *sources.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.Records {
		r := &b.Records[i]
		x := seen{origin: b.Origin, offset: r.Offset, key: string(r.Key), value: string(r.Value), time: r.Time, cut: r.Oversized}
		for _, h := range r.Headers {
			x.headers += fmt.Sprintf("%s=%s;", h.Key, h.Value)
		}
		s.got = append(s.got, x)
	}
	s.cond.Broadcast()
	return nil
}

// await waits until cond holds for what came.
func (s *sink) await(t testing.TB, what string, cond func(got []seen) bool) []seen {
	t.Helper()
	late := false
	timer := time.AfterFunc(20*time.Second, func() {
		s.mu.Lock()
		late = true
		s.mu.Unlock()
		s.cond.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !cond(s.got) {
		if late {
			t.Fatalf("waited for %s; %d records came, the last %+v", what, len(s.got), s.got[max(0, len(s.got)-3):])
		}
		s.cond.Wait()
	}
	return append([]seen(nil), s.got...)
}

func atLeast(n int) func([]seen) bool { return func(got []seen) bool { return len(got) >= n } }

// running is a source that runs.
type running struct {
	stop func()
	done chan error
}

func startSource(t testing.TB, config Config, settings Settings, h sources.Handler) *running {
	t.Helper()
	if settings.Name == "" {
		settings.Name = "test"
	}
	if settings.Logger == nil {
		settings.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := New(config, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{stop: stop, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx, h) }()
	t.Cleanup(func() { stop() })
	return r
}

func (r *running) finish(t testing.TB) {
	t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Run did not return")
	}
}

// eventually polls what happens in another process or goroutine.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
		if sleep(t.Context(), 5*time.Millisecond) != nil {
			t.Fatal("the test ended")
		}
	}
}
