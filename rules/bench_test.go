package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// coldLines repeats a real log until it is larger than any cache, so that each line is read from memory as it is in
// life. Whoever reads the same few lines again measures the cache.
func coldLines(b *testing.B) [][]byte {
	b.Helper()
	const size = 96 << 20
	events := corpus(b, "rr.jsonl.gz")
	var out [][]byte
	for total := 0; total < size; {
		for _, e := range events {
			out = append(out, append([]byte(nil), e...))
			total += len(e)
		}
	}
	return out
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

func runMatch(b *testing.B, set *Set, events [][]byte) {
	var hits []Hit
	for _, e := range events[:min(len(events), 5000)] {
		hits, _, _ = set.Match(e, hits[:0])
	}
	var bytes, matched int
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		e := events[i%len(events)]
		bytes += len(e)
		var err error
		if hits, _, err = set.Match(e, hits[:0]); err != nil {
			b.Fatal(err)
		}
		if len(hits) > 0 {
			matched++
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(100*float64(matched)/float64(b.N), "%hit")
	b.SetBytes(int64(bytes / b.N))
}

// BenchmarkMatchPack is the everyday case: about twenty rules over a real mix of events.
func BenchmarkMatchPack(b *testing.B) {
	runMatch(b, samplePack(b), coldLines(b))
}

// BenchmarkMatch is the cost of many rules: pinned ones name a resource, a verb and a code; unpinned ones search texts.
func BenchmarkMatch(b *testing.B) {
	events := coldLines(b)
	for _, kind := range []string{"pinned", "unpinned"} {
		for _, n := range []int{1, 10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				runMatch(b, mustCompile(b, manyRules(kind, n), nil, Options{}), events)
			})
		}
	}
}

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

// BenchmarkSubstrings compares one automaton with one search per pattern: where the lines cross is automatonFrom.
func BenchmarkSubstrings(b *testing.B) {
	text := "kubectl/v1.31.0 (linux/amd64) kubernetes/9edcffc"
	for _, n := range []int{1, 2, 4, 8, 16, 64} {
		patterns := make([]pattern, n)
		for i := range patterns {
			patterns[i] = pattern{fmt.Sprintf("scanner-%d/", i), opContains}
		}
		a, ok := newAutomaton(0, false, patterns)
		if !ok {
			b.Fatal("the table is too large")
		}
		b.Run(fmt.Sprintf("automaton/%d", n), func(b *testing.B) {
			sc := &scratch{stamp: 1, hits: make([]uint32, n)}
			for b.Loop() {
				a.scan(text, sc)
			}
		})
		b.Run(fmt.Sprintf("loop/%d", n), func(b *testing.B) {
			found := 0
			for b.Loop() {
				for i := range patterns {
					if strings.Contains(text, patterns[i].text) {
						found++
					}
				}
			}
			if found > 0 {
				b.Fatal("nothing should be found")
			}
		})
	}
}

// BenchmarkCompile is a thousand rules from YAML to a set.
func BenchmarkCompile(b *testing.B) {
	text := []byte(manyRules("pinned", 1000))
	for b.Loop() {
		docs, err := Parse("many.yml", text)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Compile(docs, nil, Options{}); err != nil {
			b.Fatal(err)
		}
	}
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
