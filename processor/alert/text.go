package alert

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Text is escaped beyond what RFC 8259 asks for, because alerts end up on terminals and in log viewers: DEL and the C1
// controls drive terminals, U+2028 and U+2029 end lines, and the invisible and bidirectional format characters make a
// name look like another. Invalid UTF-8 becomes U+FFFD, one for each bad byte.

const hexDigits = "0123456789abcdef"

// plain tells the bytes that stand for themselves in every string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	return append(dst, '"')
}

// appendEscaped appends s as the inside of a JSON string.
func appendEscaped(dst []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if (r != utf8.RuneError || size > 1) && !hidden(r) {
				i += size
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendRune(dst, r)
			i += size
			start = i
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendControl(dst, c)
		i++
		start = i
	}
	return append(dst, s[start:]...)
}

// appendRaw appends valid JSON text so that it stays on one line and shows no control character: line feeds and tabs
// between tokens become spaces, and characters inside of strings are escaped as [appendEscaped] does. The value stays
// the same.
func appendRaw(dst, text []byte) []byte {
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= 0x20 && c < 0x7f {
			i++
			continue
		}
		size := 1
		var r rune
		switch {
		case c < 0x20: // valid JSON has these between tokens only
			r = ' '
		case c == 0x7f:
			r = 0x7f
		default:
			r, size = utf8.DecodeRune(text[i:])
			if (r != utf8.RuneError || size > 1) && !hidden(r) {
				i += size
				continue
			}
		}
		dst = append(dst, text[start:i]...)
		if r == ' ' {
			dst = append(dst, ' ')
		} else {
			dst = appendRune(dst, r)
		}
		i += size
		start = i
	}
	return append(dst, text[start:]...)
}

// hidden reports whether r, which is above ASCII, must not come out raw.
func hidden(r rune) bool {
	switch {
	case r <= 0x9f: // C1
		return true
	case r < 0x61c:
		return false
	case r <= 0xffff:
		return r == 0x61c || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e ||
			r >= 0x2060 && r <= 0x206f || r == 0xfeff
	default: // tags
		return r >= 0xe0000 && r <= 0xe007f
	}
}

// appendControl escapes an ASCII character that is not plain.
func appendControl(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return appendUnit(dst, uint16(c))
	}
}

func appendRune(dst []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		dst = appendUnit(dst, uint16(0xd800+r>>10))
		return appendUnit(dst, uint16(0xdc00+r&0x3ff))
	}
	return appendUnit(dst, uint16(r))
}

// appendUnit appends the escape of one UTF-16 code unit.
func appendUnit(dst []byte, u uint16) []byte {
	return append(dst, '\\', 'u', hexDigits[u>>12], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
}

// The field encoders take the key with its punctuation, `,"name":`, so that an object reads like its JSON.

func str(dst []byte, key, s string) []byte {
	dst = append(dst, key...)
	return appendString(dst, s)
}

// word appends one of a fixed set of words, zero where it was not set: what nobody looked at is not known.
func word(dst []byte, key, s, zero string) []byte {
	if s == "" {
		s = zero
	}
	return str(dst, key, s)
}

func integer(dst []byte, key string, n int64) []byte {
	dst = append(dst, key...)
	return strconv.AppendInt(dst, n, 10)
}

func boolean(dst []byte, key string, b bool) []byte {
	dst = append(dst, key...)
	return strconv.AppendBool(dst, b)
}

func tristate(dst []byte, key string, b Bool) []byte {
	dst = append(dst, key...)
	switch b {
	case True:
		return append(dst, "true"...)
	case False:
		return append(dst, "false"...)
	default:
		return append(dst, "null"...)
	}
}

func number(dst []byte, key string, i Int) []byte {
	dst = append(dst, key...)
	if !i.Known {
		return append(dst, "null"...)
	}
	return strconv.AppendInt(dst, i.N, 10)
}

// stamp appends an RFC 3339 time in UTC; null for the zero time and for years RFC 3339 cannot write.
func stamp(dst []byte, key string, t time.Time) []byte {
	dst = append(dst, key...)
	if t.IsZero() {
		return append(dst, "null"...)
	}
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return append(dst, "null"...)
	}
	dst = append(dst, '"')
	dst = t.AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

func strs(dst []byte, key string, list []string) []byte {
	dst = append(dst, key...)
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

func ints(dst []byte, key string, list []int) []byte {
	dst = append(dst, key...)
	dst = append(dst, '[')
	for i, n := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	return append(dst, ']')
}

// labels appends an object. See [Label] for the uniqueness of its keys.
func labels(dst []byte, key string, list []Label) []byte {
	dst = append(dst, key...)
	dst = append(dst, '{')
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, list[i].Key)
		dst = append(dst, ':')
		dst = appendString(dst, list[i].Value)
	}
	return append(dst, '}')
}

// array appends a list of objects.
func array[T any](dst []byte, key string, list []T, one func([]byte, *T) []byte) []byte {
	dst = append(dst, key...)
	dst = append(dst, '[')
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = one(dst, &list[i])
	}
	return append(dst, ']')
}
