package processor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sources"
)

// deliver publishes the alerts to every route and then the dead letters. It returns nil once all are durable, and an
// error only when ctx ended first.
func (p *Processor) deliver(ctx context.Context, b *sources.Batch, out *outbox, done *Delivery) error {
	if len(out.alerts) == 0 && len(out.letters) == 0 {
		return nil
	}
	began := time.Now()
	alerts := p.withoutRepeats(out.alerts)
	if len(alerts) > 0 {
		refused, err := p.publishAlerts(ctx, b, alerts)
		if err != nil {
			return err
		}
		out.letters = append(out.letters, refused...)
	}
	if len(out.letters) > 0 {
		if err := p.publishLetters(ctx, out); err != nil {
			return err
		}
	}
	p.repeats.add(alerts)
	p.counters.alerts.Add(uint64(len(alerts)))
	p.counters.repeats.Add(uint64(len(out.alerts) - len(alerts)))
	done.Publish, done.Repeats = time.Since(began), len(out.alerts)-len(alerts)
	for i := range alerts {
		done.Published = append(done.Published, &alerts[i].AlertReport)
	}
	if p.cfg.DeadLetter.Sink != nil {
		for i := range out.letters {
			done.Letters = count(done.Letters, out.letters[i].bad.Reason, 1)
		}
	}
	return nil
}

// withoutRepeats leaves out what was published before and what stands in the batch twice.
func (p *Processor) withoutRepeats(alerts []pending) []pending {
	kept := make([]pending, 0, len(alerts))
	inBatch := make(map[string]struct{}, len(alerts))
	for i := range alerts {
		id := alerts[i].ID
		if _, twice := inBatch[id]; twice || p.repeats.seen(id) {
			continue
		}
		inBatch[id] = struct{}{}
		kept = append(kept, alerts[i])
	}
	return kept
}

// publishAlerts publishes to all routes, one beside the other, and returns what a sink refused for good.
func (p *Processor) publishAlerts(ctx context.Context, b *sources.Batch, alerts []pending) ([]letter, error) {
	if len(p.cfg.Routes) == 1 {
		return p.publishRoute(ctx, b, &p.cfg.Routes[0], alerts)
	}
	refused := make([][]letter, len(p.cfg.Routes))
	errs := make([]error, len(p.cfg.Routes))
	var wg sync.WaitGroup
	for i := range p.cfg.Routes {
		wg.Go(func() { refused[i], errs[i] = p.publishRoute(ctx, b, &p.cfg.Routes[i], alerts) })
	}
	wg.Wait()
	var all []letter
	for _, r := range refused {
		all = append(all, r...)
	}
	return all, errors.Join(errs...)
}

func (p *Processor) publishRoute(ctx context.Context, b *sources.Batch, r *Route, alerts []pending) ([]letter, error) {
	f := p.formatIndex(r.Format)
	msgs := make([]sinks.Message, 0, len(alerts))
	for i := range alerts {
		a := &alerts[i]
		if r.MinSeverity != "" && a.Severity.Less(r.MinSeverity) {
			continue
		}
		msgs = append(msgs, sinks.Message{ID: a.ID, Labels: a.Labels, Value: a.values[f], Headers: r.headers(a.headers, a.Trace)})
	}
	var refused []letter
	err := p.publish(ctx, r.Name, r.Sink, msgs, func(place int, cause error) {
		m := &msgs[place]
		refused = append(refused, letter{
			bad: BadRecord{
				Origin: b.Origin, Offset: -1, Index: -1, Reason: alert.ReasonSinkRefused,
				Detail: fmt.Sprintf("sink %q refused alert %s: %v", r.Name, m.ID, cause), Size: int64(len(m.Value)),
			},
			record: m.Value, cluster: m.Labels.Cluster,
		})
	})
	return refused, err
}

// headers names the headers of an alert as the transport of the route wants them. The trace stands there twice: under the
// name that W3C Trace Context gives it, and as the attribute of CloudEvents' distributed tracing extension.
func (r *Route) headers(of []alert.Header, trace TraceContext) []sinks.Header {
	if r.Attributes == "" {
		return nil
	}
	named := make([]sinks.Header, 0, len(of)+5)
	named = append(named, sinks.Header{Key: "content-type", Value: "application/json"})
	for _, h := range of {
		key := h.Key
		if key == "datacontenttype" {
			continue // it is the content type of the message
		}
		if !strings.HasPrefix(key, "spawnwatch-") {
			key = r.Attributes + key
		}
		named = append(named, sinks.Header{Key: key, Value: h.Value})
	}
	if trace.Parent != "" {
		named = append(named, sinks.Header{Key: "traceparent", Value: trace.Parent}, sinks.Header{Key: r.Attributes + "traceparent", Value: trace.Parent})
	}
	if trace.State != "" {
		named = append(named, sinks.Header{Key: "tracestate", Value: trace.State}, sinks.Header{Key: r.Attributes + "tracestate", Value: trace.State})
	}
	return named
}

