package kafka

import (
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/sources"
	"github.com/spawnwatch/spawnwatch/sources/sourcetest"
)

func TestContract(t *testing.T) {
	const memory = 2 << 20
	for name, codec := range map[string]kafka.Compression{"none": 0, "zstd": kafka.Zstd} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, sourcetest.Harness{
				Name: "k", Drain: 300 * time.Millisecond, Partitions: 2, OffsetsGrow: true,
				InFlight: memory + 2*(fetchBytes+CallBytes), // each partition may exceed the memory by a batch
				Patience: 20 * time.Second,
				Leaks: []goleak.Option{
					goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read"),
					goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read.func1"),
					goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).write"),
				},
				Open: func(t testing.TB) sourcetest.Transport {
					c := newCluster(t, kfake.SeedTopics(2, "contract"))
					return sourcetest.Transport{
						Source: func(t testing.TB) sources.Source {
							s, err := New(c.config("contract"), Settings{Name: "k", Drain: 300 * time.Millisecond, Memory: memory})
							if err != nil {
								t.Fatal(err)
							}
							return s
						},
						Produce: func(t testing.TB, partition int, values [][]byte) {
							for len(values) > 0 {
								var rs []kafka.Record
								size := 0
								for len(values) > 0 && len(rs) < 500 && size < 600_000 {
									rs = append(rs, kafka.Record{Value: kafka.NewBytes(values[0])})
									size += len(values[0])
									values = values[1:]
								}
								c.produce(t, "contract", partition, codec, rs...)
							}
						},
						Acked: func(testing.TB) int { return c.committed("spawnwatch") },
					}
				},
			})
		})
	}
}
