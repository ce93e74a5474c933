package telemetry

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/sinks"
)

// Sink is what is known of one sink. It is safe for concurrent use.
type Sink struct {
	name                                 string
	attrs                                attribute.Set
	record                               []metric.RecordOption
	retries, failures, refused, messages atomic.Int64

	mu    sync.Mutex
	state SinkState
}

// SinkState is whether a sink takes messages.
type SinkState struct {
	// Usable: the last try made it, or there was none yet.
	Usable bool
	// Err is the last failure, At its time; a sink that is usable again keeps it.
	Err error
	At  time.Time
}

func newSink(name string) *Sink {
	attrs := attribute.NewSet(attribute.String("sink", name))
	return &Sink{name: name, attrs: attrs, record: []metric.RecordOption{metric.WithAttributeSet(attrs)}, state: SinkState{Usable: true}}
}

// Sink finds a sink by its name; nil where there is none.
func (t *Telemetry) Sink(name string) *Sink { return t.sinks[name] }

// Found says whether the sink can be used: nil, or why not.
func (s *Sink) Found(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Usable = err == nil
	if err != nil {
		s.state.Err, s.state.At = err, time.Now()
	}
}

// State is whether the sink takes messages.
func (s *Sink) State() SinkState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Published is how many messages the sink took.
func (s *Sink) Published() int64 { return s.messages.Load() }

// Try implements [processor.Meter].
func (t *Telemetry) Try(ctx context.Context, try processor.Try) (context.Context, func(error)) {
	s, ok := t.sinks[try.Sink]
	if !ok {
		return ctx, func(error) {}
	}
	if try.Number > 1 {
		s.retries.Add(1)
	}
	var span trace.Span
	if t.tracing && trace.SpanFromContext(ctx).IsRecording() {
		ctx, span = t.tracer.Start(ctx, "send "+s.name, trace.WithSpanKind(trace.SpanKindProducer))
		span.SetAttributes(
			semconv.MessagingOperationName("send"), semconv.MessagingOperationTypeSend, semconv.MessagingBatchMessageCount(try.Messages),
			attribute.String("spawnwatch.sink", s.name), attribute.Int("spawnwatch.try", try.Number),
		)
	}
	began := time.Now()
	return ctx, func(err error) {
		t.figures.publish.Record(ctx, time.Since(began).Seconds(), s.record...)
		s.ended(try.Messages, err)
		if span != nil {
			if err != nil {
				span.SetStatus(codes.Error, err.Error())
			}
			span.End()
		}
	}
}

// ended takes note of one try. A message that was refused for good says nothing against the sink.
func (s *Sink) ended(messages int, err error) {
	if err == nil {
		s.messages.Add(int64(messages))
		s.Found(nil)
		return
	}
	s.failures.Add(1)
	failed, refused := messages, 0
	if p := (*sinks.PublishError)(nil); errors.As(err, &p) && len(p.Failures) > 0 {
		failed = len(p.Failures)
		for _, f := range p.Failures {
			if f.Permanent {
				refused++
			}
		}
	}
	s.refused.Add(int64(refused))
	s.messages.Add(int64(messages - failed))
	if failed > refused {
		s.Found(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = SinkState{Usable: true, Err: err, At: time.Now()}
}
