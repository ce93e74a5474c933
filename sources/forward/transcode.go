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
	var few [24]level
	outer := few[:0]
	in := level{left: 1, seps: sepsOfArray}
	limit += len(dst) + 1 // behind a value there is a separator, the last of which is taken back
	pos, n := 0, len(dst)
	out, end := reserve(dst, limit)
	for {
		if n > end {
			if n > limit {
				return out[:n], pos, errOversized
			}
			out, end = reserve(out[:n], limit)
		}
		n, pos, in.left = appendShorts(out, b, n, pos, end, in.left, in.seps)
		if in.left == 0 {
			// The last separator gives way to what closes.
			if len(outer) == 0 {
				if n > limit {
					return out[:n-1], pos, errOversized
				}
				return out[:n-1], pos, nil
			}
			out[n-1] = in.closer
			in = outer[len(outer)-1]
			outer = outer[:len(outer)-1]
			out[n] = in.sep()
			n++
			continue
		}
		if n > end {
			continue
		}
		if pos >= len(b) {
			return out[:n], pos, errCut
		}
		in.left--
		c := b[pos]
		switch {
		case c < 0x80 && !in.atKey():
			n = len(strconv.AppendUint(out[:n], uint64(c), 10))
			pos++
		case c > 0x80 && c < 0xa0 && c != 0x90 && !in.atKey() && len(outer) < maxDepth:
			// A map or an array of up to 15; where it is cut short, what it lacks is missed later.
			outer = append(outer, in)
			if c < 0x90 {
				in = level{left: 2 * int(c&0x0f), seps: sepsOfMap, closer: '}'}
				out[n] = '{'
			} else {
				in = level{left: int(c & 0x0f), seps: sepsOfArray, closer: ']'}
				out[n] = '['
			}
			n++
			pos++
			continue
		case c == 0xd9 && len(b)-pos >= 2+255 && n+255 < end:
			// A str of up to 255 bytes.
			size := int(b[pos+1])
			out = appendString(out[:n], b[pos+2:pos+2+size])
			n = len(out)
			out, end = reserve(out, limit)
			pos += 2 + size
		default:
			h, ok := readHead(b[pos:])
			if !ok {
				return out[:n], pos, errCut
			}
			if h.kind == kindInvalid {
				return out[:n], pos, errUnused
			}
			pos += h.size
			if h.payload() > uint64(len(b)-pos) {
				return out[:n], pos, errCut
			}
			payload := b[pos : pos+int(h.payload())]
			pos += len(payload)
			if n+len(payload) > limit {
				return out[:n], pos, errOversized
			}
			switch h.kind {
			case kindStr, kindBin:
				out = appendString(out[:n], payload)
			case kindMap, kindArray:
				switch {
				case in.atKey():
					return out[:n], pos, errKey
				case len(outer) == maxDepth:
					return out[:n], pos, errDeep
				case h.children() > uint64(len(b)-pos):
					return out[:n], pos, errCut
				}
				inner := level{left: int(h.children()), seps: sepsOfArray, closer: ']'}
				out[n] = '['
				if h.kind == kindMap {
					inner.seps, inner.closer = sepsOfMap, '}'
					out[n] = '{'
				}
				n++
				if inner.left > 0 {
					outer = append(outer, in)
					in = inner
					continue
				}
				out = append(out[:n], inner.closer)
			default:
				out = appendOther(out[:n], h, payload, in.atKey())
			}
			n = len(out)
			out, end = reserve(out, limit)
		}
		out[n] = in.sep()
		n++
	}
}

