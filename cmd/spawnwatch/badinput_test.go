package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary stand in for the program, so that exit codes and memory are those of a process: by a
// variable, and under its own name for the scripts in testdata/script.
func TestMain(m *testing.M) {
	if os.Getenv("SPAWNWATCH_TEST_MAIN") == "1" {
		main()
		return
	}
	testscript.Main(m, map[string]func(){"spawnwatch": main})
}

// process is the outcome of a whole process.
type process struct {
	code           int
	stdout, stderr string
	maxRSS         int64 // bytes
}

func runProcess(t *testing.T, stdin io.Reader, args ...string) process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "SPAWNWATCH_TEST_MAIN=1")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	p := process{code: cmd.ProcessState.ExitCode(), stdout: out.String(), stderr: errs.String()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.maxRSS = usage.Maxrss << 10
	}
	return p
}

// creation is a line of the corpus that alerts.
func creation(t *testing.T) []byte {
	t.Helper()
	for _, e := range readTruth(t, "rr") {
		if e.Kind == "Pod" && e.Owner == "" && e.Code == 201 {
			return readLines(t, "rr")[e.Line-1]
		}
	}
	t.Fatal("the corpus holds no Pod that a person created")
	return nil
}

// another is the same creation under another audit id, so that the repeat window lets it pass.
func another(line []byte, id string) []byte {
	var e struct {
		AuditID string `json:"auditID"`
	}
	if json.Unmarshal(line, &e) != nil {
		return nil
	}
	return bytes.Replace(line, []byte(e.AuditID), []byte(id), 1)
}

// repeatReader yields n copies of c.
type repeatReader struct {
	c byte
	n int
}

func (r *repeatReader) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := min(len(p), r.n)
	for i := range n {
		p[i] = r.c
	}
	r.n -= n
	return n, nil
}

const maxMemory = 256 << 20

// TestBadLines puts each kind of bad line between two good ones.
func TestBadLines(t *testing.T) {
	good := creation(t)
	for _, c := range []struct {
		name   string
		bad    func() io.Reader
		reason string
		size   int64
		sha256 string
	}{
		{name: "binary garbage", bad: bytesReader([]byte{0xff, 0xfe, 0, 1, 2, 0x80}), reason: "foreign|malformed", size: 6},
		{name: "half an event", bad: bytesReader(good[:len(good)/2]), reason: "malformed", size: int64(len(good) / 2)},
		{name: "invalid UTF-8", bad: bytesReader(bytes.Replace(good, []byte(`"Pod"`), []byte("\"P\xffd\""), 1)), reason: "invalid_utf8", size: int64(len(good))},
		{name: "a line of 200 MB", bad: func() io.Reader { return &repeatReader{'x', 200 << 20} }, reason: "too_large", size: 200 << 20, sha256: digest(&repeatReader{'x', 200 << 20})},
		{name: "ten million brackets", bad: func() io.Reader { return &repeatReader{'[', 10_000_000} }, reason: "too_deep|malformed|foreign", size: 10_000_000},
		{name: "ten million braces in an event", bad: func() io.Reader {
			return io.MultiReader(bytes.NewReader(good[:len(good)-1]), strings.NewReader(`,"x":`), &repeatReader{'[', 10_000_000}, &repeatReader{']', 10_000_000}, strings.NewReader("}"))
		}, reason: "too_large|too_deep", size: int64(len(good)) + 5 + 20_000_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			dead := filepath.Join(t.TempDir(), "dead.jsonl")
			in := io.MultiReader(bytes.NewReader(good), strings.NewReader("\n"), c.bad(), strings.NewReader("\n"),
				bytes.NewReader(another(good, "second")), strings.NewReader("\n"))
			p := runProcess(t, in, "replay", "-o", "json", "--enrich", "none", "--dead-letter", dead, "-")
			if n := strings.Count(p.stdout, "\n"); n != 2 {
				t.Errorf("%d alerts, want the 2 around the bad line\n%s", n, p.stderr)
			}
			if p.code != exitBad {
				t.Errorf("exit %d, want %d", p.code, exitBad)
			}
			if p.maxRSS > maxMemory {
				t.Errorf("%d MiB of memory, want at most %d", p.maxRSS>>20, maxMemory>>20)
			}
			if want := ":2: bad record at byte "; !strings.Contains(p.stderr, want) {
				t.Errorf("standard error does not say %q:\n%s", want, p.stderr)
			}
			checkBadLetter(t, dead, c.reason, c.size, c.sha256)
		})
	}
}

