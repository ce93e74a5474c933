package rules

import (
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// SyntaxError is a structural break that the walk over an event came upon. The walk is no validator: it looks only as
// far as it must.
type SyntaxError struct {
	// Offset is the byte at which the event breaks.
	Offset int
	// Expected says what should have stood there.
	Expected string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("event breaks at byte %d: expected %s", e.Offset, e.Expected)
}

// All scanners take the text and an index within it or at its end, and give back an index within it or at its end. A
// negative index means that the text ended first. None recurses, whatever the nesting.

func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// skipString takes the index behind an opening quote and gives that behind the closing one. Most strings are short: the
// first bytes are looked at eight at a time, the rest is left to IndexByte.
func skipString(s string, i int) int {
	const near = 4
	for range near {
		if i+8 > len(s) {
			break
		}
		x := load8(s, i)
		if quotes := zeroBytes(x ^ ones*'"'); quotes != 0 {
			at := bits.TrailingZeros64(quotes) / 8
			// Without a backslash before it the quote is the end.
			if zeroBytes(x^ones*'\\')&(quotes&-quotes-1) == 0 {
				return i + at + 1
			}
			return skipEscaped(s, i)
		}
		if zeroBytes(x^ones*'\\') != 0 {
			return skipEscaped(s, i)
		}
		i += 8
	}
	return skipEscaped(s, i)
}

const ones = 0x0101010101010101

// zeroBytes sets the top bit of the lowest byte of x that is 0; above that one its bits may be wrong.
func zeroBytes(x uint64) uint64 { return (x - ones) & ^x & (ones << 7) }

// load8 reads eight bytes, the first of them lowest. The compiler makes one load of it.
func load8(s string, i int) uint64 {
	t := s[i : i+8]
	return uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
		uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
}

// skipEscaped is skipString from a place where no backslash stands before i that would belong to it.
func skipEscaped(s string, i int) int {
	for {
		at := strings.IndexByte(s[i:], '"')
		if at < 0 {
			return -1
		}
		end := i + at
		// The quote is escaped if an odd number of backslashes stands before it.
		slashes := 0
		for end-slashes > i && s[end-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return end + 1
		}
		i = end + 1
	}
}

// structural marks the bytes at which skipping a container must look.
var structural = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true}

// skipContainer takes the index behind an opening bracket and gives that behind the one that closes it. It counts
// brackets and does not compare their kinds.
func skipContainer(s string, i int) int {
	depth := 1
	for i < len(s) {
		c := s[i]
		i++
		if !structural[c] {
			continue
		}
		switch c {
		case '"':
			if i = skipString(s, i); i < 0 {
				return -1
			}
		case '{', '[':
			depth++
		default:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// skipScalar passes a number or a literal: everything up to a delimiter.
func skipScalar(s string, i int) int {
	for i < len(s) {
		switch s[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r', ':', '"', '{', '[':
			return i
		}
		i++
	}
	return i
}

// skipValue takes the index of the first byte of a value and gives that behind its last. A value of no bytes is -1.
func skipValue(s string, i int) int {
	if i >= len(s) {
		return -1
	}
	switch s[i] {
	case '"':
		return skipString(s, i+1)
	case '{', '[':
		return skipContainer(s, i+1)
	}
	if end := skipScalar(s, i); end > i {
		return end
	}
	return -1
}

// members walks the entries of a container one after the other.
type members struct {
	s  string
	at int
}

// openMembers takes the raw text of an object or an array.
func openMembers(raw string) members { return members{raw, 1} }

// key gives the next key of an object between its quotes and stands at the value; ok is false at the end or at a break.
func (m *members) key() (key string, ok bool) {
	i := skipSpace(m.s, m.at)
	if i < len(m.s) && m.s[i] == ',' {
		i = skipSpace(m.s, i+1)
	}
	if i >= len(m.s) || m.s[i] != '"' {
		return "", false
	}
	end := skipString(m.s, i+1)
	if end < 0 {
		return "", false
	}
	key = m.s[i+1 : end-1]
	i = skipSpace(m.s, end)
	if i >= len(m.s) || m.s[i] != ':' {
		return "", false
	}
	m.at = skipSpace(m.s, i+1)
	return key, true
}

// value gives the raw value at which m stands, and passes it.
func (m *members) value() (raw string, ok bool) {
	end := skipValue(m.s, m.at)
	if end < 0 {
		return "", false
	}
	raw = m.s[m.at:end]
	m.at = end
	return raw, true
}

// element gives the next member of an array that is no array itself: nested arrays are flattened.
func (m *members) element() (raw string, ok bool) {
	for m.at < len(m.s) {
		switch m.s[m.at] {
		case ' ', '\n', '\t', '\r', ',', '[', ']':
			m.at++
			continue
		}
		return m.value()
	}
	return "", false
}

// appendUnescaped appends the text of a JSON string, given without its quotes. An escape that is none stays as it is; a
// lone surrogate becomes U+FFFD, as with encoding/json.
func appendUnescaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		at := strings.IndexByte(s[i:], '\\')
		if at < 0 || i+at+1 >= len(s) {
			return append(dst, s[i:]...)
		}
		dst = append(dst, s[i:i+at]...)
		i += at + 2
		switch c := s[i-1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, ok := hex4(s, i)
			if !ok {
				dst = append(dst, '\\', 'u')
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) {
				second, ok := rune(0), false
				if i+1 < len(s) && s[i] == '\\' && s[i+1] == 'u' {
					second, ok = hex4(s, i+2)
				}
				if r = utf16.DecodeRune(r, second); ok && r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func hex4(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
