// Package kafka_test holds the Kafka adapters, and the whole program, against a real Apache Kafka. The tests are skipped
// unless BOOTSTRAP names one; `make test-kafka` starts it with scripts/kafka-up, with the listeners for SASL and TLS, and
// tells its folder in KAFKA_DIR.
package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sinks/sinktest"
	"github.com/spawnwatch/spawnwatch/sources"
	"github.com/spawnwatch/spawnwatch/sources/sourcetest"

	sink "github.com/spawnwatch/spawnwatch/sinks/kafka"
	source "github.com/spawnwatch/spawnwatch/sources/kafka"
)

// real is the Kafka to test against.
type real struct {
	brokers []string
	client  *kafka.Client
}

func open(t testing.TB) *real {
	t.Helper()
	bootstrap := os.Getenv("BOOTSTRAP")
	if bootstrap == "" {
		t.Skip("BOOTSTRAP names no Kafka: run make test-kafka")
	}
	transport := &kafka.Transport{MetadataTTL: time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	brokers := strings.Split(bootstrap, ",")
	return &real{brokers: brokers, client: &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport, Timeout: 20 * time.Second}}
}

// name is one that no other test uses.
func name(t testing.TB, what string) string {
	safe := strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' {
			return '-'
		}
		return r
	}, t.Name())
	return fmt.Sprintf("%s-%s-%d", safe, what, time.Now().UnixNano())
}

// within is a context for one request.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// topic makes one.
func (r *real) topic(t testing.TB, topic string, partitions int, entries ...kafka.ConfigEntry) {
	t.Helper()
	replicas := min(3, len(r.brokers))
	res, err := r.client.CreateTopics(within(t, 20*time.Second), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: partitions, ReplicationFactor: replicas, ConfigEntries: entries,
	}}})
	if err == nil {
		err = res.Errors[topic]
	}
	if err != nil {
		t.Fatal(err)
	}
	// Brokers hear of it one after the other; a test wants all of them to know.
	ctx := within(t, 20*time.Second)
	for _, b := range r.brokers {
		for !knows(ctx, b, topic) {
			if ctx.Err() != nil {
				t.Fatalf("broker %s does not know topic %s", b, topic)
			}
			pause(ctx, 50*time.Millisecond)
		}
	}
}

// knows asks one broker for a topic with leaders.
func knows(ctx context.Context, broker, topic string) bool {
	conn, err := kafka.DialContext(ctx, "tcp", broker)
	if err != nil {
		return false
	}
	defer conn.Close()
	ps, err := conn.ReadPartitions(topic)
	for _, p := range ps {
		if p.Leader.Host == "" {
			return false
		}
	}
	return err == nil && len(ps) > 0
}

// produce writes one batch; a leader that is not yet there is waited for.
func (r *real) produce(t testing.TB, topic string, partition int, codec kafka.Compression, values ...[]byte) {
	t.Helper()
	ctx := within(t, 30*time.Second)
	for {
		rs := make([]kafka.Record, len(values))
		for i, v := range values {
			rs[i] = kafka.Record{Value: kafka.NewBytes(v)}
		}
		res, err := r.client.Produce(ctx, &kafka.ProduceRequest{
			Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll, Compression: codec, Records: kafka.NewRecordReader(rs...),
		})
		if err == nil {
			err = res.Error
		}
		if err == nil {
			return
		}
		pause(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// committed returns the group's offsets by partition, those that it has.
func (r *real) committed(ctx context.Context, group, topic string, partitions int) (map[int]int64, error) {
	ids := make([]int, partitions)
	for i := range ids {
		ids[i] = i
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	res, err := r.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: ids}})
	if err != nil {
		return nil, err
	}
	if res.Error != nil {
		return nil, res.Error
	}
	offsets := map[int]int64{}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, p.Error
		}
		if p.CommittedOffset >= 0 {
			offsets[p.Partition] = p.CommittedOffset
		}
	}
	return offsets, nil
}

// ends returns the end offsets of a topic.
func (r *real) ends(ctx context.Context, topic string, partitions int) (map[int]int64, error) {
	var ask []kafka.OffsetRequest
	for i := range partitions {
		ask = append(ask, kafka.LastOffsetOf(i))
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	res, err := r.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ask}})
	if err != nil {
		return nil, err
	}
	offsets := map[int]int64{}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, p.Error
		}
		offsets[p.Partition] = p.LastOffset
	}
	return offsets, nil
}

// mustEnds asks until there is an answer.
func (r *real) mustEnds(t testing.TB, topic string, partitions int) map[int]int64 {
	t.Helper()
	for ctx := within(t, 20*time.Second); ; pause(ctx, 100*time.Millisecond) {
		ends, err := r.ends(ctx, topic, partitions)
		if err == nil {
			return ends
		}
		if ctx.Err() != nil {
			t.Fatalf("the ends of %s: %v", topic, err)
		}
	}
}

func sum(offsets map[int]int64) (n int64) {
	for _, o := range offsets {
		n += o
	}
	return n
}

