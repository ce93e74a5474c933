package processor

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sources"
)

// memorySink keeps copies of what is published, and fails as it is told to.
type memorySink struct {
	mu   sync.Mutex
	msgs []sinks.Message
	// fail decides over a call before anything is kept; nil: nothing fails.
	fail func(call int, msgs []sinks.Message) error
	call int
}

func (s *memorySink) Publish(_ context.Context, msgs []sinks.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call++
	var err error
	if s.fail != nil {
		err = s.fail(s.call, msgs)
	}
	failed := map[int]bool{}
	if p := (*sinks.PublishError)(nil); errors.As(err, &p) {
		for _, f := range p.Failures {
			failed[f.Index] = true
		}
	} else if err != nil {
		return err
	}
	for i := range msgs {
		if !failed[i] {
			m := msgs[i]
			m.Value = bytes.Clone(m.Value)
			s.msgs = append(s.msgs, m)
		}
	}
	return err
}

func (s *memorySink) Close(context.Context) error { return nil }

func (s *memorySink) all() []sinks.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sinks.Message(nil), s.msgs...)
}

const createdRule = `
title: Created
id: 11111111-1111-4111-8111-111111111111
level: medium
logsource: {product: kubernetes, service: audit}
detection:
  s: {outcome: [created, unknown]}
  condition: s
`

