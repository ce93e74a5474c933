package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/test/forward"
)

// The tests of this file are short. At full length (300 MB; a sink that stands still for 60 s) they run with
//
//	SPAWNWATCH_FORWARD=full go test -run 'TestForward' -timeout 30m -v ./cmd/spawnwatch
func fullLength() bool { return os.Getenv("SPAWNWATCH_FORWARD") == "full" }

// forwardConfig is a stage with a forward source and one sink.
func forwardConfig(address, sink, dir string) string {
	return fmt.Sprintf(`
cluster: test
sources: [{forward: {listen: %q}}]
sinks: [{%s}]
dead_letter: {file: {path: %q}}
rules: {children: alert}
enrich: {event: none}
processor: {drain: 5s}
admin: {listen: "127.0.0.1:0"}
`, address, sink, filepath.Join(dir, "dead.jsonl"))
}

// freeAddress is an address at which nobody listens: a stage that is started again needs the same one.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// forwardSender sends rounds of the log.
func forwardSender(t *testing.T, address string, shape forward.Shape, connections int) *forward.Sender {
	t.Helper()
	return &forward.Sender{
		Address: address, Chunks: forward.Chunks(readLines(t, "rr"), shape), Mode: forward.Forward, Ack: true,
		Connections: connections, RetryTime: 50 * time.Millisecond,
	}
}

// wantOfRounds are the creations of so many rounds of the log.
func wantOfRounds(t *testing.T, rounds int) map[string]int {
	t.Helper()
	want := map[string]int{}
	for _, e := range readTruth(t, "rr") {
		for round := range rounds {
			key := forward.RoundID(e.AuditID, round) + " " + e.Namespace + " " + e.Kind
			if e.Class != "workload" || round > 0 && forward.RoundID(e.AuditID, round) == e.AuditID {
				continue
			}
			want[key]++
		}
	}
	if len(want) < 100*rounds {
		t.Fatalf("the log holds %d creations in %d rounds", len(want), rounds)
	}
	return want
}