// appendShorts writes texts of less than 32 bytes, which are most of an audit event, to out[n:] and behind each the
// separator that belongs there, as long as they follow each other in one array or map, of which left values are to come.
// It returns n, pos and left at the first value that is something else, has an escape, or is too near to an end.
//
// A text is copied without a look at its length, together with what lies behind it, and looked at afterwards. This is a
// function of its own so that all it works with stays in registers.
func appendShorts(out, b []byte, n, pos, end, left int, seps uint16) (int, int, int) {
	for left > 0 && n <= end && pos+33 <= len(b) {
		size := int(b[pos] - 0xa0)
		if size >= 32 {
			break
		}
		from, to := (*[32]byte)(b[pos+1:]), (*[36]byte)(out[n:])
		x, y := binary.LittleEndian.Uint64(from[0:]), binary.LittleEndian.Uint64(from[8:])
		mask := &lanes[size]
		to[0] = '"'
		binary.LittleEndian.PutUint64(to[1:], x)
		binary.LittleEndian.PutUint64(to[9:], y)
		found := special(x)&mask[0] | special(y)&mask[1]
		if size > 16 {
			x, y = binary.LittleEndian.Uint64(from[16:]), binary.LittleEndian.Uint64(from[24:])
			binary.LittleEndian.PutUint64(to[17:], x)
			binary.LittleEndian.PutUint64(to[25:], y)
			found |= special(x)&mask[2] | special(y)&mask[3]
		}
		if found != 0 {
			break
		}
		left--
		to[1+size] = '"'
		to[2+size] = byte(seps >> (8 * (left & 1)))
		n += size + 3
		pos += size + 1
	}
	return n, pos, left
}

// level is an array or a map that is being written, or what is around the value itself.
type level struct {
	// left is how many values are still to come, the keys of a map counted: an even number of them means that the next
	// one is a key.
	left int
	// seps is what follows a value: its low byte when the number left is even, else its high byte.
	seps   uint16
	closer byte
}

const (
	sepsOfArray = ',' | ','<<8
	sepsOfMap   = ',' | ':'<<8
)

func (l *level) sep() byte { return byte(l.seps >> (8 * (l.left & 1))) }

// atKey says whether the value that was just counted off is the key of a map.
func (l *level) atKey() bool { return l.sep() == ':' }

// reserve returns dst up to its capacity, with room for what one step writes at least, and up to where in it another
// step may begin.
func reserve(dst []byte, limit int) (out []byte, end int) {
	const step = 128
	if cap(dst)-len(dst) < step {
		dst = slices.Grow(dst, step)
	}
	return dst[:cap(dst)], min(cap(dst)-step, limit)
}

// appendOther appends what is neither a text nor an array nor a map.
func appendOther(dst []byte, h head, payload []byte, key bool) []byte {
	if h.kind != kindExt && !key {
		return appendScalar(dst, h)
	}
	dst = append(dst, '"')
	if h.kind == kindExt {
		dst = appendExt(dst, h.ext, payload)
	} else {
		dst = appendScalar(dst, h)
	}
	return append(dst, '"')
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
//
// Turning bit 1 over makes the quote (0x22) the neighbour of the controls: all that is below 0x21 then is special.
func special(x uint64) uint64 {
	low := (x ^ lanesOnes*0x02) - lanesOnes*0x21
	slash := (x ^ lanesOnes*'\\') - lanesOnes
	return (low | slash&^(x^lanesOnes*'\\')) &^ x & lanesHighs
}

// appendString appends s as a JSON string (RFC 8259, section 7). It escapes what must be escaped and nothing else.
//
// Up to the first of these 16 bytes, and then eight at a time are copied and looked at; where one of them was special the copy goes on behind its escape. The
// last bytes of s are read together with what lies behind them in the same buffer, and that is masked away.
func appendString(dst, s []byte) []byte {
	n, i := len(dst), 0
	out := room(dst, n, len(s))
	out[n] = '"'
	n++
	for ; i+16 <= len(s); i, n = i+16, n+16 {
		from, to := (*[16]byte)(s[i:]), (*[16]byte)(out[n:])
		x, y := binary.LittleEndian.Uint64(from[0:]), binary.LittleEndian.Uint64(from[8:])
		if special(x)|special(y) != 0 {
			break
		}
		binary.LittleEndian.PutUint64(to[0:], x)
		binary.LittleEndian.PutUint64(to[8:], y)
	}
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
