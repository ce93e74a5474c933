package envelope

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Check validates JSON text in full: the grammar of RFC 8259, control characters, UTF-8, and nesting up to
// [MaxDepth]. It makes one pass, never recurses, and allocates only the Fault it returns, whose Raw is the text and
// whose Detail names the byte offset. Escaped lone surrogates are legal grammar and pass.
func Check(json []byte) *Fault {
	i, c := scan(json, 0, MaxDepth)
	if c == ok {
		if i = skipSpace(json, i); i == len(json) {
			return nil
		}
		c = wantEnd
	}
	f := c.fault(json, i)
	f.Raw = json
	return &f
}

// MemberVisitor takes the top-level members of an object in their order: where the text of the key begins and ends, between
// its quotes, and where the value does.
type MemberVisitor interface {
	Member(key, keyEnd, value, valueEnd int)
	// Sound says where the value that begins at start ends, if [CheckValue] has seen it already, else 0.
	Sound(start int) (end int)
}

// CheckValue checks the value that begins at json[start], a member of the outermost object, and returns the offset behind
// it, or -1 when it is unsound: [CheckMembers] then says why.
func CheckValue(json []byte, start int) int {
	end, c := scan(json, start, MaxDepth-1)
	if c != ok {
		return -1
	}
	return end
}

// CheckMembers is [Check] for an object, and shows its top-level members on the way: the pass comes by them anyway. When
// there is a fault, members up to it have been shown.
func CheckMembers(json []byte, v MemberVisitor) *Fault {
	if len(json) == 0 || json[0] != '{' {
		return Check(json)
	}
	var m members
	m.open(json, 0, MaxDepth)
	for m.next() {
		key := cap(json) - cap(m.key) // m.key is a part of json
		keyEnd, value := key+len(m.key), m.i
		if end := v.Sound(value); end > value {
			m.i = end
		} else if m.skip() == nil {
			break
		}
		v.Member(key, keyEnd, value, m.i)
	}
	i, c := m.i, m.code
	if c == ok {
		if i = skipSpace(json, i); i == len(json) {
			return nil
		}
		c = wantEnd
	}
	f := c.fault(json, i)
	f.Raw = json
	return &f
}

// Eight bytes at a time: each lane of a word is one byte of text.
const (
	lanes   = 0x0101010101010101
	highs   = lanes * 0x80
	slashes = lanes * '\\'
	// flip swaps the quote (0x22) with the space (0x20), and among themselves the control characters below, so that
	// one comparison with afterSpace finds quotes and control characters.
	flip       = lanes * ('"' ^ ' ')
	afterSpace = lanes * (' ' + 1)
)

// stops marks the high bit of each byte that a string scan must look at: quote, backslash, control character, or
// non-ASCII. A subtraction borrows only into lanes above a marked one, so the lowest mark is always exact, and only
// that one is used.
func stops(w uint64) uint64 {
	return (((w ^ flip) - afterSpace) | ((w ^ slashes) - lanes) | w) & highs
}

