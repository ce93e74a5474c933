package rules

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// oneRule is a rule around a detection.
func oneRule(detection string) string {
	return "title: One\nid: 00000000-0000-4000-8000-000000000001\nlogsource: {product: kubernetes, service: audit}\ndetection:\n" + detection
}

func matchesOne(t testing.TB, set *Set, event string) (bool, End) {
	t.Helper()
	hits, end, err := set.Match([]byte(event), nil)
	if err != nil {
		t.Fatalf("%s: %v", event, err)
	}
	return len(hits) > 0, end
}

func TestGateStopsEarly(t *testing.T) {
	set := mustCompile(t, oneRule("  s:\n    verb: [create, patch]\n    objectRef.resource: pods\n    responseStatus.code|gte: 200\n    responseStatus.code|lt: 300\n  condition: s\n"), nil, Options{})
	for _, c := range []struct {
		event string
		match bool
		end   End
	}{
		{`{"verb":"create","objectRef":{"resource":"pods"},"responseStatus":{"code":201}}`, true, Exhausted},
		{`{"responseStatus":{"code":201.0},"objectRef":{"resource":"PODS"},"verb":"Cre\u0061te"}`, true, Exhausted},
		{`{"verb":"patch","objectRef":{"resource":"p\u006fds"},"responseStatus":{"code":"2e2"}}`, true, Exhausted},
		{`{"verb":"get","objectRef":{"resource":"pods"},"responseStatus":{"code":201}}`, false, Rejected},
		{`{"verb":null,"objectRef":{"resource":"pods"},"responseStatus":{"code":201}}`, false, Rejected},
		{`{"verb":{"create":1},"objectRef":{"resource":"pods"}}`, false, Rejected},
		{`{"verb":["get","create"],"objectRef":{"resource":"pods"},"responseStatus":{"code":299}}`, true, Exhausted},
		{`{"objectRef":{"resource":"pods"},"responseStatus":{"code":404},"verb":"create"}`, false, Rejected},
		{`{"objectRef":{"name":"x"},"verb":"create","responseStatus":{"code":201}}`, false, Rejected},
		{`{"objectRef":{"resource":"pods"},"verb":"create"}`, false, Exhausted},
		{`{}`, false, Exhausted},
		// What follows the field that decides is not read.
		{`{"verb":"list", no JSON at all`, false, Rejected},
	} {
		if match, end := matchesOne(t, set, c.event); match != c.match || end != c.end {
			t.Errorf("%s: expected %v, %v, got %v, %v", c.event, c.match, c.end, match, end)
		}
	}
}

// The order of keys changes no verdict: every rotation of an event's keys gives the same hits.
func TestKeyOrder(t *testing.T) {
	set := samplePack(t)
	checked := 0
	for i, e := range corpus(t, "rr.jsonl.gz") {
		if i%20 != 0 || len(e) > 8000 || raceDetector && i%100 != 0 {
			continue
		}
		want, _, err := set.Match(e, nil)
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		m := openMembers(string(e))
		for {
			k, ok := m.key()
			if !ok {
				break
			}
			v, _ := m.value()
			parts = append(parts, `"`+k+`" : `+v)
		}
		for turn := range parts {
			rotated := append(append([]string(nil), parts[turn:]...), parts[:turn]...)
			if turn%2 == 1 {
				slices.Reverse(rotated)
			}
			got, _, err := set.Match([]byte("{ "+strings.Join(rotated, " ,\n")+" }"), nil)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("rotated by %d: expected %v, got %v (%v)", turn, want, got, err)
			}
			checked++
		}
	}
	if checked < 200 {
		t.Errorf("expected hundreds of orders, got %d", checked)
	}
}

