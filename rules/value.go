package rules

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Limits of one value.
const (
	// maxRegex is the longest regular expression, in bytes.
	maxRegex = 16 << 10
	// maxExpanded bounds the values that |expand makes out of one value.
	maxExpanded = 10_000
)

// valueKind is the YAML type of a value.
type valueKind uint8

const (
	valueText valueKind = iota
	valueInt
	valueFloat
	valueBool
	valueNull
)

func (k valueKind) String() string {
	return [...]string{"a text", "an integer", "a number", "a boolean", "null"}[k]
}

// value is one value of an item as the rule has it.
type value struct {
	kind      valueKind
	text      string
	line, col int
}

// problem is what is wrong with a value; the caller knows the place.
type problem struct{ msg, hint string }

func (p *problem) Error() string { return p.msg }

func problemf(hint, format string, args ...any) error {
	return &problem{msg: fmt.Sprintf(format, args...), hint: hint}
}

// build turns one value into the alternatives that mean it.
func (c *chain) build(v value) ([]test, error) {
	switch c.family {
	case familyExists:
		if v.kind != valueBool {
			return nil, problemf("write true or false", "expected a boolean for |exists, got %s", v.kind)
		}
		if v.text == "true" {
			return []test{{op: opPresent}}, nil
		}
		return []test{{op: opAbsent}}, nil
	case familyOrder:
		return c.order(v)
	case familyTime:
		n, err := strconv.ParseInt(v.text, 10, 64)
		if v.kind != valueInt || err != nil {
			return nil, problemf("", "expected an integer for |%s, got %s %q", c.by, v.kind, v.text)
		}
		return []test{{op: opTime, part: timePart(c.by - modMinute), n: n, shown: v.text}}, nil
	case familyCIDR:
		if v.kind != valueText {
			return nil, problemf("", "expected a network such as 10.0.0.0/8 for |cidr, got %s", v.kind)
		}
		p, err := netip.ParsePrefix(v.text)
		if err != nil {
			return nil, problemf("write it as 10.0.0.0/8 or 2001:db8::/32", "expected a network for |cidr, got %q", v.text)
		}
		return []test{{op: opCIDR, network: p.Masked(), shown: v.text}}, nil
	case familyRegex:
		return c.regex(v)
	case familyRef:
		return c.reference(v)
	default:
	}
	if v.kind == valueNull {
		if c.family != familyNone || c.cased || c.dash || c.expand || len(c.encodings) > 0 {
			return nil, problemf("null goes with no modifier but |neq", "expected a text, got null")
		}
		return []test{{op: opNull, shown: "null"}}, nil
	}
	return c.textual(v)
}

func (c *chain) order(v value) ([]test, error) {
	if v.kind != valueInt && v.kind != valueFloat {
		return nil, problemf("numbers are written without quotes", "expected a number for |%s, got %s", c.by, v.kind)
	}
	d, ok := parseDecimal(v.text)
	if !ok {
		return nil, problemf("", "expected a finite number for |%s, got %q", c.by, v.text)
	}
	return []test{{op: opLess + op(c.by-modLess), number: d, shown: v.text}}, nil
}

func (c *chain) regex(v value) ([]test, error) {
	if v.kind != valueText {
		return nil, problemf("quote it", "expected a regular expression, got %s", v.kind)
	}
	if len(v.text) > maxRegex {
		return nil, problemf("", "expected a regular expression of at most %d bytes, got %d", maxRegex, len(v.text))
	}
	flags := ""
	if c.ignoreCase {
		flags += "i"
	}
	if c.multiline {
		flags += "m"
	}
	if c.dotAll {
		flags += "s"
	}
	expr := v.text
	if flags != "" {
		expr = "(?" + flags + ")" + expr
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		msg := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		return nil, problemf("RE2 syntax: no look-around, no back-references", "expected a regular expression, got one that does not compile: %s", msg)
	}
	t := test{op: opRegex, regex: re, shown: v.text}
	if parsed, err := syntax.Parse(expr, syntax.Perl); err == nil {
		t.literal, t.literalFold = requiredLiteral(parsed.Simplify())
	}
	return []test{t}, nil
}

func (c *chain) reference(v value) ([]test, error) {
	if v.kind != valueText || v.text == "" {
		return nil, problemf("", "expected the name of a field for |fieldref, got %s", v.kind)
	}
	if strings.ContainsAny(v.text, "*?|") {
		return nil, problemf("", "expected the plain name of a field for |fieldref, got %q", v.text)
	}
	t := test{op: opRefEqual, text: v.text, cased: c.cased, shown: v.text}
	switch c.by {
	case modContains:
		t.op = opRefContains
	case modStartsWith:
		t.op = opRefPrefix
	case modEndsWith:
		t.op = opRefSuffix
	default: // equality
	}
	return []test{t}, nil
}