func bytesReader(b []byte) func() io.Reader {
	return func() io.Reader { return bytes.NewReader(b) }
}

func digest(r io.Reader) string {
	h := sha256.New()
	_, _ = io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil))
}

func checkBadLetter(t *testing.T, path, reasons string, size int64, sha string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var l struct {
		Reason string `json:"reason"`
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
		Record string `json:"record_b64"`
		Origin struct {
			Line int64 `json:"line"`
		} `json:"origin"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(data), &l); err != nil {
		t.Fatalf("expected one dead letter: %v: %.200s", err, data)
	}
	ok := false
	for r := range strings.SplitSeq(reasons, "|") {
		ok = ok || r == l.Reason
	}
	record, err := base64.StdEncoding.DecodeString(l.Record)
	if err != nil {
		t.Fatal(err)
	}
	if !ok || l.Size != size || l.Origin.Line != 2 {
		t.Errorf("reason %s, size %d, line %d; want %s, %d, 2", l.Reason, l.Size, l.Origin.Line, reasons, size)
	}
	if sha != "" && l.SHA256 != sha {
		t.Errorf("sha256 %s, want %s", l.SHA256, sha)
	}
	if kept := int64(len(record)); kept != size && kept != 64<<10 {
		t.Errorf("%d bytes kept of %d", kept, size)
	}
}

// TestBadInputs are inputs that cannot be opened or read to their end: the others are read all the same.
func TestBadInputs(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	line := append(creation(t), '\n')
	good := write("good.jsonl", line)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for range 200 {
		if _, err := z.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, says string
		code             int
	}{
		{"cut gzip", write("cut.gz", packed.Bytes()[:packed.Len()*3/4]), "cut.gz:", exitBad},
		{"missing", filepath.Join(dir, "missing.jsonl"), "missing.jsonl", exitBad},
		{"directory", dir, "directory", exitBad},
		{"empty", write("empty.jsonl", nil), "0 bad", exitOK},
		{"empty glob", filepath.Join(dir, "nothing-*.jsonl"), "nothing-*.jsonl", exitBad},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := runProcess(t, nil, "replay", "-o", "json", "--enrich", "none", c.path, good)
			if p.code != c.code || !strings.Contains(p.stderr, c.says) {
				t.Errorf("exit %d, want %d; standard error should say %q:\n%s", p.code, c.code, c.says, p.stderr)
			}
			if strings.Count(p.stdout, "\n") != 1 {
				t.Errorf("the good file beside it should alert once, got:\n%.500s", p.stdout)
			}
		})
	}
}

// TestBrokenInsideQuietEvent: what no rule could have matched is read in full only under validate: all.
func TestBrokenInsideQuietEvent(t *testing.T) {
	quiet := []byte(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"q","stage":"ResponseComplete","requestURI":"/api/v1/pods","verb":"list","user":{"username":"a"},"oops":tru}` + "\n")
	for validate, want := range map[string]int{"candidates": exitOK, "all": exitBad} {
		if r := runReplay(t, quiet, "--validate", validate, "-"); r.code != want {
			t.Errorf("--validate %s: exit %d, want %d\n%s", validate, r.code, want, r.stderr)
		}
	}
}

// TestMemoryDoesNotGrowWithTheFile replays a log of 100 MB from a pipe.
func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: skipped by -short")
	}
	all := bytes.Join(readLines(t, "rr"), []byte("\n"))
	readers := make([]io.Reader, 0, 16)
	for range 8 {
		readers = append(readers, bytes.NewReader(all), strings.NewReader("\n"))
	}
	p := runProcess(t, io.MultiReader(readers...), "replay", "-o", "json", "--enrich", "none", "-")
	if p.code != exitOK || p.maxRSS > maxMemory/2 {
		t.Errorf("exit %d, %d MiB of memory\n%s", p.code, p.maxRSS>>20, p.stderr)
	}
}
