package telemetry

import (
	"context"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/processor"
)

func TestBudget(t *testing.T) {
	now := time.Unix(100, 0)
	b := &budget{limit: 3}
	taken := func(from *budget) (n int) {
		for range 10 {
			if from.take(now) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 3}, {500 * time.Millisecond, 0}, {500 * time.Millisecond, 3}, {-2 * time.Second, 0}, {time.Hour, 3}} {
		if now = now.Add(c.after); taken(b) != c.want {
			t.Errorf("at %s: want %d of 10", now, c.want)
		}
	}
	if n := taken(nil); n != 10 {
		t.Errorf("%d of 10 without a budget", n)
	}
}

// TestOwnTraces: beyond the budget batches go without a trace, unless a sampler is chosen; those that came with one do not.
func TestOwnTraces(t *testing.T) {
	const batches = 3 * alertTraces
	for _, c := range []struct {
		name        string
		env         map[string]string
		least, most int
	}{
		{"as it is", nil, alertTraces, 2 * alertTraces}, // the second may turn meanwhile
		{"a sampler is chosen", map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, batches, batches},
	} {
		t.Run(c.name, func(t *testing.T) {
			tele, r := sending(t, c.env)
			p, out, _ := newProcessor(t, tele)
			h := p.Handler(processor.ForeignDeadLetter)
			for i := range batches {
				b := batchOf(event(i))
				if err := h(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			b := batchOf()
			b.Records = append(b.Records, recordOf(event(batches), parentOf(0xa5, 0xb5)))
			if err := h(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			if err := tele.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			process, match := find(t, r.Spans(), "process k8s-audit"), find(t, r.Spans(), "match")
			if n := len(process) - 1; n < c.least || n > c.most || len(match) != len(process) {
				t.Errorf("%d batches and %d matches of %d are traced, want %d to %d", n, len(match)-1, batches, c.least, c.most)
			}
			headers := 0
			for i := range batches {
				if out.header(i, "traceparent") != "" {
					headers++
				}
			}
			if headers != len(process)-1 || out.header(batches, "traceparent") == "" {
				t.Errorf("%d alerts say their trace, %d batches have one", headers, len(process))
			}
		})
	}
}