// textual handles everything that compares text, and plain numbers and booleans.
func (c *chain) textual(v value) ([]test, error) {
	if v.kind == valueBool && (c.family != familyNone || c.cased || c.dash || len(c.encodings) > 0 || c.expand) {
		return nil, problemf("quote it if the text is meant", "expected a text, got a boolean")
	}
	if v.kind != valueText && (c.dash || len(c.encodings) > 0) {
		return nil, problemf("quote it if the text is meant", "expected a text, got %s", v.kind)
	}
	if (v.kind == valueInt || v.kind == valueFloat) && c.family == familyNone && !c.cased {
		if d, ok := parseDecimal(v.text); ok {
			return []test{{op: opNumber, number: d, shown: v.text}}, nil
		}
	}
	p := pieces{{text: v.text}}
	if v.kind == valueText {
		p = parsePieces(v.text)
	}
	variants := []pieces{p}
	within := c.family == familyText && c.by == modContains
	for _, e := range c.encodings {
		literal, plain := p.literal()
		switch e {
		case modBase64, modBase64Offset:
			if !plain {
				return nil, problemf(`escape wildcards that are meant as text: \*`, "expected a text without wildcards for |%s, got %q", e, v.text)
			}
			variants = variants[:0]
			if e == modBase64 {
				variants = append(variants, pieces{{text: base64.StdEncoding.EncodeToString([]byte(literal))}})
			} else {
				for _, s := range base64Offsets(literal) {
					variants = append(variants, pieces{{text: s}})
				}
				// The value stands at an unknown place within longer text: that is what the modifier is for.
				within = within || c.family == familyNone
			}
		default:
			p = p.mapText(func(s string) string { return encodeUTF16(s, e) })
			if e == modUTF16 {
				p = append(pieces{{text: "\xff\xfe"}}, p...)
				if s, ok := joinText(p); ok {
					p = pieces{{text: s}}
				}
			}
			variants = append(variants[:0], p)
		}
	}
	tests := make([]test, 0, len(variants))
	for _, p := range variants {
		tests = append(tests, c.textTest(p, within, v.text))
	}
	return tests, nil
}

// textTest picks the cheapest operator for a pattern.
func (c *chain) textTest(p pieces, within bool, shown string) test {
	t := test{cased: c.cased, dash: c.dash, shown: shown}
	form := func(s string) string {
		if c.dash {
			s = string(appendDashes(nil, s))
		}
		if !c.cased {
			s = fold(s)
		}
		return s
	}
	p = p.mapText(form)
	star := piece{wild: '*'}
	if (within || c.family == familyText && c.by == modEndsWith) && !p.startsWithStar() {
		p = append(pieces{star}, p...)
	}
	if (within || c.family == familyText && c.by == modStartsWith) && !p.endsWithStar() {
		p = append(p, star)
	}
	open, closed := p.startsWithStar(), p.endsWithStar()
	inner := p
	if open {
		inner = inner[1:]
	}
	if closed && len(inner) > 0 {
		inner = inner[:len(inner)-1]
	}
	text, plain := inner.literal()
	switch {
	case !plain:
		t.op, t.glob = opGlob, p
	case open && (closed || text == ""):
		t.op, t.text = opContains, text
	case open:
		t.op, t.text = opSuffix, text
	case closed:
		t.op, t.text = opPrefix, text
	default:
		t.op, t.text = opEqual, text
	}
	return t
}

func joinText(p pieces) (string, bool) {
	var b strings.Builder
	for _, x := range p {
		if x.wild != 0 {
			return "", false
		}
		b.WriteString(x.text)
	}
	return b.String(), true
}

// encodeUTF16 is s in UTF-16 without a byte order mark; |wide and |utf16 are little endian.
func encodeUTF16(s string, as modifier) string {
	out := make([]byte, 0, 2*len(s))
	for _, u := range utf16.Encode([]rune(s)) {
		if as == modUTF16BE {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return string(out)
}

// base64Offsets are the characters of s in base64 that do not depend on what stands before and after it, for each of
// the three places where it can begin within a group of three bytes. Places that leave nothing are left out.
func base64Offsets(s string) []string {
	starts, cuts := [...]int{0, 2, 3}, [...]int{0, 3, 2}
	var out []string
	for shift := range 3 {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), s...))
		begin, end := starts[shift], len(text)-cuts[(shift+len(s))%3]
		if begin < end {
			out = append(out, text[begin:end])
		}
	}
	return out
}

// expandValue replaces %name% by the values of the placeholder; \% is a percent sign. Values may hold wildcards.
func expandValue(text string, placeholders map[string][]string) ([]string, error) {
	out, tooMany := []string{""}, false
	add := func(alternatives ...string) {
		if len(out)*len(alternatives) > maxExpanded {
			tooMany = true
			return
		}
		next := make([]string, 0, len(out)*len(alternatives))
		for _, o := range out {
			for _, a := range alternatives {
				next = append(next, o+a)
			}
		}
		out = next
	}
	for i := 0; i < len(text); {
		if strings.HasPrefix(text[i:], `\%`) {
			add("%")
			i += 2
			continue
		}
		if text[i] == '%' {
			if end := strings.IndexByte(text[i+1:], '%'); end > 0 && isPlaceholder(text[i+1:i+1+end]) {
				name := text[i+1 : i+1+end]
				values, ok := placeholders[name]
				if !ok {
					return nil, problemf("define it in the configuration", "expected a defined placeholder, got %%%s%%", name)
				}
				add(values...)
				i += end + 2
				continue
			}
		}
		end := i + 1
		for end < len(text) && text[end] != '%' && text[end] != '\\' {
			end++
		}
		add(text[i:end])
		i = end
	}
	if tooMany {
		return nil, problemf("", "expected at most %d values out of one, got more", maxExpanded)
	}
	return out, nil
}

func isPlaceholder(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}

// shortNumber is the text of a float in a rule: the shortest decimal form.
func shortNumber(f float64) string {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