// readCreations reads the alerts on creations out of lines, and returns how many lines are cut short: kill -9 may come in
// the middle of one.
func readCreations(t *testing.T, r io.Reader) (got map[string]int, cut int) {
	t.Helper()
	got = map[string]int{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var a alertLine
			if json.Unmarshal(line, &a) != nil {
				cut++
			} else if (a.Outcome == "created" || a.Outcome == "unknown") && a.Workload != nil {
				got[a.Request.AuditID+" "+a.Workload.Namespace+" "+a.Workload.Kind]++
			}
		}
		if err == io.EOF {
			return got, cut
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func compareCreations(t *testing.T, got, want map[string]int) {
	t.Helper()
	missing := 0
	for key, n := range want {
		if got[key] < n {
			if missing++; missing <= 10 {
				t.Errorf("%s: %d alerts, want %d", key, got[key], n)
			}
		}
	}
	if missing > 0 {
		t.Errorf("%d creations of %d are missing", missing, len(want))
	}
}

func expectNoFile(t *testing.T, path string) {
	t.Helper()
	if data, err := os.ReadFile(path); err == nil && len(data) > 0 {
		t.Errorf("dead letters: %.500s", data)
	}
}

// TestForwardSurvivesKill kills the stage again and again while a sender with answers goes through a log; no creation is
// missing.
func TestForwardSurvivesKill(t *testing.T) {
	rounds, kills := 2, 2
	if fullLength() {
		rounds, kills = 22, 8
	}
	for _, shape := range []forward.Shape{forward.Parsed, forward.Log} {
		t.Run(string(shape), func(t *testing.T) {
			dir, address := t.TempDir(), freeAddress(t)
			alerts := filepath.Join(dir, "alerts.jsonl")
			config := forwardConfig(address, fmt.Sprintf("file: {path: %q}", alerts), dir)
			s := forwardSender(t, address, shape, 4)
			stage := startStage(t, config)
			sent := make(chan error, 1)
			go func() { sent <- s.Run(t.Context(), rounds) }()
			total := rounds * len(s.Chunks)
			for i := range kills {
				threshold := int64((i + 1) * total / (kills + 2))
				eventually(t, fmt.Sprintf("answer %d", threshold), func() bool { return s.Answered.Load() >= threshold }, stage.log)
				stage.stop(t, syscall.SIGKILL, 10*time.Second)
				stage = startStage(t, config)
			}
			select {
			case err := <-sent:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(20 * time.Minute):
				t.Fatalf("not all was answered:\n%s", stage.log())
			}
			if code := stage.stop(t, syscall.SIGTERM, 20*time.Second); code != exitOK {
				t.Errorf("exit %d after SIGTERM:\n%s", code, stage.log())
			}
			t.Logf("%d MB in %d chunks, killed %d times, %d sends were repeated", s.Text.Load()/1e6, s.Answered.Load(), kills, s.Resent.Load())
			if s.Resent.Load() == 0 {
				t.Error("nothing was sent twice: the stage was not killed in the middle of its work")
			}
			f, err := os.Open(alerts)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, cut := readCreations(t, f)
			if cut > kills {
				t.Errorf("%d lines are cut short, after %d kills", cut, kills)
			}
			compareCreations(t, got, wantOfRounds(t, rounds))
			expectNoFile(t, filepath.Join(dir, "dead.jsonl"))
		})
	}
}

// stallingSink is an HTTP server that takes requests and answers none until it is released.
type stallingSink struct {
	released chan struct{}
	mu       sync.Mutex
	lines    strings.Builder
	waiting  int
}

func (s *stallingSink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.waiting++
	s.mu.Unlock()
	select {
	case <-s.released:
	case <-r.Context().Done():
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it comes again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines.Write(body)
	s.lines.WriteByte('\n')
}

func (s *stallingSink) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// TestForwardStalledSink: while the sink stands still the sender waits, on connections that stay open, and memory does
// not grow; afterwards nothing is missing.
func TestForwardStalledSink(t *testing.T) {
	rounds, stall := 5, 2*time.Second
	if fullLength() {
		rounds, stall = 22, 60*time.Second
	}
	const connections = 20 // as many as Fluent Bit was seen to open
	sink := &stallingSink{released: make(chan struct{})}
	server := httptest.NewServer(sink)
	defer server.Close()
	release := sync.OnceFunc(func() { close(sink.released) })
	defer release()
	dir, address := t.TempDir(), freeAddress(t)
	stage := startStage(t, forwardConfig(address, fmt.Sprintf("http: {url: %q, timeout: 5m}", server.URL), dir))
	s := forwardSender(t, address, forward.Parsed, connections)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := make(chan error, 1)
	go func() { sent <- s.Run(ctx, rounds) }()

	eventually(t, "a request", func() bool { return sink.calls() > 0 }, stage.log)
	// The sender sends what it can, until each connection waits for an answer; the stage works on what it took, on a busy
	// machine for a while longer.
	var last int64
	quiet := time.Now()
	eventually(t, "the sender's waiting", func() bool {
		now := s.Sent.Load() + s.Answered.Load() + int64(resident(stage.cmd.Process.Pid))>>23
		if now != last || s.Sent.Load() == 0 {
			last, quiet = now, time.Now()
		}
		return time.Since(quiet) > 1500*time.Millisecond
	}, stage.log)
	first, most := resident(stage.cmd.Process.Pid), 0
	sentBefore, dialsBefore := s.Sent.Load(), s.Dials.Load()
	for end := time.Now().Add(stall); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		most = max(most, resident(stage.cmd.Process.Pid))
		if len(sent) > 0 {
			t.Fatalf("the sender ended: %v", <-sent)
		}
	}
	t.Logf("%d MB resident when the sink stood still, %d MB at most in %s; %d MB were sent, %d chunks answered",
		first>>20, most>>20, stall, s.Sent.Load()>>20, s.Answered.Load())
	if most > first+first/4+16<<20 || most > 512<<20 {
		t.Errorf("memory grew from %d to %d MB", first>>20, most>>20)
	}
	if s.Sent.Load() != sentBefore {
		t.Errorf("the sender went on: %d bytes before, %d after", sentBefore, s.Sent.Load())
	}
	if s.Dials.Load() != dialsBefore || s.Resent.Load() != 0 {
		t.Errorf("connections were closed: %d dials before, %d after, %d sends repeated", dialsBefore, s.Dials.Load(), s.Resent.Load())
	}
	release()
	select {
	case err := <-sent:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Minute):
		t.Fatalf("not all was answered:\n%s", stage.log())
	}
	if s.Resent.Load() != 0 || s.Dials.Load() != connections {
		t.Errorf("%d sends were repeated, %d dials", s.Resent.Load(), s.Dials.Load())
	}
	if code := stage.stop(t, syscall.SIGTERM, 20*time.Second); code != exitOK {
		t.Errorf("exit %d after SIGTERM:\n%s", code, stage.log())
	}
	sink.mu.Lock()
	defer sink.mu.Unlock()
	lines := strings.ReplaceAll(sink.lines.String(), "\n\n", "\n")
	got, cut := readCreations(t, strings.NewReader(lines))
	if cut > 0 {
		t.Errorf("%d lines are cut short", cut)
	}
	compareCreations(t, got, wantOfRounds(t, rounds))
	expectNoFile(t, filepath.Join(dir, "dead.jsonl"))
}

// resident is how many bytes of a process are in memory, 0 where /proc does not say.
func resident(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return pages * os.Getpagesize()
}
