package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/spawnwatch/spawnwatch/sources"
)

// benchmarkLog writes the real log of the repository's neighbour, repeated times times, and gives its path and size.
func benchmarkLog(b *testing.B, times int) (string, int64) {
	b.Helper()
	f, err := os.Open(sharedFile(b, "corpus/dev/rr.jsonl.gz"))
	if err != nil {
		b.Fatal(err)
	}
	defer closed(b, f)
	z, err := gzip.NewReader(f)
	if err != nil {
		b.Fatal(err)
	}
	log, err := io.ReadAll(z)
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "rr.jsonl")
	if err := os.WriteFile(path, bytes.Repeat(log, times), 0o600); err != nil {
		b.Fatal(err)
	}
	return path, int64(times * len(log))
}

// sharedFile finds the folder of reference data beside the repository.
func sharedFile(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Skip("no go.mod above this folder, so the reference data cannot be found")
		}
		dir = parent
	}
	path := filepath.Join(dir, "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the reference data %s is not beside the repository", name)
	}
	return path
}

// BenchmarkRun reads 302 MB of real log with a handler that does nothing: what is left is reading and splitting.
func BenchmarkRun(b *testing.B) {
	path, size := benchmarkLog(b, 21)
	s, err := New(Config{Paths: []string{path}}, Settings{Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	before, gb := cpuSeconds(b), 0.0
	for b.Loop() {
		gb += float64(size) / 1e9
		if err := s.Run(context.Background(), func(context.Context, *sources.Batch) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuSeconds(b)-before)/gb, "cpu-s/GB")
}

// cpuSeconds is what this process has used, in user and system time.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Skip("no getrusage here: ", err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}