func TestKeys(t *testing.T) {
	set := mustCompile(t, oneRule("  s:\n    a.b.c: x\n  condition: s\n"), nil, Options{})
	for event, want := range map[string]bool{
		`{"a":{"b":{"c":"x"}}}`:                       true,
		`{"a.b":{"c":"x"}}`:                           true,
		`{"a":{"b.c":"x"}}`:                           true,
		`{"a.b.c":"X"}`:                               true,
		`{"\u0061":{"\u0062":{"c":"x"}}}`:             true,
		`{"a\u002eb":{"c":"x"}}`:                      true,
		`{"a":{"b":{"c":"y"}},"a.b.c":"x"}`:           false, // the first top-level key that fits decides
		`{"a.b.c":"x","a":{"b":{"c":"y"}}}`:           true,
		`{"a":{"b":1},"a.b.c":"x"}`:                   false,
		`{"a.b":1,"a":{"b":{"c":"x"}}}`:               false,
		`{"a":{"b":{"c":"x"}},"a":{"b":{"c":"y"}}}`:   true, // the first of equal keys counts
		`{"a":{"b":{"c":"y"}},"a":{"b":{"c":"x"}}}`:   false,
		`{"a":{"b":{"c":"y"}},"\u0061":{"b.c":"x"}}`:  false,
		`{"a":{"b":{"d":1},"b.c":"x"}}`:               true, // inside, the first that leads to a value
		`{"a":[{"b":{"c":"y"}},{"b":[[{"c":"x"}]]}]}`: true,
		`{"a":[[{"b.c":["y",["x"]]}]]}`:               true,
		`{"A":{"b":{"c":"x"}}}`:                       false, // names have a case
		`{"a":{"b":{"c":{"x":1}}}}`:                   false,
		`{"d":{"a":{"b":{"c":"x"}}}}`:                 false,
		`{"d":"\"a\":{\"b\":{\"c\":\"x\"}}"}`:         false,
	} {
		if got, _ := matchesOne(t, set, event); got != want {
			t.Errorf("%s: expected %v, got %v", event, want, got)
		}
	}
	odd := mustCompile(t, oneRule("  s:\n    'a\\b': x\n  condition: s\n"), nil, Options{})
	for event, want := range map[string]bool{`{"a\\b":"x"}`: true, `{"a\b":"x"}`: false} {
		if got, _ := matchesOne(t, odd, event); got != want {
			t.Errorf("%s: expected %v, got %v", event, want, got)
		}
	}
}

