// Package otlptest receives what the program sends by OTLP, so that tests see what a collector would.
package otlptest

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"

	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// maxBody is the largest request that is read, 16 MiB.
const maxBody = 16 << 20

// Receiver is an OTLP/HTTP receiver (protobuf, plain or gzip) for all three signals.
type Receiver struct {
	server *httptest.Server

	mu      sync.Mutex
	spans   []*trace.Span
	metrics map[string]*metrics.Metric
	logs    []*logs.LogRecord
	about   map[string]string
	faults  []error
}

// Start listens on loopback.
func Start() *Receiver {
	r := &Receiver{metrics: map[string]*metrics.Metric{}, about: map[string]string{}}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/traces", r.handle(new(collectortrace.ExportTraceServiceRequest), new(collectortrace.ExportTraceServiceResponse), r.takeSpans))
	mux.Handle("POST /v1/metrics", r.handle(new(collectormetrics.ExportMetricsServiceRequest), new(collectormetrics.ExportMetricsServiceResponse), r.takeMetrics))
	mux.Handle("POST /v1/logs", r.handle(new(collectorlogs.ExportLogsServiceRequest), new(collectorlogs.ExportLogsServiceResponse), r.takeLogs))
	r.server = httptest.NewServer(mux)
	return r
}

// URL is the endpoint for OTEL_EXPORTER_OTLP_ENDPOINT.
func (r *Receiver) URL() string { return r.server.URL }

// Close ends the listener.
func (r *Receiver) Close() { r.server.Close() }

// Err is what could not be read.
func (r *Receiver) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.faults...)
}

// Spans received so far.
func (r *Receiver) Spans() []*trace.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*trace.Span(nil), r.spans...)
}

// Metrics are the last ones of each name.
func (r *Receiver) Metrics() map[string]*metrics.Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]*metrics.Metric, len(r.metrics))
	for name, m := range r.metrics {
		all[name] = m
	}
	return all
}

// Logs received so far.
func (r *Receiver) Logs() []*logs.LogRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*logs.LogRecord(nil), r.logs...)
}

// About is the resource that came with them.
func (r *Receiver) About() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]string, len(r.about))
	for k, v := range r.about {
		all[k] = v
	}
	return all
}

// Attribute is the text of an attribute, empty where there is none.
func Attribute(attrs []*common.KeyValue, key string) string {
	for _, a := range attrs {
		if a.GetKey() == key {
			switch v := a.GetValue().GetValue().(type) {
			case *common.AnyValue_StringValue:
				return v.StringValue
			case *common.AnyValue_IntValue:
				return fmt.Sprint(v.IntValue)
			}
		}
	}
	return ""
}

func (r *Receiver) handle(request, response proto.Message, take func(proto.Message)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		message := proto.Clone(request)
		if err := read(req, message); err != nil {
			r.mu.Lock()
			r.faults = append(r.faults, fmt.Errorf("%s: %w", req.URL.Path, err))
			r.mu.Unlock()
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		take(message)
		r.mu.Unlock()
		answer, err := proto.Marshal(response)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(answer) // the sender has gone
	})
}

func read(req *http.Request, into proto.Message) error {
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = z
	}
	data, err := io.ReadAll(io.LimitReader(body, maxBody))
	if err != nil {
		return err
	}
	return proto.Unmarshal(data, into)
}

func (r *Receiver) takeSpans(m proto.Message) {
	for _, of := range m.(*collectortrace.ExportTraceServiceRequest).GetResourceSpans() {
		r.resource(of.GetResource().GetAttributes())
		for _, scope := range of.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
}

func (r *Receiver) takeMetrics(m proto.Message) {
	for _, of := range m.(*collectormetrics.ExportMetricsServiceRequest).GetResourceMetrics() {
		r.resource(of.GetResource().GetAttributes())
		for _, scope := range of.GetScopeMetrics() {
			for _, metric := range scope.GetMetrics() {
				r.metrics[metric.GetName()] = metric
			}
		}
	}
}

func (r *Receiver) takeLogs(m proto.Message) {
	for _, of := range m.(*collectorlogs.ExportLogsServiceRequest).GetResourceLogs() {
		r.resource(of.GetResource().GetAttributes())
		for _, scope := range of.GetScopeLogs() {
			r.logs = append(r.logs, scope.GetLogRecords()...)
		}
	}
}

func (r *Receiver) resource(attrs []*common.KeyValue) {
	for _, a := range attrs {
		r.about[a.GetKey()] = a.GetValue().GetStringValue()
	}
}
