package envelope

import (
	"bytes"
	"unicode/utf8"
)

// maxKey is the longest key, in bytes, that is recognised when it is written with escapes. All known ones are shorter.
const maxKey = 40

// members steps through the members of one object. The object is validated as it goes: after next has returned false,
// code says whether the object ended as it should and i is the offset behind it, or of what broke it.
type members struct {
	b      []byte
	i      int    // after next: at the first byte of the value
	key    []byte // the raw key; see name
	code   code
	room   int // levels that a value may nest
	inside bool
	buf    [maxKey]byte
}

// open starts at the opening brace of an object.
func (m *members) open(b []byte, i, room int) {
	m.b, m.i, m.room = b, i+1, room-1
}

// next goes to the next member. The caller takes its value by skip or by other means that move i behind it.
func (m *members) next() bool {
	if m.code != ok {
		return false
	}
	b := m.b
	i := skipSpace(b, m.i)
	if m.inside {
		switch {
		case i < len(b) && b[i] == ',':
			i = skipSpace(b, i+1)
		case i < len(b) && b[i] == '}':
			m.i = i + 1
			return false
		default:
			m.i, m.code = i, wantMember
			return false
		}
	} else if i < len(b) && b[i] == '}' {
		m.i = i + 1
		return false
	}
	if i >= len(b) || b[i] != '"' {
		m.i, m.code = i, wantKey
		if !m.inside {
			m.code = wantFirstKey
		}
		return false
	}
	m.inside = true
	end, c := scan(b, i, 0)
	if c != ok {
		m.i, m.code = end, c
		return false
	}
	m.key = b[i+1 : end-1]
	if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
		m.i, m.code = i, wantColon
		return false
	}
	m.i = skipSpace(b, i+1)
	return true
}

// name returns the decoded key, valid until the next call of next. A key with escapes that is too long to be known
// stays raw: its backslashes keep it from being taken for another.
//
// It is no field, since a struct that points into itself would live on the heap.
func (m *members) name() []byte {
	raw := m.key
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	n := 0
	for i := 0; i < len(raw); {
		if n+utf8.UTFMax > len(m.buf) {
			return raw
		}
		if raw[i] != '\\' {
			m.buf[n] = raw[i]
			n++
			i++
			continue
		}
		if c := plain(raw[i+1]); c != 0 {
			m.buf[n] = c
			n++
			i += 2
			continue
		}
		r, _ := hex4(raw, i+2) // known keys are ASCII: surrogates need no pairing here
		n += utf8.EncodeRune(m.buf[n:], r)
		i += 6
	}
	return m.buf[:n]
}

// skip validates the value and returns its bytes, nil when it is broken.
func (m *members) skip() []byte {
	if m.code != ok {
		return nil
	}
	end, c := scan(m.b, m.i, m.room)
	v := m.b[m.i:min(end, len(m.b))]
	m.i, m.code = end, c
	if c != ok {
		return nil
	}
	return v
}

// elements steps through the elements of one array as members does through an object.
type elements struct {
	b      []byte
	i      int
	code   code
	room   int
	inside bool
}

// open starts at the opening bracket of an array.
func (a *elements) open(b []byte, i, room int) {
	a.b, a.i, a.room = b, i+1, room-1
}

// next validates the next element and returns its bytes, nil behind the last or when the array is broken.
func (a *elements) next() []byte {
	if !a.more() {
		return nil
	}
	return a.take()
}

// more goes to the next element and says whether there is one. The caller takes it by take or by other means that
// move i behind it.
func (a *elements) more() bool {
	if a.code != ok {
		return false
	}
	b := a.b
	i := skipSpace(b, a.i)
	if i < len(b) && b[i] == ']' {
		a.i = i + 1
		return false
	}
	if a.inside {
		if i >= len(b) || b[i] != ',' {
			a.i, a.code = i, wantElement
			return false
		}
		i = skipSpace(b, i+1)
	}
	a.i, a.inside = i, true
	return true
}

// take validates the element and returns its bytes, nil when it is broken.
func (a *elements) take() []byte {
	start := a.i
	a.i, a.code = scan(a.b, start, a.room)
	if a.code != ok {
		return nil
	}
	return a.b[start:a.i]
}
