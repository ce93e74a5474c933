package telemetry

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/spawnwatch/spawnwatch/internal/otlptest"
	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/sources"
)

// sending starts telemetry that sends to a receiver. The exporters of the SDK read the environment of the process.
func sending(t *testing.T, more map[string]string) (*Telemetry, *otlptest.Receiver) {
	t.Helper()
	r := otlptest.Start()
	t.Cleanup(r.Close)
	env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL(), "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
	for k, v := range more {
		env[k] = v
	}
	for k, v := range env {
		t.Setenv(k, v)
	}
	tele, err := Start(context.Background(), testOptions(env))
	if err != nil {
		t.Fatal(err)
	}
	return tele, r
}

func parentOf(trace, span int) string { return fmt.Sprintf("00-%032x-%016x-01", trace, span) }

func recordOf(value []byte, parent string) sources.Record {
	return sources.Record{Value: value, Headers: []sources.Header{{Key: []byte("traceparent"), Value: []byte(parent)}, {Key: []byte("tracestate"), Value: []byte("vendor=1")}}}
}

func find(t *testing.T, spans []*trace.Span, name string) (found []*trace.Span) {
	t.Helper()
	for _, s := range spans {
		if s.GetName() == name {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		t.Fatalf("no span %q", name)
	}
	return found
}

// TestTraceOfOne: a batch of one record is part of its producer's trace, and so is the alert.
func TestTraceOfOne(t *testing.T) {
	tele, r := sending(t, nil)
	p, out, _ := newProcessor(t, tele)
	b := batchOf()
	b.Records = append(b.Records, recordOf(event(1), parentOf(0xa1, 0xb1)))
	if err := p.Handler(processor.ForeignDeadLetter)(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := tele.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	process, match, send := find(t, r.Spans(), "process k8s-audit")[0], find(t, r.Spans(), "match")[0], find(t, r.Spans(), "send out")[0]
	if hex.EncodeToString(process.GetParentSpanId()) != fmt.Sprintf("%016x", 0xb1) {
		t.Errorf("the batch's parent is %x, want the producer's span", process.GetParentSpanId())
	}
	for _, s := range []*trace.Span{process, match, send} {
		if hex.EncodeToString(s.GetTraceId()) != fmt.Sprintf("%032x", 0xa1) {
			t.Errorf("%s is in trace %x, want the producer's", s.GetName(), s.GetTraceId())
		}
	}
	if !bytes.Equal(match.GetParentSpanId(), process.GetSpanId()) || !bytes.Equal(send.GetParentSpanId(), process.GetSpanId()) {
		t.Error("match and send are no children of the batch")
	}
	if process.GetKind() != trace.Span_SPAN_KIND_CONSUMER || send.GetKind() != trace.Span_SPAN_KIND_PRODUCER {
		t.Errorf("kinds %s, %s", process.GetKind(), send.GetKind())
	}
	want := fmt.Sprintf("00-%032x-%x-01", 0xa1, match.GetSpanId())
	for _, key := range []string{"traceparent", "ce_traceparent"} {
		if got := out.header(0, key); got != want {
			t.Errorf("%s %q, want %q: the span of the match", key, got, want)
		}
	}
	if got := out.header(0, "tracestate"); got != "vendor=1" {
		t.Errorf("tracestate %q", got)
	}
	for key, want := range map[string]string{
		"messaging.system": "kafka", "messaging.destination.name": "k8s-audit", "messaging.destination.partition.id": "3", "messaging.operation.name": "process",
		"messaging.operation.type": "process", "messaging.consumer.group.name": "g", "messaging.batch.message_count": "1", "spawnwatch.source": "audit", "spawnwatch.events": "1",
	} {
		if got := otlptest.Attribute(process.GetAttributes(), key); got != want {
			t.Errorf("process: %s is %q, want %q", key, got, want)
		}
	}
	for key, want := range map[string]string{"k8s.namespace.name": "shop", "k8s.pod.name": "p-1", "spawnwatch.rule.id": ruleID, "spawnwatch.severity": "medium"} {
		if got := otlptest.Attribute(match.GetAttributes(), key); got != want {
			t.Errorf("match: %s is %q, want %q", key, got, want)
		}
	}
	about := r.About()
	if about["service.name"] != "spawnwatch" || about["service.version"] != "v1" || about["deployment.environment.name"] != "test" {
		t.Errorf("the resource is %v", about)
	}
}

// TestTraceOfMany: a batch of many records is a trace of its own, linked to at most 128 of theirs; a match is in the trace
// of its record, or in that of the batch.
func TestTraceOfMany(t *testing.T) {
	tele, r := sending(t, nil)
	p, out, _ := newProcessor(t, tele)
	quiet := bytes.Replace(event(0), []byte(`"create"`), []byte(`"get"`), 1)
	b := batchOf(event(1))
	for i := range 300 {
		b.Records = append(b.Records, recordOf(quiet, parentOf(0x1000+i, 1)))
	}
	b.Records = append(b.Records, recordOf(event(2), parentOf(0xa2, 0xb2)))
	if err := p.Handler(processor.ForeignDeadLetter)(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := tele.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	process, matches := find(t, r.Spans(), "process k8s-audit")[0], find(t, r.Spans(), "match")
	if len(process.GetParentSpanId()) != 0 || len(process.GetLinks()) != maxLinks || process.GetDroppedLinksCount() != 0 {
		t.Errorf("the batch has parent %x and %d links (%d dropped), want none and %d", process.GetParentSpanId(), len(process.GetLinks()), process.GetDroppedLinksCount(), maxLinks)
	}
	if len(matches) != 2 {
		t.Fatalf("%d matches", len(matches))
	}
	own, theirs := matches[0], matches[1]
	if hex.EncodeToString(own.GetTraceId()) == fmt.Sprintf("%032x", 0xa2) {
		own, theirs = theirs, own
	}
	if !bytes.Equal(own.GetParentSpanId(), process.GetSpanId()) || !bytes.Equal(own.GetTraceId(), process.GetTraceId()) {
		t.Error("the match of a record without a trace is no child of the batch")
	}
	if hex.EncodeToString(theirs.GetTraceId()) != fmt.Sprintf("%032x", 0xa2) || hex.EncodeToString(theirs.GetParentSpanId()) != fmt.Sprintf("%016x", 0xb2) {
		t.Errorf("the match of a traced record is in trace %x below %x", theirs.GetTraceId(), theirs.GetParentSpanId())
	}
	if len(theirs.GetLinks()) != 1 || !bytes.Equal(theirs.GetLinks()[0].GetSpanId(), process.GetSpanId()) {
		t.Error("it is not linked to the batch")
	}
	if got, want := out.header(0, "traceparent"), fmt.Sprintf("00-%x-%x-01", own.GetTraceId(), own.GetSpanId()); got != want {
		t.Errorf("traceparent %q, want %q", got, want)
	}
	if got, want := out.header(1, "traceparent"), fmt.Sprintf("00-%032x-%x-01", 0xa2, theirs.GetSpanId()); got != want {
		t.Errorf("traceparent %q, want %q", got, want)
	}
}

// TestTraceNotSampled: what its producer does not sample makes no span, and goes on unsampled.
func TestTraceNotSampled(t *testing.T) {
	tele, r := sending(t, nil)
	p, out, _ := newProcessor(t, tele)
	b := batchOf()
	b.Records = append(b.Records, recordOf(event(1), strings.TrimSuffix(parentOf(0xa3, 0xb3), "01")+"00"))
	if err := p.Handler(processor.ForeignDeadLetter)(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := tele.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := len(r.Spans()); n != 0 {
		t.Errorf("%d spans were sent", n)
	}
	if got := out.header(0, "traceparent"); !strings.HasPrefix(got, fmt.Sprintf("00-%032x-", 0xa3)) || !strings.HasSuffix(got, "-00") {
		t.Errorf("traceparent %q", got)
	}
}

// TestQuiet: with nothing said, no span is made and the trace goes on as it came.
func TestQuiet(t *testing.T) {
	tele := start(t, testOptions(nil))
	p, out, _ := newProcessor(t, tele)
	b := batchOf()
	b.Records = append(b.Records, recordOf(event(1), parentOf(0xa4, 0xb4)))
	if err := p.Handler(processor.ForeignDeadLetter)(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if got := out.header(0, "traceparent"); got != parentOf(0xa4, 0xb4) {
		t.Errorf("traceparent %q", got)
	}
	if tele.LogHandler() != nil {
		t.Error("logs are sent")
	}
}

// TestFailedTry: a try that failed is a span with an error, and so is a batch that was not acknowledged.
func TestFailedTry(t *testing.T) {
	tele, r := sending(t, nil)
	p, out, _ := newProcessor(t, tele)
	out.down = errors.New("down")
	if err := p.Handler(processor.ForeignDeadLetter)(t.Context(), batchOf(event(1))); err != nil {
		t.Fatal(err)
	}
	if err := tele.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	sends := find(t, r.Spans(), "send out")
	if len(sends) != 2 || sends[0].GetStatus().GetCode() != trace.Status_STATUS_CODE_ERROR || sends[1].GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR {
		t.Errorf("%d tries: %v", len(sends), sends)
	}
}

// TestReceived: the receiver gets every metric of docs/metrics.md under its OTLP name and unit, and logs with their trace.
func TestReceived(t *testing.T) {
	tele, r := sending(t, nil)
	work(t, tele)
	var local bytes.Buffer
	logger := slog.New(slog.NewMultiHandler(WithTrace(slog.NewJSONHandler(&local, nil)), AtLeast(slog.LevelInfo, tele.LogHandler())))
	ctx, span := tele.tracer.Start(t.Context(), "test")
	logger.InfoContext(ctx, "inside", "sink", "out")
	logger.DebugContext(ctx, "too much")
	span.End()
	if err := tele.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	got := r.Metrics()
	for _, row := range documented(t) {
		m, ok := got[row[1]]
		if !ok {
			t.Errorf("%s was not received", row[1])
			continue
		}
		if m.GetUnit() != row[3] {
			t.Errorf("%s has the unit %q, want %q", row[1], m.GetUnit(), row[3])
		}
		delete(got, row[1])
	}
	for name := range got {
		t.Errorf("%s is not documented", name)
	}
	logs := r.Logs()
	if len(logs) != 1 || logs[0].GetBody().GetStringValue() != "inside" || otlptest.Attribute(logs[0].GetAttributes(), "sink") != "out" {
		t.Fatalf("logs: %v", logs)
	}
	id := span.SpanContext().TraceID().String()
	if hex.EncodeToString(logs[0].GetTraceId()) != id || !strings.Contains(local.String(), `"trace_id":"`+id+`"`) {
		t.Errorf("the log is of trace %x, the line is %s; want %s", logs[0].GetTraceId(), local.String(), id)
	}
}
