package forward

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/bits"
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

// next reads a header and the payload that belongs to it.
func (t *transcoder) next() (h head, payload []byte, err error) {
	b := t.b[t.pos:]
	// Short strings are most of an audit event.
	if len(b) > 0 && b[0] >= 0xa0 && b[0] < 0xc0 {
		n := int(b[0] & 0x1f)
		if len(b) <= n {
			return head{}, nil, errCut
		}
		t.pos += 1 + n
		return head{kind: kindStr, size: 1, n: uint64(n)}, b[1 : 1+n], nil
	}
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
		h, payload, err := t.next()
		if err != nil {
			return dst, err
		}
		if len(dst)+len(payload) > t.limit {
			return dst, errOversized
		}
		switch h.kind {
		case kindStr, kindBin:
			dst = appendString(dst, payload)
		case kindArray, kindMap:
			return dst, errKey
		case kindExt:
			dst = append(dst, '"')
			dst = appendExt(dst, h.ext, payload)
			dst = append(dst, '"')
		default:
			dst = append(dst, '"')
			dst = appendScalar(dst, h)
			dst = append(dst, '"')
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
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	start, i := 0, 0
	for {
		for i+8 <= len(s) {
			if m := special(binary.LittleEndian.Uint64(s[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				goto escape
			}
			i += 8
		}
		for i < len(s) {
			if c := s[i]; c < 0x20 || c == '"' || c == '\\' {
				goto escape
			}
			i++
		}
		dst = append(dst, s[start:]...)
		return append(dst, '"')
	escape:
		dst = append(dst, s[start:i]...)
		dst = appendEscaped(dst, s[i])
		i++
		start = i
	}
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
