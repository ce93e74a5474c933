package rules

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// generator makes random rules and events that have a fair chance to meet.
type generator struct {
	*rand.Rand
	fields []string
	values []string
}

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

func (g *generator) text() string {
	s := g.values[g.IntN(len(g.values))]
	switch g.IntN(8) {
	case 0:
		s = strings.ToUpper(s)
	case 1:
		s = pick(g, "", "a", "Z", "201", "-1", "1.50", "Straße", "ſ", "K", "é", `a\b`, "true", "null", "x y")
	case 2:
		if r := []rune(s); len(r) > 2 {
			i := g.IntN(len(r) - 1)
			s = string(r[i : i+1+g.IntN(len(r)-i-1)])
		}
	}
	return s
}

// escape writes a text so that it means itself in a rule.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`).Replace(s)
}

func (g *generator) item() refItem {
	it := refItem{field: g.fields[g.IntN(len(g.fields))]}
	if g.IntN(25) == 0 {
		it.field = ""
	}
	list := func() {
		n := 1
		if g.IntN(3) == 0 {
			n += g.IntN(4)
		}
		if g.IntN(40) == 0 {
			n += 12
		}
		for range n {
			s := g.text()
			if g.IntN(4) == 0 && len(s) > 2 {
				s = escape(s[:1]) + pick(g, "*", "?", "**") + escape(strings.ToValidUTF8(s[2:], ""))
			} else {
				s = escape(s)
			}
			it.values = append(it.values, strings.ToValidUTF8(s, "?"))
		}
		it.list = n > 1
		if n > 1 && g.IntN(3) == 0 {
			it.modifiers = append(it.modifiers, "all")
		}
	}
	neq := func() {
		if it.field != "" && g.IntN(6) == 0 && !it.has("all") {
			it.modifiers = append(it.modifiers, "neq")
		}
	}
	number := func() json.Number {
		return json.Number(pick(g, "0", "200", "201", "403", "-1", "1.5", "9007199254740993", "500", "2", "1"))
	}
	kind := g.IntN(14)
	if it.field == "" {
		kind = 3 + g.IntN(2)
	}
	switch kind {
	case 0:
		it.values = []any{nil}
		neq()
	case 1:
		it.modifiers, it.values = []string{"exists"}, []any{g.IntN(2) == 0}
	case 2:
		it.modifiers, it.values = []string{pick(g, "lt", "lte", "gt", "gte")}, []any{number()}
		neq()
	case 3, 4, 5, 6:
		if it.field != "" {
			it.modifiers = []string{pick(g, "contains", "startswith", "endswith")}
		}
		list()
		if g.IntN(5) == 0 {
			it.modifiers = append(it.modifiers, "cased")
		}
		neq()
	case 7:
		it.modifiers = []string{"re"}
		if g.IntN(2) == 0 {
			it.modifiers = append(it.modifiers, "i")
		}
		it.values = []any{pick(g, "^sys", "s$", "[0-9]+", "a.c", "(create|delete)", "^.{3,5}$", "k8s\\.io", "(?:x|y)z*", "pod")}
		neq()
	case 8:
		it.modifiers, it.values = []string{"cidr"}, []any{pick(g, "10.0.0.0/8", "127.0.0.0/8", "::/0", "0.0.0.0/0")}
		neq()
	case 9:
		it.values = []any{number(), number()}
		it.list = true
		neq()
	case 10:
		it.values = []any{g.IntN(2) == 0}
		neq()
	case 11:
		it.modifiers, it.values = []string{"year"}, []any{json.Number(pick(g, "2025", "2026", "1970"))}
	default:
		list()
		if g.IntN(8) == 0 {
			it.modifiers = append(it.modifiers, "cased")
		}
		neq()
	}
	return it
}

func (g *generator) rule() refRule {
	var r refRule
	for i := range 1 + g.IntN(4) {
		r.names = append(r.names, pick(g, "sel", "filter", "_hidden")+"_"+strconv.Itoa(i))
		var maps [][]refItem
		for range 1 + g.IntN(2)*g.IntN(2) {
			var m []refItem
			seen := map[string]bool{}
			for range 1 + g.IntN(3) {
				it := g.item()
				if key := it.key(); !seen[key] {
					seen[key] = true
					m = append(m, it)
				}
			}
			maps = append(maps, m)
		}
		r.selections = append(r.selections, maps)
	}
	r.condition = g.condition(&r, 3)
	return r
}

