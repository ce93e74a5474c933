package processor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sources"
)

// memoryMeter keeps what it is told.
type memoryMeter struct {
	mu      sync.Mutex
	began   int
	reports []Report
	ends    []Delivery
	errs    []error
	tries   []string
	// trace is put into every alert.
	trace TraceContext
	seen  []TraceContext
}

type meterKey struct{}

func (m *memoryMeter) Begin(ctx context.Context, _ *sources.Batch) (context.Context, BatchMeter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.began++
	return context.WithValue(ctx, meterKey{}, "batch"), m
}

func (m *memoryMeter) Try(ctx context.Context, t Try) (context.Context, func(error)) {
	return context.WithValue(ctx, meterKey{}, "try"), func(err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.tries = append(m.tries, fmt.Sprintf("%s %d of %d: %v, %v", t.Sink, t.Number, t.Messages, ctx.Value(meterKey{}), err))
	}
}

func (m *memoryMeter) Computed(ctx context.Context, r *Report) context.Context {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := *r
	kept.Rules, kept.Bad = append([]Count(nil), r.Rules...), append([]Count(nil), r.Bad...)
	m.reports = append(m.reports, kept)
	for _, a := range r.Alerts {
		m.seen = append(m.seen, a.Trace)
		if m.trace != (TraceContext{}) {
			a.Trace = m.trace
		}
	}
	return ctx
}

func (m *memoryMeter) End(_ context.Context, d Delivery, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends = append(m.ends, d)
	m.errs = append(m.errs, err)
}

// TestMeter: a batch of several chunks is reported once, with the sums of all.
func TestMeter(t *testing.T) {
	meter := &memoryMeter{}
	p, _, _ := newTest(t, func(c *Config) { c.Meter = meter })
	b := batch()
	filler := []byte(`{"kind":"Event","verb":"get","pad":"` + strings.Repeat("x", 64<<10) + `"}`)
	for i := range 10 {
		b.Records = append(b.Records, sources.Record{Value: filler}, sources.Record{Value: event(i)}, sources.Record{Value: []byte("{")})
	}
	b.Records = append(b.Records, sources.Record{Value: event(0)})
	if n := len(split(b.Records)); n < 2 {
		t.Fatalf("the batch is %d chunk, expected several", n)
	}
	if err := p.Handler(ForeignDeadLetter)(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if meter.began != 1 || len(meter.reports) != 1 || len(meter.ends) != 1 || meter.errs[0] != nil {
		t.Fatalf("begun %d, computed %d, ended %d times with %v; expected each once", meter.began, len(meter.reports), len(meter.ends), meter.errs)
	}
	r, d := meter.reports[0], meter.ends[0]
	if want := p.Stats(); r.Stats.Events != want.Events || r.Stats.Bytes != want.Bytes || r.Stats.Matched != 11 || r.Stats.Bad != 10 || r.Stats.Records != 31 {
		t.Errorf("reported %+v; the totals are %+v", r.Stats, want)
	}
	if diff := cmp.Diff([]Count{{"11111111-1111-4111-8111-111111111111", 11}}, r.Rules); diff != "" {
		t.Errorf("rules: %s", diff)
	}
	if diff := cmp.Diff([]Count{{"malformed", 10}}, r.Bad); diff != "" {
		t.Errorf("bad: %s", diff)
	}
	if len(d.Published) != 10 || d.Repeats != 1 || r.Compute <= 0 || d.Publish <= 0 {
		t.Errorf("%d published, %d repeats, computed in %s, published in %s", len(d.Published), d.Repeats, r.Compute, d.Publish)
	}
	if diff := cmp.Diff([]Count{{"malformed", 10}}, d.Letters); diff != "" {
		t.Errorf("letters: %s", diff)
	}
	if diff := cmp.Diff([]string{"out 1 of 10: batch, <nil>", "dead_letter 1 of 10: batch, <nil>"}, meter.tries); diff != "" {
		t.Errorf("tries: %s", diff)
	}
	if all, busy := p.Workers(); all != 2 || busy != 0 {
		t.Errorf("%d of %d workers are busy", busy, all)
	}
}

// TestMeterOfFailure: what is not acknowledged has an end too.
func TestMeterOfFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := &memoryMeter{}
		p, out, _ := newTest(t, func(c *Config) { c.Meter = meter })
		out.fail = func(int, []sinks.Message) error { return errors.New("down") }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Handler(ForeignDeadLetter)(ctx, batch(event(1))); err == nil {
			t.Fatal("acknowledged")
		}
		if len(meter.ends) != 1 || meter.errs[0] == nil || len(meter.ends[0].Published) != 0 {
			t.Errorf("ended with %v, %+v", meter.errs, meter.ends)
		}
		if len(meter.tries) < 2 || meter.tries[1] != "out 2 of 1: batch, down" {
			t.Errorf("tries: %q", meter.tries)
		}
	})
}

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// TestTraceThrough: the trace of a record goes into the headers of its alert, as it is or as the meter says.
func TestTraceThrough(t *testing.T) {
	other := strings.Replace(parent, "00f067aa0ba902b7", "1111111111111111", 1)
	for _, c := range []struct {
		name  string
		meter *memoryMeter
		want  string
	}{
		{"nobody traces", nil, parent},
		{"a meter that only looks", &memoryMeter{}, parent},
		{"a meter that traces", &memoryMeter{trace: TraceContext{Parent: other}}, other},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, out, _ := newTest(t, func(cfg *Config) {
				cfg.Routes[0].Attributes = "ce_"
				if c.meter != nil {
					cfg.Meter = c.meter
				}
			})
			b := batch(event(1), event(2))
			b.Records[1].Headers = []sources.Header{{Key: []byte("Traceparent"), Value: []byte(parent)}, {Key: []byte("x"), Value: []byte("y")}}
			if err := p.Handler(ForeignDeadLetter)(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			msgs := out.all()
			if got := header(msgs[1], "traceparent"); got != c.want || header(msgs[1], "ce_traceparent") != c.want {
				t.Errorf("traceparent %q, want %q: %v", got, c.want, msgs[1].Headers)
			}
			if c.meter == nil && header(msgs[0], "traceparent") != "" {
				t.Errorf("the alert of a record without a trace has one: %v", msgs[0].Headers)
			}
			if c.meter != nil && (len(c.meter.seen) != 2 || c.meter.seen[0].Parent != "" || c.meter.seen[1].Parent != parent) {
				t.Errorf("the meter saw %v", c.meter.seen)
			}
		})
	}
}

