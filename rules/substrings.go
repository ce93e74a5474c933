package rules

import (
	"fmt"
	"sort"
)

// automata gives each field that is searched for many substrings an automaton, and the rules that need one of them a
// late gate.
func (c *compiler) automata() {
	s := c.set
	type target struct {
		field int32
		cased bool
	}
	predicates := map[target][]int32{}
	var order []target
	for id := range s.predicates {
		p := &s.predicates[id]
		if cased, ok := searchable(p); ok {
			t := target{p.field, cased}
			if predicates[t] == nil {
				order = append(order, t)
			}
			predicates[t] = append(predicates[t], int32(id))
		}
	}
	sort.Slice(order, func(i, j int) bool { return order[i].field < order[j].field })
	for _, t := range order {
		index := map[string]int32{}
		var patterns []pattern
		assigned := map[int32][][]int32{}
		for _, id := range predicates[t] {
			groups := make([][]int32, len(s.predicates[id].item.groups))
			for i, g := range s.predicates[id].item.groups {
				for j := range g {
					key := fmt.Sprintf("%d%s", g[j].op, g[j].text)
					n, ok := index[key]
					if !ok {
						n = int32(len(patterns))
						index[key] = n
						patterns = append(patterns, pattern{g[j].text, g[j].op})
					}
					groups[i] = append(groups[i], int32(s.patterns)+n)
				}
			}
			assigned[id] = groups
		}
		if len(patterns) < automatonFrom {
			continue
		}
		a, ok := newAutomaton(t.field, t.cased, patterns)
		if !ok {
			continue
		}
		a.first = int32(s.patterns)
		s.patterns += len(patterns)
		for id, groups := range assigned {
			s.predicates[id].automaton, s.predicates[id].patterns = int32(len(s.automata)), groups
		}
		s.automata = append(s.automata, a)
	}
	c.lateGates()
}

// searchable tells whether all tests of a predicate seek plain substrings, and whether with case.
func searchable(p *predicate) (cased, ok bool) {
	if p.field < 0 || len(p.item.groups) == 0 {
		return false, false
	}
	for _, g := range p.item.groups {
		for i := range g {
			t := &g[i]
			if t.op != opContains && t.op != opPrefix && t.op != opSuffix || t.text == "" || t.dash {
				return false, false
			}
			cased = t.cased
		}
	}
	return cased, true
}

func (c *compiler) lateGates() {
	s := c.set
	gates := make([]lateGate, len(s.automata))
	for i := range gates {
		gates[i] = lateGate{automaton: int32(i), free: append([]uint64(nil), s.all...), rules: map[int32][]int32{}}
	}
	for i, r := range s.rules {
		for id, patterns := range c.wants(&r.expr, false) {
			g := &gates[id]
			g.free[i/64] &^= 1 << (i % 64)
			for _, p := range patterns {
				g.rules[p] = append(g.rules[p], int32(i))
			}
		}
	}
	for _, g := range gates {
		if len(g.rules) > 0 {
			s.late = append(s.late, g)
		}
	}
}

// wants are the patterns, by automaton, of which e (or its negation) needs at least one.
func (c *compiler) wants(e *expr, negated bool) map[int32][]int32 {
	switch e.op {
	case exprNot:
		return c.wants(&e.kids[0], !negated)
	case exprPredicate:
		p := &c.set.predicates[e.predicate]
		if negated || p.patterns == nil || p.item.neq {
			return nil
		}
		var ids []int32
		for _, g := range p.patterns {
			ids = append(ids, g...)
			if p.item.all {
				break
			}
		}
		return map[int32][]int32{p.automaton: ids}
	case exprAnd, exprOr:
		out := map[int32][]int32{}
		all := (e.op == exprAnd) != negated
		for i := range e.kids {
			k := c.wants(&e.kids[i], negated)
			if all {
				for a, ids := range k {
					if have, ok := out[a]; !ok || len(ids) < len(have) {
						out[a] = ids
					}
				}
				continue
			}
			if i == 0 {
				out = k
				continue
			}
			both := map[int32][]int32{}
			for a, ids := range out {
				if more, ok := k[a]; ok {
					both[a] = append(append([]int32(nil), ids...), more...)
				}
			}
			out = both
		}
		return out
	}
	return nil
}
