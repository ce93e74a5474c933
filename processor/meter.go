package processor

import (
	"context"
	"strings"
	"time"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sources"
)

// Meter follows batches on their way, for figures and traces. It is told of a batch a few times, never once per event,
// from many goroutines at once, and must not block.
type Meter interface {
	// Begin is told of a batch that has come in. What it returns is told of this batch alone, and the context is the one
	// that everything about the batch gets.
	Begin(ctx context.Context, b *sources.Batch) (context.Context, BatchMeter)
	// Try is told before each try of publishing, and its answer how the try ended. The context is the sink's.
	Try(ctx context.Context, t Try) (context.Context, func(error))
}

// BatchMeter follows one batch: Computed once, unless its context ended first, and End always.
type BatchMeter interface {
	// Computed is told what the records came to, before any of it is published. It may change the Trace of the alerts,
	// which goes out with them. r is lent until End has returned. The context is the one for what follows.
	Computed(ctx context.Context, r *Report) context.Context
	// End is told what was delivered, and the error that the source gets: nil acknowledges. d is lent.
	End(ctx context.Context, d Delivery, err error)
}

// Try is one call of a sink.
type Try struct {
	// Sink is the configured name; that of the dead letters is [DeadLetterName].
	Sink string
	// Messages is how many there are, Number counts from 1.
	Messages, Number int
}

// DeadLetterName is what logs and figures call the sink of the dead letters.
const DeadLetterName = "dead_letter"

// Report is what the records of one batch came to.
type Report struct {
	// Stats of this batch; Alerts, Repeats and Retries are not known yet.
	Stats Stats
	// Rules and Bad count matches by the id of the rule, and bad records by their reason.
	Rules, Bad []Count
	// Alerts that the batch gave rise to; repeats among them are not known yet.
	Alerts []*AlertReport
	// Compute is the time that workers took, Wait the time spent waiting for a worker.
	Compute, Wait time.Duration
}

// Count is a number of something with a name.
type Count struct {
	Name string
	N    uint64
}

// AlertReport is what a [Meter] gets to know of an alert.
type AlertReport struct {
	ID       string
	Labels   sinks.Labels
	Severity alert.Severity
	// Time is the stage time stamp of the event, zero where it has none; Detected is when it was matched.
	Time, Detected time.Time
	// Trace is that of the record's headers, and goes into the headers of the alert.
	Trace TraceContext
}

// TraceContext is the text of the headers traceparent and tracestate (W3C Trace Context), empty where there is none.
type TraceContext struct {
	Parent, State string
}

// Delivery is what became of a batch.
type Delivery struct {
	// Published alerts: durable in every sink that takes their severity, or refused by it and dead-lettered.
	Published []*AlertReport
	// Repeats is how many alerts were left out.
	Repeats int
	// Letters counts the published dead letters by their reason.
	Letters []Count
	// Turn is the time spent waiting for earlier batches, Publish for sinks.
	Turn, Publish time.Duration
}

// noMeter is the meter of a processor without one.
type noMeter struct{}

func (noMeter) Begin(ctx context.Context, _ *sources.Batch) (context.Context, BatchMeter) {
	return ctx, noMeter{}
}

func (noMeter) Try(ctx context.Context, _ Try) (context.Context, func(error)) {
	return ctx, func(error) {}
}
func (noMeter) Computed(ctx context.Context, _ *Report) context.Context { return ctx }
func (noMeter) End(context.Context, Delivery, error)                    {}

// count adds n to the count of that name. There are few names, so that looking through all is quick.
func count(counts []Count, name string, n uint64) []Count {
	for i := range counts {
		if counts[i].Name == name {
			counts[i].N += n
			return counts
		}
	}
	return append(counts, Count{name, n})
}

// add takes over what a part of the batch came to. Parts are computed side by side, so their waits are not summed up.
func (r *Report) add(part *Report) {
	r.Stats.add(&part.Stats)
	for _, c := range part.Rules {
		r.Rules = count(r.Rules, c.Name, c.N)
	}
	for _, c := range part.Bad {
		r.Bad = count(r.Bad, c.Name, c.N)
	}
	r.Compute += part.Compute
	r.Wait = max(r.Wait, part.Wait)
}

func (r *Report) reset() {
	clear(r.Alerts)
	*r = Report{Rules: r.Rules[:0], Bad: r.Bad[:0], Alerts: r.Alerts[:0]}
}

// maxTraceState is the longest tracestate that is passed on, in bytes (W3C Trace Context, 3.3.1.5).
const maxTraceState = 512

// TraceOf reads the trace context from headers. What is not well-formed is left out: it goes into headers again.
func TraceOf(headers []sources.Header) (t TraceContext) {
	for i := range headers {
		h := &headers[i]
		switch {
		case len(h.Key) == len("traceparent") && t.Parent == "" && strings.EqualFold(string(h.Key), "traceparent"):
			if isTraceParent(h.Value) {
				t.Parent = string(h.Value)
			}
		case len(h.Key) == len("tracestate") && t.State == "" && strings.EqualFold(string(h.Key), "tracestate"):
			if isTraceState(h.Value) {
				t.State = string(h.Value)
			}
		}
	}
	if t.Parent == "" {
		t.State = ""
	}
	return t
}

// isTraceParent accepts version 00 of the header: 00-<32 hex>-<16 hex>-<2 hex>, neither id all zeros.
func isTraceParent(b []byte) bool {
	if len(b) != 55 || string(b[:3]) != "00-" || b[35] != '-' || b[52] != '-' {
		return false
	}
	return isHex(b[3:35]) && isHex(b[36:52]) && isHex(b[53:]) && !isZeros(b[3:35]) && !isZeros(b[36:52])
}

func isHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isZeros(b []byte) bool {
	for _, c := range b {
		if c != '0' {
			return false
		}
	}
	return true
}

func isTraceState(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(b) <= maxTraceState
}
