package telemetry

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memorySink keeps what it is given, and fails as long as down is set.
type memorySink struct {
	mu   sync.Mutex
	msgs []sinks.Message
	down error
}

func (s *memorySink) Publish(_ context.Context, msgs []sinks.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.down; err != nil {
		s.down = nil
		return err
	}
	for _, m := range msgs {
		m.Value = bytes.Clone(m.Value)
		s.msgs = append(s.msgs, m)
	}
	return nil
}

func (s *memorySink) Close(context.Context) error { return nil }

func (s *memorySink) header(n int, key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.msgs[n].Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return ""
}

const ruleID = "11111111-1111-4111-8111-111111111111"

const createdRule = `
title: Created
id: ` + ruleID + `
level: medium
logsource: {product: kubernetes, service: audit}
detection:
  s: {outcome: [created, unknown]}
  condition: s
`

// newProcessor is a processor with one rule and a sink in memory, watched by meter, which may be nil.
func newProcessor(t testing.TB, meter *Telemetry) (*processor.Processor, *memorySink, *memorySink) {
	t.Helper()
	model, err := audit.NewModel(audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	docs, err := rules.Parse("test.yml", []byte(createdRule))
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Compile(docs, processor.ComputedFields(model), processor.RuleOptions())
	if err != nil {
		t.Fatal(err)
	}
	out, dead := new(memorySink), new(memorySink)
	cfg := processor.Config{
		Rules: set, Model: model, Workers: 2, RetryMin: time.Millisecond,
		Routes:     []processor.Route{{Name: "out", Sink: out, Format: "native", Attributes: "ce_"}},
		DeadLetter: processor.DeadLetter{Sink: dead},
	}
	if meter != nil {
		cfg.Meter = meter
	}
	p, err := processor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if meter != nil {
		meter.Workers(p.Workers)
		meter.RulesLoaded(len(set.Rules()))
	}
	return p, out, dead
}

func testOptions(env map[string]string) Options {
	return Options{
		Version: "v1", Revision: "abc", GoVersion: "go1",
		Sources: []SourceInfo{{Name: "audit", Kind: "kafka", Group: "g", Faults: []string{"fetch_failed"}}, {Name: "hook", Kind: "webhook"}},
		Sinks:   []string{"out", processor.DeadLetterName},
		LookUp: func(name string) (string, bool) {
			v, ok := env[name]
			return v, ok
		},
	}
}

func start(t testing.TB, o Options) *Telemetry {
	t.Helper()
	tele, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tele.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tele
}

func event(n int) []byte {
	return fmt.Appendf(nil, `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-%d","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods","verb":"create","user":{"username":"alice"},"sourceIPs":["10.0.0.1"],"objectRef":{"resource":"pods","namespace":"shop","name":"p-%d","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","stageTimestamp":"2026-01-01T00:00:00.1Z"}`, n, n)
}

func batchOf(values ...[]byte) *sources.Batch {
	b := &sources.Batch{Origin: sources.Origin{Source: "audit", Topic: "k8s-audit", Partition: 3}}
	for i, v := range values {
		b.Records = append(b.Records, sources.Record{Value: v, Offset: int64(i), Time: time.Now().Add(-time.Minute)})
	}
	return b
}

// work takes one batch of each sort through the processor and tells everything else once.
func work(t testing.TB, tele *Telemetry) {
	t.Helper()
	p, out, _ := newProcessor(t, tele)
	src := tele.Source("audit")
	src.Running(true, nil)
	src.Running(false, errors.New("gone"))
	src.Running(true, nil)
	src.Joined()
	src.Lag("k8s-audit", 3, 7)
	src.Lag("k8s-audit", 4, 0)
	src.Lag("k8s-audit", 5, 9)
	src.Lag("k8s-audit", 5, -1)
	src.Committed(2)
	src.Fault("fetch_failed", 1)
	src.PollFault("redelivered", func() int64 { return 5 })
	tele.Source("hook").PollLag(func() (string, int64, bool) { return "STREAM", 0, true })
	out.down = errors.New("down")
	quiet := bytes.Replace(event(0), []byte(`"create"`), []byte(`"get"`), 1)
	if err := p.Handler(processor.ForeignDeadLetter)(t.Context(), batchOf(event(1), event(2), event(1), quiet, []byte("{"))); err != nil {
		t.Fatal(err)
	}
	tele.Reloaded(nil)
	tele.Reloaded(errors.New("bad"))
	tele.EnricherFailed("budget")
}

func scrape(t testing.TB, tele *Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	tele.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// TestFigures holds every counter to what was done.
func TestFigures(t *testing.T) {
	tele := start(t, testOptions(nil))
	if before := scrape(t, tele); !strings.Contains(before, `spawnwatch_events_total{source="hook"} 0`) ||
		!strings.Contains(before, `spawnwatch_reloads_total{result="failed"} 0`) || !strings.Contains(before, `spawnwatch_publish_retries_total{sink="dead_letter"} 0`) ||
		!strings.Contains(before, `spawnwatch_source_faults_total{fault="fetch_failed",source="audit"} 0`) {
		t.Errorf("counters do not begin at 0:\n%s", before)
	}
	work(t, tele)
	got := scrape(t, tele)
	for _, line := range []string{
		`spawnwatch_records_total{source="audit"} 5`,
		`spawnwatch_events_total{source="audit"} 4`,
		`spawnwatch_events_total{source="hook"} 0`,
		`spawnwatch_events_matched_total{source="audit"} 3`,
		`spawnwatch_events_rejected_total{source="audit"} 1`,
		`spawnwatch_records_bad_total{reason="malformed",source="audit"} 1`,
		`spawnwatch_records_ignored_total{source="audit"} 0`,
		`spawnwatch_rule_matches_total{rule="` + ruleID + `"} 3`,
		`spawnwatch_alerts_total{outcome="created",severity="medium"} 2`,
		`spawnwatch_alerts_repeated_total 1`,
		`spawnwatch_alerts_refused_total{sink="out"} 0`,
		`spawnwatch_dead_letters_total{reason="malformed"} 1`,
		`spawnwatch_enrichment_failures_total{enricher="budget"} 1`,
		`spawnwatch_publish_retries_total{sink="out"} 1`,
		`spawnwatch_publish_failures_total{sink="out"} 1`,
		`spawnwatch_publish_duration_seconds_count{sink="out"} 2`,
		`spawnwatch_batch_duration_seconds_count{stage="compute"} 1`,
		`spawnwatch_batch_duration_seconds_count{stage="total"} 1`,
		`spawnwatch_delivery_delay_seconds_count 2`,
		`spawnwatch_inflight_bytes 0`,
		`spawnwatch_workers 2`,
		`spawnwatch_workers_busy 0`,
		`spawnwatch_source_up{source="audit"} 1`,
		`spawnwatch_source_up{source="hook"} 0`,
		`spawnwatch_source_restarts_total{source="audit"} 1`,
		`spawnwatch_source_lag_messages{partition="3",source="audit",topic="k8s-audit"} 7`,
		`spawnwatch_source_lag_seconds{partition="4",source="audit",topic="k8s-audit"} 0`,
		`spawnwatch_source_lag_messages{partition="-1",source="hook",topic="STREAM"} 0`,
		`spawnwatch_commits_total{source="audit"} 2`,
		`spawnwatch_source_faults_total{fault="redelivered",source="audit"} 5`,
		`spawnwatch_rebalances_total{source="audit"} 1`,
		`spawnwatch_reloads_total{result="ok"} 1`,
		`spawnwatch_reloads_total{result="failed"} 1`,
		`spawnwatch_reload_last_success 0`,
		`spawnwatch_rules_loaded 1`,
		`spawnwatch_build_info{goversion="go1",revision="abc",version="v1"} 1`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if strings.Contains(got, `partition="5"`) {
		t.Error("a partition that was given up is still there")
	}
	if m := regexp.MustCompile(`spawnwatch_source_lag_seconds\{partition="3".*\} ([0-9.]+)`).FindStringSubmatch(got); m == nil || !strings.HasPrefix(m[1], "6") {
		t.Errorf("a record of a minute ago makes a lag of %v", m)
	}
	if t.Failed() {
		t.Log(got)
	}
}

// documented reads the table of docs/metrics.md: name, OTLP name, type, unit, labels.
func documented(t *testing.T) [][]string {
	t.Helper()
	f, err := os.Open("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var rows [][]string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "| `spawnwatch_") {
			continue
		}
		cells := strings.Split(lines.Text(), "|")
		row := make([]string, 5)
		for i := range row {
			row[i] = strings.TrimSpace(strings.ReplaceAll(cells[i+1], "`", ""))
		}
		rows = append(rows, row)
	}
	return rows
}

// TestDocumented: docs/metrics.md and the program name the same metrics, with their types and labels.
func TestDocumented(t *testing.T) {
	tele := start(t, testOptions(nil))
	work(t, tele)
	families, err := tele.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got, want [][]string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "spawnwatch_") {
			continue
		}
		labels := []string{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(labels, l.GetName()) {
					labels = append(labels, l.GetName())
				}
			}
		}
		slices.Sort(labels)
		got = append(got, []string{f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", ")})
	}
	for _, row := range documented(t) {
		labels := strings.Split(row[4], ", ")
		slices.Sort(labels)
		want = append(want, []string{row[0], row[2], strings.Join(labels, ", ")})
	}
	byName := func(a, b []string) int { return strings.Compare(a[0], b[0]) }
	slices.SortFunc(want, byName)
	slices.SortFunc(got, byName)
	if len(want) < 30 {
		t.Errorf("read %d rows of docs/metrics.md", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/metrics.md (-) and the program (+) differ:\n%s", diff)
	}
}

