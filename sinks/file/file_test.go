package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/sinks"
)

func messages(values ...string) []sinks.Message {
	msgs := make([]sinks.Message, len(values))
	for i, v := range values {
		msgs[i] = sinks.Message{ID: fmt.Sprint(i), Value: []byte(v)}
	}
	return msgs
}

// chunks takes as many bytes of each write as it is told, and then fails.
type chunks struct {
	held   bytes.Buffer
	writes int
	take   []int
	err    error
}

func (c *chunks) Write(p []byte) (int, error) {
	c.writes++
	if len(c.take) == 0 {
		return c.held.Write(p)
	}
	n := min(c.take[0], len(p))
	c.take = c.take[1:]
	c.held.Write(p[:n])
	return n, c.err
}

func TestOneWriteForEachPublish(t *testing.T) {
	c := &chunks{}
	s := NewWriter(c, "c")
	for range 2 {
		if err := s.Publish(t.Context(), messages("1", "22", "333")); err != nil {
			t.Fatal(err)
		}
	}
	if c.writes != 2 || c.held.String() != "1\n22\n333\n1\n22\n333\n" {
		t.Errorf("%d writes of %q", c.writes, c.held.String())
	}
}

func TestShortWrites(t *testing.T) {
	for _, c := range []struct {
		take   int
		err    error
		failed []int
		held   string // after the failed ones were published again
	}{
		{0, syscall.ENOSPC, []int{0, 1, 2}, "1\n22\n333\n"},
		{1, syscall.ENOSPC, []int{0, 1, 2}, "1\n1\n22\n333\n"}, // the first line lacks its line feed
		{2, syscall.ENOSPC, []int{1, 2}, "1\n22\n333\n"},
		{3, syscall.ENOSPC, []int{1, 2}, "1\n2\n22\n333\n"},
		{8, syscall.ENOSPC, []int{2}, "1\n22\n333\n333\n"},
		{8, nil, []int{2}, "1\n22\n333\n333\n"}, // a writer that says nothing of its short write
		{9, syscall.ENOSPC, nil, "1\n22\n333\n"},
	} {
		w := &chunks{take: []int{c.take}, err: c.err}
		s := NewWriter(w, "full disk")
		msgs := messages("1", "22", "333")
		err := s.Publish(t.Context(), msgs)
		var pe *sinks.PublishError
		var failed []int
		var again []sinks.Message
		if errors.As(err, &pe) {
			for _, f := range pe.Failures {
				failed = append(failed, f.Index)
				again = append(again, msgs[f.Index])
				if f.Permanent || !strings.HasPrefix(f.Err.Error(), "full disk: ") {
					t.Errorf("%d bytes taken: failure %+v", c.take, f)
				}
			}
		}
		if d := cmp.Diff(c.failed, failed); d != "" {
			t.Errorf("%d bytes taken: %s", c.take, d)
		}
		if err := s.Publish(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if w.held.String() != c.held {
			t.Errorf("%d bytes taken: the writer holds %q, want %q", c.take, w.held.String(), c.held)
		}
	}
}

// TestTornTwice: a write that fails before its first byte leaves the torn line torn.
func TestTornTwice(t *testing.T) {
	w := &chunks{take: []int{1, 0}, err: syscall.ENOSPC}
	s := NewWriter(w, "w")
	for range 2 {
		if err := s.Publish(t.Context(), messages("22")); err == nil {
			t.Fatal("no failure")
		}
	}
	if err := s.Publish(t.Context(), messages("333")); err != nil {
		t.Fatal(err)
	}
	if got := w.held.String(); got != "2\n333\n" {
		t.Errorf("the writer holds %q", got)
	}
}

func TestClosedPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, w)
	closed(t, r)
	err = NewWriter(w, "stdout").Publish(t.Context(), messages("1", "2"))
	var pe *sinks.PublishError
	if !errors.Is(err, ErrClosedPipe) || !errors.As(err, &pe) || len(pe.Failures) != 2 || !pe.Failures[1].Permanent {
		t.Errorf("got %v, want ErrClosedPipe, for good, for both", err)
	}
}

// TestBlockedReader: nobody reads the pipe, yet Publish and Close keep to their contexts; what the reader gets in the
// end is whole lines in order.
func TestBlockedReader(t *testing.T) {
	r, w := io.Pipe()
	s := NewWriter(w, "pipe")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- s.Publish(ctx, messages("first")) }()
	one := make([]byte, 1)
	if _, err := io.ReadFull(r, one); err != nil { // the write is under way
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-failed:
		var pe *sinks.PublishError
		if !errors.As(err, &pe) || pe.Failures[0].Permanent || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want a failure that passes", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Publish outlives its context while it writes")
	}
	waiting, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	if err := s.Publish(waiting, messages("never")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want to have waited in vain for the write before", err)
	}
	stop()
	ended, end := context.WithCancel(t.Context())
	end()
	if err := s.Close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v, want it to say that a write is under way", err)
	}
	second := make(chan error, 1)
	go func() { second <- s.Publish(t.Context(), messages("second")) }()
	rest := make([]byte, len("irst\nsecond\n"))
	if _, err := io.ReadFull(r, rest); err != nil {
		t.Fatal(err)
	}
	if got := string(one) + string(rest); got != "first\nsecond\n" {
		t.Errorf("the reader got %q", got)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t)
}

