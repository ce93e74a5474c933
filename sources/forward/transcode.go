package forward

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/bits"
	"slices"
	"strconv"
)

// appendJSON appends the JSON text of the MessagePack value at the start of b to dst and returns it with the length of
// the value. It makes no intermediate objects. What MessagePack has and JSON has not becomes:
//
//   - bin: a string, like str. fluentd packs every Ruby string without an encoding as bin, log lines among them.
//   - A str or bin that is not UTF-8 keeps its bytes: whoever checks the text finds them.
//   - A float that is a whole number below 2^53 is written as an integer: Fluent Bit sends the status code of a parsed
//     event as 201.0. NaN and the infinities become null.
//   - EventTime and MessagePack's timestamp: an RFC 3339 string with nine digits. Any other ext: its payload as a string
//     of lower-case hex.
//   - A key that is a number, nil, bool or ext becomes a string of its JSON text. A key that is an array or a map makes
//     the value unreadable (errKey).
//   - Keys that come twice stay as they are, in order.
//
// A value nested deeper than maxDepth is errDeep, one whose text is longer than limit bytes errOversized. After an
// error dst holds a part of the text.
func appendJSON(dst, b []byte, limit int) ([]byte, int, error) {
	t := transcoder{b: b, limit: len(dst) + limit}
	dst, err := t.value(dst, maxDepth)
	if err == nil && len(dst) > t.limit {
		err = errOversized
	}
	return dst, t.pos, err
}

type transcoder struct {
	b     []byte
	pos   int
	limit int
}

func (t *transcoder) value(dst []byte, depth int) ([]byte, error) {
	if text, ok := t.short(); ok {
		return appendShort(dst, text), nil
	}
	h, payload, err := t.next()
	if err != nil {
		return dst, err
	}
	if len(dst)+len(payload) > t.limit {
		return dst, errOversized
	}
	switch h.kind {
	case kindStr, kindBin:
		return appendString(dst, payload), nil
	case kindMap:
		return t.object(dst, h.n, depth-1)
	case kindArray:
		return t.array(dst, h.n, depth-1)
	case kindExt:
		dst = append(dst, '"')
		dst = appendExt(dst, h.ext, payload)
		return append(dst, '"'), nil
	}
	return appendScalar(dst, h), nil
}

// short reads a str of less than 32 bytes: those are most of an audit event.
func (t *transcoder) short() ([]byte, bool) {
	if t.pos >= len(t.b) {
		return nil, false
	}
	c := t.b[t.pos]
	if c < 0xa0 || c >= 0xc0 {
		return nil, false
	}
	begin := t.pos + 1
	end := begin + int(c&0x1f)
	if end > len(t.b) {
		return nil, false
	}
	t.pos = end
	return t.b[begin:end], true
}

// next reads a header and the payload that belongs to it.
func (t *transcoder) next() (h head, payload []byte, err error) {
	b := t.b[t.pos:]
	h, ok := readHead(b)
	if !ok {
		return head{}, nil, errCut
	}
	if h.kind == kindInvalid {
		return head{}, nil, errUnused
	}
	n := h.payload()
	if n > uint64(len(b)-h.size) {
		return head{}, nil, errCut
	}
	t.pos += h.size + int(n)
	return h, b[h.size : h.size+int(n)], nil
}

func (t *transcoder) array(dst []byte, n uint64, depth int) ([]byte, error) {
	if depth < 0 {
		return dst, errDeep
	}
	if n > uint64(len(t.b)-t.pos) {
		return dst, errCut
	}
	var err error
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = t.value(dst, depth); err != nil {
			return dst, err
		}
		if len(dst) > t.limit {
			return dst, errOversized
		}
	}
	return append(dst, ']'), nil
}

func (t *transcoder) object(dst []byte, n uint64, depth int) ([]byte, error) {
	if depth < 0 {
		return dst, errDeep
	}
	if n > uint64(len(t.b)-t.pos)/2 {
		return dst, errCut
	}
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = t.key(dst); err != nil {
			return dst, err
		}
		dst = append(dst, ':')
		if dst, err = t.value(dst, depth); err != nil {
			return dst, err
		}
		if len(dst) > t.limit {
			return dst, errOversized
		}
	}
	return append(dst, '}'), nil
}

func (t *transcoder) key(dst []byte) ([]byte, error) {
	if text, ok := t.short(); ok {
		return appendShort(dst, text), nil
	}
	h, payload, err := t.next()
	if err != nil {
		return dst, err
	}
	if len(dst)+len(payload) > t.limit {
		return dst, errOversized
	}
	switch h.kind {
	case kindStr, kindBin:
		return appendString(dst, payload), nil
	case kindArray, kindMap:
		return dst, errKey
	}
	dst = append(dst, '"')
	if h.kind == kindExt {
		dst = appendExt(dst, h.ext, payload)
	} else {
		dst = appendScalar(dst, h)
	}
	return append(dst, '"'), nil
}

