package rules

import (
	"bytes"
	"encoding/json"
	"math/big"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A second evaluator, slow and obvious: it decodes the event into a tree and asks every condition of it. It shares no
// code with the matcher.

type refPair struct {
	key   string
	value any
}

type (
	refObject []refPair
	refArray  []any
)

// refDecode keeps the order of keys, and drops the later ones of equal keys unless duplicates are wanted.
func refDecode(data []byte, duplicates bool) any {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := refValue(dec, duplicates)
	if err != nil {
		return nil
	}
	return v
}

func refValue(dec *json.Decoder, duplicates bool) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	d, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if d == '[' {
		a := refArray{}
		for dec.More() {
			v, err := refValue(dec, duplicates)
			if err != nil {
				return nil, err
			}
			a = append(a, v)
		}
		_, err := dec.Token()
		return a, err
	}
	o := refObject{}
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return nil, err
		}
		v, err := refValue(dec, duplicates)
		if err != nil {
			return nil, err
		}
		key, known := k.(string), false
		for _, p := range o {
			known = known || p.key == key
		}
		if !known || duplicates {
			o = append(o, refPair{key, v})
		}
	}
	_, err = dec.Token()
	return o, err
}

// refField is what a path leads to.
type refField struct {
	present bool
	array   bool
	values  []any
}

func (f *refField) null() bool {
	return f.present && !f.array && len(f.values) == 1 && f.values[0] == nil
}

func refFlatten(v any, out []any) []any {
	if a, ok := v.(refArray); ok {
		for _, e := range a {
			out = refFlatten(e, out)
		}
		return out
	}
	return append(out, v)
}

func refResolve(v any, path string, top bool) (f refField, found bool) {
	if path == "" {
		_, array := v.(refArray)
		return refField{true, array, refFlatten(v, nil)}, true
	}
	switch x := v.(type) {
	case refArray:
		f.array = true
		for _, e := range refFlatten(x, nil) {
			if o, ok := e.(refObject); ok {
				if g, ok := refResolve(o, path, false); ok && g.present {
					f.present = true
					f.values = append(f.values, g.values...)
				}
			}
		}
		return f, true
	case refObject:
		for _, p := range x {
			rest := ""
			switch {
			case p.key == path:
			case strings.HasPrefix(path, p.key+"."):
				rest = path[len(p.key)+1:]
			default:
				continue
			}
			g, ok := refResolve(p.value, rest, false)
			if ok || top {
				return g, ok
			}
		}
	}
	return f, false
}

func refText(v any) (string, bool) {
	switch x := v.(type) {
	case string:
		return x, true
	case bool:
		return strconv.FormatBool(x), true
	case json.Number:
		if !strings.ContainsAny(string(x), ".eE") {
			return string(x), true
		}
		f, err := strconv.ParseFloat(string(x), 64)
		if err != nil {
			return string(x), true
		}
		return strconv.FormatFloat(f, 'f', -1, 64), true
	}
	return "", false
}

