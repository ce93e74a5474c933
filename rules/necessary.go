package rules

import (
	"fmt"
	"strconv"
	"strings"
)

// maxAlternatives is how many values a necessary condition may list and still become a gate.
const maxAlternatives = 4096

// need is a condition on a slot without which an expression cannot hold: one of alts.
type need struct {
	slot int32
	alts []alternative
}

// needs derives the necessary conditions of e, or of its negation. All of them must hold. Conjunctions contribute what
// any part needs; alternatives only slots that all of them constrain. What is not understood contributes nothing, so
// that a gate is never stricter than the rule.
func (c *compiler) needs(e *expr, negated bool) []need {
	switch e.op {
	case exprNot:
		return c.needs(&e.kids[0], !negated)
	case exprPredicate:
		return c.predicateNeeds(&c.set.predicates[e.predicate], negated)
	case exprAnd, exprOr:
		if (e.op == exprAnd) != negated {
			var all []need
			for i := range e.kids {
				all = append(all, c.needs(&e.kids[i], negated)...)
			}
			return all
		}
		var common []need
		for i := range e.kids {
			k := c.needs(&e.kids[i], negated)
			if i == 0 {
				common = k
			} else {
				common = union(common, k)
			}
			if len(common) == 0 {
				return nil
			}
		}
		return common
	default:
		return nil
	}
}

// union keeps the slots that both constrain, each with the alternatives of both.
func union(a, b []need) []need {
	var out []need
	for _, x := range a {
		y, ok := tightest(b, x.slot)
		if !ok || len(x.alts)+len(y.alts) > maxAlternatives {
			continue
		}
		alts := append(append([]alternative(nil), x.alts...), y.alts...)
		out = append(out, need{x.slot, alts})
	}
	return out
}

// tightest is the condition on a slot with the fewest alternatives.
func tightest(list []need, slot int32) (need, bool) {
	var best need
	found := false
	for _, n := range list {
		if n.slot == slot && (!found || len(n.alts) < len(best.alts)) {
			best, found = n, true
		}
	}
	return best, found
}

func (c *compiler) predicateNeeds(p *predicate, negated bool) []need {
	it := p.item
	if p.field < 0 || it.neq {
		return nil
	}
	f := &c.set.fields[p.field]
	slot := f.single()
	if negated {
		if slot >= 0 && len(it.groups) == 1 && len(it.groups[0]) == 1 && it.groups[0][0].op == opNull {
			return []need{{slot, []alternative{{present: true}}}}
		}
		return nil
	}
	groups := it.groups
	if len(groups) == 0 || len(groups) > maxAlternatives {
		return nil
	}
	if it.all {
		// Each group is needed; the first will do.
		groups = groups[:1]
	}
	if slot < 0 {
		if len(f.sources) == 1 {
			return c.computedNeeds(f, groups)
		}
		return nil
	}
	var alts []alternative
	for _, g := range groups {
		for i := range g {
			t := &g[i]
			switch {
			case t.op == opNull:
				alts = append(alts, alternative{absent: true})
			case t.op == opEqual && !t.dash, t.op == opNumber, t.op >= opLess && t.op <= opGreaterEqual:
				alts = append(alts, alternative{test: *t})
			default:
				return nil
			}
		}
	}
	return []need{{slot, alts}}
}

// computedNeeds asks the caller what raw fields must hold for a computed field to have one of the values.
func (c *compiler) computedNeeds(f *field, groups [][]test) []need {
	group := &c.set.computed[f.sources[0].group]
	if group.Implies == nil {
		return nil
	}
	var common []need
	first := true
	for _, g := range groups {
		for i := range g {
			t := &g[i]
			if t.op != opEqual || t.dash {
				return nil
			}
			var pins []need
			for _, pin := range group.Implies(group.Names[f.sources[0].i], t.text) {
				if n, ok := c.pinNeed(pin); ok {
					pins = append(pins, n)
				}
			}
			if first {
				common, first = pins, false
			} else {
				common = union(common, pins)
			}
		}
	}
	return common
}