// record is one that was read back.
type record struct {
	topic string
	value []byte
	id    string
	heads []sinks.Header
}

// read returns everything in a topic.
func (r *real) read(t testing.TB, topic string, partitions int) (all []record) {
	t.Helper()
	ctx := within(t, 60*time.Second)
	for p, end := range r.mustEnds(t, topic, partitions) {
		for offset := int64(0); offset < end; {
			res, err := r.client.Fetch(ctx, &kafka.FetchRequest{Topic: topic, Partition: p, Offset: offset, MinBytes: 1, MaxBytes: 8 << 20, MaxWait: time.Second})
			if err == nil {
				err = res.Error
			}
			if err != nil {
				if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
					t.Fatalf("reading back %s/%d: %v", topic, p, err)
				}
				continue // a connection to a broker that was killed meanwhile
			}
			for {
				rec, err := res.Records.ReadRecord()
				if err != nil {
					break
				}
				if rec.Offset < offset {
					continue
				}
				offset = rec.Offset + 1
				x := record{topic: topic}
				if x.value, err = kafka.ReadAll(rec.Value); err != nil {
					t.Fatal(err)
				}
				for _, h := range rec.Headers {
					x.heads = append(x.heads, sinks.Header{Key: h.Key, Value: string(h.Value)})
					if h.Key == sink.IDHeader {
						x.id = string(h.Value)
					}
				}
				all = append(all, x)
			}
		}
	}
	return all
}

func TestSourceContract(t *testing.T) {
	r := open(t)
	sourcetest.Run(t, sourcetest.Harness{
		Name: "real", Drain: 500 * time.Millisecond, Partitions: 2, OffsetsGrow: true, Patience: 30 * time.Second,
		InFlight: 2 * (source.PartitionMemory + 2*source.CallBytes),
		Leaks:    []goleak.Option{goleak.IgnoreAnyFunction("github.com/segmentio/kafka-go.(*conn).run"), goleak.IgnoreAnyFunction("github.com/segmentio/kafka-go.(*connPool).discover")},
		Open: func(t testing.TB) sourcetest.Transport {
			topic, group := name(t, "in"), name(t, "group")
			r.topic(t, topic, 2)
			return sourcetest.Transport{
				Source: func(t testing.TB) sources.Source {
					s, err := source.New(source.Config{Brokers: r.brokers, Topics: []string{topic}, Group: group}, source.Settings{Name: "real", Drain: 500 * time.Millisecond})
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Produce: func(t testing.TB, partition int, values [][]byte) {
					for len(values) > 0 {
						n, size := 0, 0
						for n < len(values) && n < 500 && size < 600_000 {
							size += len(values[n])
							n++
						}
						r.produce(t, topic, partition, kafka.Lz4, values[:n]...)
						values = values[n:]
					}
				},
				Acked: func(t testing.TB) int {
					offsets, err := r.committed(t.Context(), group, topic, 2)
					if err != nil {
						return -1 // asked again
					}
					return int(sum(offsets))
				},
			}
		},
	})
}

func TestSinkContract(t *testing.T) {
	r := open(t)
	sinktest.Run(t, sinktest.Harness{
		TooLarge: 1 << 20, Patience: 30 * time.Second,
		Leaks: []goleak.Option{goleak.IgnoreAnyFunction("github.com/segmentio/kafka-go.(*conn).run"), goleak.IgnoreAnyFunction("github.com/segmentio/kafka-go.(*connPool).discover")},
		Open: func(t testing.TB) sinktest.Peer {
			topic := name(t, "out")
			r.topic(t, topic, 1)
			return sinktest.Peer{
				Sink: func(t testing.TB) sinks.Sink {
					s, err := sink.New(sink.Config{Brokers: r.brokers, Topic: topic}, sink.Settings{Name: "real"})
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Read: func(t testing.TB, _ int) (all []sinktest.Received) {
					for _, x := range r.read(t, topic, 1) {
						all = append(all, sinktest.Received{ID: x.id, Value: x.value, Headers: x.heads})
					}
					return all
				},
			}
		},
	})
}

// consume runs a source until it has n records, and returns their values by partition and offset.
func (r *real) consume(t testing.TB, config source.Config, n int) map[string]string {
	t.Helper()
	s, err := source.New(config, source.Settings{Name: "real"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 40*time.Second)
	defer stop()
	got := make(chan [2]string, 100)
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(ctx context.Context, b *sources.Batch) error {
			for i := range b.Records {
				select {
				case got <- [2]string{fmt.Sprintf("%d/%d", b.Origin.Partition, b.Records[i].Offset), string(b.Records[i].Value)}:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	}()
	all := map[string]string{}
	for len(all) < n {
		select {
		case x := <-got:
			all[x[0]] = x[1]
		case err := <-done:
			t.Fatalf("Run returned after %d of %d records: %v", len(all), n, errors.Join(err, ctx.Err()))
		}
	}
	stop()
	go func() {
		for range got { // what comes twice or too much
		}
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return all
}
