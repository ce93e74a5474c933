package rules

import (
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindObject
)

// scalar is one value of a field, as tests see it. Its texts refer to the event or to the scratch and are valid until
// Match returns.
type scalar struct {
	kind   kind
	folds  bool
	text   string
	folded string
}

// textual tells values that have a text: null and objects have none.
func (v *scalar) textual() bool { return v.kind != kindNull && v.kind != kindObject }

// foldedText is the text without case.
func (v *scalar) foldedText(sc *scratch) string {
	if !v.folds {
		v.folds = true
		v.folded = v.text
		if !isFolded(v.text) {
			v.folded = sc.mapped(v.text, appendFold)
		}
	}
	return v.folded
}

// decimal reads the text of numbers and strings as a number; true and false are none.
func (v *scalar) decimal() (decimal, bool) {
	if v.kind != kindNumber && v.kind != kindString {
		return decimal{}, false
	}
	return parseDecimal(v.text)
}

// timePart is the part of a time, or -1 where the value is none.
func (v *scalar) timePart(p timePart) int64 {
	t, ok := parseTime(v)
	if !ok {
		return -1 << 62
	}
	return p.of(t)
}

// scalarOf reads a raw JSON value. Strings with escapes and fractions are written into the scratch: gjson would allocate
// for the former and take the latter as floats.
func (sc *scratch) scalarOf(raw string) scalar {
	if len(raw) > 0 && raw[0] == '"' && strings.IndexByte(raw, '\\') >= 0 {
		return scalar{kind: kindString, text: sc.mapped(raw[1:max(len(raw)-1, 1)], appendUnescaped)}
	}
	switch r := gjson.Parse(raw); r.Type {
	case gjson.String:
		return scalar{kind: kindString, text: r.Str}
	case gjson.True, gjson.False:
		return scalar{kind: kindBool, text: raw}
	case gjson.JSON:
		return scalar{kind: kindObject, text: raw}
	case gjson.Number:
		if strings.ContainsAny(raw, ".eE") {
			return scalar{kind: kindNumber, text: sc.mapped(raw, appendNumberText)}
		}
		return scalar{kind: kindNumber, text: raw}
	default:
		return scalar{kind: kindNull, text: raw}
	}
}

// mapped is f(s), written into the scratch. It is valid until Match returns: a buffer that grows leaves the old one to
// those who hold it.
func (sc *scratch) mapped(s string, f func([]byte, string) []byte) string {
	start := len(sc.arena)
	sc.arena = f(sc.arena, s)
	return lend(sc.arena[start:])
}

// lend views bytes as a string without a copy. The matcher works on strings because they slice and compare without
// bounds to re-establish; the bytes are the caller's (or the scratch's) and do not change while Match runs, and nothing
// that refers to them outlives it. This is the only unsafe line of the package.
func lend(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func contains(s, part string) bool    { return strings.Contains(s, part) }
func hasPrefix(s, prefix string) bool { return strings.HasPrefix(s, prefix) }
func hasSuffix(s, suffix string) bool { return strings.HasSuffix(s, suffix) }
