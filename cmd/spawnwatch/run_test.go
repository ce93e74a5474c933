package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
)

// stageProcess is `spawnwatch run` as a process of its own.
type stageProcess struct {
	cmd    *exec.Cmd
	mu     sync.Mutex
	stderr bytes.Buffer
	ended  chan struct{}
}

func startStage(t *testing.T, config string) *stageProcess {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spawnwatch.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &stageProcess{cmd: exec.Command(os.Args[0], "run", "-c", path), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "SPAWNWATCH_TEST_MAIN=1")
	p.cmd.Stderr = p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

func (p *stageProcess) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

func (p *stageProcess) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// stop sends a signal and returns the exit code, -1 for a process that a signal ended.
func (p *stageProcess) stop(t *testing.T, sig os.Signal, within time.Duration) int {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(within):
		t.Fatalf("still running %s after %v:\n%s", within, sig, p.log())
	}
	return p.cmd.ProcessState.ExitCode()
}

// broker is an embedded NATS server with a stream for audit events and one for alerts.
type broker struct {
	url    string
	js     jetstream.JetStream
	alerts jetstream.Stream
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	s, err := natsdemo.Start(natsdemo.Settings{Dir: t.TempDir(), Store: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{url: s.URL(), js: js}
	for name, subject := range map[string]string{"AUDIT": "audit.>", "ALERTS": "k8s.alerts.>", "DEAD": "dead.>"} {
		stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Duplicates: 2 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if name == "ALERTS" {
			b.alerts = stream
		}
	}
	return b
}

func (b *broker) config() string {
	return fmt.Sprintf(`
cluster: test
sources:
  - name: audit
    nats: {url: %[1]q, stream: AUDIT, durable: stage, subjects: ["audit.>"], create: true}
sinks:
  - name: siem
    nats: {url: %[1]q, subject: "k8s.alerts.{cluster}.{severity}"}
dead_letter: {nats: {url: %[1]q, subject: dead.audit}}
rules: {children: alert}
processor: {drain: 5s}
admin: {listen: "127.0.0.1:0"}
`, b.url)
}

// publishLog sends the lines of a log that fit into a message, and returns the truth about them.
func (b *broker) publishLog(t *testing.T, name string) (want map[string]int) {
	t.Helper()
	lines := readLines(t, name)
	want = map[string]int{}
	for _, e := range readTruth(t, name) {
		if e.Class == "workload" && len(lines[e.Line-1]) < 1<<20 {
			want[e.AuditID+" "+e.Namespace+" "+e.Kind]++
		}
	}
	for _, l := range lines {
		if len(l) >= 1<<20 {
			continue
		}
		if _, err := b.js.PublishAsync("audit.test", l, jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-b.js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("the log could not be published")
	}
	return want
}

// count is how many alerts the stream holds.
func (b *broker) count(t *testing.T) int {
	t.Helper()
	info, err := b.alerts.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(info.State.Msgs)
}

// handled reports whether every audit event has been acknowledged.
func (b *broker) handled(t *testing.T) bool {
	t.Helper()
	c, err := b.js.Consumer(t.Context(), "AUDIT", "stage")
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.NumPending == 0 && info.NumAckPending == 0
}

// readAlerts reads all alerts back.
func (b *broker) readAlerts(t *testing.T) (alerts []alertLine) {
	t.Helper()
	n := b.count(t)
	c, err := b.alerts.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		msg, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		var a alertLine
		if err := json.Unmarshal(msg.Data(), &a); err != nil {
			t.Fatal(err)
		}
		if got := msg.Headers().Get("Nats-Msg-Id"); got != a.ID {
			t.Errorf("Nats-Msg-Id %q for alert %q", got, a.ID)
		}
		if msg.Headers().Get("ce-id") != a.ID || msg.Headers().Get("content-type") != "application/json" {
			t.Errorf("headers %v", msg.Headers())
		}
		alerts = append(alerts, a)
	}
	return alerts
}

// eventually polls a real server.
func eventually(t *testing.T, what string, ok func() bool, state func() string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come to pass:\n%s", what, state())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestRunSurvivesKill kills the stage in the middle of its work; every creation alerts, and the stream holds each alert
// once.
func TestRunSurvivesKill(t *testing.T) {
	b := newBroker(t)
	first := startStage(t, b.config())
	want := b.publishLog(t, "rr")
	eventually(t, "the first alerts", func() bool { return b.count(t) > 20 }, first.log)
	first.stop(t, syscall.SIGKILL, 10*time.Second)
	second := startStage(t, b.config())
	eventually(t, "the end of the log", func() bool { return b.handled(t) }, second.log)
	if code := second.stop(t, syscall.SIGTERM, 20*time.Second); code != exitOK {
		t.Errorf("exit %d after SIGTERM:\n%s", code, second.log())
	}
	got, ids := map[string]int{}, map[string]int{}
	for _, a := range b.readAlerts(t) {
		if ids[a.ID]++; ids[a.ID] > 1 {
			t.Errorf("alert %s stands in the stream twice", a.ID)
		}
		if a.Outcome == "created" || a.Outcome == "unknown" {
			got[a.Request.AuditID+" "+a.Workload.Namespace+" "+a.Workload.Kind]++
		}
	}
	for key, n := range want {
		if got[key] < n {
			t.Errorf("%s: %d alerts, want %d", key, got[key], n)
		}
	}
}

// TestRunTwoInstances share one durable; when one is stopped the other goes on.
func TestRunTwoInstances(t *testing.T) {
	b := newBroker(t)
	one, two := startStage(t, b.config()), startStage(t, b.config())
	want := b.publishLog(t, "metadata")
	eventually(t, "the first alerts", func() bool { return b.count(t) > 5 }, one.log)
	if code := one.stop(t, syscall.SIGTERM, 20*time.Second); code != exitOK {
		t.Errorf("exit %d after SIGTERM:\n%s", code, one.log())
	}
	eventually(t, "the end of the log", func() bool { return b.handled(t) }, two.log)
	got := map[string]int{}
	for _, a := range b.readAlerts(t) {
		if a.Outcome == "created" || a.Outcome == "unknown" {
			got[a.Request.AuditID+" "+a.Workload.Namespace+" "+a.Workload.Kind]++
		}
	}
	for key, n := range want {
		if got[key] < n {
			t.Errorf("%s: %d alerts, want %d", key, got[key], n)
		}
	}
}

// TestRunStuckSink: a sink that never answers holds the process no longer than the drain limit.
func TestRunStuckSink(t *testing.T) {
	b := newBroker(t)
	config := strings.Replace(b.config(), fmt.Sprintf("nats: {url: %q, subject: \"k8s.alerts", b.url), `nats: {url: "nats://127.0.0.1:1", subject: "k8s.alerts`, 1)
	config = strings.Replace(config, "drain: 5s", "drain: 1s", 1)
	p := startStage(t, config)
	b.publishLog(t, "metadata")
	eventually(t, "a try of the sink", func() bool { return strings.Contains(p.log(), "trying again") }, p.log)
	began := time.Now()
	code := p.stop(t, syscall.SIGTERM, 20*time.Second)
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("it took %s to end (exit %d):\n%s", took, code, p.log())
	}
	if b.handled(t) {
		t.Error("events were acknowledged although no alert was published")
	}
}

// TestRunSecondSignal ends the process at once.
func TestRunSecondSignal(t *testing.T) {
	b := newBroker(t)
	config := strings.Replace(b.config(), fmt.Sprintf("nats: {url: %q, subject: \"k8s.alerts", b.url), `nats: {url: "nats://127.0.0.1:1", subject: "k8s.alerts`, 1)
	config = strings.Replace(config, "drain: 5s", "drain: 1m", 1)
	p := startStage(t, config)
	b.publishLog(t, "metadata")
	eventually(t, "a try of the sink", func() bool { return strings.Contains(p.log(), "trying again") }, p.log)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the announcement", func() bool { return strings.Contains(p.log(), "stopping") }, p.log)
	p.stop(t, syscall.SIGTERM, 5*time.Second)
}

// TestRunReload: SIGHUP takes up new rules, and keeps the last good ones when they are wrong.
func TestRunReload(t *testing.T) {
	b := newBroker(t)
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "own.yml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rule := func(title string) string {
		return "title: " + title + "\nid: 0c9ff6a2-3c43-4f9c-9a3c-6a1a6cf4b1a0\nlogsource: {product: kubernetes, service: audit}\nlevel: low\n" +
			"detection:\n  s: {verb: create, objectRef.resource: pods, objectRef.subresource: null, responseStatus.code: 201}\n  condition: s\n"
	}
	write(rule("Before"))
	p := startStage(t, strings.Replace(b.config(), "rules: {children: alert}", fmt.Sprintf("rules: {builtin: false, children: alert, paths: [%q]}", dir), 1))
	publish := func(id string) {
		if _, err := b.js.Publish(context.Background(), "audit.test", another(creation(t), id)); err != nil {
			t.Fatal(err)
		}
	}
	publish("one")
	eventually(t, "an alert", func() bool { return b.count(t) == 1 }, p.log)
	write("title: [")
	_ = p.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, "a refusal", func() bool { return strings.Contains(p.log(), "the last good ones stay") }, p.log)
	publish("two")
	eventually(t, "an alert by the old rules", func() bool { return b.count(t) == 2 }, p.log)
	write(rule("After"))
	_ = p.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, "a reload", func() bool { return strings.Contains(p.log(), "rules reloaded") }, p.log)
	publish("three")
	eventually(t, "an alert by the new rules", func() bool { return b.count(t) == 3 }, p.log)
	var titles []string
	for _, a := range b.readAlerts(t) {
		titles = append(titles, a.Rules[0].Title)
	}
	if got := strings.Join(titles, " "); got != "Before Before After" {
		t.Errorf("alerts by %s", got)
	}
}
