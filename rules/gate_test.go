package rules

import (
	"slices"
	"strconv"
	"testing"
)

// TestSmallMasks: the masks of small integers, which are made at few points, are those of the slow comparison everywhere.
func TestSmallMasks(t *testing.T) {
	docs, err := Parse("t.yml", []byte(`
title: a
logsource: {product: p}
detection: {s: {code|gte: 400, code|lt: 500}, condition: s}
---
title: b
logsource: {product: p}
detection: {s: {code: [201, 504, '7']}, condition: s}
---
title: c
logsource: {product: p}
detection: {s: {code|gt: 299.5}, condition: s}
---
title: d
logsource: {product: p}
detection: {s: {made: yes}, condition: s}
---
title: e
logsource: {product: p}
detection: {s: {code|lte: 0}, condition: s}
---
title: f
logsource: {product: p}
detection: {s: {code: '0201'}, condition: s}
`))
	if err != nil {
		t.Fatal(err)
	}
	computed := []Computed{{
		Names: []string{"made"}, Needs: []string{"code"}, Eval: func([]string, *Values) {},
		Implies: func(string, string) []Pin { return []Pin{{Path: "code", Min: 100, Max: 998}} },
	}}
	set, err := Compile(docs, computed, Options{})
	if err != nil {
		t.Fatal(err)
	}
	sc := newScratch(set)
	checked := 0
	for i := range set.gates {
		g := &set.gates[i]
		for n := range g.small {
			sc.begin(strconv.Itoa(n))
			if want := g.slow(strconv.Itoa(n), sc); !slices.Equal(g.small[n], want) {
				t.Errorf("%d: mask %b, want %b", n, g.small[n], want)
			}
			checked++
		}
	}
	if checked != smallNumbers {
		t.Errorf("%d masks checked, want those of one gate", checked)
	}
}

// TestWalkChecks: values that were asked for go through the check once they are reached, and only sound ones are told.
func TestWalkChecks(t *testing.T) {
	docs, err := Parse("t.yml", []byte("title: a\nlogsource: {product: p}\ndetection: {s: {verb: create, body|exists: true, other|exists: true}, condition: s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	set, err := Compile(docs, nil, Options{Checked: []string{"body", "other", "absent"}, Check: func(event string, start int) int {
		calls++
		if event[start] != '{' {
			return -1
		}
		return skipValue(event, start)
	}})
	if err != nil {
		t.Fatal(err)
	}
	c, end, err := set.Walk([]byte(`{"verb":"create","body":{"a":[1]},"other":[2]}`))
	if hits := c.Hits(nil); len(hits) != 1 || end != Exhausted || err != nil || calls != 2 || !slices.Equal(c.Checked(), []Span{{24, 33}}) {
		t.Errorf("%v, %v, %v, %v, %d calls", hits, c.Checked(), end, err, calls)
	}
	c.Release()
	calls = 0
	if c, end, _ := set.Walk([]byte(`{"verb":"get","body":{"a":[1]},"other":[2]}`)); end != Rejected || calls != 0 || len(c.Checked()) != 0 {
		t.Errorf("a rejected event was checked: %v, %v, %d calls", c.Checked(), end, calls)
	}
}
