package enrich

import (
	"bytes"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
)

// realCreations are the events of a real log that raise alerts of their own.
func realCreations(t testing.TB) [][]byte {
	t.Helper()
	m := newModel(t)
	var lines [][]byte
	for _, line := range corpus(t, "rr") {
		var v audit.View
		if err := m.Read(line, &v); err != nil {
			t.Fatal(err)
		}
		if v.Outcome == audit.Created && !v.Folds && len(line) < 64<<10 {
			lines = append(lines, line)
		}
	}
	return lines
}

func benchEnricher(b testing.TB) *Enricher {
	b.Helper()
	e := newEnricher(b, Options{
		Teams: map[string]Team{"team-a": {Team: "a"}, "shop-*": {Team: "shop"}},
		Allow: []Allow{{Name: "shop", Namespaces: []string{"shop"}, Images: []string{"docker.io/library/*"}}, {Name: "registries", Registries: []string{"registry.example.com"}}},
	})
	s, err := ParseSnapshot([]byte(snapshotText))
	if err != nil {
		b.Fatal(err)
	}
	e.SetSnapshot(s)
	return e
}

// BenchmarkWhole reads, enriches and encodes real creations: all that an alert costs beyond matching.
func BenchmarkWhole(b *testing.B) {
	lines, e, m := realCreations(b), benchEnricher(b), newModel(b)
	var out []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		v := new(audit.View)
		if err := m.Read(bytes.Clone(lines[i%len(lines)]), v); err != nil {
			b.Fatal(err)
		}
		a := base(v, v.ID("x"))
		e.Enrich(v, a)
		out = alert.AppendNative(out[:0], a)
	}
}

// BenchmarkEnricher measures each enricher alone, on an alert that the others have filled in.
func BenchmarkEnricher(b *testing.B) {
	lines, e, m := realCreations(b), benchEnricher(b), newModel(b)
	var ins []*Input
	var filled []alert.Alert
	for _, line := range lines {
		v := new(audit.View)
		if err := m.Read(line, v); err != nil {
			b.Fatal(err)
		}
		a := base(v, v.ID("x"))
		e.Enrich(v, a)
		ins, filled = append(ins, inputOf(v)), append(filled, *a)
	}
	for _, s := range e.steps {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				a := filled[i%len(filled)]
				w := *a.Workload
				a.Workload, a.Respond, a.Investigate, a.Attack = &w, nil, nil, nil
				if err := s.run(ins[i%len(ins)], &a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestCost holds the promise of at most 200 µs of CPU per alert at the median, with room for a slower machine and none for
// the race detector, which is told by its slowness: it is skipped there.
func TestCost(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("measured without the race detector only")
	}
	lines, e, m := realCreations(t), benchEnricher(t), newModel(t)
	const rounds = 5
	var costs []time.Duration
	var out []byte
	for _, line := range lines {
		best := time.Hour
		for range rounds {
			began := cpu(t)
			for range rounds {
				v := new(audit.View)
				if err := m.Read(bytes.Clone(line), v); err != nil {
					t.Fatal(err)
				}
				a := base(v, v.ID("x"))
				e.Enrich(v, a)
				out = alert.AppendNative(out[:0], a)
			}
			best = min(best, (cpu(t)-began)/rounds)
		}
		costs = append(costs, best)
	}
	slices.Sort(costs)
	median := costs[len(costs)/2]
	t.Logf("%d real creations: median %s of CPU, 95th percentile %s, largest %s", len(costs), median, costs[len(costs)*95/100], costs[len(costs)-1])
	if median > 400*time.Microsecond {
		t.Errorf("the median is %s of CPU per alert, promised are 200 µs", median)
	}
}

// cpu is what the process has used.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
