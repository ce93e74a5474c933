package envelope

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// scratch holds the bytes that do not stand in the record as they are: unescaped strings, inflated and decoded data,
// rebuilt events. What it gave out stays untouched until reset: when its buffer is full it takes a new one and leaves
// the old to the garbage collector.
type scratch struct {
	buf []byte
}

// reset ends every loan.
func (s *scratch) reset() {
	if cap(s.buf) > keepScratch {
		s.buf = nil
	}
	s.buf = s.buf[:0]
}

// room returns an empty slice with room for n bytes. The caller appends to it and hands it to keep before it asks for
// room again.
func (s *scratch) room(n int) []byte {
	if cap(s.buf)-len(s.buf) < n {
		s.buf = make([]byte, 0, max(n, min(2*cap(s.buf), keepScratch), 16<<10))
	}
	return s.buf[len(s.buf):]
}

// keep lends out what was appended to the slice that room returned, and returns it without spare capacity.
func (s *scratch) keep(b []byte) []byte {
	if cap(b) > cap(s.buf)-len(s.buf) { // it outgrew the room
		s.buf = b
		return b[:len(b):len(b)]
	}
	s.buf = s.buf[:len(s.buf)+len(b)]
	return b[:len(b):len(b)]
}

// unescape decodes the string of JSON whose first byte after the opening quote is b[i], and returns its text and the
// offset behind the closing quote. Non-ASCII bytes are copied unseen, so the text may be no UTF-8: whoever uses it
// checks it. A lone surrogate becomes U+FFFD.
func (s *scratch) unescape(b []byte, i int) (text []byte, end int, c code) {
	// Text is never longer than its escaped form; words are stored whole, hence eight bytes more.
	dst := s.room(len(b) - i + 8)
	dst = dst[:cap(dst)]
	n := 0
	for {
		if len(b)-i < 8 {
			if i >= len(b) {
				return nil, i, openString
			}
			switch ch := b[i]; {
			case ch == '"':
				return s.keep(dst[:n]), i + 1, ok
			case ch < ' ':
				return nil, i, rawControl
			case ch != '\\':
				dst[n] = ch
				n++
				i++
				continue
			}
		} else {
			w := binary.LittleEndian.Uint64(b[i:])
			binary.LittleEndian.PutUint64(dst[n:], w)
			m := stops(w)
			if w&highs != 0 {
				m = exactStops(w)
			}
			if m == 0 {
				i += 8
				n += 8
				continue
			}
			k := bits.TrailingZeros64(m) >> 3
			i += k
			n += k
			if b[i] == '"' {
				return s.keep(dst[:n]), i + 1, ok
			}
			if b[i] < ' ' {
				return nil, i, rawControl
			}
		}
		// b[i] is a backslash.
		if i+1 >= len(b) {
			return nil, i + 1, badEscape
		}
		if b[i+1] == '"' { // nine of ten in a line of JSON
			dst[n] = '"'
			n++
			i += 2
			continue
		}
		ch := plain(b[i+1])
		if ch != 0 {
			dst[n] = ch
			n++
			i += 2
			continue
		}
		if b[i+1] != 'u' {
			return nil, i + 1, badEscape
		}
		r, bad := hex4(b, i+2)
		if bad >= 0 {
			return nil, bad, badHex
		}
		i += 6
		if utf16.IsSurrogate(r) {
			low := rune(-1)
			if i+1 < len(b) && b[i] == '\\' && b[i+1] == 'u' {
				if low, bad = hex4(b, i+2); bad >= 0 {
					return nil, bad, badHex
				}
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				i += 6
			}
		}
		n += utf8.EncodeRune(dst[n:], r)
	}
}

// exactStops is stops for words with non-ASCII bytes, which it passes over: it marks exactly the quotes, backslashes
// and control characters.
func exactStops(w uint64) uint64 {
	ascii := ^w & highs
	low := w &^ highs // every lane below 0x80, so that no subtraction from it with the high bit set borrows
	q := (low ^ flip) | highs
	s := (low ^ slashes) | highs
	return ^((q - afterSpace) & (s - lanes)) & ascii
}

// plain gives the character that a backslash and c stand for, 0 for \u and for what is no escape.
func plain(c byte) byte {
	switch c {
	case '"', '\\', '/':
		return c
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'r':
		return '\r'
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	}
	return 0
}

// hex4 reads four hexadecimal digits at i. bad is the offset of the byte that is none, -1 when all are.
func hex4(b []byte, i int) (r rune, bad int) {
	for j := i; j < i+4; j++ {
		if j >= len(b) {
			return 0, j
		}
		d := hexDigit(b[j])
		if d > 15 {
			return 0, j
		}
		r = r<<4 | rune(d)
	}
	return r, -1
}