func closed(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAppendsToWhatIsThere(t *testing.T) {
	for was, want := range map[string]string{"": "new\n", "old\n": "old\nnew\n", `{"torn":`: "{\"torn\":\nnew\n"} {
		path := filepath.Join(t.TempDir(), "alerts.jsonl")
		if err := os.WriteFile(path, []byte(was), 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Config{Path: path})
		if err := errors.Join(s.Publish(t.Context(), messages("new")), s.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path); got != want {
			t.Errorf("after %q the file holds %q, want %q", was, got, want)
		}
	}
}

func TestFileModeAndLineFeedsInside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alerts.jsonl")
	s := open(t, Config{Path: path})
	if err := errors.Join(s.Publish(t.Context(), messages("{\n  \"a\": 1\n}")), s.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "{   \"a\": 1 }\n" {
		t.Errorf("the file holds %q", got)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got&^fileMode != 0 {
		t.Errorf("mode %v, want at most %v", got, os.FileMode(fileMode))
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "alerts.jsonl"), filepath.Join(dir, "alerts.jsonl.1")
	s := open(t, Config{Path: path})
	publish := func(v string) {
		t.Helper()
		if err := s.Publish(t.Context(), messages(v)); err != nil {
			t.Fatal(err)
		}
	}
	publish("1")
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	publish("2")
	if err := os.Truncate(path, 0); err != nil { // copytruncate
		t.Fatal(err)
	}
	publish("3")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	publish("4")
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, b := content(t, old), content(t, path); a != "1\n" || b != "4\n" {
		t.Errorf("rotated file %q, new file %q", a, b)
	}
}

func TestMendCutsATornLineOff(t *testing.T) {
	for name, c := range map[string]struct {
		wrote, others string
		want          string
		torn          bool
	}{
		"one and a half lines":    {"1\n{\"half", "", "before\n1\n", false},
		"half a line":             {"{\"half", "", "before\n", false},
		"somebody else went on":   {"1\n{\"half", "other\n", "before\n1\n{\"halfother\n", true},
		"nothing torn to cut off": {"1\n", "", "before\n1\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "alerts.jsonl")
			if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := openOutput(path)
			if err != nil {
				t.Fatal(err)
			}
			defer closed(t, out.f)
			if _, err := out.f.WriteString(c.wrote); err != nil {
				t.Fatal(err)
			}
			if c.others != "" {
				other, err := openOutput(path)
				if err != nil {
					t.Fatal(err)
				}
				defer closed(t, other.f)
				if _, err := other.f.WriteString(c.others); err != nil {
					t.Fatal(err)
				}
			}
			out.torn = true
			out.mend([]byte(c.wrote))
			if got := content(t, path); got != c.want || out.torn != c.torn {
				t.Errorf("the file holds %q (torn %v), want %q (torn %v)", got, out.torn, c.want, c.torn)
			}
		})
	}
}

func TestFullDevice(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here")
	}
	s := open(t, Config{Path: "/dev/full"})
	err := s.Publish(t.Context(), messages("1", "2"))
	var pe *sinks.PublishError
	if !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &pe) || len(pe.Failures) != 2 || pe.Failures[0].Permanent {
		t.Errorf("got %v, want both to have failed for lack of space", err)
	}
	if want := "/dev/full: write: no space left on device"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
}

func TestPathsFromLabels(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Path: filepath.Join(dir, "{namespace}", "{name}.jsonl")})
	msgs := messages("1", "2", "3", "4", "5")
	for i, l := range []sinks.Labels{
		{Namespace: "default", Name: "web"},
		{Namespace: "..", Name: "../../../etc/passwd"},
		{Namespace: "default", Name: "web"},
		{Namespace: "", Name: ".hidden\x00\n"},
		{Namespace: strings.Repeat("é", 200), Name: "a.b-c_D9"},
	} {
		msgs[i].Labels = l
	}
	if err := errors.Join(s.Publish(t.Context(), msgs), s.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range readLines(t, dir) {
		got[r.Place] += string(r.Value)
	}
	want := map[string]string{
		"default/web.jsonl":                         "13",
		"_./_._.._.._etc_passwd.jsonl":              "2",
		"unknown/_hidden__.jsonl":                   "4",
		strings.Repeat("_", 64) + "/a.b-c_D9.jsonl": "5",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Path: filepath.Join(dir, "{name}")})
	for round := range 2 {
		for i := range maxOpen + 20 {
			msgs := messages(fmt.Sprint(round))
			msgs[0].Labels.Name = fmt.Sprint("n", i)
			if err := s.Publish(t.Context(), msgs); err != nil {
				t.Fatal(err)
			}
			if n := len(s.files.opened); n > maxOpen {
				t.Fatalf("%d files are open", n)
			}
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range maxOpen + 20 {
		if got := content(t, filepath.Join(dir, fmt.Sprint("n", i))); got != "0\n1\n" {
			t.Errorf("file %d holds %q", i, got)
		}
	}
}

func TestNewFaults(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "path: expected a file"},
		{Config{Path: "a\x00b"}, "NUL"},
		{Config{Path: "-", Sync: true}, "sync: standard output cannot be synced"},
		{Config{Path: "{severty}.jsonl"}, "did you mean {severity}?"},
		{Config{Path: filepath.Join(dir, "none", "a.jsonl")}, "none/a.jsonl: open: no such file or directory"},
		{Config{Path: dir}, "is a directory"},
		{Config{Path: pipe}, "expected a file, got a pipe"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.cfg, err, c.want)
		}
	}
}
