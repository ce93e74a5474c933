package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/spawnwatch/spawnwatch/sinks"
)

// cluster is an in-process Kafka, and a reader of everything that is in it.
type cluster struct {
	*kfake.Cluster
	client *kafka.Client
}

func newCluster(t testing.TB, opts ...kfake.Opt) *cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(1, "alerts")}, opts...)...)
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

// stored is a record as the cluster holds it.
type stored struct {
	topic     string
	partition int
	key       string
	value     string
	headers   map[string]string
	raw       []sinks.Header
}

// read returns all records of a topic, by partition and offset.
func (c *cluster) read(t testing.TB, topic string) (all []stored) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, info := range c.PartitionInfos(topic) {
		for offset := int64(0); offset < info.HighWatermark; {
			res, err := c.client.Fetch(ctx, &kafka.FetchRequest{Topic: topic, Partition: int(info.Partition), Offset: offset, MinBytes: 1, MaxBytes: 8 << 20, MaxWait: time.Second})
			if err != nil || res.Error != nil {
				t.Fatalf("reading back %s: %v %v", topic, err, res)
			}
			for {
				r, err := res.Records.ReadRecord()
				if err != nil {
					break
				}
				s := stored{topic: topic, partition: int(info.Partition), key: bytesOf(t, r.Key), value: bytesOf(t, r.Value), headers: map[string]string{}}
				for _, h := range r.Headers {
					s.headers[h.Key] = string(h.Value)
					s.raw = append(s.raw, sinks.Header{Key: h.Key, Value: string(h.Value)})
				}
				if r.Offset >= offset {
					all = append(all, s)
					offset = r.Offset + 1
				}
			}
		}
	}
	return all
}

func bytesOf(t testing.TB, b kafka.Bytes) string {
	t.Helper()
	if b == nil {
		return ""
	}
	v, err := kafka.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(v)
}

func (c *cluster) open(t testing.TB, config Config) *Sink {
	t.Helper()
	config.Brokers = c.ListenAddrs()
	s, err := New(config, Settings{Name: "test", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func message(i int) sinks.Message {
	return sinks.Message{
		ID: fmt.Sprintf("id-%d", i), Value: fmt.Appendf(nil, `{"n":%d}`, i),
		Headers: []sinks.Header{{Key: "content-type", Value: "application/json"}},
		Labels:  sinks.Labels{Severity: "high", Namespace: "shop", Cluster: "prod", Name: "web"},
	}
}

func messages(from, to int) (ms []sinks.Message) {
	for i := from; i < to; i++ {
		ms = append(ms, message(i))
	}
	return ms
}

func shut(t testing.TB, s *Sink) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

// ids counts how often each id is stored.
func ids(all []stored) map[string]int {
	count := map[string]int{}
	for _, s := range all {
		count[s.headers[IDHeader]]++
	}
	return count
}
