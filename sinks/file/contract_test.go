package file

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sinks/sinktest"
)

// readLines gives the lines of everything below dir, each with the path of its file.
func readLines(t testing.TB, dir string) (all []sinktest.Received) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		place, err := filepath.Rel(dir, path)
		for line := range strings.Lines(string(content)) {
			if !strings.HasSuffix(line, "\n") {
				t.Errorf("%s ends inside a line: %.60q", path, line)
			}
			all = append(all, sinktest.Received{Place: place, Value: []byte(strings.TrimSuffix(line, "\n"))})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func open(t testing.TB, cfg Config) *Sink {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContractOfOneFile(t *testing.T) {
	for _, sync := range []bool{false, true} {
		sinktest.Run(t, sinktest.Harness{Open: func(t testing.TB) sinktest.Peer {
			dir := t.TempDir()
			return sinktest.Peer{
				Sink: func(t testing.TB) sinks.Sink {
					return open(t, Config{Path: filepath.Join(dir, "alerts.jsonl"), Sync: sync})
				},
				Read:  func(t testing.TB, _ int) []sinktest.Received { return readLines(t, dir) },
				Place: func(sinks.Labels) string { return "alerts.jsonl" },
			}
		}})
	}
}

func TestContractOfManyFiles(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{Open: func(t testing.TB) sinktest.Peer {
		dir := filepath.Join(t.TempDir(), "alerts")
		return sinktest.Peer{
			Sink: func(t testing.TB) sinks.Sink {
				return open(t, Config{Path: filepath.Join(dir, "{cluster}", "{severity}.jsonl")})
			},
			Read: func(t testing.TB, n int) []sinktest.Received {
				if n == 0 {
					return nil
				}
				return readLines(t, dir)
			},
			Place: func(l sinks.Labels) string { return filepath.Join(l.Cluster, l.Severity+".jsonl") },
			// The parent becomes a file, so that nothing below it can be opened, and a folder again.
			Stop: func(t testing.TB) {
				if err := os.Rename(dir, dir+".away"); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(dir, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			Start: func(t testing.TB) {
				if err := os.Remove(dir); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(dir+".away", dir); err != nil {
					t.Fatal(err)
				}
			},
		}
	}})
}

// disk is a writer that can be full: it then takes half of what it is given.
type disk struct {
	mu   sync.Mutex
	held bytes.Buffer
	full bool
	once bool
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full || d.once {
		d.once = false
		n := min(len(p)/2, 100)
		d.held.Write(p[:n])
		return n, syscall.ENOSPC
	}
	return d.held.Write(p)
}

func (d *disk) set(full, once bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full, d.once = full, once
}

// lines leaves out those that the disk cut off: they do not end as the suite's values do.
func (d *disk) lines() (all []sinktest.Received) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for line := range bytes.Lines(slices.Clone(d.held.Bytes())) {
		if value, ok := bytes.CutSuffix(line, []byte("\"}\n")); ok {
			all = append(all, sinktest.Received{Value: append(value, `"}`...)})
		}
	}
	return all
}

func TestContractOfAStream(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{Open: func(testing.TB) sinktest.Peer {
		d := &disk{}
		return sinktest.Peer{
			Sink:       func(testing.TB) sinks.Sink { return NewWriter(d, "disk") },
			Read:       func(testing.TB, int) []sinktest.Received { return d.lines() },
			Stop:       func(testing.TB) { d.set(true, false) },
			Start:      func(testing.TB) { d.set(false, false) },
			RefuseOnce: func(testing.TB) { d.set(false, true) },
		}
	}})
}