func (c *compiler) pinNeed(p Pin) (need, bool) {
	n := need{slot: c.slot(p.Path)}
	for _, v := range p.Values {
		n.alts = append(n.alts, alternative{test: test{op: opEqual, text: fold(v), shown: v}})
	}
	if p.Max >= p.Min && (p.Min != 0 || p.Max != 0) {
		low, okLow := parseDecimal(strconv.FormatFloat(p.Min, 'f', -1, 64))
		high, okHigh := parseDecimal(strconv.FormatFloat(p.Max, 'f', -1, 64))
		if !okLow || !okHigh {
			return n, false
		}
		n.alts = append(n.alts, alternative{ranged: true, low: low, high: high})
	}
	if p.Absent {
		n.alts = append(n.alts, alternative{absent: true})
	}
	return n, len(n.alts) > 0
}

// key identifies a condition, so that rules with the same one share it.
func (n *need) key() string {
	var b strings.Builder
	for i := range n.alts {
		a := &n.alts[i]
		fmt.Fprintf(&b, "%d %t %t %t %t %q %q|", a.test.op, a.test.cased, a.absent, a.present, a.ranged, a.test.text, a.test.shown)
		if a.ranged {
			fmt.Fprintf(&b, "%v %v|", a.low, a.high)
		}
	}
	return b.String()
}

// probe is a predicate on one slot that must be want for the rules in mask. It is asked as soon as the slot is settled.
type probe struct {
	predicate int32
	want      bool
	mask      []uint64
}

// maxProbes is how many probes a slot may have: with more, asking all would cost more than it saves.
const maxProbes = 16

// probes gives slots the predicates, other than those that became gates, by which rules can be excluded while the
// event is still being read. Rules that a gate pins contribute only what is cheap to ask.
func (c *compiler) probes() {
	s := c.set
	type key struct {
		predicate int32
		want      bool
	}
	index := map[key][]uint64{}
	var order []key
	for i, r := range s.rules {
		for _, l := range c.literals(&r.expr, false) {
			p := &s.predicates[l.predicate]
			if p.patterns != nil || c.pinned[i] && !cheap(p.item) {
				continue
			}
			k := key{l.predicate, l.want}
			if index[k] == nil {
				index[k] = make([]uint64, s.words)
				order = append(order, k)
			}
			index[k][i/64] |= 1 << (i % 64)
		}
	}
	bySlot := map[int32][]probe{}
	for _, k := range order {
		slot := s.fields[s.predicates[k.predicate].field].single()
		bySlot[slot] = append(bySlot[slot], probe{k.predicate, k.want, index[k]})
	}
	for slot, probes := range bySlot {
		if len(probes) <= maxProbes {
			s.slots[slot].probes = probes
		}
	}
}

// literals are predicates on single slots that e (or its negation) needs to be as they say.
func (c *compiler) literals(e *expr, negated bool) []probe {
	switch e.op {
	case exprNot:
		return c.literals(&e.kids[0], !negated)
	case exprPredicate:
		p := &c.set.predicates[e.predicate]
		if p.field < 0 || c.set.fields[p.field].single() < 0 || !negated && gateable(p.item) {
			return nil
		}
		for _, ref := range p.refs {
			if ref >= 0 {
				return nil
			}
		}
		return []probe{{predicate: e.predicate, want: !negated}}
	case exprAnd, exprOr:
		if (e.op == exprAnd) != negated || len(e.kids) == 1 {
			var all []probe
			for i := range e.kids {
				all = append(all, c.literals(&e.kids[i], negated)...)
			}
			return all
		}
	default:
	}
	return nil
}

// gateable tells items that make a gate (see predicateNeeds).
func gateable(it *item) bool {
	if it.neq || it.all || len(it.groups) == 0 {
		return false
	}
	for _, g := range it.groups {
		for i := range g {
			if t := &g[i]; t.op != opNull && t.op != opNumber && (t.op != opEqual || t.dash) && (t.op < opLess || t.op > opGreaterEqual) {
				return false
			}
		}
	}
	return true
}

// cheap tells items that cost no more than a few comparisons.
func cheap(it *item) bool {
	const most = 8
	if len(it.groups) > most {
		return false
	}
	for _, g := range it.groups {
		for i := range g {
			switch g[i].op {
			case opEqual, opPrefix, opSuffix, opNumber, opNull, opPresent, opAbsent, opLess, opLessEqual, opGreater, opGreaterEqual:
			default:
				return false
			}
		}
	}
	return true
}