// skipSpace returns the offset of the first byte at or after i that is no JSON white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// scan validates the one value that starts at or after i and returns the offset behind it, or the offset and code of
// what broke it. room is how many levels it may still nest.
//
// The kinds of the open containers are bits, 1 for an object: the innermost 64 in a register, the others spilled.
func scan(b []byte, i, room int) (int, code) {
	var (
		spill [MaxDepth/64 + 1]uint64
		kinds uint64
		depth int
		w, m  uint64
		c     byte
		e     code
	)

value:
	if i >= len(b) {
		return i, wantValue
	}
	c = b[i]
	if c <= ' ' {
		if i = skipSpace(b, i); i >= len(b) {
			return i, wantValue
		}
		c = b[i]
	}
	switch c {
	case '"':
		goto text
	case '{':
		goto object
	case '[':
		if depth == room {
			return i, deep
		}
		if depth&63 == 0 {
			spill[depth>>6] = kinds
		}
		depth++
		kinds <<= 1
		i++
		if i = skipSpace(b, i); i < len(b) && b[i] == ']' {
			goto closing
		}
		goto value
	case 't':
		if len(b)-i < 4 || string(b[i:i+4]) != "true" {
			return i, badLiteral
		}
		i += 4
	case 'f':
		if len(b)-i < 5 || string(b[i:i+5]) != "false" {
			return i, badLiteral
		}
		i += 5
	case 'n':
		if len(b)-i < 4 || string(b[i:i+4]) != "null" {
			return i, badLiteral
		}
		i += 4
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if i, e = number(b, i); e != ok {
			return i, e
		}
	default:
		return i, wantValue
	}

	goto after

text: // b[i] is the opening quote of a value
	i++
	for {
		if len(b)-i < 8 {
			if i, e = endString(b, i); e != ok {
				return i, e
			}
			break
		}
		w = binary.LittleEndian.Uint64(b[i:])
		m = stops(w)
		if m == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(m) >> 3
		if b[i] == '"' {
			i++
			break
		}
		if i, e = special(b, i); e != ok {
			return i, e
		}
	}

after:
	if depth == 0 {
		return i, ok
	}
	if i < len(b) && b[i] <= ' ' {
		i = skipSpace(b, i)
	}
	if kinds&1 == 0 {
		if i >= len(b) {
			return i, wantElement
		}
		if b[i] == ',' {
			i++
			goto value
		}
		if b[i] != ']' {
			return i, wantElement
		}
		goto closing
	}
	if i >= len(b) {
		return i, wantMember
	}
	if b[i] == '}' {
		goto closing
	}
	if b[i] != ',' {
		return i, wantMember
	}
	i++
	if i >= len(b) || b[i] != '"' {
		if i = skipSpace(b, i); i >= len(b) || b[i] != '"' {
			return i, wantKey
		}
	}

	goto key

object: // b[i] opens it
	if depth == room {
		return i, deep
	}
	if depth&63 == 0 {
		spill[depth>>6] = kinds
	}
	depth++
	kinds = kinds<<1 | 1
	i++
	if i >= len(b) || b[i] != '"' {
		if i = skipSpace(b, i); i < len(b) && b[i] == '}' {
			goto closing
		}
		if i >= len(b) || b[i] != '"' {
			return i, wantFirstKey
		}
	}

key: // b[i] is the opening quote
	i++
	for {
		if len(b)-i < 8 {
			if i, e = endString(b, i); e != ok {
				return i, e
			}
			break
		}
		w = binary.LittleEndian.Uint64(b[i:])
		m = stops(w)
		if m == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(m) >> 3
		if b[i] == '"' {
			i++
			break
		}
		if i, e = special(b, i); e != ok {
			return i, e
		}
	}
	if i >= len(b) || b[i] != ':' {
		if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
			return i, wantColon
		}
	}
	i++
	if i < len(b) && b[i] == '"' {
		goto text
	}
	if i < len(b) && b[i] == '{' {
		goto object
	}
	goto value

closing: // b[i] closes the innermost container
	i++
	depth--
	kinds >>= 1
	if depth&63 == 0 {
		kinds = spill[depth>>6]
	}
	goto after
}

// special passes over what stopped a string scan at i: an escape or a sequence of UTF-8. It returns the offset where
// the scan goes on.
func special(b []byte, i int) (int, code) {
	c := b[i]
	if c < ' ' {
		return i, rawControl
	}
	if c != '\\' {
		_, n := utf8.DecodeRune(b[i:])
		if n <= 1 {
			return i, notUTF8
		}
		return i + n, ok
	}
	if i+1 >= len(b) {
		return i + 1, badEscape
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, ok
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j >= len(b) || hexDigit(b[j]) > 15 {
				return j, badHex
			}
		}
		return i + 6, ok
	}
	return i + 1, badEscape
}

// endString finishes a string within the last bytes of the input and returns the offset behind its quote.
func endString(b []byte, i int) (int, code) {
	var e code
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			return i + 1, ok
		case c < ' ' || c == '\\' || c >= utf8.RuneSelf:
			if i, e = special(b, i); e != ok {
				return i, e
			}
		default:
			i++
		}
	}
	return i, openString
}

// number validates the number that starts at i, with a minus sign or a digit.
func number(b []byte, i int) (int, code) {
	if b[i] == '-' {
		i++
	}
	if i >= len(b) || b[i]-'0' > 9 {
		return i, badNumber
	}
	if b[i] == '0' {
		i++
	} else {
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
	}
	if i < len(b) && b[i] == '.' {
		i++
		if i >= len(b) || b[i]-'0' > 9 {
			return i, badNumber
		}
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if i >= len(b) || b[i]-'0' > 9 {
			return i, badNumber
		}
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
	}
	return i, ok
}

// hexDigit gives the value of a hexadecimal digit, 16 for every other byte.
func hexDigit(c byte) byte {
	switch {
	case c-'0' <= 9:
		return c - '0'
	case (c|0x20)-'a' <= 5:
		return (c | 0x20) - 'a' + 10
	}
	return 16
}
