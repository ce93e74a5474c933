package rules

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v4"
)

// detection reads a detection section, or a filter, whose other keys are named by except.
func (d *document) detection(n *yaml.Node, except []string) Detection {
	var det Detection
	if n.Kind != yaml.MappingNode {
		d.fault(n, "", "expected selections and a condition, got %s", kindName(n))
		return det
	}
	var cond *yaml.Node
	pairs := d.pairs(n)
next:
	for _, p := range pairs {
		for _, e := range except {
			if p.key == e {
				continue next
			}
		}
		switch p.key {
		case "condition":
			cond = p.node
		case "timeframe":
			det.warn(d, p.keyNode, "a timeframe means something only in a correlation; it is ignored here", "")
		default:
			det.selections = append(det.selections, d.selection(p))
		}
	}
	if len(det.selections) == 0 {
		d.fault(n, "", "expected at least one selection, got none")
	}
	if cond == nil {
		d.fault(n, "name the selection: condition: selection", "expected a condition, got none")
		return det
	}
	d.conditions(cond, &det)
	return det
}

func (det *Detection) warn(d *document, n *yaml.Node, msg, hint string) {
	w := &Fault{File: d.file, Rule: d.rule, Msg: msg, Hint: hint}
	w.Line, w.Col = d.place(n)
	det.warnings = append(det.warnings, w)
}

func (d *document) conditions(n *yaml.Node, det *Detection) {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
		if len(list) == 0 {
			d.fault(n, "", "expected a condition, got an empty list")
		}
	}
	used := map[int]bool{}
	for _, n := range list {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if !isText(n) {
			d.fault(n, "", "expected a condition (a text), got %s", kindName(n))
			continue
		}
		c, nothing, err := parseCondition(n.Value, det.selections)
		if err != nil {
			d.fault(n, "", "condition %q: %v", shorten(n.Value), err)
			continue
		}
		for _, pattern := range nothing {
			det.warn(d, n, "the pattern "+pattern+" in the condition fits no selection: that part never matches", "")
		}
		c.use(used)
		det.conditions = append(det.conditions, c)
	}
	if len(det.conditions) < len(list) {
		return
	}
	for i, s := range det.selections {
		if !used[i] {
			det.warnings = append(det.warnings, &Fault{File: d.file, Line: s.line, Col: s.col, Rule: d.rule, Msg: "the condition does not use the selection " + s.name})
		}
	}
}

func (c *condition) use(used map[int]bool) {
	for _, i := range c.found {
		used[i] = true
	}
	for _, k := range c.kids {
		k.use(used)
	}
}

