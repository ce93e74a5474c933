package rules

// automatonFrom is the number of patterns on one field from which an automaton beats comparing one after the other
// (measured: BenchmarkSubstrings).
const automatonFrom = 8

// maxTable bounds an automaton's table, in entries of four bytes. Patterns that need more are compared one by one.
const maxTable = 4 << 20

// automaton finds all patterns of a field in one pass over its text (Aho and Corasick, 1975), as a table of states by
// classes of bytes.
type automaton struct {
	field   int32
	cased   bool
	first   int32 // number of the first pattern within the set
	classes int
	class   [256]uint8
	next    []uint32
	// own is the pattern that ends in a state, or -1 (there may be several of the same text: see same); link is the
	// next state on the way of suffixes in which a pattern ends, or 0.
	own  []int32
	link []uint32
	// patterns are what is sought; same chains those of equal text.
	patterns []pattern
	same     []int32
}

type pattern struct {
	text string
	op   op
}

// newAutomaton builds the table; ok is false if it would be too large.
func newAutomaton(field int32, cased bool, patterns []pattern) (a automaton, ok bool) {
	a = automaton{field: field, cased: cased, patterns: patterns}
	a.classes = 1
	total := 1
	for _, p := range patterns {
		total += len(p.text)
		for i := range len(p.text) {
			if c := p.text[i]; a.class[c] == 0 {
				if a.classes == 255 {
					return a, false
				}
				a.class[c] = uint8(a.classes)
				a.classes++
			}
		}
	}
	if total > maxTable/a.classes {
		return a, false
	}
	a.next = make([]uint32, a.classes, total*a.classes)
	a.own = append(make([]int32, 0, total), -1)
	a.same = make([]int32, len(patterns))
	for i, p := range patterns {
		s := uint32(0)
		for j := range len(p.text) {
			at := int(s)*a.classes + int(a.class[p.text[j]])
			if a.next[at] == 0 {
				a.next[at] = uint32(len(a.own))
				a.own = append(a.own, -1)
				a.next = append(a.next, make([]uint32, a.classes)...)
			}
			s = a.next[at]
		}
		a.same[i] = a.own[s]
		a.own[s] = int32(i)
	}
	a.connect()
	return a, true
}

// connect turns the tree into an automaton: breadth first, each missing edge becomes that of the longest suffix.
func (a *automaton) connect() {
	states := len(a.own)
	a.link = make([]uint32, states)
	suffix := make([]uint32, states)
	queue := make([]uint32, 0, states)
	for c := range a.classes {
		if s := a.next[c]; s != 0 {
			queue = append(queue, s)
		}
	}
	for head := 0; head < len(queue); head++ {
		s := queue[head]
		f := suffix[s]
		if a.own[f] >= 0 {
			a.link[s] = f
		} else {
			a.link[s] = a.link[f]
		}
		for c := range a.classes {
			at := int(s)*a.classes + c
			down := a.next[int(f)*a.classes+c]
			if t := a.next[at]; t != 0 {
				suffix[t] = down
				queue = append(queue, t)
			} else {
				a.next[at] = down
			}
		}
	}
}

// scan stamps the patterns that occur in s.
func (a *automaton) scan(s string, sc *scratch) {
	state := uint32(0)
	for i := range len(s) {
		state = a.next[int(state)*a.classes+int(a.class[s[i]])]
		if a.own[state] < 0 && a.link[state] == 0 {
			continue
		}
		for at := state; at != 0; at = a.link[at] {
			for p := a.own[at]; p >= 0; p = a.same[p] {
				a.hit(p, i+1, len(s), sc)
			}
		}
	}
}

func (a *automaton) hit(p int32, end, size int, sc *scratch) {
	switch x := &a.patterns[p]; {
	case x.op == opPrefix && end != len(x.text), x.op == opSuffix && end != size:
		return
	}
	if id := a.first + p; sc.hits[id] != sc.stamp {
		sc.hits[id] = sc.stamp
		sc.hitList = append(sc.hitList, id)
	}
}

// run lets an automaton read its field, once per event. It says no where the field has too many values to remember.
func (sc *scratch) run(id int32) bool {
	a := &sc.set.automata[id]
	st := sc.state(a.field)
	if st.spilled {
		return false
	}
	if sc.runs[id] == sc.stamp {
		return true
	}
	sc.runs[id] = sc.stamp
	for i := st.first; i < st.last; i++ {
		v := &sc.values[i]
		if !v.textual() {
			continue
		}
		if a.cased {
			a.scan(v.text, sc)
		} else {
			a.scan(v.foldedText(sc), sc)
		}
	}
	return true
}

// byAutomaton evaluates a predicate whose patterns an automaton has.
func (sc *scratch) byAutomaton(p *predicate) bool {
	st := sc.state(p.field)
	all := p.item.all && !p.item.neq
	yes := all
	if !sc.run(p.automaton) {
		yes = sc.streamed(p)
	} else {
		for _, group := range p.patterns {
			any := false
			for _, id := range group {
				any = any || sc.hits[id] == sc.stamp
			}
			if any != all {
				yes = any
				break
			}
		}
	}
	if p.item.neq {
		return st.present && !yes
	}
	return yes
}
