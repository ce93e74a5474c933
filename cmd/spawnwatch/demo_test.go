package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inOwnTemp gives the test a folder for temporary files, which must be empty at its end: the demo leaves nothing behind.
func inOwnTemp(t *testing.T) (dir string, check func()) {
	t.Helper()
	dir = t.TempDir()
	return dir, func() {
		t.Helper()
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range left {
			t.Errorf("%s stays behind", e.Name())
		}
	}
}

// TestDemo runs the demo as fast as it goes and looks at what came back from the alert subject.
func TestDemo(t *testing.T) {
	dir, nothingLeft := inOwnTemp(t)
	t.Setenv("TMPDIR", dir)
	var out, errs bytes.Buffer
	if code := run([]string{"demo", "--pace", "0s", "-o", "json"}, streams{in: strings.NewReader(""), out: &out, err: &errs}); code != exitOK {
		t.Fatalf("exit %d\n%s", code, errs.String())
	}
	nothingLeft()
	var got []string
	for line := range strings.Lines(out.String()) {
		var a alertLine
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%v in %.200s", err, line)
		}
		if a.Workload == nil {
			t.Fatalf("an alert without a workload: %.200s", line)
		}
		got = append(got, a.Outcome+" "+a.Workload.Kind+" "+a.Workload.Namespace+"/"+a.Workload.Name+" "+a.Severity)
	}
	// Every scene but the two that fold. At this pace batches may overtake each other.
	want := []string{
		"created Deployment team-a/web", "refused Deployment team-a/", "created CronJob batch-jobs/tick",
		"created Pod default/node-debugger-node-1-", "created Pod team-a/p-priv", "created Pod team-a/p-sock",
		"created Deployment team-a/kube-dns-helper critical", "unknown Pod edge-cases/slow-0", "created Deployment team-a/asuser",
		"created Pod open-door/anon2 critical", "created Pod kube-system/shadow", "created DaemonSet kube-system/shadow-ds",
	}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("no alert %q", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d alerts, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for _, says := range []string{"8 children of controllers folded", "What to try next"} {
		if !strings.Contains(errs.String(), says) {
			t.Errorf("standard error does not say %q:\n%s", says, errs.String())
		}
	}
}

// TestDemoInterrupted sends the signal of Ctrl-C as soon as the first card is there.
func TestDemoInterrupted(t *testing.T) {
	dir, nothingLeft := inOwnTemp(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "demo")
	cmd.Env = append(os.Environ(), "SPAWNWATCH_TEST_MAIN=1", "TMPDIR="+dir)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("no card: %v\n%s", err, errs.String())
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the first card took %s, want at most 5s", took)
	}
	if !strings.Contains(first, "Deployment team-a/web created by alice") {
		t.Errorf("the first card begins with %q", first)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, errs.String())
	}
	if took := time.Since(stopped); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	nothingLeft()
	if strings.Contains(errs.String(), "level=") {
		t.Errorf("a clean stop is no reason to warn:\n%s", errs.String())
	}
}

func TestDemoUsage(t *testing.T) {
	for _, args := range [][]string{{"demo", "-o", "xml"}, {"demo", "--pace", "-1s"}, {"demo", "file"}} {
		var out, errs bytes.Buffer
		if code := run(args, streams{in: strings.NewReader(""), out: &out, err: &errs}); code != exitUsage || out.Len() > 0 || errs.Len() == 0 {
			t.Errorf("%v: exit %d, want %d\n%s", args, code, exitUsage, errs.String())
		}
	}
}