func shorten(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func (d *document) selection(p pair) *selection {
	s := &selection{name: p.key}
	s.line, s.col = d.place(p.keyNode)
	if strings.ContainsAny(p.key, " \t\r\n()|*") || p.key == "" {
		d.fault(p.keyNode, "letters, digits, _ and -", "expected a name for the selection, got %q", p.key)
	}
	switch n := p.node; {
	case n.Kind == yaml.MappingNode:
		s.maps = append(s.maps, d.itemMap(n, p.key))
	case n.Kind == yaml.SequenceNode:
		d.alternatives(n, s)
	case isNull(n):
		d.fault(p.position, "", "expected fields or keywords in the selection %s, got null", p.key)
	default:
		if it := d.keywords("", p.keyNode, []*yaml.Node{n}); it != nil {
			s.maps = append(s.maps, []*item{it})
		}
	}
	return s
}

// alternatives reads a list: maps are alternatives, texts are keywords of which any may occur.
func (d *document) alternatives(n *yaml.Node, s *selection) {
	if len(n.Content) == 0 {
		d.fault(n, "", "expected fields or keywords in the selection %s, got an empty list", s.name)
	}
	var words []*yaml.Node
	for _, entry := range n.Content {
		if entry.Kind == yaml.AliasNode {
			entry = entry.Alias
		}
		switch {
		case entry.Kind == yaml.MappingNode:
			s.maps = append(s.maps, d.itemMap(entry, s.name))
		case entry.Kind == yaml.SequenceNode:
			d.fault(entry, "", "expected a mapping or a keyword in the list of %s, got a list", s.name)
		case isNull(entry):
			d.fault(entry, "", "expected a mapping or a keyword in the list of %s, got null", s.name)
		default:
			words = append(words, entry)
		}
	}
	if len(words) > 0 {
		if it := d.keywords("", words[0], words); it != nil {
			s.maps = append(s.maps, []*item{it})
		}
	}
}

func (d *document) itemMap(n *yaml.Node, name string) []*item {
	pairs := d.pairs(n)
	if len(n.Content) == 0 {
		d.fault(n, "", "expected at least one field in the selection %s, got an empty mapping", name)
	}
	items := make([]*item, 0, len(pairs))
	for _, p := range pairs {
		values := []*yaml.Node{p.node}
		isList := p.node.Kind == yaml.SequenceNode
		if isList {
			values = p.node.Content
		}
		if field, mods, _ := strings.Cut(p.key, "|"); field == "" {
			if it := d.keywords(mods, p.keyNode, values); it != nil {
				items = append(items, it)
			}
			continue
		}
		if it := d.item(p.key, p.keyNode, values, isList); it != nil {
			items = append(items, it)
		}
	}
	return items
}

func (d *document) keywords(mods string, at *yaml.Node, values []*yaml.Node) *item {
	key := ""
	if mods != "" {
		key = "|" + mods
	}
	if len(values) == 0 {
		d.fault(at, "", "expected keywords, got an empty list")
		return nil
	}
	return d.item(key, at, values, len(values) > 1)
}

// item reads "field|modifier|modifier: values".
func (d *document) item(key string, at *yaml.Node, nodes []*yaml.Node, isList bool) *item {
	before := len(d.faults)
	names := strings.Split(key, "|")
	it := &item{field: names[0]}
	it.line, it.col = d.place(at)
	for _, name := range names[1:] {
		m, ok := parseModifier(name)
		if !ok {
			d.fault(at, didYouMean(name, modifierNames[:]), "expected a modifier behind %s|, got %q", it.field, shorten(name))
			return nil
		}
		it.modifiers = append(it.modifiers, m)
	}
	c, msg, hint := checkChain(it.modifiers)
	if msg != "" {
		d.fault(at, hint, "%s: %s", shorten(key), msg)
		return nil
	}
	it.all, it.neq = c.all, c.neq
	if it.field == "" {
		if c.neq || c.family != familyNone && c.family != familyText && c.family != familyRegex {
			d.fault(at, "", "expected keywords to be searched as text, got %s", key)
			return nil
		}
	}
	if c.family == familyExists && isList {
		d.fault(at, "write true or false", "expected one boolean for |exists, got a list")
		return nil
	}
	if c.all && len(nodes) < 2 {
		d.fault(at, "leave out |all", "%s: expected at least two values for |all, got %d", shorten(key), len(nodes))
	}
	for _, n := range nodes {
		v, ok := d.scalar(n)
		if !ok {
			d.fault(n, "name nested fields by their path, as in a.b", "%s: expected a single value, got %s", shorten(key), kindName(n))
			continue
		}
		if v.kind == valueNull && (isList || it.field == "") {
			d.fault(n, "give null a line of its own", "%s: expected no null within a list, got one", shorten(key))
			continue
		}
		it.values = append(it.values, v)
	}
	if len(d.faults) > before {
		return nil
	}
	if it.pending = c.expand; it.pending {
		return it
	}
	if err := it.build(&c, nil); err != nil {
		d.problems(key, err)
		return nil
	}
	return it
}

// located is a problem at a place of the document (lines counted from the beginning of the file).
type located struct {
	value
	err error
}

func (l *located) Error() string { return l.err.Error() }

// build makes the tests out of the values.
func (it *item) build(c *chain, placeholders map[string][]string) error {
	if it.field == "" && c.family == familyNone {
		// Keywords are sought within values.
		k := *c
		k.family, k.by = familyText, modContains
		c = &k
	}
	var errs []error
	groups := make([][]test, 0, len(it.values))
	for _, v := range it.values {
		texts := []string{v.text}
		if c.expand {
			if v.kind != valueText {
				errs = append(errs, &located{v, problemf("", "expected a text for |expand, got %s", v.kind)})
				continue
			}
			var err error
			if texts, err = expandValue(v.text, placeholders); err != nil {
				errs = append(errs, &located{v, err})
				continue
			}
		}
		for _, text := range texts {
			one := v
			one.text = text
			g, err := c.build(one)
			if err != nil {
				errs = append(errs, &located{v, err})
				continue
			}
			groups = append(groups, g)
		}
	}
	it.groups = groups
	return errors.Join(errs...)
}

func (d *document) problems(key string, err error) {
	for _, f := range problemFaults(d.file, d.rule, key, err) {
		d.faults = append(d.faults, f)
	}
}

// problemFaults turns what build says into faults.
func problemFaults(file, rule, key string, err error) []*Fault {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	var out []*Fault
	for _, e := range list {
		f := &Fault{File: file, Rule: rule, Msg: shorten(key) + ": " + e.Error()}
		var l *located
		if errors.As(e, &l) {
			f.Line, f.Col = l.line, l.col
			var p *problem
			if errors.As(l.err, &p) {
				f.Hint = p.hint
			}
		}
		out = append(out, f)
	}
	return out
}
