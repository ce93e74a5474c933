//go:build unix

package rules

import (
	"fmt"
	"strings"
	"syscall"
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

func runMatch(b *testing.B, set *Set, events [][]byte) {
	var hits []Hit
	for _, e := range events[:min(len(events), 5000)] {
		hits, _, _ = set.Match(e, hits[:0])
	}
	var bytes, matched int
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime(b)
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
	// Processor time says the same on a busy machine, wall time does not.
	used := processorTime(b) - before
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/used.Seconds(), "events/cpu-s")
	b.ReportMetric(100*float64(matched)/float64(b.N), "%hit")
	b.SetBytes(int64(bytes / b.N))
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMatchCreations is the shape of the built-in pack: twenty rules on a computed outcome, whose pins let most
// events go at the verb, and on what the created object holds.
func BenchmarkMatchCreations(b *testing.B) {
	computed := []Computed{{
		Names: []string{"outcome", "image"},
		Needs: []string{"verb", "responseStatus.code", "objectRef.subresource", "requestObject"},
		Eval: func(raw []string, out *Values) {
			if raw[1] == "201" && raw[2] == "" {
				out.Add(0, "created")
				out.Add(1, "nginx:1.27")
			}
		},
		Implies: func(name, _ string) []Pin {
			if name != "outcome" {
				return nil
			}
			return []Pin{
				{Path: "stage", Values: []string{"ResponseComplete"}, Absent: true},
				{Path: "verb", Values: []string{"create", "patch", "update"}},
				{Path: "objectRef.resource", Values: []string{"pods", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs", "replicationcontrollers"}},
				{Path: "objectRef.subresource", Absent: true},
				{Path: "responseStatus.code", Min: 201, Max: 201},
			}
		},
	}}
	var text strings.Builder
	for i := range 20 {
		fmt.Fprintf(&text, "---\ntitle: Rule %d\nlogsource: {product: kubernetes}\ndetection:\n  s:\n    outcome: created\n    image|contains: miner-%d\n  condition: s\n", i, i)
	}
	runMatch(b, mustCompile(b, text.String(), computed, Options{Guards: stageGuard}), coldLines(b))
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
