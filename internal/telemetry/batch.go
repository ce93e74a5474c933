package telemetry

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/sources"
)

// maxLinks is how many traced records a batch's span is linked to: what the SDK keeps unless told otherwise. A match has a
// span of its own in the trace of its record, and is not lost by that.
const maxLinks = 128

// batch follows one batch.
type batch struct {
	t      *Telemetry
	source *Source
	// of is lent until End.
	of    *sources.Batch
	bytes int64
	began time.Time
	// span is nil where the batch is not traced; matches are the spans of its alerts.
	span    trace.Span
	matches []trace.Span
	report  *processor.Report
}

// Begin implements [processor.Meter].
func (t *Telemetry) Begin(ctx context.Context, b *sources.Batch) (context.Context, processor.BatchMeter) {
	f := &batch{t: t, source: t.Source(b.Origin.Source), of: b, began: time.Now()}
	for i := range b.Records {
		f.bytes += int64(len(b.Records[i].Value))
	}
	t.figures.inflight.Add(f.bytes)
	if n := len(b.Records); n > 0 {
		if at := b.Records[n-1].Time; !at.IsZero() {
			f.source.took(b.Origin.Topic, b.Origin.Partition, at)
		}
	}
	return ctx, f
}

// Computed implements [processor.BatchMeter].
func (f *batch) Computed(ctx context.Context, r *processor.Report) context.Context {
	s := f.source
	s.records.Add(int64(r.Stats.Records))
	s.bytes.Add(int64(r.Stats.Bytes))
	s.events.Add(int64(r.Stats.Events))
	s.matched.Add(int64(r.Stats.Matched))
	s.rejected.Add(int64(r.Stats.Rejected))
	s.ignored.Add(int64(r.Stats.Ignored))
	for _, c := range r.Bad {
		s.bad.add(c.Name, int64(c.N))
	}
	for _, c := range r.Rules {
		f.t.figures.rules.add(c.Name, int64(c.N))
	}
	f.t.figures.folded.Add(int64(r.Stats.Folded))
	f.report = r
	if !f.t.tracing {
		return ctx
	}
	ctx = f.trace(ctx)
	for _, a := range r.Alerts {
		f.match(ctx, a)
	}
	return ctx
}

// trace starts the span of the batch, from its beginning. A batch of one record is part of its trace, a larger one is
// linked to those of its records (semantic conventions for messaging: spans of batches). A batch that is part of no trace
// gets one of its own as long as there is a budget.
func (f *batch) trace(ctx context.Context) context.Context {
	b := f.of
	var parent processor.TraceContext
	if len(b.Records) == 1 {
		parent = processor.TraceOf(b.Records[0].Headers)
	}
	switch {
	case parent.Parent != "":
		ctx = remote(ctx, parent)
	case len(f.report.Alerts) > 0 && !f.t.alerting.take(f.began), len(f.report.Alerts) == 0 && !f.t.quiet.take(f.began):
		return ctx
	}
	ctx, f.span = f.t.tracer.Start(ctx, "process "+b.Origin.Topic, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(f.began))
	if !f.span.IsRecording() {
		return ctx
	}
	f.span.SetAttributes(f.source.spanAttrs...)
	f.span.SetAttributes(semconv.MessagingDestinationName(b.Origin.Topic), semconv.MessagingBatchMessageCount(len(b.Records)))
	if b.Origin.Partition >= 0 {
		f.span.SetAttributes(semconv.MessagingDestinationPartitionID(strconv.Itoa(int(b.Origin.Partition))))
	}
	if len(b.Records) == 1 {
		if f.source.info.Kind == "kafka" {
			f.span.SetAttributes(semconv.MessagingKafkaOffset(int(b.Records[0].Offset)))
		}
		return ctx
	}
	for i, n := 0, 0; i < len(b.Records) && n < maxLinks; i++ {
		if of := processor.TraceOf(b.Records[i].Headers); of.Parent != "" {
			f.span.AddLink(trace.Link{SpanContext: trace.SpanContextFromContext(remote(context.Background(), of))})
			n++
		}
	}
	return ctx
}

// match starts the span of one alert: a child of its record's own trace, if it has one, else of the batch. The message
// that carries the alert carries this span's context.
func (f *batch) match(ctx context.Context, a *processor.AlertReport) {
	own := a.Trace.Parent != "" && len(f.of.Records) > 1
	switch {
	case own:
		ctx = remote(ctx, a.Trace)
	case f.span == nil:
		return
	}
	_, span := f.t.tracer.Start(ctx, "match", trace.WithTimestamp(a.Detected))
	if span.IsRecording() {
		span.SetAttributes(matchAttributes(a)...)
		if own && f.span != nil {
			span.AddLink(trace.Link{SpanContext: f.span.SpanContext()})
		}
		f.matches = append(f.matches, span)
	}
	a.Trace = textOf(span.SpanContext())
}