// TestDocumentedBuckets: the document names the buckets that are used.
func TestDocumentedBuckets(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	flat := strings.Join(strings.Fields(string(text)), " ")
	for _, buckets := range [][]float64{workBuckets(), delayBuckets()} {
		var words []string
		for _, b := range buckets {
			words = append(words, fmt.Sprint(b))
		}
		if list := strings.Join(words, ", "); !strings.Contains(flat, list) {
			t.Errorf("docs/metrics.md does not name the buckets %s", list)
		}
	}
}

// TestPromtool asks Prometheus' own lint.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian: apt-get install prometheus): the names are not linted")
	}
	tele := start(t, testOptions(nil))
	work(t, tele)
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t, tele))
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestDestinations(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		want destinations
		err  string
	}{
		{"nothing is said", nil, destinations{}, ""},
		{"an endpoint", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, destinations{metrics: true, traces: true, logs: true}, ""},
		{"an endpoint for traces", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, destinations{traces: true}, ""},
		{"all but logs", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_LOGS_EXPORTER": "none"}, destinations{metrics: true, traces: true}, ""},
		{"otlp at its default place", map[string]string{"OTEL_METRICS_EXPORTER": "otlp"}, destinations{metrics: true}, ""},
		{"to be read", map[string]string{"OTEL_METRICS_EXPORTER": "prometheus"}, destinations{}, ""},
		{"switched off", map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, destinations{}, ""},
		{"the console", map[string]string{"OTEL_TRACES_EXPORTER": "console"}, destinations{}, `OTEL_TRACES_EXPORTER: expected otlp or none, got "console"`},
		{"traces to prometheus", map[string]string{"OTEL_TRACES_EXPORTER": "prometheus"}, destinations{}, "OTEL_TRACES_EXPORTER: expected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := destinationsOf(testOptions(c.env).LookUp)
			if got != c.want && c.err == "" || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %+v, %v; want %+v, %q", got, err, c.want, c.err)
			}
			if c.err != "" {
				if _, err := Start(t.Context(), testOptions(c.env)); err == nil {
					t.Error("it starts nevertheless")
				}
			}
		})
	}
}

