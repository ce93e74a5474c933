package rules

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Options are what the caller adds to the rules.
type Options struct {
	// Placeholders are the values of %name% under |expand. A rule that names another placeholder is refused.
	Placeholders map[string][]string
	// Aliases let a field name stand for paths or computed fields: it has the values of all of them.
	Aliases map[string][]string
	// LogSource, where it names a product, service or category, leaves out rules that name another.
	LogSource LogSource
	// Guards are conditions that rules get which do not decide on a field themselves.
	Guards []Guard
	// Texts are paths whose value is a text in every sound event. A value of another type excludes no rule, so that the
	// event, unless another field rejects it, is walked to its end and its fault can be found.
	Texts []string
	// Check takes the place of skipping for the values of the top-level keys in Checked, which are those worth it: the
	// largest. It returns the offset behind the sound value that begins at start, or -1. Optional.
	Check   func(event string, start int) int
	Checked []string
	// Disable leaves out rules by id, name or title; Levels changes their level.
	Disable []string
	Levels  map[string]string
	// Fields are fields that [Set.Values] can be asked for though no rule names them.
	Fields []string
}

// Guard is a condition on a field, added to each rule whose detection does not name the field.
type Guard struct {
	Field string
	// Values are what the field may be (compared without case); Absent lets it be absent or null too.
	Values []string
	Absent bool
}

// pick sorts out duplicates, disabled rules and other log sources.
func (c *compiler) pick(rules []*Rule) {
	c.known = map[string]*Rule{}
	ids := map[string]*Rule{}
	for _, r := range rules {
		if first := ids[r.ID]; r.ID != "" && first != nil {
			c.fault(&Fault{File: r.File, Line: r.Line, Col: r.Col, Rule: r.ID, Msg: fmt.Sprintf("expected an id of its own, got that of %q at %s:%d", first.Title, first.File, first.Line), Hint: "the first is kept"})
			continue
		}
		ids[r.ID] = r
		for _, key := range []string{r.ID, r.Name, r.Title} {
			if key != "" && c.known[key] == nil {
				c.known[key] = r
			}
		}
		if c.disabled(r) || !covers(c.opts.LogSource, r.LogSource) {
			c.set.leftOut = append(c.set.leftOut, r)
			continue
		}
		c.picked = append(c.picked, r)
	}
	for i, r := range c.picked {
		for _, key := range []string{r.ID, r.Name, r.Title} {
			level, ok := c.opts.Levels[key]
			if !ok || key == "" {
				continue
			}
			if !slices.Contains(levels, level) {
				c.fault(&Fault{File: "options", Rule: key, Msg: fmt.Sprintf("expected a level, got %q", level), Hint: didYouMean(level, levels)})
				continue
			}
			changed := *r
			changed.Level = level
			c.picked[i] = &changed
			c.known[key] = &changed
		}
	}
}

func (c *compiler) disabled(r *Rule) bool {
	for _, d := range c.opts.Disable {
		if d != "" && (strings.EqualFold(d, r.ID) || d == r.Name || d == r.Title) {
			return true
		}
	}
	return false
}

// covers tells whether s is within want: what both name is equal.
func covers(want, s LogSource) bool {
	same := func(a, b string) bool { return a == "" || b == "" || strings.EqualFold(a, b) }
	return same(want.Product, s.Product) && same(want.Service, s.Service) && same(want.Category, s.Category)
}

// filters finds the rules of each filter.
func (c *compiler) filters(filters []*Filter) {
	c.narrow = map[*Rule][]*Filter{}
	c.exprs = map[*Filter]*expr{}
	for _, f := range filters {
		name := f.ID
		if name == "" {
			name = f.Title
		}
		matches := func(r *Rule) bool {
			// Every attribute that the filter names must be the rule's.
			need := func(a, b string) bool { return a == "" || strings.EqualFold(a, b) }
			return need(f.LogSource.Product, r.LogSource.Product) && need(f.LogSource.Service, r.LogSource.Service) &&
				need(f.LogSource.Category, r.LogSource.Category)
		}
		for _, ref := range f.Rules {
			if c.known[ref] == nil && c.known[strings.ToLower(ref)] == nil {
				c.fault(&Fault{File: f.File, Line: f.Line, Col: f.Col, Rule: name, Msg: fmt.Sprintf("expected the id or name of a rule, got %q, which no rule has", ref)})
			}
		}
		for _, r := range c.picked {
			if !matches(r) || !f.Any && !slices.ContainsFunc(f.Rules, func(ref string) bool {
				return strings.EqualFold(ref, r.ID) && r.ID != "" || ref == r.Name && ref != "" || ref == r.Title
			}) {
				continue
			}
			c.narrow[r] = append(c.narrow[r], f)
		}
	}
}

// unused faults options that refer to no rule.
func (c *compiler) unused() {
	check := func(key string) {
		if c.known[key] == nil && c.known[strings.ToLower(key)] == nil {
			c.fault(&Fault{File: "options", Rule: key, Msg: fmt.Sprintf("expected the id, name or title of a rule, got %q, which no rule has", key)})
		}
	}
	for _, d := range c.opts.Disable {
		check(d)
	}
	keys := make([]string, 0, len(c.opts.Levels))
	for key := range c.opts.Levels {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		check(key)
	}
}
