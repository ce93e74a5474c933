package audit

import (
	"bytes"
	"testing"
)

func creations(b testing.TB) [][]byte {
	m := newModel(b)
	var found [][]byte
	var v View
	for _, line := range corpus(b, "rr") {
		if len(line) > 100_000 {
			continue
		}
		if err := m.Read(line, &v); err != nil {
			b.Fatal(err)
		}
		if v.Outcome == Created {
			found = append(found, bytes.Clone(line))
		}
	}
	return found
}

// BenchmarkRead reads the creations of a log; with the pod template, as an alert does.
func BenchmarkRead(b *testing.B) {
	events := creations(b)
	m := newModel(b)
	var v View
	for _, c := range []struct {
		name     string
		template int
	}{{"view", 0}, {"template", 1}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for i := 0; b.Loop(); i++ {
				e := events[i%len(events)]
				size += len(e)
				if err := m.Read(e, &v); err != nil {
					b.Fatal(err)
				}
				if c.template == 1 {
					v.PodTemplate()
				}
			}
			b.SetBytes(int64(size / b.N))
		})
	}
}

type counter struct{ n int }

func (c *counter) Add(int, string) { c.n++ }

// BenchmarkEval computes each group of fields over the creations of a log.
func BenchmarkEval(b *testing.B) {
	events := creations(b)
	m := newModel(b)
	for _, g := range m.Fields() {
		raws := make([][]string, len(events))
		for i, e := range events {
			raws[i] = needs(string(e), &g)
		}
		b.Run(g.Names[0], func(b *testing.B) {
			b.ReportAllocs()
			out := new(counter)
			for i := 0; b.Loop(); i++ {
				g.Eval(raws[i%len(raws)], out)
			}
		})
	}
}

func BenchmarkID(b *testing.B) {
	m := newModel(b)
	v := read(b, m, string(creations(b)[0]))
	b.ReportAllocs()
	for b.Loop() {
		v.ID("prod-eu-1")
	}
}

// TestAllocations: nothing is allocated but a chunk now and then, also for a dry run with escapes in its URI.
func TestAllocations(t *testing.T) {
	if thin > 1 {
		t.Skip("the race detector allocates on its own")
	}
	m := newModel(t)
	events := creations(t)
	dry := bytes.ReplaceAll(events[0], []byte(`"requestURI":"`), []byte(`"requestURI":"/x?a=b\u0026dryRun=All\u0026`))
	if read(t, m, string(dry)).Outcome != Observed {
		t.Fatal("a dry run is expected")
	}
	events = append(events, dry)
	out := new(counter)
	for _, g := range m.Fields() {
		raws := make([][]string, len(events))
		for i, e := range events {
			raws[i] = needs(string(e), &g)
		}
		i := 0
		if n := testing.AllocsPerRun(20*len(events), func() { g.Eval(raws[i%len(raws)], out); i++ }); n != 0 {
			t.Errorf("%s: %v allocations per event", g.Names[0], n)
		}
	}
	var v View
	for _, e := range events {
		if err := m.Read(e, &v); err != nil {
			t.Fatal(err)
		}
		v.PodTemplate()
	}
	i := 0
	if n := testing.AllocsPerRun(20*len(events), func() {
		if m.Read(events[i%len(events)], &v) != nil {
			t.Error("unreadable")
		}
		v.PodTemplate()
		i++
	}); n != 0 {
		t.Errorf("Read: %v allocations per event", n)
	}
	if n := testing.AllocsPerRun(100, func() { v.ID("prod-eu-1") }); n != 1 {
		t.Errorf("ID: %v allocations, expected the result alone", n)
	}
}