func (g *generator) condition(r *refRule, depth int) refCondition {
	if depth == 0 || g.IntN(3) == 0 {
		if g.IntN(5) == 0 {
			return refCondition{op: pick(g, "1 of", "all of"), name: pick(g, "them", "sel*", "filter_*")}
		}
		return refCondition{op: "name", name: r.names[g.IntN(len(r.names))]}
	}
	c := refCondition{op: pick(g, "and", "and", "or", "not")}
	n := 1
	if c.op != "not" {
		n = 2 + g.IntN(2)
	}
	for range n {
		c.kids = append(c.kids, g.condition(r, depth-1))
	}
	return c
}

func (it *refItem) key() string {
	return it.field + strings.Join(append([]string{""}, it.modifiers...), "|")
}

func (c *refCondition) String() string {
	switch c.op {
	case "name":
		return c.name
	case "not":
		return "not (" + c.kids[0].String() + ")"
	case "and", "or":
		var parts []string
		for i := range c.kids {
			parts = append(parts, "("+c.kids[i].String()+")")
		}
		return strings.Join(parts, " "+c.op+" ")
	}
	return c.op + " " + c.name
}

func yamlValue(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case string:
		return jsonQuote(x)
	case json.Number:
		return string(x)
	}
	return fmt.Sprint(v)
}

// yaml writes the rule out. JSON strings are YAML strings.
func (r *refRule) yaml(id int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\ntitle: Random %d\nid: 00000000-0000-4000-8000-%012d\nlogsource: {product: kubernetes}\ndetection:\n", id, id)
	for i, n := range r.names {
		fmt.Fprintf(&b, "  %s:\n", n)
		for _, m := range r.selections[i] {
			lead := "    - "
			for _, it := range m {
				fmt.Fprintf(&b, "%s%s: ", lead, jsonQuote(it.key()))
				lead = "      "
				if !it.list {
					b.WriteString(yamlValue(it.values[0]) + "\n")
					continue
				}
				var parts []string
				for _, v := range it.values {
					parts = append(parts, yamlValue(v))
				}
				b.WriteString("[" + strings.Join(parts, ", ") + "]\n")
			}
		}
	}
	fmt.Fprintf(&b, "  condition: %s\n", r.condition.String())
	return b.String()
}

func jsonQuote(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}

// event makes a random event out of the segments of the fields: nested, flattened, doubled, escaped, in arrays.
func (g *generator) event() []byte {
	var b strings.Builder
	g.object(&b, 3)
	return []byte(b.String())
}

func (g *generator) object(b *strings.Builder, depth int) {
	b.WriteByte('{')
	for i := range g.IntN(6) {
		if i > 0 {
			b.WriteString(pick(g, ",", ", "))
		}
		segments := strings.Split(g.fields[g.IntN(len(g.fields))], ".")
		from := g.IntN(len(segments))
		if g.IntN(2) == 0 {
			from = 0
		}
		to := from + 1
		if g.IntN(5) == 0 {
			to += g.IntN(len(segments) - from)
		}
		key := strings.Join(segments[from:to], ".")
		if g.IntN(20) == 0 {
			fmt.Fprintf(b, `"\u%04x%s"`, key[0], key[1:])
		} else {
			b.WriteString(jsonQuote(key))
		}
		b.WriteString(pick(g, ":", ": "))
		g.value(b, depth-1)
	}
	b.WriteByte('}')
}

func (g *generator) value(b *strings.Builder, depth int) {
	kind := g.IntN(12)
	if depth <= 0 {
		kind = 4 + g.IntN(8)
	}
	switch kind {
	case 0, 1:
		g.object(b, depth)
	case 2:
		b.WriteByte('[')
		for i := range g.IntN(4) {
			if i > 0 {
				b.WriteByte(',')
			}
			g.value(b, depth-1)
		}
		b.WriteByte(']')
	case 3:
		b.WriteByte('[')
		for i := range g.IntN(3) {
			if i > 0 {
				b.WriteByte(',')
			}
			g.object(b, depth-1)
		}
		b.WriteByte(']')
	case 4:
		b.WriteString(pick(g, "null", "true", "false", "[]", "{}"))
	case 5, 6:
		b.WriteString(pick(g, "200", "201", "403", "0", "-1", "2e2", "200.0", "1.5", "9007199254740993", "1e400", "500.00"))
	case 7:
		b.WriteString(jsonQuote(pick(g, "10.1.2.3", "127.0.0.1", "::1", "2026-11-23T09:30:00Z", "2025-01-01T00:00:00+02:00", "0201", "+200", "2E2")))
	case 8:
		b.WriteByte('"')
		for _, c := range g.text() {
			if c < 0x10000 && g.IntN(2) == 0 {
				fmt.Fprintf(b, `\u%04x`, c)
			} else {
				q := jsonQuote(string(c))
				b.WriteString(q[1 : len(q)-1])
			}
		}
		b.WriteByte('"')
	default:
		b.WriteString(jsonQuote(g.text()))
	}
}
