package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/spawnwatch/spawnwatch/internal/otlptest"
)

var adminAddress = regexp.MustCompile(`"admin":"([0-9.:]+)"`)

// ask asks the admin listener of a running stage.
func (p *stageProcess) ask(t *testing.T, path string) (code int, body string) {
	t.Helper()
	eventually(t, "an admin listener", func() bool { return adminAddress.MatchString(p.log()) }, p.log)
	resp, err := http.Get("http://" + adminAddress.FindStringSubmatch(p.log())[1] + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestRunTraced: a trace goes from a producer's header through our spans to the header of the alert, and a collector gets
// spans, metrics and logs.
func TestRunTraced(t *testing.T) {
	r := otlptest.Start()
	t.Cleanup(r.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL())
	t.Setenv("OTEL_SERVICE_NAME", "watch-1")
	b := newBroker(t)
	p := startStage(t, b.config())
	const producer = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	msg := &nats.Msg{Subject: "audit.test", Data: another(creation(t), "traced"), Header: nats.Header{"traceparent": {producer}, "tracestate": {"vendor=7"}}}
	if _, err := b.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an alert", func() bool { return b.count(t) == 1 }, p.log)
	if code := p.stop(t, syscall.SIGTERM, 20*time.Second); code != exitOK {
		t.Errorf("exit %d:\n%s", code, p.log())
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	spans := map[string]*trace.Span{}
	for _, s := range r.Spans() {
		if hex.EncodeToString(s.GetTraceId()) == "0af7651916cd43dd8448eb211c80319c" {
			spans[s.GetName()] = s
		}
	}
	process, match, send := spans["process audit.test"], spans["match"], spans["send siem"]
	if process == nil || match == nil || send == nil {
		t.Fatalf("of the producer's trace there are only %v", spans)
	}
	if got := hex.EncodeToString(process.GetParentSpanId()); got != "b7ad6b7169203331" {
		t.Errorf("the parent of the batch is %s, want the producer's span", got)
	}
	for key, want := range map[string]string{"messaging.system": "nats", "messaging.consumer.group.name": "stage"} {
		if got := otlptest.Attribute(process.GetAttributes(), key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	c, err := b.alerts.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("00-0af7651916cd43dd8448eb211c80319c-%x-01", match.GetSpanId()); got.Headers().Get("traceparent") != want || got.Headers().Get("tracestate") != "vendor=7" {
		t.Errorf("the alert's headers are %v, want the span of the match, %s", got.Headers(), want)
	}
	for _, name := range []string{"spawnwatch.events", "spawnwatch.alerts", "spawnwatch.delivery.delay", "spawnwatch.commits", "spawnwatch.build.info"} {
		if _, ok := r.Metrics()[name]; !ok {
			t.Errorf("the collector has no %s", name)
		}
	}
	var said []string
	for _, l := range r.Logs() {
		said = append(said, l.GetBody().GetStringValue())
	}
	if !slices.Contains(said, "started") || !slices.Contains(said, "stopped") {
		t.Errorf("the collector has the logs %q", said)
	}
	if r.About()["service.name"] != "watch-1" {
		t.Errorf("the resource is %v", r.About())
	}
}

// TestRunAdmin asks a stage that works and one whose sink is away.
func TestRunAdmin(t *testing.T) {
	b := newBroker(t)
	p := startStage(t, b.config())
	if _, err := b.js.Publish(t.Context(), "audit.test", another(creation(t), "one")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an alert", func() bool { return b.count(t) == 1 }, p.log)
	eventually(t, "readiness", func() bool { code, _ := p.ask(t, "/readyz"); return code == http.StatusOK }, p.log)
	if code, body := p.ask(t, "/livez"); code != http.StatusOK || body != "alive\n" {
		t.Errorf("livez: %d %q", code, body)
	}
	eventually(t, "the figures", func() bool {
		_, body := p.ask(t, "/metrics")
		return strings.Contains(body, `spawnwatch_alerts_total{outcome="created",`) && strings.Contains(body, `spawnwatch_commits_total{source="audit"} 1`) &&
			strings.Contains(body, `spawnwatch_source_lag_messages{partition="-1",source="audit",topic="AUDIT"}`) &&
			strings.Contains(body, "process_cpu_seconds_total") && strings.Contains(body, "go_memstats_heap_inuse_bytes")
	}, p.log)
	code, body := p.ask(t, "/status")
	var s statusReport
	if err := json.Unmarshal([]byte(body), &s); err != nil || code != http.StatusOK {
		t.Fatalf("%d %v: %s", code, err, body)
	}
	if !s.Ready || len(s.Sources) != 1 || !s.Sources[0].Up || s.Sources[0].Kind != "nats" || s.Rules.Loaded == 0 || len(s.Sinks) != 2 || !s.Sinks[0].Usable ||
		s.Sinks[0].Published != 1 || s.Processed.Alerts != 1 || s.LogLevel != "INFO" {
		t.Errorf("status: %s", body)
	}
	for path, want := range map[string]int{"/debug/pprof/": http.StatusNotFound, "/": http.StatusNotFound, "/other": http.StatusNotFound} {
		if code, _ := p.ask(t, path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	resp, err := http.Post("http://"+adminAddress.FindStringSubmatch(p.log())[1]+"/readyz", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

// TestRunNotReady: a sink that cannot be reached shows before the first alert.
func TestRunNotReady(t *testing.T) {
	b := newBroker(t)
	config := strings.Replace(b.config(), fmt.Sprintf("nats: {url: %q, subject: \"k8s.alerts", b.url), `nats: {url: "nats://127.0.0.1:1", subject: "k8s.alerts`, 1)
	config = strings.Replace(config, `admin: {listen: "127.0.0.1:0"}`, `admin: {listen: "127.0.0.1:0", pprof: true}`, 1)
	p := startStage(t, config)
	eventually(t, "a refusal", func() bool {
		code, body := p.ask(t, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, `sink "siem" cannot be used`)
	}, p.log)
	if code, _ := p.ask(t, "/livez"); code != http.StatusOK {
		t.Errorf("it is not alive: %d", code)
	}
	if code, body := p.ask(t, "/debug/pprof/goroutine?debug=1"); code != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("pprof: %d", code)
	}
	p.stop(t, syscall.SIGTERM, 20*time.Second)
}

// TestRunPortTaken: whoever starts two on one host is told so.
func TestRunPortTaken(t *testing.T) {
	b := newBroker(t)
	first := startStage(t, b.config())
	first.ask(t, "/livez")
	second := startStage(t, strings.Replace(b.config(), "127.0.0.1:0", adminAddress.FindStringSubmatch(first.log())[1], 1))
	if code := second.stop(t, syscall.Signal(0), 10*time.Second); code != exitBad || !strings.Contains(second.log(), "admin.listen") {
		t.Errorf("exit %d: %s", code, second.log())
	}
}

// TestRunWrongTelemetry: a variable that asks for what there is not ends the start.
func TestRunWrongTelemetry(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "console")
	b := newBroker(t)
	p := startStage(t, b.config())
	if code := p.stop(t, os.Signal(syscall.Signal(0)), 10*time.Second); code != exitConfig || !strings.Contains(p.log(), "OTEL_TRACES_EXPORTER: expected otlp or none") {
		t.Errorf("exit %d: %s", code, p.log())
	}
}