func header(m sinks.Message, key string) string {
	for _, h := range m.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return ""
}

func TestTraceOf(t *testing.T) {
	h := func(pairs ...string) (all []sources.Header) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, sources.Header{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
		}
		return all
	}
	for _, c := range []struct {
		name    string
		headers []sources.Header
		want    TraceContext
	}{
		{"none", nil, TraceContext{}},
		{"both", h("traceparent", parent, "tracestate", "a=1"), TraceContext{parent, "a=1"}},
		{"the first counts", h("traceparent", parent, "traceparent", strings.Replace(parent, "4b", "5b", 1)), TraceContext{parent, ""}},
		{"a state alone", h("tracestate", "a=1"), TraceContext{}},
		{"upper case ids", h("traceparent", strings.ToUpper(parent)), TraceContext{}},
		{"no trace id", h("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"), TraceContext{}},
		{"no span id", h("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"), TraceContext{}},
		{"another version", h("traceparent", "01"+parent[2:]), TraceContext{}},
		{"a line break", h("traceparent", parent[:54]+"\n"), TraceContext{}},
		{"a state with a line break", h("traceparent", parent, "tracestate", "a=1\r\nx: y"), TraceContext{parent, ""}},
		{"a long state", h("traceparent", parent, "tracestate", strings.Repeat("a", 513)), TraceContext{parent, ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := TraceOf(c.headers); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestWarningsOfSink: batches that wait for one sink are one line in ten seconds, with the number of those left out.
func TestWarningsOfSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p, out, _ := newTest(t, func(c *Config) {
			c.RetryMin, c.RetryMax = time.Second, time.Second
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		out.fail = func(int, []sinks.Message) error { return errors.New("down") }
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() { _ = p.Handler(ForeignDeadLetter)(ctx, batch(event(i))) })
		}
		wg.Wait()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 4 {
			t.Fatalf("%d lines in 35 s, expected 4:\n%s", len(lines), log.String())
		}
		if !strings.Contains(lines[0], "lines_left_out=0") || strings.Contains(lines[1], "lines_left_out=0 ") {
			t.Errorf("the first line leaves nothing out, the second some 70:\n%s\n%s", lines[0], lines[1])
		}
	})
}
