package processor

import (
	"bytes"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/rules/builtin"
)

// packs compiles the rules of the given packs together, as the program does.
func packs(t testing.TB, from ...fs.FS) *rules.Set {
	t.Helper()
	var docs rules.Documents
	for _, fsys := range from {
		names, err := fs.Glob(fsys, "*.yml")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".test.yml") {
				continue
			}
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				t.Fatal(err)
			}
			found, err := rules.Parse(name, data)
			if err != nil {
				t.Fatal(err)
			}
			docs.Append(found)
		}
	}
	set, err := rules.Compile(docs, ComputedFields(testModel(t)), RuleOptions())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// coldLines repeats a real log until it is larger than any cache, so that each line comes from memory as it does in life.
func coldLines(t testing.TB) [][]byte {
	t.Helper()
	const size = 96 << 20
	log := realLog(t)
	var out [][]byte
	for total := 0; total < size; {
		for _, line := range log {
			out = append(out, bytes.Clone(line))
			total += len(line)
		}
	}
	return out
}

// BenchmarkPack is the matcher with the whole built-in pack over the mix of a real log, and one rule as the measure. Rules
// cost next to nothing where no workload is written; each candidate costs the reading of its bodies, once for all rules.
func BenchmarkPack(b *testing.B) {
	events := coldLines(b)
	for _, c := range []struct {
		name string
		from []fs.FS
	}{
		{"builtin", []fs.FS{builtin.Files()}},
		{"builtin+context", []fs.FS{builtin.Files(), builtin.Context()}},
		{"one rule", []fs.FS{fstest.MapFS{"created.yml": {Data: []byte(createdRule)}}}},
	} {
		b.Run(c.name, func(b *testing.B) { runPack(b, packs(b, c.from...), events) })
	}
}

func runPack(b *testing.B, set *rules.Set, events [][]byte) {
	var hits []rules.Hit
	for _, e := range events[:min(len(events), 5000)] {
		hits, _, _ = set.Match(e, hits[:0])
	}
	size, matched := 0, 0
	b.ReportAllocs()
	b.ResetTimer()
	began := cpuTime(b)
	for i := range b.N {
		e := events[i%len(events)]
		size += len(e)
		var err error
		if hits, _, err = set.Match(e, hits[:0]); err != nil {
			b.Fatal(err)
		}
		if len(hits) > 0 {
			matched++
		}
	}
	b.SetBytes(int64(size / b.N))
	b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(100*float64(matched)/float64(b.N), "%hit")
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