func appendScalar(dst []byte, h head) []byte {
	switch h.kind {
	case kindBool:
		return strconv.AppendBool(dst, h.n == 1)
	case kindUint:
		return strconv.AppendUint(dst, h.n, 10)
	case kindInt:
		return strconv.AppendInt(dst, int64(h.n), 10)
	case kindFloat:
		f := math.Float64frombits(h.n)
		switch {
		case math.IsNaN(f) || math.IsInf(f, 0):
			return append(dst, "null"...)
		case f == math.Trunc(f) && math.Abs(f) < 1<<53:
			return strconv.AppendInt(dst, int64(f), 10)
		}
		return strconv.AppendFloat(dst, f, 'g', -1, 64)
	}
	return append(dst, "null"...)
}

func appendExt(dst []byte, ext int8, payload []byte) []byte {
	if t, ok := extTime(ext, payload); ok {
		return t.AppendFormat(dst, rfc3339Nine)
	}
	return hex.AppendEncode(dst, payload)
}

// rfc3339Nine differs from time.RFC3339Nano in that it keeps trailing zeros.
const rfc3339Nine = "2006-01-02T15:04:05.000000000Z07:00"

// Bytes of eight lanes.
const (
	lanesOnes  = 0x0101010101010101
	lanesHighs = 0x8080808080808080
)

// special marks the bytes of x that JSON escapes: the quote, the backslash and what is below a space. Above the lowest
// marked byte a mark may be wrong.
func special(x uint64) uint64 {
	control := (x - lanesOnes*0x20) &^ x
	quote := x ^ lanesOnes*'"'
	slash := x ^ lanesOnes*'\\'
	return (control | (quote-lanesOnes)&^quote | (slash-lanesOnes)&^slash) & lanesHighs
}

// appendString appends s as a JSON string (RFC 8259, section 7). It escapes what must be escaped and nothing else.
//
// Eight bytes at a time are copied and looked at; where one of them was special the copy goes on behind its escape. The
// last bytes of s are read together with what lies behind them in the same buffer, and that is masked away.
func appendString(dst, s []byte) []byte {
	n, i := len(dst), 0
	out := room(dst, n, len(s))
	out[n] = '"'
	n++
	all := s[:cap(s)]
	for i < len(s) && i+8 <= len(all) {
		x := binary.LittleEndian.Uint64(all[i:])
		binary.LittleEndian.PutUint64(out[n:], x)
		m := special(x)
		if left := len(s) - i; left < 8 {
			m &= 1<<(8*left) - 1
			if m == 0 {
				n, i = n+left, len(s)
				break
			}
		}
		if m == 0 {
			n, i = n+8, i+8
			continue
		}
		clean := bits.TrailingZeros64(m) / 8
		n, i = n+clean, i+clean
		out = room(out, n, len(s)-i)
		n = len(appendEscaped(out[:n], s[i]))
		i++
	}
	for ; i < len(s); i++ {
		out = room(out, n, len(s)-i)
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' {
			n = len(appendEscaped(out[:n], c))
		} else {
			out[n] = c
			n++
		}
	}
	out[n] = '"'
	return out[:n+1]
}

// appendShort is appendString for less than 32 bytes, most of which need no escape: it copies without looking at the
// length, and looks at what it copied afterwards.
func appendShort(dst, s []byte) []byte {
	if cap(s) < 32 {
		return appendString(dst, s)
	}
	n := len(dst)
	out := room(dst, n, 32)
	from, to := (*[32]byte)(s[:32]), (*[34]byte)(out[n:n+34])
	a, b := binary.LittleEndian.Uint64(from[0:]), binary.LittleEndian.Uint64(from[8:])
	mask := &lanes[len(s)&31]
	to[0] = '"'
	binary.LittleEndian.PutUint64(to[1:], a)
	binary.LittleEndian.PutUint64(to[9:], b)
	found := special(a)&mask[0] | special(b)&mask[1]
	if len(s) > 16 {
		a, b = binary.LittleEndian.Uint64(from[16:]), binary.LittleEndian.Uint64(from[24:])
		binary.LittleEndian.PutUint64(to[17:], a)
		binary.LittleEndian.PutUint64(to[25:], b)
		found |= special(a)&mask[2] | special(b)&mask[3]
	}
	if found != 0 {
		return appendString(dst, s)
	}
	to[1+(len(s)&31)] = '"'
	return out[:n+len(s)+2]
}

// lanes masks the bytes of four words that belong to a text of so many bytes.
var lanes = func() (m [32][4]uint64) {
	for n := range m {
		for i := range n {
			m[n][i/8] |= 0xff << (8 * (i % 8))
		}
	}
	return m
}()

// room returns dst with its first n bytes and, up to its capacity, room for left bytes as they are, one escape, two
// quotes and a word of eight bytes.
func room(dst []byte, n, left int) []byte {
	const spare = 6 + 2 + 8
	if cap(dst)-n < left+spare {
		dst = slices.Grow(dst[:n], left+spare)
	}
	return dst[:cap(dst)]
}

func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	}
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&0xf])
}
