package rules

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// shared finds a file of the reference data beside the repository, and skips the test where there is none.
func shared(t testing.TB, name string) string {
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
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
	path := filepath.Join(dir, "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("reference data is not here: %v", err)
	}
	return path
}

func readShared(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(shared(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// lines splits JSON lines.
func lines(t testing.TB, data []byte) [][]byte {
	t.Helper()
	var out [][]byte
	for l := range bytes.Lines(data) {
		if l = bytes.TrimSpace(l); len(l) > 0 {
			out = append(out, l)
		}
	}
	return out
}

// corpus reads a log of the repository's own testdata.
func corpus(t testing.TB, name string) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "testdata", "corpus", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return lines(t, data)
}

type verdict struct {
	Rule      string              `json:"rule"`
	Title     string              `json:"title"`
	Match     []string            `json:"match"`
	Contested map[string][]string `json:"contested"`
}

type verdictEvent struct {
	ID    string          `json:"id"`
	Event json.RawMessage `json:"event"`
}

func decodeLines[T any](t testing.TB, data []byte) []T {
	t.Helper()
	var out []T
	for _, l := range lines(t, data) {
		var v T
		if err := json.Unmarshal(l, &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// mustCompile compiles rules given as YAML.
func mustCompile(t testing.TB, yaml string, computed []Computed, opts Options) *Set {
	t.Helper()
	docs, err := Parse("test.yml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	set, err := Compile(docs, computed, opts)
	if err != nil {
		t.Fatal(err)
	}
	return set
}
