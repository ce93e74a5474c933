package rules

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Compile makes a set out of documents. Every fault is reported, joined, each a [*Fault]; the set of the rules that have
// none is returned beside them. A fault in the options ends up there too.
func Compile(docs Documents, computed []Computed, opts Options) (*Set, error) {
	c := &compiler{
		opts:       opts,
		set:        &Set{},
		fields:     map[string]int32{},
		slots:      map[string]int32{},
		predicates: map[string]int32{},
		computed:   map[string]source{},
		trie:       newTrie(),
	}
	c.groups(computed)
	c.pick(docs.Rules)
	c.filters(docs.Filters)
	for _, r := range c.picked {
		c.rule(r)
	}
	c.unused()
	for _, name := range opts.Fields {
		c.field(name)
	}
	c.finish()
	return c.set, errors.Join(c.faults...)
}

type compiler struct {
	opts       Options
	set        *Set
	faults     []error
	fields     map[string]int32
	slots      map[string]int32
	predicates map[string]int32
	computed   map[string]source
	trie       *trie
	// picked are the rules to compile, by their keys in known.
	picked []*Rule
	known  map[string]*Rule
	// narrow are the filters that apply to a rule.
	narrow map[*Rule][]*Filter
	exprs  map[*Filter]*expr
	// pinned tells, by rule, that a gate of its own (not a guard) can exclude it.
	pinned []bool
}

func (c *compiler) fault(f *Fault) { c.faults = append(c.faults, f) }

func (c *compiler) groups(computed []Computed) {
	for gi, g := range computed {
		group := computedGroup{Computed: g}
		for _, path := range g.Needs {
			group.needs = append(group.needs, c.slot(path))
		}
		for i, name := range g.Names {
			if _, ok := c.computed[name]; ok {
				c.fault(&Fault{File: "options", Msg: fmt.Sprintf("expected each computed field once, got %q twice", name)})
			}
			c.computed[name] = source{slot: -1, group: int32(gi), i: int32(i)}
		}
		c.set.computed = append(c.set.computed, group)
	}
}

// rule compiles one rule and adds it to the set.
func (c *compiler) rule(r *Rule) {
	before := len(c.faults)
	e := c.detection(&r.Detection, r.File, r.Key())
	parts := []expr{e}
	for _, g := range c.opts.Guards {
		if !slices.ContainsFunc(r.Detection.Fields(), func(u FieldUse) bool { return u.Field == g.Field }) {
			parts = append(parts, c.guard(g))
		}
	}
	for _, f := range c.narrow[r] {
		if c.exprs[f] == nil {
			e := expr{op: exprAnd, kids: []expr{c.detection(&f.Detection, f.File, f.ID)}, label: "filter " + f.Title}
			c.exprs[f] = &e
		}
		parts = append(parts, *c.exprs[f])
	}
	if len(c.faults) > before {
		return
	}
	if len(parts) > 1 {
		e = expr{op: exprAnd, kids: parts}
	}
	c.set.rules = append(c.set.rules, &compiledRule{rule: r, expr: e})
	c.pinned = append(c.pinned, len(c.needs(&parts[0], false)) > 0)
}

func (c *compiler) guard(g Guard) expr {
	it := &item{field: g.Field}
	for _, v := range g.Values {
		it.groups = append(it.groups, []test{{op: opEqual, text: fold(v), shown: v}})
	}
	if g.Absent {
		it.groups = append(it.groups, []test{{op: opNull, shown: "null"}})
	}
	return expr{op: exprPredicate, predicate: c.predicate(it), label: "guard on " + g.Field}
}

func (c *compiler) detection(d *Detection, file, rule string) expr {
	selections := make([]expr, len(d.selections))
	for i, s := range d.selections {
		selections[i] = c.selection(s, file, rule)
		selections[i].label = s.name
	}
	kids := make([]expr, len(d.conditions))
	for i, cond := range d.conditions {
		kids[i] = condExpr(cond, selections)
	}
	if len(kids) == 1 {
		return kids[0]
	}
	return expr{op: exprOr, kids: kids}
}

func condExpr(cond *condition, selections []expr) expr {
	var e expr
	switch cond.op {
	case conditionName:
		return selections[cond.found[0]]
	case conditionNothing:
		return expr{op: exprNever}
	case conditionOneOf, conditionAllOf:
		e.op = exprOr
		if cond.op == conditionAllOf {
			e.op = exprAnd
		}
		for _, i := range cond.found {
			e.kids = append(e.kids, selections[i])
		}
		e.label = "any of " + cond.name
		if cond.op == conditionAllOf {
			e.label = "all of " + cond.name
		}
		return e
	case conditionAnd:
		e.op = exprAnd
	case conditionOr:
		e.op = exprOr
	case conditionNot:
		e.op = exprNot
	}
	for _, k := range cond.kids {
		e.kids = append(e.kids, condExpr(k, selections))
	}
	return e
}

func (c *compiler) selection(s *selection, file, rule string) expr {
	alternatives := make([]expr, 0, len(s.maps))
	for _, m := range s.maps {
		parts := make([]expr, 0, len(m))
		for _, it := range m {
			if it.pending {
				built, ok := c.expand(it, file, rule)
				if !ok {
					continue
				}
				it = built
			}
			parts = append(parts, expr{op: exprPredicate, predicate: c.predicate(it)})
		}
		if len(parts) == 1 {
			alternatives = append(alternatives, parts[0])
		} else {
			alternatives = append(alternatives, expr{op: exprAnd, kids: parts})
		}
	}
	if len(alternatives) == 1 {
		return alternatives[0]
	}
	return expr{op: exprOr, kids: alternatives}
}

