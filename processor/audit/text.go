package audit

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// absent: not there, or null. Rebuilt events write null for what is not there.
func absent(raw string) bool { return raw == "" || raw == "null" }

func isObject(raw string) bool { return len(raw) > 1 && raw[0] == '{' }

func isString(raw string) bool { return len(raw) > 1 && raw[0] == '"' && raw[len(raw)-1] == '"' }

// empty: absent or the empty string.
func empty(raw string) bool { return absent(raw) || raw == `""` }

// inner is the text between the quotes of a raw string, "" for everything else.
func inner(raw string) string {
	if !isString(raw) {
		return ""
	}
	return raw[1 : len(raw)-1]
}

// textIs reports whether raw is a string that says want.
func textIs(raw, want string) bool {
	if !isString(raw) {
		return false
	}
	s := raw[1 : len(raw)-1]
	return s == want || len(s) > len(want) && strings.IndexByte(s, '\\') >= 0 && equalEscaped(s, want)
}

// unit decodes the character at s[i] of an escaped text and returns the offset behind it. A lone surrogate, and what is
// no legal escape, is U+FFFD.
func unit(s string, i int) (r rune, next int) {
	c := s[i]
	if c != '\\' {
		if c < utf8.RuneSelf {
			return rune(c), i + 1
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		return r, i + n
	}
	if i+1 >= len(s) {
		return utf8.RuneError, len(s)
	}
	switch s[i+1] {
	case '"', '\\', '/':
		return rune(s[i+1]), i + 2
	case 'b':
		return '\b', i + 2
	case 'f':
		return '\f', i + 2
	case 'n':
		return '\n', i + 2
	case 'r':
		return '\r', i + 2
	case 't':
		return '\t', i + 2
	case 'u':
		r, ok := hex4(s, i+2)
		if !ok {
			return utf8.RuneError, i + 2
		}
		if !utf16.IsSurrogate(r) {
			return r, i + 6
		}
		if i+7 < len(s) && s[i+6] == '\\' && s[i+7] == 'u' {
			if low, ok := hex4(s, i+8); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					return pair, i + 12
				}
			}
		}
		return utf8.RuneError, i + 6
	}
	return utf8.RuneError, i + 2
}

func hex4(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		d, ok := hexDigit(rune(c))
		if !ok {
			return 0, false
		}
		r = r<<4 | d
	}
	return r, true
}

func hexDigit(c rune) (rune, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// equalEscaped compares a text that holds escapes with a plain one.
func equalEscaped(escaped, want string) bool {
	end, ok := prefixEscaped(escaped, 0, want)
	return ok && end == len(escaped)
}

// prefixEscaped reports whether the escaped text says want from offset i on, and where that ends.
func prefixEscaped(escaped string, i int, want string) (end int, ok bool) {
	for _, w := range want {
		if i >= len(escaped) {
			return i, false
		}
		var r rune
		if r, i = unit(escaped, i); r != w {
			return i, false
		}
	}
	return i, true
}

// saysAnywhere reports whether a raw string contains want, which is ASCII.
func saysAnywhere(raw, want string) bool {
	s := inner(raw)
	if strings.IndexByte(s, '\\') < 0 {
		return strings.Contains(s, want)
	}
	for i := 0; i < len(s); {
		if _, ok := prefixEscaped(s, i, want); ok {
			return true
		}
		_, i = unit(s, i)
	}
	return false
}

// number reads a raw integer, also one that a shipper made a string ("201") or a float (201.0) of; ok is false for
// everything else.
func number(raw string) (n int64, ok bool) {
	s, text := raw, isString(raw)
	if text {
		s = inner(raw)
	}
	i, negative := 0, false
	if s != "" && s[0] == '-' {
		i, negative = 1, true
	}
	digits := 0
	for i < len(s) {
		r, next := unit(s, i)
		if r < '0' || r > '9' {
			break
		}
		if digits++; digits > 18 {
			return 0, false
		}
		n, i = n*10+int64(r-'0'), next
	}
	if digits == 0 {
		return 0, false
	}
	if i < len(s) {
		if text || s[i] != '.' || i+1 == len(s) {
			return 0, false
		}
		for i++; i < len(s); i++ {
			if s[i] != '0' {
				return 0, false
			}
		}
	}
	if negative {
		n = -n
	}
	return n, true
}