func (p *Processor) formatIndex(name string) int {
	for i := range p.formats {
		if p.formats[i].name == name {
			return i
		}
	}
	return 0
}

// publish is the single place where publishing is tried again: until every message is durable or refused for good, or
// until ctx ends. Only what failed is sent again, in its order, after a pause that doubles up to RetryMax. refused is told
// the place of a message in msgs: ids may repeat.
func (p *Processor) publish(ctx context.Context, name string, sink sinks.Sink, msgs []sinks.Message, refused func(place int, cause error)) error {
	pause := p.cfg.RetryMin
	var places []int // of what is sent again; nil while that is everything
	for try := 1; len(msgs) > 0; try++ {
		tryCtx, tried := p.cfg.Meter.Try(ctx, Try{Sink: name, Messages: len(msgs), Number: try})
		err := sink.Publish(tryCtx, msgs)
		tried(err)
		if err == nil {
			return nil
		}
		var failed *sinks.PublishError
		if !errors.As(err, &failed) || len(failed.Failures) == 0 {
			failed = sinks.AllFailed(len(msgs), false, err)
		}
		again, stood := make([]sinks.Message, 0, len(failed.Failures)), make([]int, 0, len(failed.Failures))
		for _, f := range failed.Failures {
			if f.Index < 0 || f.Index >= len(msgs) {
				return p.sinkBroken(name, f.Index, len(msgs))
			}
			place := f.Index
			if places != nil {
				place = places[f.Index]
			}
			if f.Permanent {
				refused(place, f.Err)
				continue
			}
			again, stood = append(again, msgs[f.Index]), append(stood, place)
		}
		msgs, places = again, stood
		if len(msgs) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.counters.retries.Add(1)
		if due, leftOut := p.warned[name].pass(time.Now()); due {
			p.cfg.Logger.WarnContext(ctx, "publishing failed, trying again",
				"sink", name, "messages", len(msgs), "try", try, "pause", pause, "lines_left_out", leftOut, "error", failed)
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, p.cfg.RetryMax)
	}
	return nil
}

// sinkBroken reports a sink that breaks its contract: acknowledging would risk a loss.
func (p *Processor) sinkBroken(name string, index, n int) error {
	return fmt.Errorf("sink %q reported a failure of message %d of %d: the batch is not acknowledged", name, index, n)
}

// wait pauses for d, give or take a fifth so that many instances do not return at once.
func wait(ctx context.Context, d time.Duration) error {
	d += time.Duration((rand.Float64() - 0.5) * 0.4 * float64(d))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// publishLetters publishes the dead letters. One that its sink refuses for good is cut and tried again: first to
// [sources.OversizedKeep], then to nothing but its description. Refused even then, it is logged and counted as bad like
// any other: nothing is left that could be kept.
func (p *Processor) publishLetters(ctx context.Context, out *outbox) error {
	if p.cfg.DeadLetter.Sink == nil {
		return nil
	}
	letters := out.letters
	for limit := sources.OversizedKeep; len(letters) > 0; limit = 0 {
		msgs := make([]sinks.Message, len(letters))
		for i := range letters {
			msgs[i] = p.encodeLetter(&letters[i])
		}
		var refused []letter
		err := p.publish(ctx, DeadLetterName, p.cfg.DeadLetter.Sink, msgs, func(place int, cause error) {
			l := &letters[place]
			if len(l.record) > limit {
				refused = append(refused, l.cut(limit))
				return
			}
			p.cfg.Logger.ErrorContext(ctx, "the dead-letter sink refused a record for good: only this line remains of it",
				"error", cause, "reason", l.bad.Reason, "detail", l.bad.Detail, "source", l.bad.Origin.Source,
				"topic", l.bad.Origin.Topic, "partition", l.bad.Origin.Partition, "offset", l.bad.Offset, "line", l.bad.Line)
		})
		if err != nil {
			return err
		}
		letters = refused
	}
	return nil
}
