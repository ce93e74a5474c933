package audit

import (
	"strings"
	"unicode/utf8"
)

// chunk is how much memory an arena takes at a time: 32 KiB.
const chunk = 32 << 10

// arena holds the few texts that cannot be lent because an escape stands in them, or because they are put together. It
// only ever grows: a chunk that is full is left to the garbage collector and to the strings that point into it. So a
// text stays valid for as long as somebody refers to it, and many calls share one allocation.
type arena struct {
	buf []byte
}

// reuse begins anew in the same memory: all texts made before become invalid. It keeps at most 32 chunks (1 MiB).
func (a *arena) reuse() {
	if cap(a.buf) > 32*chunk {
		a.buf = nil
	}
	a.buf = a.buf[:0]
}

// room makes sure that n bytes can be appended in place.
func (a *arena) room(n int) {
	if cap(a.buf)-len(a.buf) < n {
		a.buf = make([]byte, 0, max(n, chunk))
	}
}

// text returns what a raw string says: lent where possible, decoded where an escape demands it, "" for everything that
// is no string.
func (a *arena) text(raw string) string {
	return a.plain(inner(raw))
}

// plain is text for what stands between the quotes.
func (a *arena) plain(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	// No escape is shorter than what it stands for.
	a.room(len(s))
	start := len(a.buf)
	a.decode(s)
	return lend(a.buf[start:len(a.buf):len(a.buf)])
}

// decode appends what an escaped text says; the caller has made room.
func (a *arena) decode(s string) {
	for i := 0; i < len(s); {
		if n := strings.IndexByte(s[i:], '\\'); n != 0 {
			if n < 0 {
				n = len(s) - i
			}
			a.buf = append(a.buf, s[i:i+n]...)
			i += n
			continue
		}
		var r rune
		r, i = unit(s, i)
		a.buf = utf8.AppendRune(a.buf, r)
	}
}

// join returns the texts with sep between.
func (a *arena) join(sep string, texts ...string) string {
	n := 0
	for _, t := range texts {
		n += len(t) + len(sep)
	}
	a.room(n)
	start := len(a.buf)
	for i, t := range texts {
		if i > 0 {
			a.buf = append(a.buf, sep...)
		}
		a.buf = append(a.buf, t...)
	}
	return lend(a.buf[start:len(a.buf):len(a.buf)])
}
