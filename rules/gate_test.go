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