// TestStateOfSink: a refused message says nothing against its sink, a failure does until the next success.
func TestStateOfSink(t *testing.T) {
	tele := start(t, testOptions(nil))
	s := tele.Sink("out")
	try := func(err error) {
		_, ended := tele.Try(t.Context(), processor.Try{Sink: "out", Messages: 2, Number: 1})
		ended(err)
	}
	if !s.State().Usable {
		t.Error("a sink that was not tried yet counts as unusable")
	}
	try(sinks.AllFailed(2, false, errors.New("down")))
	if state := s.State(); state.Usable || state.Err == nil || state.At.IsZero() {
		t.Errorf("after a failure: %+v", state)
	}
	try(&sinks.PublishError{Failures: []sinks.Failure{{Index: 1, Err: errors.New("too large"), Permanent: true}}})
	if state := s.State(); !state.Usable || !strings.Contains(state.Err.Error(), "too large") {
		t.Errorf("after a refusal: %+v", state)
	}
	try(errors.New("down again"))
	try(nil)
	if state := s.State(); !state.Usable || state.Err == nil || s.Published() != 3 {
		t.Errorf("after a success: %+v, %d published", state, s.Published())
	}
	if tele.Sink("other") != nil {
		t.Error("a sink that is not configured was found")
	}
	if _, ended := tele.Try(t.Context(), processor.Try{Sink: "other"}); ended == nil {
		t.Error("nobody to tell")
	}
}

// TestComplaints: exporters may complain every ten seconds.
func TestComplaints(t *testing.T) {
	var log bytes.Buffer
	o := testOptions(nil)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	tele := start(t, o)
	for range 5 {
		tele.complain(errors.New("nobody listens"))
	}
	if n := strings.Count(log.String(), "nobody listens"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}
