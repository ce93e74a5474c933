package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/sinks"
	sinkkafka "github.com/spawnwatch/spawnwatch/sinks/kafka"
	sinknats "github.com/spawnwatch/spawnwatch/sinks/nats"
	"github.com/spawnwatch/spawnwatch/sources"
)

// lockedBuffer can be read while a process writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tailing is a tail that runs in a process of its own.
type tailing struct {
	cmd       *exec.Cmd
	out, errs lockedBuffer
}

func startTail(t *testing.T, args ...string) *tailing {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	t.Cleanup(cancel)
	p := &tailing{cmd: exec.CommandContext(ctx, os.Args[0], append([]string{"tail"}, args...)...)}
	p.cmd.Env = append(os.Environ(), "SPAWNWATCH_TEST_MAIN=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// until publishes again and again until the tail shows text: it shows only what comes after it has subscribed.
func (p *tailing) until(t *testing.T, text string, publish func()) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(p.out.String(), text) {
		publish()
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("tail does not show %q:\n%s\n%s", text, p.out.String(), p.errs.String())
		}
	}
}

// stop is Ctrl-C.
func (p *tailing) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, p.errs.String())
	}
}

func alertMessage(t *testing.T) sinks.Message {
	return sinks.Message{
		ID: "1", Value: native(t, sampleAlert()), Labels: sinks.Labels{Severity: "critical", Cluster: "prod-eu-1"},
		Headers: []sinks.Header{{Key: "content-type", Value: "application/json"}},
	}
}

func TestTailNATS(t *testing.T) {
	server, err := natsdemo.Start(natsdemo.Settings{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	for _, mode := range []string{sinknats.Core, sinknats.JetStream} {
		t.Run(mode, func(t *testing.T) {
			cfg := sinknats.Config{Access: natsconn.Access{URL: server.URL()}, Subject: mode + ".alerts.{severity}", Mode: mode}
			if mode == sinknats.JetStream {
				cfg.Stream, cfg.Create = "ALERTS", true
			}
			sink, err := sinknats.New(cfg, sinknats.Settings{Name: "alerts"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = sink.Close(context.Background()) }()
			p := startTail(t, "-o", "cards", "--nats", server.URL(), "--subject", mode+".alerts.>")
			p.until(t, "privileged Pod debug-x7k created", func() {
				if err := sink.Publish(t.Context(), []sinks.Message{alertMessage(t)}); err != nil {
					t.Fatal(err)
				}
			})
			p.stop(t)
		})
	}
}

func TestTailKafka(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "k8s.alerts.critical"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	sink, err := sinkkafka.New(sinkkafka.Config{Brokers: cluster.ListenAddrs(), Topic: "k8s.alerts.{severity}"}, sinkkafka.Settings{Name: "alerts"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sink.Close(context.Background()) }()
	if err := sink.Publish(t.Context(), []sinks.Message{alertMessage(t)}); err != nil {
		t.Fatal(err)
	}
	p := startTail(t, "-o", "table", "--kafka", strings.Join(cluster.ListenAddrs(), ","), "--topic", "k8s.alerts.critical", "--start", "earliest")
	p.until(t, "Pod kube-system/debug-", func() {})
	p.stop(t)
}

func TestTailWithoutServer(t *testing.T) {
	var out, errs bytes.Buffer
	code := run([]string{"tail", "--nats", "nats://127.0.0.1:1", "--subject", "a"}, streams{in: strings.NewReader(""), out: &out, err: &errs})
	if code != exitBad || !strings.Contains(errs.String(), "127.0.0.1:1") {
		t.Errorf("exit %d, want %d: %s", code, exitBad, errs.String())
	}
}

func TestPatternsOfTemplates(t *testing.T) {
	for template, want := range map[string]struct{ subject, topic string }{
		"k8s.alerts":                      {"k8s.alerts", "k8s.alerts"},
		"k8s.alerts.{severity}":           {"k8s.alerts.*", `^k8s\.alerts\.[a-zA-Z0-9_-]+$`},
		"a.{cluster}-x.{namespace}{kind}": {"a.*.*", `^a\.[a-zA-Z0-9_-]+-x\.[a-zA-Z0-9_-]+[a-zA-Z0-9_-]+$`},
	} {
		subject, err1 := everyWord(template)
		topic, err2 := everyTopic(template)
		if subject != want.subject || topic != want.topic || err1 != nil || err2 != nil {
			t.Errorf("%s: %q, %q; want %q, %q (%v, %v)", template, subject, topic, want.subject, want.topic, err1, err2)
		}
	}
	if _, err := everyTopic("{nobody}"); err == nil {
		t.Error("an unknown label was accepted")
	}
}

// TestViewer: alerts in order, what is no alert said once with its place, nothing lost between.
func TestViewer(t *testing.T) {
	line := native(t, sampleAlert())
	batch := sources.Batch{Origin: sources.Origin{Topic: "a\x1b[31m"}, Records: []sources.Record{
		{Value: line, Line: 1},
		{Value: []byte("nonsense"), Line: 2},
		{Value: []byte(" \n"), Line: 3},
		{Value: line[:100], Line: 4, Oversized: &sources.Oversized{Size: 20_000_000}},
		{Value: line, Line: 5},
	}}
	for _, c := range []struct {
		output     string
		least      alert.Severity
		shown, bad int64
	}{
		{outputTable, "", 2, 2},
		{outputCards, alert.Critical, 2, 2},
		{outputJSON, "", 2, 2},
		{outputJSON, alert.Critical, 2, 2},
	} {
		var out, errs bytes.Buffer
		said := complaints{w: &errs}
		v := newViewer(&out, c.output, func(error) { t.Error("stopped") }, said.add)
		v.least = c.least
		if err := v.handle(t.Context(), &batch); err != nil {
			t.Error(err)
		}
		if v.shown.Load() != c.shown || v.bad.Load() != c.bad || strings.Count(out.String(), "debug-") < 2 {
			t.Errorf("%s: %d shown, %d bad\n%s", c.output, v.shown.Load(), v.bad.Load(), out.String())
		}
		if want := `spawnwatch: a\x1b[31m:2: not shown: `; !strings.Contains(errs.String(), want) || !strings.Contains(errs.String(), "20,000,000 bytes") {
			t.Errorf("standard error does not say %q:\n%q", want, errs.String())
		}
	}

	// Below the least severity, and nobody there to see it.
	var out bytes.Buffer
	v := newViewer(&out, outputTable, nil, func(string, error) {})
	v.least = alert.Critical
	low := native(t, observedExec())
	if err := v.handle(t.Context(), &sources.Batch{Records: []sources.Record{{Value: low}}}); err != nil || out.Len() > 0 {
		t.Errorf("%v, %q", err, out.String())
	}
	r, w := io.Pipe()
	_ = r.Close()
	stopped := false
	v = newViewer(w, outputCards, func(error) { stopped = true }, func(string, error) {})
	if err := v.handle(t.Context(), &batch); err == nil || !stopped {
		t.Errorf("a closed pipe must stop the source: %v", err)
	}
}

func TestComplaintsEnd(t *testing.T) {
	var errs bytes.Buffer
	said := complaints{w: &errs}
	for range 10 * shownBad {
		said.add("here", io.ErrUnexpectedEOF)
	}
	if n := strings.Count(errs.String(), "\n"); n != shownBad+1 {
		t.Errorf("%d lines, want %d", n, shownBad+1)
	}
}
