package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
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

// BenchmarkCost is the work of the processor over a real log without telemetry, with metrics, and with traces and metrics
// sent to a receiver in the same process, whose own work is in the figure. The goal is at most 3 % of CPU between the
// first two, and the first and the last.
func BenchmarkCost(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"256kB", 256 << 10}, {"16kB", 16 << 10}} {
		batches := logBatches(b, size.bytes)
		for _, c := range []struct {
			name  string
			watch func(b *testing.B) *Telemetry
		}{
			{"without", func(*testing.B) *Telemetry { return nil }},
			{"metrics", func(b *testing.B) *Telemetry { return start(b, testOptions(nil)) }},
			{"sent", func(b *testing.B) *Telemetry {
				r := otlptest.Start()
				b.Cleanup(r.Close)
				b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL())
				return start(b, testOptions(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL()}))
			}},
		} {
			b.Run(size.name+"/"+c.name, func(b *testing.B) {
				p, out, _ := newProcessor(b, c.watch(b))
				h := p.Handler(processor.ForeignDeadLetter)
				b.ReportAllocs()
				began, done := cpuTime(b), 0
				for i := 0; b.Loop(); i++ {
					batch := batches[i%len(batches)]
					for j := range batch.Records {
						done += len(batch.Records[j].Value)
					}
					if err := h(context.Background(), batch); err != nil {
						b.Fatal(err)
					}
					out.msgs = out.msgs[:0]
				}
				b.SetBytes(int64(done / b.N))
				b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N), "cpu-ns/op")
			})
		}
	}
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