func TestBrokenEvents(t *testing.T) {
	set := mustCompile(t, oneRule("  s:\n    verb|contains: x\n    o.k: [a, b]\n  condition: s\n"), nil, Options{})
	for event, offset := range map[string]int{
		``: 0, `[]`: 0, `null`: 0, `  x`: 2, `{`: 1, `{"`: 2, `{"a`: 3, `{"a"`: 4, `{"a":`: 5, `{"a":}`: 5, `{"a":1`: 6, `{"a":1,`: 7,
		`{"a":1,}`: 7, `{"a" 1}`: 5, `{"a":"x`: 5, `{"o":{"k":"a"`: 13, `{"o":{"k":[`: 10, `{a:1}`: 1, `{"a":1 "b":2}`: 7, `{"a":"\`: 5,
	} {
		hits, _, err := set.Match([]byte(event), nil)
		var broken *SyntaxError
		if !errors.As(err, &broken) || broken.Offset != offset || len(hits) > 0 {
			t.Errorf("%s: expected a break at %d, got %v", event, offset, err)
		}
	}
}

// Nesting is passed without recursion: ten million brackets cost time, not the stack.
func TestDeepEvents(t *testing.T) {
	set := mustCompile(t, oneRule("  s:\n    a.b: x\n  w: [y]\n  condition: s or w\n"), nil, Options{})
	depth := 10_000_000
	if raceDetector {
		depth /= 10
	}
	deep := strings.Repeat("[", depth) + `"x"` + strings.Repeat("]", depth)
	for _, event := range []string{`{"z":` + deep + `}`, `{"a":` + deep + `}`, `{"a":{"b":` + deep + `}}`} {
		want := strings.HasPrefix(event, `{"a":{`)
		if got, _ := matchesOne(t, set, event); got != want {
			t.Errorf("%.20s…: expected %v, got %v", event, want, got)
		}
	}
	objects := `{"a":` + strings.Repeat(`{"a":`, depth/10) + "1" + strings.Repeat("}", depth/10) + "}"
	if got, _ := matchesOne(t, set, objects); got {
		t.Error("expected no match")
	}
}

// A field of very many values gives the same verdicts as one of few, without remembering them.
func TestManyValues(t *testing.T) {
	rules := ""
	for i, d := range []string{
		"    v: needle\n", "    v|contains: eedl\n", "    v|neq: needle\n", "    v|all: [needle, v7]\n", "    v|all: [needle, nosuch]\n",
		"    v|exists: true\n", "    v: null\n", "    v|re: '^ne.*e$'\n", "    v|contains: [a1, b1, c1, d1, e1, f1, g1, h1, eedle]\n", "    o.k: needle\n",
	} {
		rules += fmt.Sprintf("---\ntitle: R%d\nlogsource: {product: x}\ndetection:\n  s:\n%s  condition: s\n", i, d)
	}
	set := mustCompile(t, rules, nil, Options{})
	verdicts := func(n int) string {
		var v, o strings.Builder
		for i := range n {
			fmt.Fprintf(&v, `"v%d",`, i)
			fmt.Fprintf(&o, `{"k":"v%d"},`, i)
		}
		hits, _, err := set.Match(fmt.Appendf(nil, `{"v":[%s"needle"],"o":[%s{"k":"needle"}]}`, v.String(), o.String()), nil)
		if err != nil {
			t.Fatal(err)
		}
		var titles []string
		for _, h := range hits {
			titles = append(titles, h.Rule.Title)
		}
		return strings.Join(titles, " ")
	}
	const want = "R0 R1 R3 R5 R7 R8 R9"
	for _, n := range []int{10, maxValues - 1, maxValues, maxValues + 1, 50_000} {
		if got := verdicts(n); got != want {
			t.Errorf("%d values: expected %s, got %s", n, want, got)
		}
	}
}

func TestNoAllocationsWithoutAHit(t *testing.T) {
	set := samplePack(t)
	var quiet [][]byte
	for _, e := range corpus(t, "rr.jsonl.gz") {
		if hits, _, _ := set.Match(e, nil); len(hits) == 0 {
			quiet = append(quiet, e)
		}
	}
	i := 0
	perEvent := testing.AllocsPerRun(3000, func() {
		if hits, _, _ := set.Match(quiet[i%len(quiet)], nil); len(hits) > 0 {
			t.Fatal("a hit")
		}
		i++
	})
	if perEvent >= 0.01 && !raceDetector {
		t.Errorf("expected no allocation per event, got %v", perEvent)
	}
}

// Match appends, keeps nothing, and can be called from everywhere at once.
func TestMatchIsConcurrentAndKeepsNothing(t *testing.T) {
	set := samplePack(t)
	events := corpus(t, "rr.jsonl.gz")[:800]
	want := make([][]Hit, len(events))
	for i, e := range events {
		want[i], _, _ = set.Match(e, nil)
	}
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			hits := make([]Hit, 0, 8)
			var lent []byte
			for i := range events {
				i = (i*7 + worker) % len(events)
				lent = append(lent[:0], events[i]...)
				hits, _, _ = set.Match(lent, hits[:0])
				for k := range lent {
					lent[k] = '#' // the loan is over
				}
				if !slices.Equal(hits, want[i]) {
					t.Errorf("event %d: expected %v, got %v", i, want[i], hits)
				}
			}
		})
	}
	group.Wait()
	first := []Hit{{Rule: &Rule{Title: "mine"}}}
	for _, e := range events {
		if out, _, _ := set.Match(e, first); out[0].Rule.Title != "mine" {
			t.Fatal("expected hits to be appended")
		}
	}
}

func TestEmptySet(t *testing.T) {
	set, err := Compile(Documents{}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if hits, end, err := set.Match([]byte("{"), nil); len(hits) > 0 || end != Rejected || err != nil {
		t.Errorf("expected nothing to be read, got %v, %v, %v", hits, end, err)
	}
}

func TestStampsWrap(t *testing.T) {
	set := mustCompile(t, oneRule("  s:\n    a|contains: x\n    b: null\n  condition: s\n"), nil, Options{})
	sc := newScratch(set)
	for i, event := range []string{`{"a":"x","b":1}`, `{"a":"x"}`, `{"a":"y"}`, `{"b":null,"a":["x"]}`} {
		sc.stamp += 1<<31 - 1
		sc.begin(event)
		sc.walk()
		var hits []Hit
		if !sc.stopped {
			hits = sc.evaluateRules(nil)
		}
		if want := i%2 == 1; sc.broken != nil || (len(hits) == 1) != want {
			t.Errorf("%s: expected %v, got %v, %v", event, want, hits, sc.broken)
		}
		sc.release()
	}
}

func TestComputed(t *testing.T) {
	calls := 0
	computed := []Computed{{
		Names: []string{"who", "what"},
		Needs: []string{"user.name", "kind", "list.x"},
		Eval: func(raw []string, out *Values) {
			calls++
			out.Add(0, strings.Trim(raw[0], `"`))
			if raw[1] != "" {
				out.Add(1, "known")
				out.Add(1, raw[1])
			}
			if raw[2] != "" {
				out.Add(1, "through an array")
			}
		},
		Implies: func(name, value string) []Pin {
			if name == "what" && value == "known" {
				return []Pin{{Path: "kind", Values: []string{"a", "b"}, Min: 5, Max: 7, Absent: true}, {Path: "code", Min: 200, Max: 299}}
			}
			return nil
		},
	}}
	set := mustCompile(t, oneRule("  s:\n    what: known\n    who|startswith: al\n  condition: s\n")+"---\ntitle: Two\nlogsource: {product: x}\ndetection: {s: {what: known, who|exists: true}, condition: s}\n", computed, Options{})
	for _, c := range []struct {
		event string
		calls int
		hits  int
		end   End
	}{
		{`{"code":201,"kind":"a","user":{"name":"alice"}}`, 1, 2, Exhausted},
		{`{"code":201,"kind":"a","user":{"name":"bob"}}`, 1, 1, Exhausted},
		{`{"code":201,"kind":6,"user":{"name":"alice"}}`, 1, 2, Exhausted},
		{`{"code":201,"kind":"c","user":{"name":"alice"}}`, 0, 0, Rejected},
		{`{"code":404,"kind":"a","user":{"name":"alice"}}`, 0, 0, Rejected},
		{`{"code":201,"user":{"name":"alice"}}`, 1, 0, Exhausted},
		{`{"code":201,"kind":"a","list":[{"x":1}]}`, 1, 1, Exhausted},
	} {
		calls = 0
		hits, end, err := set.Match([]byte(c.event), nil)
		if err != nil || len(hits) != c.hits || calls != c.calls || end != c.end {
			t.Errorf("%s: expected %d hits, %d calls, %v, got %d, %d, %v (%v)", c.event, c.hits, c.calls, c.end, len(hits), calls, end, err)
		}
	}
}

func TestLongNumbersAndBigEvents(t *testing.T) {
	set := mustCompile(t, oneRule("  s:\n    n: 18446744073709551616\n  condition: s\n"), nil, Options{})
	for event, want := range map[string]bool{
		`{"n":18446744073709551616}`: true, `{"n":18446744073709551617}`: false, `{"n":"1.8446744073709551616e19"}`: true,
		`{"n":` + strings.Repeat("9", 1<<20) + `}`: false,
	} {
		if got, _ := matchesOne(t, set, event); got != want {
			t.Errorf("%.40s: expected %v, got %v", event, want, got)
		}
	}
	big := append(append([]byte(`{"x":"`), bytes.Repeat([]byte("a"), 16<<20)...), `","n":18446744073709551616}`...)
	if hits, _, err := set.Match(big, nil); err != nil || len(hits) != 1 {
		t.Errorf("expected a hit behind 16 MiB, got %v, %v", hits, err)
	}
}
