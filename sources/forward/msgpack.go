package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// The reading side of MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md). Nothing here allocates,
// recurses or trusts a declared length.

// kind is the type of a MessagePack value.
type kind uint8

const (
	kindInvalid kind = iota // 0xc1, never used
	kindNil
	kindBool
	kindUint
	kindInt
	kindFloat
	kindStr
	kindBin
	kindArray
	kindMap
	kindExt
)

func (k kind) String() string {
	return [...]string{"the unused byte 0xc1", "nil", "a bool", "an unsigned integer", "an integer", "a float", "a str", "a bin", "an array", "a map", "an ext"}[k]
}

// head is the header of a value.
type head struct {
	kind kind
	// size is the length of the header in bytes; of a number, nil or bool it is the whole value.
	size int
	// n is the payload's length in bytes (str, bin, ext), the number of elements (array) or pairs (map), the bits of
	// a number, 1 for true.
	n uint64
	// ext is the type of an ext.
	ext int8
}

// payload is the number of bytes that follow the header and belong to the value itself; the elements of arrays and
// maps do not.
func (h head) payload() uint64 {
	switch h.kind {
	case kindStr, kindBin, kindExt:
		return h.n
	}
	return 0
}

// children is the number of values that follow a header.
func (h head) children() uint64 {
	switch h.kind {
	case kindArray:
		return h.n
	case kindMap:
		return 2 * h.n
	}
	return 0
}

// wide describes the headers 0xc0 to 0xdf: how many bytes of length or number follow the first one, and the fixed
// payload of a fixext.
var wide = [32]struct {
	kind   kind
	length uint8
	fixext uint8
}{
	0x00: {kind: kindNil},
	0x01: {kind: kindInvalid},
	0x02: {kind: kindBool},
	0x03: {kind: kindBool},
	0x04: {kind: kindBin, length: 1},
	0x05: {kind: kindBin, length: 2},
	0x06: {kind: kindBin, length: 4},
	0x07: {kind: kindExt, length: 1},
	0x08: {kind: kindExt, length: 2},
	0x09: {kind: kindExt, length: 4},
	0x0a: {kind: kindFloat, length: 4},
	0x0b: {kind: kindFloat, length: 8},
	0x0c: {kind: kindUint, length: 1},
	0x0d: {kind: kindUint, length: 2},
	0x0e: {kind: kindUint, length: 4},
	0x0f: {kind: kindUint, length: 8},
	0x10: {kind: kindInt, length: 1},
	0x11: {kind: kindInt, length: 2},
	0x12: {kind: kindInt, length: 4},
	0x13: {kind: kindInt, length: 8},
	0x14: {kind: kindExt, fixext: 1},
	0x15: {kind: kindExt, fixext: 2},
	0x16: {kind: kindExt, fixext: 4},
	0x17: {kind: kindExt, fixext: 8},
	0x18: {kind: kindExt, fixext: 16},
	0x19: {kind: kindStr, length: 1},
	0x1a: {kind: kindStr, length: 2},
	0x1b: {kind: kindStr, length: 4},
	0x1c: {kind: kindArray, length: 2},
	0x1d: {kind: kindArray, length: 4},
	0x1e: {kind: kindMap, length: 2},
	0x1f: {kind: kindMap, length: 4},
}

// readHead reads the header at the start of b. It returns false when b is too short for it; the kind may be
// kindInvalid.
func readHead(b []byte) (head, bool) {
	if len(b) == 0 {
		return head{}, false
	}
	c := b[0]
	switch {
	case c < 0x80:
		return head{kind: kindUint, size: 1, n: uint64(c)}, true
	case c < 0x90:
		return head{kind: kindMap, size: 1, n: uint64(c & 0x0f)}, true
	case c < 0xa0:
		return head{kind: kindArray, size: 1, n: uint64(c & 0x0f)}, true
	case c < 0xc0:
		return head{kind: kindStr, size: 1, n: uint64(c & 0x1f)}, true
	case c >= 0xe0:
		return head{kind: kindInt, size: 1, n: uint64(int64(int8(c)))}, true
	}
	w := &wide[c-0xc0]
	h := head{kind: w.kind, size: 1 + int(w.length)}
	if w.kind == kindExt {
		h.size++
	}
	if len(b) < h.size {
		return head{}, false
	}
	switch w.length {
	case 1:
		h.n = uint64(b[1])
	case 2:
		h.n = uint64(binary.BigEndian.Uint16(b[1:]))
	case 4:
		h.n = uint64(binary.BigEndian.Uint32(b[1:]))
	case 8:
		h.n = binary.BigEndian.Uint64(b[1:])
	}
	switch w.kind {
	case kindBool:
		h.n = uint64(c & 1)
	case kindInt:
		// The sign of the shorter integers.
		shift := 64 - 8*uint(w.length)
		h.n = uint64(int64(h.n<<shift) >> shift)
	case kindFloat:
		if w.length == 4 {
			h.n = math.Float64bits(float64(math.Float32frombits(uint32(h.n))))
		}
	case kindExt:
		h.n += uint64(w.fixext)
		h.ext = int8(b[h.size-1])
	}
	return h, true
}

var (
	errCut       = errors.New("it ends in the middle of a value")
	errUnused    = errors.New("it contains 0xc1, which MessagePack never uses")
	errDeep      = fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	errOversized = errors.New("its JSON text is larger than max_record")
	errKey       = errors.New("it has a map key that is an array or a map")
)

// skip returns how many bytes the first value of b takes. It neither recurses nor allocates: what is still to come is
// a count.
func skip(b []byte) (int, error) {
	s := scanner{pending: 1}
	done, err := s.advance(b, uint64(len(b)))
	if err != nil {
		return 0, err
	}
	if !done {
		return 0, errCut
	}
	return int(s.pos), nil
}

