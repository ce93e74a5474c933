package rules

import (
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A gate holds, for one slot, which rules remain possible with which value. It follows from conditions that are
// necessary for a rule (see necessary.go): every rule that is not constrained at the slot remains in any case.
type gate struct {
	slot        int32
	constraints []*constraint
	// exact maps the texts that rules name, as spelled and folded, to masks.
	exact map[string][]uint64
	// small holds the masks of the integers 0 to 999.
	small [][]uint64
	// other is for a text that no rule names, null and absent for what they say, object for objects.
	other, null, absent, object []uint64
	// numbers tells that some constraint compares numbers, so that texts that may be numbers are compared one by one.
	numbers bool
	words   int
	all     []uint64
}

// constraint is a necessary condition of the rules in mask: one of alts must hold.
type constraint struct {
	key  string
	alts []alternative
	mask []uint64
}

// alternative is a test on the value, or that it is absent or null.
type alternative struct {
	test test
	// absent: no value, or null. present: any value that is not null.
	absent, present bool
	// ranged: a number from low to high.
	ranged    bool
	low, high decimal
}

func (a *alternative) numeric() bool {
	return a.ranged || a.test.op == opNumber || a.test.op >= opLess && a.test.op <= opGreaterEqual
}

// names tells alternatives that are one text or number.
func (a *alternative) names() bool {
	return !a.absent && !a.present && !a.ranged && (a.test.op == opEqual || a.test.op == opNumber)
}

func (a *alternative) admits(v *scalar, sc *scratch) bool {
	switch {
	case a.absent:
		return v.kind == kindNull
	case a.present:
		return v.kind != kindNull
	case a.ranged:
		d, ok := v.decimal()
		return ok && d.compare(a.low) >= 0 && d.compare(a.high) <= 0
	}
	return a.test.matches(v, sc)
}

func (c *constraint) admits(v *scalar, sc *scratch) bool {
	for i := range c.alts {
		if c.alts[i].admits(v, sc) {
			return true
		}
	}
	return false
}

const smallNumbers = 1000

// prepare computes the masks of all values that rules name.
func (g *gate) prepare() {
	sc := &scratch{}
	// named tells, by folded text, which constraints of nothing but texts name it; the others are asked.
	named := map[string]map[*constraint]bool{}
	plain := map[*constraint]bool{}
	for _, c := range g.constraints {
		plain[c] = true
		for i := range c.alts {
			a := &c.alts[i]
			g.numbers = g.numbers || a.numeric()
			plain[c] = plain[c] && (a.absent || a.names() && a.test.op == opEqual && !a.test.cased)
		}
		for i := range c.alts {
			if a := &c.alts[i]; plain[c] && a.names() {
				key := fold(a.test.text)
				if named[key] == nil {
					named[key] = map[*constraint]bool{}
				}
				named[key][c] = true
			}
		}
	}
	// base excludes the rules of every constraint that does not admit the value.
	base := func(v *scalar, naming map[*constraint]bool) []uint64 {
		mask := append([]uint64(nil), g.all...)
		for _, c := range g.constraints {
			admits := naming[c]
			if !plain[c] || v.kind == kindNull {
				admits = c.admits(v, sc)
			}
			for w, m := range c.mask {
				if !admits {
					mask[w] &^= m
				}
			}
		}
		return mask
	}
	text := func(s string) []uint64 {
		v := scalar{kind: kindString, text: s}
		return base(&v, named[fold(s)])
	}
	g.exact = make(map[string][]uint64, 2*len(named))
	for _, c := range g.constraints {
		for i := range c.alts {
			a := &c.alts[i]
			if !a.names() {
				continue
			}
			for _, s := range []string{a.test.shown, fold(a.test.shown), a.test.text} {
				if _, ok := g.exact[s]; !ok && plainText(s) && (a.test.op != opNumber || s != "") {
					g.exact[s] = text(s)
				}
			}
		}
	}
	g.other = text("\x00no rule names this")
	g.null = base(&scalar{kind: kindNull}, nil)
	g.absent = g.null
	g.object = base(&scalar{kind: kindObject}, nil)
	if g.numbers {
		g.small = make([][]uint64, smallNumbers)
		shared := map[string][]uint64{}
		turns := g.turns(named)
		for n := range g.small {
			if n > 0 && !turns[n] {
				g.small[n] = g.small[n-1]
				continue
			}
			m := text(strconv.Itoa(n))
			var key strings.Builder
			for _, w := range m {
				key.WriteString(strconv.FormatUint(w, 36) + ",")
			}
			if shared[key.String()] == nil {
				shared[key.String()] = m
			}
			g.small[n] = shared[key.String()]
		}
	}
}

// turns marks the integers at which the mask may differ from that of the integer before: those that are named or follow
// one, and the ends of ranges. It marks all where a constraint looks at digits as text.
func (g *gate) turns(named map[string]map[*constraint]bool) (at [smallNumbers]bool) {
	mark := func(n int) {
		for i := max(n-1, 0); i <= min(n+1, smallNumbers-1); i++ {
			at[i] = true
		}
	}
	from := func(d decimal) {
		mark(sort.Search(smallNumbers, func(n int) bool {
			v := scalar{kind: kindString, text: strconv.Itoa(n)}
			own, _ := v.decimal()
			return own.compare(d) >= 0
		}))
	}
	for key := range named {
		if n, err := strconv.Atoi(key); err == nil {
			mark(n)
		}
	}
	for _, c := range g.constraints {
		for i := range c.alts {
			switch a := &c.alts[i]; {
			case a.absent, a.present, a.names() && a.test.op == opEqual:
				if n, err := strconv.Atoi(a.test.shown); err == nil {
					mark(n)
				}
			case a.ranged:
				from(a.low)
				from(a.high)
			case a.numeric():
				from(a.test.number)
			default:
				for n := range at {
					at[n] = true
				}
				return at
			}
		}
	}
	return at
}

// plainText tells texts that stand in JSON as they are.
func plainText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// mask is what the raw value leaves possible; nil means everything.
func (g *gate) mask(raw string, sc *scratch) []uint64 {
	if raw == "" {
		return nil
	}
	text := raw
	switch raw[0] {
	case '[':
		return nil // any member may be meant
	case '{':
		return g.object
	case 'n':
		return g.null
	case '"':
		if len(raw) < 2 {
			return nil
		}
		text = raw[1 : len(raw)-1]
	}
	if raw[0] == '-' || raw[0] <= '9' && raw[0] != '"' {
		// A number; only integers are compared by the text as written.
		if n, ok := smallNumber(raw); ok && g.numbers {
			return g.small[n]
		}
		return g.slow(raw, sc)
	}
	if m, ok := g.exact[text]; ok {
		return m
	}
	if g.numbers && text != "" && text[0] <= '9' {
		if n, ok := smallNumber(text); ok {
			return g.small[n]
		}
		return g.slow(raw, sc) // perhaps a number in some other spelling
	}
	upper := false
	for i := range len(text) {
		c := text[i]
		if c == '\\' || c >= utf8.RuneSelf {
			return g.slow(raw, sc)
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	if !upper {
		return g.other
	}
	var buf [64]byte
	if len(text) > len(buf) {
		return g.slow(raw, sc)
	}
	if _, ok := g.exact[lend(appendFold(buf[:0], text))]; ok {
		return g.slow(raw, sc)
	}
	return g.other
}

// smallNumber reads the digits of an integer from 0 to 999 as JSON spells it.
func smallNumber(s string) (int, bool) {
	if len(s) > 3 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// slow asks every constraint.
func (g *gate) slow(raw string, sc *scratch) []uint64 {
	v := sc.scalarOf(raw)
	copy(sc.alternat, g.all)
	for _, c := range g.constraints {
		if !c.admits(&v, sc) {
			for w, m := range c.mask {
				sc.alternat[w] &^= m
			}
		}
	}
	return sc.alternat
}
