package rules

import (
	"fmt"
	"strings"
)

// NodeKind says what a [Node] stands for.
type NodeKind uint8

const (
	// NodeAll holds if all its kids do.
	NodeAll NodeKind = iota
	// NodeAny holds if one of its kids does.
	NodeAny
	// NodeNot holds if its kid does not.
	NodeNot
	// NodeField is a field with its modifiers and values.
	NodeField
	// NodeKeywords is a search of the whole event.
	NodeKeywords
	// NodeNothing is a pattern that fits no selection.
	NodeNothing
)

func (k NodeKind) String() string {
	return [...]string{"all", "any", "not", "field", "keywords", "nothing"}[k]
}

// Node is a part of a rule's condition with what it came to for one event.
type Node struct {
	Kind NodeKind
	// Label names a selection, a quantified pattern, a guard or a filter; empty where the kind says enough.
	Label string
	// Holds is what the engine made of it.
	Holds bool
	// Text is the condition of a field as the rule has it: "verb: create".
	Text string
	// Seen are the values that the event has there, as JSON or text, at most maxSeen, shortened.
	Seen []string
	// Absent tells that the field does not occur.
	Absent bool
	// Line and Col say where in the rule's file; 0 for guards.
	Line, Col int
	Kids      []Node
}

// Limits of what is shown.
const (
	maxSeen     = 10
	maxSeenText = 200
)

// Explain evaluates one rule on one event and shows how it came out: each part, true or false, with the values seen. It
// is the engine's own evaluation, without its shortcuts: Holds of the root is what [Set.Match] says.
func (s *Set) Explain(rule string, event []byte) (Node, error) {
	r := s.lookUp(rule)
	if r == nil {
		return Node{}, fmt.Errorf("expected the id, name or title of a rule of this set, got %q", rule)
	}
	sc := s.pool.Get().(*scratch)
	defer func() {
		sc.release()
		s.pool.Put(sc)
	}()
	if err := sc.walkAll(lend(event)); err != nil {
		return Node{}, err
	}
	return sc.explain(&r.expr), nil
}

// Values are the values that a field has in an event, as text; nil where it is absent. The field must be one that a
// rule names, or one of [Options.Fields].
func (s *Set) Values(field string, event []byte) ([]string, error) {
	id, ok := s.byName[field]
	if !ok {
		return nil, fmt.Errorf("expected a field that the rules or Options.Fields name, got %q", field)
	}
	sc := s.pool.Get().(*scratch)
	defer func() {
		sc.release()
		s.pool.Put(sc)
	}()
	if err := sc.walkAll(lend(event)); err != nil {
		return nil, err
	}
	st := sc.state(id)
	var out []string
	for i := st.first; i < st.last; i++ {
		out = append(out, strings.Clone(sc.values[i].text))
	}
	return out, nil
}

func (s *Set) lookUp(key string) *compiledRule {
	for _, r := range s.rules {
		if key != "" && (strings.EqualFold(r.rule.ID, key) || r.rule.Name == key || r.rule.Title == key) {
			return r
		}
	}
	return nil
}

func (sc *scratch) walkAll(event string) error {
	sc.begin(event)
	sc.complete = true
	sc.walk()
	if sc.broken != nil {
		return sc.broken
	}
	return nil
}

func (sc *scratch) explain(e *expr) Node {
	n := Node{Label: e.label, Holds: sc.holds(e)}
	switch e.op {
	case exprAnd:
		n.Kind = NodeAll
	case exprOr:
		n.Kind = NodeAny
	case exprNot:
		n.Kind = NodeNot
	case exprNever:
		n.Kind = NodeNothing
	case exprPredicate:
		sc.explainField(&n, &sc.set.predicates[e.predicate])
	}
	for i := range e.kids {
		n.Kids = append(n.Kids, sc.explain(&e.kids[i]))
	}
	return n
}

func (sc *scratch) explainField(n *Node, p *predicate) {
	it := p.item
	n.Kind, n.Line, n.Col, n.Text = NodeField, it.line, it.col, it.String()
	if p.field < 0 {
		n.Kind = NodeKeywords
		return
	}
	st := sc.state(p.field)
	n.Absent = !st.present
	for i := st.first; i < st.last && len(n.Seen) < maxSeen; i++ {
		v := &sc.values[i]
		text := strings.Clone(clip(v.text))
		if v.kind == kindString {
			text = fmt.Sprintf("%q", text)
		}
		n.Seen = append(n.Seen, text)
	}
	switch more := int(st.last-st.first) - len(n.Seen); {
	case st.spilled:
		n.Seen = append(n.Seen, fmt.Sprintf("(more than %d values)", maxValues))
	case more > 0:
		n.Seen = append(n.Seen, fmt.Sprintf("(%d more)", more))
	}
}

func clip(s string) string {
	if len(s) <= maxSeenText {
		return s
	}
	return strings.ToValidUTF8(s[:maxSeenText], "") + "…"
}

// String is the item as the rule spells it.
func (it *item) String() string {
	var values []string
	if len(it.values) > 0 {
		for _, v := range it.values {
			if v.kind == valueText {
				values = append(values, fmt.Sprintf("%q", clip(v.text)))
			} else {
				values = append(values, v.text)
			}
		}
	} else {
		for _, g := range it.groups { // a guard
			for i := range g {
				values = append(values, g[i].shown)
			}
		}
	}
	key := it.key()
	if key == "" {
		key = "keywords"
	}
	const most = 20
	if len(values) > most {
		values = append(values[:most], fmt.Sprintf("… (%d more)", len(values)-most))
	}
	if len(values) == 1 {
		return key + ": " + values[0]
	}
	return key + ": [" + strings.Join(values, ", ") + "]"
}

// String draws the tree, a line for each part.
func (n *Node) String() string {
	var b strings.Builder
	n.draw(&b, "")
	return b.String()
}

func (n *Node) draw(b *strings.Builder, indent string) {
	mark := "✗"
	if n.Holds {
		mark = "✓"
	}
	fmt.Fprintf(b, "%s%s ", indent, mark)
	switch n.Kind {
	case NodeField, NodeKeywords:
		if n.Label != "" {
			b.WriteString(n.Label + ": ")
		}
		b.WriteString(n.Text)
		switch {
		case n.Kind == NodeKeywords:
		case n.Absent:
			b.WriteString("   (absent)")
		default:
			b.WriteString("   (" + strings.Join(n.Seen, ", ") + ")")
		}
	default:
		if n.Label != "" {
			b.WriteString(n.Label + " ")
		}
		b.WriteString("(" + n.Kind.String() + ")")
	}
	b.WriteByte('\n')
	for i := range n.Kids {
		n.Kids[i].draw(b, indent+"  ")
	}
}
