package rules

import (
	"fmt"
	"math/bits"
	"sort"
)

// automata gives each field that is searched for many substrings an automaton.
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
	c.triggers()
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

// trigger excludes rules that need one of some patterns when none of theirs occurred, so that a thousand rules on
// substrings cost one pass over each text and not a thousand questions.
type trigger struct {
	// free are the rules that need no pattern; rules lists, by pattern, those that it lets pass.
	free  []uint64
	rules [][]int32
	// concerned are, by automaton, the rules that one of its patterns may let pass.
	concerned [][]uint64
}

// search is an automaton that can exclude the rules in mask as soon as its slot is known.
type search struct {
	automaton int32
	mask      []uint64
}

func (c *compiler) triggers() {
	s := c.set
	t := &s.trigger
	t.free = append([]uint64(nil), s.all...)
	t.rules = make([][]int32, s.patterns)
	t.concerned = make([][]uint64, len(s.automata))
	for i := range t.concerned {
		t.concerned[i] = make([]uint64, s.words)
	}
	owner := make([]int32, s.patterns)
	for id := range s.automata {
		a := &s.automata[id]
		for p := range a.patterns {
			owner[a.first+int32(p)] = int32(id)
		}
	}
	early := map[int32][]uint64{} // by automaton
	for i, r := range s.rules {
		wanted := c.wants(&r.expr, false)
		if len(wanted) == 0 {
			continue
		}
		t.free[i/64] &^= 1 << (i % 64)
		one := owner[wanted[0]]
		for _, p := range wanted {
			t.rules[p] = append(t.rules[p], int32(i))
			t.concerned[owner[p]][i/64] |= 1 << (i % 64)
			if owner[p] != one {
				one = -1
			}
		}
		if one >= 0 && s.fields[s.automata[one].field].single() >= 0 {
			if early[one] == nil {
				early[one] = make([]uint64, s.words)
			}
			early[one][i/64] |= 1 << (i % 64)
		}
	}
	for id := range s.automata {
		if mask := early[int32(id)]; mask != nil {
			slot := s.fields[s.automata[id].field].single()
			s.slots[slot].searches = append(s.slots[slot].searches, search{int32(id), mask})
		}
	}
}

// wants are patterns of which e (or its negation) needs at least one; none means that it can do without. A conjunction
// takes the shortest list of its parts.
func (c *compiler) wants(e *expr, negated bool) []int32 {
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
		return ids
	case exprAnd, exprOr:
		var out []int32
		all := (e.op == exprAnd) != negated
		for i := range e.kids {
			k := c.wants(&e.kids[i], negated)
			switch {
			case !all && len(k) == 0:
				return nil
			case !all:
				out = append(out, k...)
			case len(k) > 0 && (len(out) == 0 || len(k) < len(out)):
				out = k
			}
		}
		return out
	default:
		return nil
	}
}

// triggerFrom is how many rules must wait for an automaton before it runs ahead of them. Fewer are asked one by one, and
// run it only if the rest of their conditions gets that far: the text may be long, or computed at some cost.
const triggerFrom = 8

// triggered runs the automata that many rules still wait for, and excludes those whose patterns did not occur.
func (sc *scratch) triggered() {
	t := &sc.set.trigger
	ran := false
	for id, mask := range t.concerned {
		if inCommon(sc.alive, mask) < triggerFrom {
			continue
		}
		if !sc.run(int32(id)) {
			return // too many values to remember: the predicates see to it
		}
		ran = true
	}
	if !ran {
		return
	}
	sc.admitted(t.free)
	for id, mask := range t.concerned {
		if sc.runs[id] == sc.stamp {
			continue
		}
		for w, m := range mask {
			sc.alternat[w] |= m
		}
	}
	for w := range sc.alive {
		sc.alive[w] &= sc.alternat[w]
	}
}

// inCommon counts the bits that a and b have in common.
func inCommon(a, b []uint64) int {
	n := 0
	for i, x := range a {
		n += bits.OnesCount64(x & b[i])
	}
	return n
}

// admitted sets sc.alternat to the rules in free and those that a pattern found so far lets pass.
func (sc *scratch) admitted(free []uint64) {
	copy(sc.alternat, free)
	for _, id := range sc.hitList {
		for _, r := range sc.set.trigger.rules[id] {
			sc.alternat[r/64] |= 1 << (r % 64)
		}
	}
}

// searched runs the automata of a slot that is known. -1 means that no rule is possible any more.
func (sc *scratch) searched(list []search) int {
	for _, s := range list {
		if !overlap(sc.alive, s.mask) || !sc.run(s.automaton) {
			continue
		}
		for w, m := range s.mask {
			sc.alternat[w] = ^m
		}
		sc.admitted(sc.alternat)
		if sc.apply(sc.alternat) < 0 {
			return -1
		}
	}
	return 0
}

func overlap(a, b []uint64) bool {
	for i, x := range a {
		if x&b[i] != 0 {
			return true
		}
	}
	return false
}