var refNumber = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$`)

func refRat(v any) *big.Rat {
	if _, isBool := v.(bool); isBool {
		return nil
	}
	s, ok := refText(v)
	if !ok || !refNumber.MatchString(s) {
		return nil
	}
	r, ok := new(big.Rat).SetString(strings.TrimPrefix(s, "+"))
	if !ok {
		return nil
	}
	return r
}

// refItem is a line of a rule as the generator made it.
type refItem struct {
	field     string
	modifiers []string
	values    []any // string (with wildcards), json.Number, bool, nil
	list      bool
}

func (it *refItem) has(m string) bool {
	for _, x := range it.modifiers {
		if x == m {
			return true
		}
	}
	return false
}

// refGlob matches s against a pattern with wildcards and escapes, letter by letter.
func refGlob(pattern, s string, cased bool) bool {
	if pattern == "" {
		return s == ""
	}
	c, size := utf8.DecodeRuneInString(pattern)
	rest := pattern[size:]
	switch {
	case c == '*':
		for i := 0; i <= len(s); i++ {
			if refGlob(rest, s[i:], cased) {
				return true
			}
		}
		return false
	case c == '\\' && rest != "" && strings.ContainsRune(`*?\`, rune(rest[0])):
		c, rest = rune(rest[0]), rest[1:]
	case c == '?':
		if s == "" {
			return false
		}
		_, n := utf8.DecodeRuneInString(s)
		return refGlob(rest, s[n:], cased)
	}
	if s == "" {
		return false
	}
	r, n := utf8.DecodeRuneInString(s)
	if cased && r != c || !strings.EqualFold(string(r), string(c)) {
		return false
	}
	return refGlob(rest, s[n:], cased)
}

func (it *refItem) one(want, v any) bool {
	if it.has("cidr") {
		s, ok := v.(string)
		_, network, err := net.ParseCIDR(want.(string))
		if !ok || err != nil || strings.Contains(want.(string), ":") != strings.Contains(s, ":") {
			return false
		}
		ip := net.ParseIP(s)
		return ip != nil && network.Contains(ip)
	}
	for _, m := range []string{"lt", "lte", "gt", "gte"} {
		if it.has(m) {
			a, b := refRat(v), refRat(want)
			if a == nil {
				return false
			}
			c := a.Cmp(b)
			return m == "lt" && c < 0 || m == "lte" && c <= 0 || m == "gt" && c > 0 || m == "gte" && c >= 0
		}
	}
	if it.has("year") {
		s, _ := v.(string)
		t, err := time.Parse(time.RFC3339, s)
		if n, ok := v.(json.Number); ok {
			var seconds int64
			text, _ := refText(n)
			if seconds, err = strconv.ParseInt(text, 10, 64); seconds >= 100_000_000_000 {
				seconds /= 1000
			}
			t = time.Unix(seconds, 0)
		}
		return err == nil && strconv.Itoa(t.UTC().Year()) == string(want.(json.Number))
	}
	text, ok := refText(v)
	if !ok {
		return false
	}
	if it.has("re") {
		expr := want.(string)
		if it.has("i") {
			expr = "(?i)" + expr
		}
		return regexp.MustCompile(expr).MatchString(text)
	}
	var pattern string
	switch w := want.(type) {
	case string:
		pattern = w
	case bool:
		pattern = strconv.FormatBool(w)
	case json.Number:
		if !it.has("contains") && !it.has("startswith") && !it.has("endswith") && !it.has("cased") {
			a, b := refRat(v), refRat(w)
			return a != nil && a.Cmp(b) == 0
		}
		pattern = string(w)
	}
	if it.has("contains") || it.has("endswith") {
		pattern = "*" + pattern
	}
	if it.has("contains") || it.has("startswith") {
		// A backslash at the end stays a backslash.
		if slashes := len(pattern) - len(strings.TrimRight(pattern, `\`)); slashes%2 == 1 {
			pattern += `\`
		}
		pattern += "*"
	}
	return refGlob(pattern, text, it.has("cased"))
}

func (it *refItem) holds(f refField) bool {
	if it.has("exists") {
		return f.present == it.values[0].(bool)
	}
	matches := func(want any) bool {
		if want == nil {
			return !f.present || f.null()
		}
		for _, v := range f.values {
			if it.one(want, v) {
				return true
			}
		}
		return false
	}
	count := 0
	for _, w := range it.values {
		if matches(w) {
			count++
		}
	}
	switch {
	case it.has("neq"):
		return f.present && count == 0
	case it.has("all"):
		return count == len(it.values)
	}
	return count > 0
}

// keywords: any text value of the event.
func (it *refItem) search(v any) bool {
	texts := refTexts(v, nil)
	count := 0
	for _, w := range it.values {
		for _, s := range texts {
			if (&refItem{modifiers: append([]string{"contains"}, it.modifiers...)}).one(w, s) {
				count++
				break
			}
		}
	}
	if it.has("all") {
		return count == len(it.values)
	}
	return count > 0
}

func refTexts(v any, out []string) []string {
	switch x := v.(type) {
	case string:
		return append(out, x)
	case refArray:
		for _, e := range x {
			out = refTexts(e, out)
		}
	case refObject:
		for _, p := range x {
			out = refTexts(p.value, out)
		}
	}
	return out
}

// refRule is a rule as the generator made it: selections are alternatives of conjunctions.
type refRule struct {
	names      []string
	selections [][][]refItem
	condition  refCondition
}

type refCondition struct {
	op   string // name, and, or, not, 1 of, all of
	name string // a selection or a pattern
	kids []refCondition
}

func (r *refRule) selection(i int, resolve func(string) refField, event any) bool {
	for _, m := range r.selections[i] {
		ok := true
		for k := range m {
			if m[k].field == "" {
				ok = ok && m[k].search(event)
			} else {
				ok = ok && m[k].holds(resolve(m[k].field))
			}
		}
		if ok {
			return true
		}
	}
	return false
}

func (r *refRule) eval(c *refCondition, resolve func(string) refField, event any) bool {
	switch c.op {
	case "name":
		for i, n := range r.names {
			if n == c.name {
				return r.selection(i, resolve, event)
			}
		}
		panic("unknown selection")
	case "not":
		return !r.eval(&c.kids[0], resolve, event)
	case "and", "or":
		for i := range c.kids {
			if r.eval(&c.kids[i], resolve, event) != (c.op == "and") {
				return c.op == "or"
			}
		}
		return c.op == "and"
	}
	total, count := 0, 0
	for i, n := range r.names {
		if strings.HasPrefix(n, "_") {
			continue
		}
		if c.name == "them" || strings.HasSuffix(c.name, "*") && strings.HasPrefix(n, strings.TrimSuffix(c.name, "*")) {
			total++
			if r.selection(i, resolve, event) {
				count++
			}
		}
	}
	if c.op == "all of" {
		return total > 0 && count == total
	}
	return count > 0
}
