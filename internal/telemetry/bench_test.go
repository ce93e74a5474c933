package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/otlptest"
	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/sources"
)

// logBatches cuts a real log into batches as a source would.
func logBatches(b *testing.B, size int) []*sources.Batch {
	b.Helper()
	f, err := os.Open("../../testdata/corpus/rr.jsonl.gz")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		b.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		b.Fatal(err)
	}
	var all []*sources.Batch
	now, bytesIn := batchOf(), 0
	for line := range bytes.Lines(data) {
		now.Records = append(now.Records, sources.Record{Value: line})
		if bytesIn += len(line); bytesIn >= size {
			all, now, bytesIn = append(all, now), batchOf(), 0
		}
	}
	return all
}

// BenchmarkCost is what telemetry adds to the CPU time of the processor over a real log, with batches as sources make them
// (256 kB) and small ones: of metrics alone, and of metrics and traces sent to a receiver whose own work, in the same
// process, is in the figure. The goal is at most 3 %. The ways take turns, many times, and the median of their ratios
// counts: on a machine that others use too, one after the other would compare what the others did.
//
//	go test ./internal/telemetry -run '^$' -bench Cost -cpu 1 -benchtime 1x
func BenchmarkCost(b *testing.B) {
	const rounds = 60
	for _, size := range []struct {
		name           string
		bytes, batches int
	}{{"256kB", 256 << 10, 150}, {"16kB", 16 << 10, 1500}} {
		b.Run(size.name, func(b *testing.B) {
			r := otlptest.Start()
			b.Cleanup(r.Close)
			b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL())
			ways := []*Telemetry{nil, start(b, testOptions(nil)), start(b, testOptions(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL()}))}
			batches := logBatches(b, size.bytes)
			turn := func(tele *Telemetry) func() time.Duration {
				p, out, _ := newProcessor(b, tele)
				h := p.Handler(processor.ForeignDeadLetter)
				return func() time.Duration {
					began := cpuTime(b)
					for i := range size.batches {
						if err := h(context.Background(), batches[i%len(batches)]); err != nil {
							b.Fatal(err)
						}
						out.msgs = out.msgs[:0]
					}
					return cpuTime(b) - began
				}
			}
			var turns []func() time.Duration
			for _, tele := range ways {
				turns = append(turns, turn(tele))
				turns[len(turns)-1]() // repeats and pools
			}
			var plain []float64
			ratios := make([][]float64, len(ways))
			for b.Loop() {
				for range rounds {
					base := turns[0]()
					plain = append(plain, float64(base)/float64(size.batches))
					for i := 1; i < len(ways); i++ {
						ratios[i] = append(ratios[i], 100*(float64(turns[i]())/float64(base)-1))
					}
				}
			}
			b.ReportMetric(median(plain), "cpu-ns/batch")
			b.ReportMetric(median(ratios[1]), "%metrics")
			b.ReportMetric(median(ratios[2]), "%sent")
		})
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// cpuTime is what the process has used: on a machine that others use too, wall time says little.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