// expand builds an item whose placeholders are known only now.
func (c *compiler) expand(it *item, file, rule string) (*item, bool) {
	ch, _, _ := checkChain(it.modifiers)
	built := *it
	built.pending = false
	if err := built.build(&ch, c.opts.Placeholders); err != nil {
		for _, f := range problemFaults(file, rule, it.key(), err) {
			c.fault(f)
		}
		return nil, false
	}
	return &built, true
}

// key is the item's left side as the rule spells it.
func (it *item) key() string {
	var b strings.Builder
	b.WriteString(it.field)
	for _, m := range it.modifiers {
		b.WriteString("|" + m.String())
	}
	return b.String()
}

// predicate finds or adds the predicate of an item.
func (c *compiler) predicate(it *item) int32 {
	key := it.identity()
	if id, ok := c.predicates[key]; ok {
		return id
	}
	p := predicate{field: -1, item: it, automaton: -1}
	if it.field != "" {
		p.field = c.field(it.field)
	}
	for _, g := range it.groups {
		ref := int32(-1)
		for i := range g {
			if g[i].op.isReference() {
				ref = c.field(g[i].text)
			}
		}
		p.refs = append(p.refs, ref)
	}
	id := int32(len(c.set.predicates))
	c.set.predicates = append(c.set.predicates, p)
	c.predicates[key] = id
	return id
}

// identity is equal for items that mean the same.
func (it *item) identity() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %t %t", it.field, it.all, it.neq)
	for _, g := range it.groups {
		b.WriteString(" (")
		for i := range g {
			t := &g[i]
			fmt.Fprintf(&b, "%d %t %t %d %d %q %v,", t.op, t.cased, t.dash, t.part, t.n, t.text, t.glob)
			switch {
			case t.op == opNumber || t.op >= opLess && t.op <= opGreaterEqual:
				fmt.Fprintf(&b, "%v", t.number)
			case t.op == opRegex:
				fmt.Fprintf(&b, "%q", t.regex.String())
			case t.op == opCIDR:
				b.WriteString(t.network.String())
			}
		}
		b.WriteString(")")
	}
	return b.String()
}

// field finds or adds a field: an alias, a computed field, or a path.
func (c *compiler) field(name string) int32 {
	if id, ok := c.fields[name]; ok {
		return id
	}
	f := field{name: name}
	targets := c.opts.Aliases[name]
	if len(targets) == 0 {
		targets = []string{name}
	}
	for _, t := range targets {
		if src, ok := c.computed[t]; ok {
			f.sources = append(f.sources, src)
		} else {
			f.sources = append(f.sources, source{slot: c.slot(t)})
		}
	}
	id := int32(len(c.set.fields))
	c.set.fields = append(c.set.fields, f)
	c.fields[name] = id
	return id
}

func (c *compiler) slot(path string) int32 {
	if id, ok := c.slots[path]; ok {
		return id
	}
	id := int32(len(c.set.slots))
	c.set.slots = append(c.set.slots, slotInfo{path: path, gate: -1, text: slices.Contains(c.opts.Texts, path)})
	c.slots[path] = id
	c.trie.insert(id, path)
	return id
}

// finish builds gates and automata.
func (c *compiler) finish() {
	s := c.set
	s.words = (len(s.rules) + 63) / 64
	s.all = make([]uint64, s.words)
	for i := range s.rules {
		s.all[i/64] |= 1 << (i % 64)
	}
	c.gates()
	c.automata()
	c.probes()
	s.root, s.keys = c.trie.root, c.trie.ids
	if s.check = c.opts.Check; s.check != nil {
		for _, key := range c.opts.Checked {
			if e := s.root.find(key); e != nil && e.child != nil {
				e.child.checked = true
			}
		}
	}
	for slot := range s.slots {
		if s.slots[slot].decides() {
			s.gated = append(s.gated, int32(slot))
		}
	}
	for _, bucket := range s.root.entries {
		for i := range bucket {
			if n := bucket[i].child; n != nil {
				for _, b := range n.below {
					if s.slots[b.slot].decides() {
						n.gated = append(n.gated, b.slot)
					}
					if s.slots[b.slot].searches != nil {
						n.searched = append(n.searched, b.slot)
					}
				}
			}
		}
	}
	s.byName = c.fields
	s.pool.New = func() any { return newScratch(s) }
}

func (c *compiler) gates() {
	s := c.set
	bySlot := map[int32]map[string]*constraint{}
	for i, r := range s.rules {
		for _, n := range c.needs(&r.expr, false) {
			key := n.key()
			if bySlot[n.slot] == nil {
				bySlot[n.slot] = map[string]*constraint{}
			}
			k := bySlot[n.slot][key]
			if k == nil {
				k = &constraint{key: key, alts: n.alts, mask: make([]uint64, s.words)}
				bySlot[n.slot][key] = k
			}
			k.mask[i/64] |= 1 << (i % 64)
		}
	}
	for slot := range s.slots {
		constraints := bySlot[int32(slot)]
		if len(constraints) == 0 {
			continue
		}
		g := gate{slot: int32(slot), words: s.words, all: s.all}
		for _, k := range constraints {
			g.constraints = append(g.constraints, k)
		}
		sort.Slice(g.constraints, func(i, j int) bool { return g.constraints[i].key < g.constraints[j].key })
		g.prepare()
		s.slots[slot].gate = int32(len(s.gates))
		s.gates = append(s.gates, g)
	}
}

// decides tells slots whose value, or absence, can exclude a rule.
func (s *slotInfo) decides() bool { return s.gate >= 0 || len(s.probes) > 0 }