// End implements [processor.BatchMeter].
func (f *batch) End(ctx context.Context, d processor.Delivery, err error) {
	now := time.Now()
	g := &f.t.figures
	g.inflight.Add(-f.bytes)
	if r := f.report; r != nil {
		waited := r.Wait + d.Turn
		f.source.waited.Add(int64(waited))
		g.batch.Record(ctx, r.Compute.Seconds(), g.compute...)
		g.batch.Record(ctx, waited.Seconds(), g.wait...)
		if d.Publish > 0 {
			g.batch.Record(ctx, d.Publish.Seconds(), g.publishing...)
		}
		g.batch.Record(ctx, now.Sub(f.began).Seconds(), g.total...)
	}
	for _, a := range d.Published {
		g.alerts.add(alertKey{a.Labels.Severity, a.Labels.Outcome}, 1)
		if !a.Time.IsZero() {
			g.delay.Record(ctx, max(0, now.Sub(a.Time).Seconds()))
		}
	}
	g.repeated.Add(int64(d.Repeats))
	for _, c := range d.Letters {
		g.letters.add(c.Name, int64(c.N))
	}
	for _, span := range f.matches {
		failed(span, err)
		span.End(trace.WithTimestamp(now))
	}
	if f.span == nil || !f.span.IsRecording() {
		return
	}
	failed(f.span, err)
	r := &f.report.Stats
	f.span.SetAttributes(
		attribute.Int64("spawnwatch.events", int64(r.Events)), attribute.Int64("spawnwatch.events.matched", int64(r.Matched)),
		attribute.Int64("spawnwatch.records.bad", int64(r.Bad)), attribute.Int("spawnwatch.alerts", len(d.Published)),
	)
	f.span.End(trace.WithTimestamp(now))
}

func failed(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
}

// textOf writes a span's context as it stands in headers.
func textOf(c trace.SpanContext) processor.TraceContext {
	return processor.TraceContext{
		Parent: "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + (c.TraceFlags() & trace.FlagsSampled).String(),
		State:  c.TraceState().String(),
	}
}

// remote is a context in which spans continue the trace that a header tells of.
func remote(ctx context.Context, of processor.TraceContext) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": of.Parent, "tracestate": of.State})
}

// sourceAttributes are those of every span of a source. NATS and forward are no systems that the conventions know: the
// names are ours.
func sourceAttributes(info SourceInfo) []attribute.KeyValue {
	attrs := []attribute.KeyValue{
		attribute.String("spawnwatch.source", info.Name),
		attribute.String("messaging.system", info.Kind),
		semconv.MessagingOperationName("process"), semconv.MessagingOperationTypeProcess,
	}
	if info.Group != "" {
		attrs = append(attrs, semconv.MessagingConsumerGroupName(info.Group))
	}
	return attrs
}

// matchAttributes say what an alert is about.
func matchAttributes(a *processor.AlertReport) []attribute.KeyValue {
	l := &a.Labels
	attrs := []attribute.KeyValue{
		attribute.String("spawnwatch.alert.id", a.ID), attribute.String("spawnwatch.rule.id", l.Rule),
		attribute.String("spawnwatch.severity", l.Severity), attribute.String("spawnwatch.outcome", l.Outcome),
	}
	if l.Cluster != "" {
		attrs = append(attrs, semconv.K8SClusterName(l.Cluster))
	}
	if l.Namespace != "" {
		attrs = append(attrs, semconv.K8SNamespaceName(l.Namespace))
	}
	if l.Name == "" {
		return attrs
	}
	switch l.Kind {
	case "Pod":
		return append(attrs, semconv.K8SPodName(l.Name))
	case "Deployment":
		return append(attrs, semconv.K8SDeploymentName(l.Name))
	case "ReplicaSet":
		return append(attrs, semconv.K8SReplicaSetName(l.Name))
	case "StatefulSet":
		return append(attrs, semconv.K8SStatefulSetName(l.Name))
	case "DaemonSet":
		return append(attrs, semconv.K8SDaemonSetName(l.Name))
	case "Job":
		return append(attrs, semconv.K8SJobName(l.Name))
	case "CronJob":
		return append(attrs, semconv.K8SCronJobName(l.Name))
	case "ReplicationController":
		return append(attrs, semconv.K8SReplicationControllerName(l.Name))
	}
	return append(attrs, attribute.String("spawnwatch.workload.kind", l.Kind), attribute.String("spawnwatch.workload.name", l.Name))
}