func testModel(t testing.TB) *audit.Model {
	t.Helper()
	m, err := audit.NewModel(audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func compile(t testing.TB, m *audit.Model, text string) *rules.Set {
	t.Helper()
	docs, err := rules.Parse("test.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Compile(docs, ComputedFields(m), RuleOptions())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func newTest(t testing.TB, change func(*Config)) (*Processor, *memorySink, *memorySink) {
	t.Helper()
	out, dead := &memorySink{}, &memorySink{}
	m := testModel(t)
	cfg := Config{
		Rules: compile(t, m, createdRule), Model: m, Workers: 2,
		Routes:     []Route{{Name: "out", Sink: out, Format: "native"}},
		DeadLetter: DeadLetter{Sink: dead, Form: DeadLetterLine},
	}
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p, out, dead
}

// event is a creation; n tells them apart.
func event(n int) []byte {
	return fmt.Appendf(nil, `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-%d","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods","verb":"create","user":{"username":"alice"},"sourceIPs":["10.0.0.1"],"objectRef":{"resource":"pods","namespace":"shop","name":"p-%d","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","stageTimestamp":"2026-01-01T00:00:00.1Z"}`, n, n)
}

func batch(values ...[]byte) *sources.Batch {
	b := &sources.Batch{Origin: sources.Origin{Source: "test", Topic: "t", Partition: 3}}
	for i, v := range values {
		b.Records = append(b.Records, sources.Record{Value: v, Offset: int64(100 + i)})
	}
	return b
}

func names(t *testing.T, msgs []sinks.Message) (all []string) {
	t.Helper()
	for _, m := range msgs {
		var a struct {
			Workload struct{ Name string }
		}
		if err := json.Unmarshal(m.Value, &a); err != nil {
			t.Fatal(err)
		}
		all = append(all, a.Workload.Name)
	}
	return all
}

func TestHandlePublishesBeforeItReturns(t *testing.T) {
	p, out, dead := newTest(t, nil)
	if err := p.Handler("")(t.Context(), batch(event(1), []byte("garbage"), event(2), nil)); err != nil {
		t.Fatal(err)
	}
	if got := names(t, out.all()); fmt.Sprint(got) != "[p-1 p-2]" {
		t.Errorf("alerts %v", got)
	}
	letters := dead.all()
	if len(letters) != 1 || !bytes.Contains(letters[0].Value, []byte(`"offset":101`)) {
		t.Errorf("dead letters %q", letters)
	}
	s := p.Stats()
	if s.Records != 3 || s.Events != 2 || s.Alerts != 2 || s.Bad != 1 || s.Created != 2 {
		t.Errorf("stats %+v", s)
	}
	if m := out.all()[0]; m.Labels.Namespace != "shop" || m.Labels.Kind != "Pod" || m.ID == "" {
		t.Errorf("labels %+v", m.Labels)
	}
}

func TestRepeatsAreLeftOut(t *testing.T) {
	p, out, _ := newTest(t, nil)
	h := p.Handler("")
	for range 3 {
		if err := h(t.Context(), batch(event(1), event(1), event(2))); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(out.all()); n != 2 {
		t.Errorf("%d alerts, want 2", n)
	}
	if s := p.Stats(); s.Alerts != 2 || s.Repeats != 7 {
		t.Errorf("stats %+v", s)
	}
}

// TestRepeatWindowIsBounded: what was published long ago is forgotten, and alerts again.
func TestRepeatWindowIsBounded(t *testing.T) {
	p, out, _ := newTest(t, func(c *Config) { c.RepeatWindow = 4 })
	h := p.Handler("")
	for _, n := range []int{1, 2, 3, 4, 5, 6, 1} {
		if err := h(t.Context(), batch(event(n))); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(out.all()); n != 7 {
		t.Errorf("%d alerts, want 7", n)
	}
}

// TestRetry: only what failed is sent again, until it is durable; an id is remembered only then.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, out, _ := newTest(t, nil)
		out.fail = func(call int, msgs []sinks.Message) error {
			switch call {
			case 1:
				return errors.New("no connection")
			case 2:
				return &sinks.PublishError{Failures: []sinks.Failure{{Index: 1, Err: errors.New("slow")}}}
			}
			if len(msgs) != 1 {
				t.Errorf("call %d sends %d messages, want the one that failed", call, len(msgs))
			}
			return nil
		}
		if err := p.Handler("")(t.Context(), batch(event(1), event(2), event(3))); err != nil {
			t.Fatal(err)
		}
		if got := names(t, out.all()); fmt.Sprint(got) != "[p-1 p-3 p-2]" {
			t.Errorf("published %v", got)
		}
		if s := p.Stats(); s.Retries != 2 || s.Alerts != 3 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestEndOfContext: a sink that is down blocks, and when the context ends the batch is not acknowledged.
func TestEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, out, _ := newTest(t, nil)
		out.fail = func(int, []sinks.Message) error { return errors.New("down") }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		err := p.Handler("")(ctx, batch(event(1)))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if s := p.Stats(); s.Alerts != 0 {
			t.Errorf("stats %+v", s)
		}
		out.fail = nil
		if err := p.Handler("")(t.Context(), batch(event(1))); err != nil || len(out.all()) != 1 {
			t.Errorf("the same batch again: %v, %d alerts", err, len(out.all()))
		}
	})
}

// TestRefusedForGood: a message that a sink never takes goes to the dead letter, and the batch is acknowledged.
func TestRefusedForGood(t *testing.T) {
	p, out, dead := newTest(t, nil)
	out.fail = func(call int, _ []sinks.Message) error {
		if call == 1 {
			return &sinks.PublishError{Failures: []sinks.Failure{{Index: 0, Err: errors.New("larger than the limit"), Permanent: true}}}
		}
		return nil
	}
	if err := p.Handler("")(t.Context(), batch(event(1), event(2))); err != nil {
		t.Fatal(err)
	}
	if got := names(t, out.all()); fmt.Sprint(got) != "[p-2]" {
		t.Errorf("published %v", got)
	}
	letters := dead.all()
	if len(letters) != 1 || !bytes.Contains(letters[0].Value, []byte(`"sink_refused"`)) || !bytes.Contains(letters[0].Value, []byte("larger than the limit")) {
		t.Errorf("dead letters %q", letters)
	}
}

// TestDeadLetterIsCut: what the dead-letter sink refuses whole is cut until it fits.
func TestDeadLetterIsCut(t *testing.T) {
	p, _, dead := newTest(t, func(c *Config) { c.DeadLetter.Form = DeadLetterHeaders })
	dead.fail = func(_ int, msgs []sinks.Message) error {
		if len(msgs[0].Value) > sources.OversizedKeep {
			return sinks.AllFailed(len(msgs), true, errors.New("too large"))
		}
		return nil
	}
	if err := p.Handler("")(t.Context(), batch(bytes.Repeat([]byte("x"), 1<<20))); err != nil {
		t.Fatal(err)
	}
	letters := dead.all()
	if len(letters) != 1 || len(letters[0].Value) != sources.OversizedKeep {
		t.Fatalf("%d dead letters", len(letters))
	}
	found := false
	for _, h := range letters[0].Headers {
		found = found || strings.Contains(h.Key, "sha256")
	}
	if !found {
		t.Errorf("no digest in the headers %v", letters[0].Headers)
	}
}

func TestOversizedRecord(t *testing.T) {
	p, _, dead := newTest(t, nil)
	b := batch([]byte("the first bytes"))
	b.Records[0].Oversized = &sources.Oversized{Size: 1 << 30, SHA256: [32]byte{1}}
	if err := p.Handler("")(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if l := dead.all(); len(l) != 1 || !bytes.Contains(l[0].Value, []byte(`"too_large"`)) || !bytes.Contains(l[0].Value, []byte(`"size":1073741824`)) {
		t.Errorf("dead letters %q", l)
	}
}

// TestAfter: batches are computed at once, published in the order that the source asks for, and hold no worker meanwhile.
func TestAfter(t *testing.T) {
	p, out, _ := newTest(t, func(c *Config) { c.Workers = 1 })
	h := p.Handler("")
	turn := make(chan struct{})
	var wg sync.WaitGroup
	second := batch(event(2))
	second.After = turn
	wg.Go(func() {
		if err := h(t.Context(), second); err != nil {
			t.Error(err)
		}
	})
	for p.Stats().Events == 0 {
		// The second batch has been computed by the only worker, and waits.
		time.Sleep(time.Millisecond)
	}
	if err := h(t.Context(), batch(event(1))); err != nil {
		t.Fatal(err)
	}
	close(turn)
	wg.Wait()
	if got := names(t, out.all()); fmt.Sprint(got) != "[p-1 p-2]" {
		t.Errorf("published %v", got)
	}
}

// TestLargeBatch is shared among the workers and comes out in its order.
func TestLargeBatch(t *testing.T) {
	p, out, _ := newTest(t, nil)
	var values [][]byte
	for i := range 3000 {
		values = append(values, event(i))
	}
	if len(split(batch(values...).Records)) < 3 {
		t.Fatal("the batch is too small for this test")
	}
	if err := p.Handler("")(t.Context(), batch(values...)); err != nil {
		t.Fatal(err)
	}
	for i, name := range names(t, out.all()) {
		if want := fmt.Sprintf("p-%d", i); name != want {
			t.Fatalf("alert %d is about %s", i, name)
		}
	}
	if n := len(out.all()); n != 3000 {
		t.Errorf("%d alerts", n)
	}
}

// TestRoutes: every route gets its format and its severities; the acknowledgement waits for all.
func TestRoutes(t *testing.T) {
	quiet, headers := &memorySink{}, &memorySink{}
	p, out, _ := newTest(t, func(c *Config) {
		c.Routes = append(c.Routes, Route{Name: "quiet", Sink: quiet, Format: "native", MinSeverity: alert.Critical},
			Route{Name: "ocsf", Sink: headers, Format: "ocsf", Attributes: "ce_"})
	})
	if err := p.Handler("")(t.Context(), batch(event(1))); err != nil {
		t.Fatal(err)
	}
	if len(out.all()) != 1 || len(quiet.all()) != 0 || len(headers.all()) != 1 {
		t.Fatalf("%d, %d, %d messages", len(out.all()), len(quiet.all()), len(headers.all()))
	}
	m := headers.all()[0]
	if !bytes.Contains(m.Value, []byte(`"class_uid":2004`)) {
		t.Errorf("not OCSF: %s", m.Value)
	}
	keys := map[string]string{}
	for _, h := range m.Headers {
		keys[h.Key] = h.Value
	}
	if keys["content-type"] != "application/json" || keys["ce_id"] != m.ID || keys["spawnwatch-severity"] != "medium" {
		t.Errorf("headers %v", keys)
	}
	if len(out.all()[0].Headers) != 0 {
		t.Errorf("headers for a transport without: %v", out.all()[0].Headers)
	}
}

func TestForeign(t *testing.T) {
	foreign := []byte(`{"hello":"world"}`)
	p, _, dead := newTest(t, nil)
	for f, want := range map[Foreign]int{ForeignCount: 0, ForeignDeadLetter: 1} {
		dead.msgs = nil
		if err := p.Handler(f)(t.Context(), batch(foreign)); err != nil {
			t.Fatal(err)
		}
		if n := len(dead.all()); n != want {
			t.Errorf("%s: %d dead letters, want %d", f, n, want)
		}
	}
}

// panicking is an enricher with a fault.
type panicking struct{}

func (panicking) Enrich(v *audit.View, _ *alert.Alert) {
	if v.Workload.Name == "p-2" {
		panic("a fault")
	}
}

// TestPanic: a fault of the program costs the record that met it a dead letter, and the stream goes on.
func TestPanic(t *testing.T) {
	p, out, dead := newTest(t, func(c *Config) { c.Enricher = panicking{} })
	if err := p.Handler("")(t.Context(), batch(event(1), event(2), event(3))); err != nil {
		t.Fatal(err)
	}
	if got := names(t, out.all()); fmt.Sprint(got) != "[p-1 p-3]" {
		t.Errorf("published %v", got)
	}
	if l := dead.all(); len(l) != 1 || !bytes.Contains(l[0].Value, []byte(`"internal"`)) {
		t.Errorf("dead letters %q", l)
	}
}

// TestSetRules swaps the rules between batches while others are in flight; nothing is lost and no batch sees both.
func TestSetRules(t *testing.T) {
	p, out, _ := newTest(t, nil)
	m := testModel(t)
	one := compile(t, m, createdRule)
	two := compile(t, m, strings.Replace(createdRule, "11111111-", "22222222-", 1))
	h := p.Handler("")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 100 {
				if err := h(t.Context(), batch(event(g*1000+2*i), event(g*1000+2*i+1))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 200 {
		p.SetRules([]*rules.Set{one, two}[i%2])
	}
	wg.Wait()
	if n := len(out.all()); n != 800 {
		t.Errorf("%d alerts, want 800", n)
	}
	for _, msg := range out.all() {
		if n := strings.Count(string(msg.Value), `-1111-4111-8111-111111111111`); n != 1 {
			t.Fatalf("an alert carries rules of %d sets: %s", n, msg.Value)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	_, err := New(Config{})
	for _, want := range []string{"rules", "model", "sink"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not speak of the %s", err, want)
		}
	}
	m := testModel(t)
	_, err = New(Config{Rules: compile(t, m, createdRule), Model: m, Routes: []Route{{Name: "x", Sink: &memorySink{}, Format: "xml"}}})
	if err == nil || !strings.Contains(err.Error(), "xml") {
		t.Errorf("unknown format: %v", err)
	}
}

// realLog is one of the logs of the corpus, line by line.
func realLog(t testing.TB) [][]byte {
	t.Helper()
	f, err := os.Open("../testdata/corpus/rr.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// TestQuietEventsCostNoAllocation runs every event of a real log that matches nothing.
func TestQuietEventsCostNoAllocation(t *testing.T) {
	if raced {
		t.Skip("allocations cannot be counted under the race detector")
	}
	p, out, _ := newTest(t, nil)
	h := p.Handler("")
	var quiet [][]byte
	for _, line := range realLog(t) {
		before := p.Stats().Matched
		if err := h(t.Context(), batch(line)); err != nil {
			t.Fatal(err)
		}
		if p.Stats().Matched == before {
			quiet = append(quiet, line)
		}
	}
	if len(quiet) < 3000 || len(out.all()) == 0 {
		t.Fatalf("%d quiet events, %d alerts: not the log this test is about", len(quiet), len(out.all()))
	}
	b := batch(quiet...)
	w := <-p.workers
	o := new(outbox)
	if n := testing.AllocsPerRun(3, func() { w.work(b, b.Records, "", o) }); n > 2 {
		t.Errorf("%v allocations for %d events", n, len(quiet))
	}
}

func BenchmarkHandle(b *testing.B) {
	lines := realLog(b)
	p, _, _ := newTest(b, func(c *Config) { c.Workers = 1; c.RepeatWindow = 2 })
	w := <-p.workers
	o := new(outbox)
	in := batch(lines...)
	size := 0
	for _, l := range lines {
		size += len(l)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		w.work(in, in.Records, "", o)
		o.reset()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(lines)), "ns/event")
}

// TestRaised: what has been made is counted before it is published, so that nobody takes it for done.
func TestRaised(t *testing.T) {
	p, out, _ := newTest(t, nil)
	out.fail = func(int, []sinks.Message) error {
		if s := p.Stats(); s.Records != 3 || s.Raised != 2 || s.Alerts != 0 {
			t.Errorf("while publishing: %+v", s)
		}
		return nil
	}
	if err := p.Handler("")(t.Context(), batch(event(1), event(2), []byte(`{}`))); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Raised != 2 || s.Alerts != 2 {
		t.Errorf("afterwards: %+v", s)
	}
}
