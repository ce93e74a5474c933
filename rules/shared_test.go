package rules

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
	defer func() { _ = f.Close() }()
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

func samplePack(b testing.TB) *Set {
	b.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "rules", "kubernetes.yml"))
	if err != nil {
		b.Fatal(err)
	}
	return mustCompile(b, string(data), nil, Options{Guards: stageGuard})
}

var stageGuard = []Guard{{Field: "stage", Values: []string{"ResponseStarted", "ResponseComplete", "Panic"}, Absent: true}}

// manyRules makes n different rules.
func manyRules(kind string, n int) string {
	resources := []string{"pods", "secrets", "deployments", "roles", "rolebindings", "clusterroles", "serviceaccounts", "jobs", "cronjobs", "daemonsets", "services", "ingresses"}
	verbs := []string{"create", "delete", "patch", "update", "deletecollection"}
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\ntitle: Rule %d\nid: 00000000-0000-4000-8000-%012d\nlogsource: {product: kubernetes, service: audit}\ndetection:\n  sel:\n", i, i)
		if kind == "pinned" {
			fmt.Fprintf(&b, "    objectRef.resource: %s\n    verb: %s\n    objectRef.name|startswith: app-%d\n", resources[i%len(resources)], verbs[i/len(resources)%len(verbs)], i)
			fmt.Fprintf(&b, "  filter:\n    user.username: 'system:serviceaccount:team-%d:deployer'\n  condition: sel and not filter\n", i)
		} else {
			fmt.Fprintf(&b, "    userAgent|contains: tool-%d/\n  uri:\n    requestURI|contains: /namespaces/hidden-%d/\n  condition: sel or uri\n", i, i)
		}
	}
	return b.String()
}

func TestCompileThousandWithinASecond(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has other times")
	}
	begin := time.Now()
	set := mustCompile(t, manyRules("pinned", 500)+strings.ReplaceAll(manyRules("unpinned", 500), "00000000-", "11111111-"), nil, Options{})
	if len(set.Rules()) != 1000 {
		t.Fatalf("expected 1000 rules, got %d", len(set.Rules()))
	}
	// The race detector and a busy machine cost much more than a factor of two; the benchmark has the exact figure.
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("expected a thousand rules to compile in a second, took %v", took)
	}
}