// scanner finds the end of a value in bytes that arrive in pieces, visiting each byte of a header once.
type scanner struct {
	// pos is the position of the next header; it may lie behind the bytes seen so far.
	pos uint64
	// pending is how many values are still to come.
	pending uint64
}

// advance goes on in b, which starts where the value starts and holds more bytes with every call. It returns true
// when the value is complete in b[:pos], and errTooLarge as soon as it is certain that the value cannot end within
// limit bytes.
func (s *scanner) advance(b []byte, limit uint64) (bool, error) {
	pos, pending := s.pos, s.pending
	defer func() { s.pos, s.pending = pos, pending }()
	for pending > 0 {
		if pos >= uint64(len(b)) {
			return false, nil
		}
		c := b[pos]
		switch {
		case c < 0x80 || c >= 0xe0:
			pos++
		case c >= 0xa0 && c < 0xc0:
			pos += 1 + uint64(c&0x1f)
		case c < 0x90:
			pos++
			pending += 2 * uint64(c&0x0f)
		case c < 0xa0:
			pos++
			pending += uint64(c & 0x0f)
		default:
			bytes, values, ok := passWide(b[pos:], c)
			if !ok {
				return false, nil
			}
			if c == 0xc1 {
				return false, errUnused
			}
			pos += bytes
			pending += values
		}
		pending--
		// Every value takes at least one byte. Both sides stay far below 2^64: limit is a length in memory.
		if pos > limit || pending > limit-pos {
			return false, errTooLarge
		}
	}
	return pos <= uint64(len(b)), nil
}

// passWide is how many bytes a header of 0xc0 to 0xdf, c, and its payload take, and how many values follow it. It
// returns false when b is too short for the header.
func passWide(b []byte, c byte) (bytes, values uint64, ok bool) {
	w := &wide[c-0xc0]
	if len(b) <= int(w.length) {
		return 0, 0, false
	}
	var n uint64
	switch w.length {
	case 1:
		n = uint64(b[1])
	case 2:
		n = uint64(binary.BigEndian.Uint16(b[1:]))
	case 4:
		n = uint64(binary.BigEndian.Uint32(b[1:]))
	}
	bytes = 1 + uint64(w.length)
	switch w.kind {
	case kindStr, kindBin:
		bytes += n
	case kindArray:
		values = n
	case kindMap:
		values = 2 * n
	case kindExt:
		bytes += 1 + n + uint64(w.fixext)
	}
	return bytes, values, true
}

var errTooLarge = errors.New("message too large")

// readBytes reads a str or bin at the start of b and returns its payload and the length of the whole value.
func readBytes(b []byte) (payload []byte, n int, ok bool) {
	h, ok := readHead(b)
	if !ok || (h.kind != kindStr && h.kind != kindBin) || h.n > uint64(len(b)-h.size) {
		return nil, 0, false
	}
	n = h.size + int(h.n)
	return b[h.size:n], n, true
}

// Ext types that hold a time: EventTime of the forward protocol (32 bits of seconds, 32 of nanoseconds), and the
// timestamp of MessagePack itself.
const (
	extEventTime = 0
	extTimestamp = -1
)

// Seconds of an EventTime that mark the start and the end of a group of log records (Fluent Bit's OpenTelemetry
// input). Such an entry is no record.
const (
	groupStart = 0xffffffff
	groupEnd   = 0xfffffffe
)

// extTime reads the time that an ext holds.
func extTime(ext int8, payload []byte) (time.Time, bool) {
	switch {
	case ext == extEventTime && len(payload) == 8:
		return time.Unix(int64(binary.BigEndian.Uint32(payload)), int64(binary.BigEndian.Uint32(payload[4:]))).UTC(), true
	case ext == extTimestamp && len(payload) == 4:
		return time.Unix(int64(binary.BigEndian.Uint32(payload)), 0).UTC(), true
	case ext == extTimestamp && len(payload) == 8:
		v := binary.BigEndian.Uint64(payload)
		return time.Unix(int64(v&(1<<34-1)), int64(v>>34)).UTC(), true
	case ext == extTimestamp && len(payload) == 12:
		sec := int64(binary.BigEndian.Uint64(payload[4:]))
		if sec < minSeconds || sec > maxSeconds {
			return time.Time{}, false
		}
		return time.Unix(sec, int64(binary.BigEndian.Uint32(payload))).UTC(), true
	}
	return time.Time{}, false
}

// Seconds since 1970 that RFC 3339 can write: the years 0 to 9999.
const (
	minSeconds = -62167219200
	maxSeconds = 253402300799
)

// timeOf is the time that a value of the time field holds, in any of the shapes that senders use: EventTime as fixext8
// or ext8, integer or float seconds. Others give the zero time.
func timeOf(h head, payload []byte) time.Time {
	switch h.kind {
	case kindExt:
		t, _ := extTime(h.ext, payload)
		return t
	case kindUint:
		if h.n <= maxSeconds {
			return time.Unix(int64(h.n), 0).UTC()
		}
	case kindInt:
		if s := int64(h.n); s >= minSeconds && s <= maxSeconds {
			return time.Unix(s, 0).UTC()
		}
	case kindFloat:
		return floatTime(math.Float64frombits(h.n))
	}
	return time.Time{}
}

// floatTime is the time at f seconds since 1970, zero when f is out of range or no number.
func floatTime(f float64) time.Time {
	if !(f >= minSeconds && f <= maxSeconds) {
		return time.Time{}
	}
	sec, frac := math.Modf(f)
	return time.Unix(int64(sec), int64(frac*1e9)).UTC()
}
