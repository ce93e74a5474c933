package rules

import "strings"

// predicate is a line of a selection on a compiled field. Equal lines of different rules share one.
type predicate struct {
	field int32 // -1 for keywords
	item  *item
	// refs are the fields that the tests of a |fieldref refer to, by group.
	refs []int32
	// patterns are those of an automaton, by group; nil where none is used.
	automaton int32
	patterns  [][]int32
}

type exprOp uint8

const (
	exprPredicate exprOp = iota
	exprAnd
	exprOr
	exprNot
	exprNever
)

// expr is the condition of a rule over predicates.
type expr struct {
	op        exprOp
	predicate int32
	kids      []expr
	// label names the part for people: a selection, a guard, a filter. Empty where the operator says enough.
	label string
}

// holds evaluates e. It recurses as deep as the condition, which is bounded.
func (sc *scratch) holds(e *expr) bool {
	switch e.op {
	case exprPredicate:
		return sc.answer(e.predicate)
	case exprAnd:
		for i := range e.kids {
			if !sc.holds(&e.kids[i]) {
				return false
			}
		}
		return true
	case exprOr:
		for i := range e.kids {
			if sc.holds(&e.kids[i]) {
				return true
			}
		}
		return false
	case exprNot:
		return !sc.holds(&e.kids[0])
	default:
		return false
	}
}

// answer evaluates a predicate, once per event.
func (sc *scratch) answer(id int32) bool {
	if a := sc.answers[id]; a>>1 == uint64(sc.stamp) {
		return a&1 != 0
	}
	yes := sc.evaluate(&sc.set.predicates[id])
	a := uint64(sc.stamp) << 1
	if yes {
		a |= 1
	}
	sc.answers[id] = a
	return yes
}

func (sc *scratch) evaluate(p *predicate) bool {
	it := p.item
	if p.field < 0 {
		return sc.keywords(p)
	}
	if p.patterns != nil {
		return sc.byAutomaton(p)
	}
	st := sc.state(p.field)
	var yes bool
	switch {
	case st.spilled:
		yes = sc.streamed(p)
	case it.all && !it.neq:
		yes = true
		for i, g := range it.groups {
			if !sc.group1(p, i, g, st) {
				yes = false
				break
			}
		}
	default:
		for i, g := range it.groups {
			if sc.group1(p, i, g, st) {
				yes = true
				break
			}
		}
	}
	if it.neq {
		// A field that is absent differs from nothing.
		return st.present && !yes
	}
	return yes
}

// group1 tells whether any value of the field meets any alternative of group i.
func (sc *scratch) group1(p *predicate, i int, g []test, st *fieldState) bool {
	for j := range g {
		t := &g[j]
		if t.op.onField() {
			if sc.onField(p, i, t, st) {
				return true
			}
			continue
		}
		for k := st.first; k < st.last; k++ {
			if t.matches(&sc.values[k], sc) {
				return true
			}
		}
	}
	return false
}

// onField evaluates what looks at the field as a whole.
func (sc *scratch) onField(p *predicate, i int, t *test, st *fieldState) bool {
	switch t.op {
	case opNull:
		return !st.present || st.null
	case opPresent:
		return st.present
	case opAbsent:
		return !st.present
	default:
		return sc.reference(p.field, p.refs[i], t)
	}
}

// reference compares two fields. Equality takes scalars as text without case, or with |cased as they are, and arrays as
// wholes; |contains, |startswith and |endswith take any value of one and any of the other. Two nulls are equal; a field
// that is absent equals nothing. A field of more than maxValues values equals nothing either, unless it is an array
// compared as a whole.
func (sc *scratch) reference(a, b int32, t *test) bool {
	x, y := sc.state(a), sc.state(b)
	switch {
	case !x.present || !y.present:
		return false
	case t.op != opRefEqual:
		return sc.anyPair(x, y, t)
	case x.null || y.null:
		return x.null && y.null
	}
	v, w := sc.whole(a), sc.whole(b)
	switch {
	case v.array != w.array:
		return false
	case v.array:
		return sc.sameArray(v.raw, w.raw)
	case v.value.kind == kindObject || w.value.kind == kindObject:
		return false
	case t.cased:
		return v.value.kind == w.value.kind && v.value.text == w.value.text && (v.value.kind != kindNumber || v.raw == w.raw)
	}
	return sc.folded(v.value.text) == sc.folded(w.value.text)
}

func (sc *scratch) anyPair(x, y *fieldState, t *test) bool {
	for i := x.first; i < x.last; i++ {
		for j := y.first; j < y.last; j++ {
			v, w := &sc.values[i], &sc.values[j]
			if !v.textual() || !w.textual() {
				continue
			}
			a, b := v.text, w.text
			if !t.cased {
				a, b = v.foldedText(sc), w.foldedText(sc)
			}
			if t.op == opRefContains && strings.Contains(a, b) || t.op == opRefPrefix && strings.HasPrefix(a, b) ||
				t.op == opRefSuffix && strings.HasSuffix(a, b) {
				return true
			}
		}
	}
	return false
}

func (sc *scratch) folded(s string) string {
	if isFolded(s) {
		return s
	}
	return sc.mapped(s, appendFold)
}

// streamed evaluates a predicate over a field with very many values.
func (sc *scratch) streamed(p *predicate) bool {
	it := p.item
	st := sc.state(p.field)
	s := &sc.stream
	s.sc, s.p = sc, p
	s.met = sc.metBits(len(it.groups))
	for i, g := range it.groups {
		for j := range g {
			if g[j].op.onField() && sc.onField(p, i, &g[j], st) {
				s.met[i/64] |= 1 << (i % 64)
			}
		}
	}
	for _, src := range sc.set.fields[p.field].sources {
		sc.visit(src, s)
	}
	return met(s.met, len(it.groups), it.all && !it.neq)
}

func (sc *scratch) metBits(n int) []uint64 {
	words := (n + 63) / 64
	if cap(sc.found) < words {
		sc.found = make([]uint64, words)
	}
	sc.found = sc.found[:words]
	clear(sc.found)
	return sc.found
}

// met tells whether any, or all, of the first n bits are set.
func met(bits []uint64, n int, all bool) bool {
	count := 0
	for i := range n {
		if bits[i/64]&(1<<(i%64)) != 0 {
			count++
		}
	}
	if all {
		return count == n
	}
	return count > 0
}

// keywords searches the texts of all values of the event, at any depth; keys, numbers and booleans are not searched.
// Under |all each keyword may occur in another value.
func (sc *scratch) keywords(p *predicate) bool {
	it := p.item
	s := &sc.stream
	s.sc, s.p = sc, p
	s.met = sc.metBits(len(it.groups))
	e := sc.event
	for i := 0; i < len(e); {
		at := strings.IndexByte(e[i:], '"')
		if at < 0 {
			break
		}
		start := i + at
		end := skipString(e, start+1)
		if end < 0 {
			break
		}
		i = end
		if next := skipSpace(e, end); next < len(e) && e[next] == ':' {
			continue // a key
		}
		s.value(e[start:end], false)
		if !it.all && met(s.met, len(it.groups), false) {
			return true
		}
	}
	return met(s.met, len(it.groups), it.all)
}
