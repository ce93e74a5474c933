// Package forward sends what Fluent Bit sends: real audit events in the shapes of its forward output, over many
// connections, again on a new one until they are answered. It serves the end-to-end tests beside it and the program in
// load, which measures the stage.
package forward

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/tidwall/gjson"
)

// appendValue appends a JSON value in MessagePack as Fluent Bit's JSON parser packs it: keys in the order of the text,
// the shortest header everywhere, integers as integers and any other number as float64.
func appendValue(dst []byte, v gjson.Result) []byte {
	switch v.Type {
	case gjson.True:
		return append(dst, 0xc3)
	case gjson.False:
		return append(dst, 0xc2)
	case gjson.String:
		return appendText(dst, v.Str)
	case gjson.Number:
		if n, err := strconv.ParseInt(v.Raw, 10, 64); err == nil {
			return appendInteger(dst, n)
		}
		return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(v.Num))
	case gjson.JSON:
		n := 0
		v.ForEach(func(_, _ gjson.Result) bool { n++; return true })
		if v.IsArray() {
			dst = appendCount(dst, n, 0x90, 0xdc)
		} else {
			dst = appendCount(dst, n, 0x80, 0xde)
		}
		return appendMembers(dst, v)
	}
	return append(dst, 0xc0)
}

func appendMembers(dst []byte, v gjson.Result) []byte {
	isObject := v.IsObject()
	v.ForEach(func(key, value gjson.Result) bool {
		if isObject {
			dst = appendText(dst, key.Str)
		}
		dst = appendValue(dst, value)
		return true
	})
	return dst
}

// appendCount appends the header of an array or a map: the short form, or that of 16 or 32 bits.
func appendCount(dst []byte, n int, short, wide byte) []byte {
	switch {
	case n < 16:
		return append(dst, short|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, wide), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, wide+1), uint32(n))
}

func appendText(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	case n < 1<<8:
		dst = append(dst, 0xd9, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
	}
	return append(dst, s...)
}

func appendInteger(dst []byte, n int64) []byte {
	switch {
	case n >= -32 && n < 0:
		return append(dst, byte(n))
	case n < 0:
		return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(n))
	case n < 1<<7:
		return append(dst, byte(n))
	case n < 1<<8:
		return append(dst, 0xcc, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), uint64(n))
}

// appendWideMap appends the header of a map of n pairs as Fluent Bit's encoder writes it for records, metadata and
// options: always of 32 bits.
func appendWideMap(dst []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0xdf), uint32(n))
}
