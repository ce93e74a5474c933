package forward

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestAppendJSON(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"nil", []byte{0xc0}, `null`},
		{"false", []byte{0xc2}, `false`},
		{"true", []byte{0xc3}, `true`},
		{"positive fixint", []byte{0x7f}, `127`},
		{"negative fixint", []byte{0xe0}, `-32`},
		{"uint8", []byte{0xcc, 0xff}, `255`},
		{"uint16", []byte{0xcd, 0xff, 0xff}, `65535`},
		{"uint32", []byte{0xce, 0xff, 0xff, 0xff, 0xff}, `4294967295`},
		{"uint64", []byte{0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, `18446744073709551615`},
		{"int8", []byte{0xd0, 0x80}, `-128`},
		{"int16", []byte{0xd1, 0x80, 0x00}, `-32768`},
		{"int32", []byte{0xd2, 0x80, 0, 0, 0}, `-2147483648`},
		{"int64", []byte{0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0}, `-9223372036854775808`},
		{"int64 that is positive", []byte{0xd3, 0, 0, 0, 0, 0, 0, 0, 7}, `7`},
		{"float32", binary.BigEndian.AppendUint32([]byte{0xca}, math.Float32bits(0.5)), `0.5`},
		{"float64", float(-1.5e300), `-1.5e+300`},
		{"a status code as a float", float(201), `201`},
		{"minus zero", float(math.Copysign(0, -1)), `0`},
		{"the largest whole float that is exact", float(1<<53 - 1), `9007199254740991`},
		{"a larger one", float(1 << 60), `1.152921504606847e+18`},
		{"not a number", float(math.NaN()), `null`},
		{"infinity", float(math.Inf(-1)), `null`},
		{"fixstr", str("pod"), `"pod"`},
		{"str8", append([]byte{0xd9, 3}, "pod"...), `"pod"`},
		{"str16", str(long), `"` + long + `"`},
		{"bin", bin([]byte("text")), `"text"`},
		{"escapes", str("\"\\\b\f\n\r\t\x00\x1f\x7f/é\u2028"), "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\x7f/é\u2028\""},
		{"a quote in every lane", str(`12345678"2345678`), `"12345678\"2345678"`},
		{"no UTF-8", str("a\xffb"), "\"a\xffb\""},
		{"array", array(str("a"), []byte{1}), `["a",1]`},
		{"empty array", []byte{0x90}, `[]`},
		{"map", object(str("a"), []byte{1}, str("b"), array()), `{"a":1,"b":[]}`},
		{"empty map32", object(), `{}`},
		{"the same key twice", object(str("a"), []byte{1}, str("a"), []byte{2}), `{"a":1,"a":2}`},
		{
			"keys of other types", object([]byte{5}, []byte{1}, []byte{0xc0}, []byte{2}, []byte{0xc3}, []byte{3}, bin([]byte("b")), []byte{4}, float(1.5), []byte{5}, eventTime(0, 1), []byte{6}),
			`{"5":1,"null":2,"true":3,"b":4,"1.5":5,"1970-01-01T00:00:00.000000001Z":6}`,
		},
		{"EventTime", eventTime(1795395723, 123456000), `"2026-11-23T01:02:03.123456000Z"`},
		{"EventTime as ext8", append([]byte{0xc7, 8, 0}, eventTime(1795395723, 0)[2:]...), `"2026-11-23T01:02:03.000000000Z"`},
		{"timestamp 32", []byte{0xd6, 0xff, 0, 0, 0, 1}, `"1970-01-01T00:00:01.000000000Z"`},
		{"timestamp 64", []byte{0xd7, 0xff, 0, 0, 0, 4, 0, 0, 0, 1}, `"1970-01-01T00:00:01.000000001Z"`},
		{"timestamp 96", []byte{0xc7, 12, 0xff, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1}, `"1970-01-01T00:00:01.000000002Z"`},
		{"timestamp beyond the calendar", []byte{0xc7, 12, 0xff, 0, 0, 0, 2, 0x7f, 0, 0, 0, 0, 0, 0, 1}, `"000000027f00000000000001"`},
		{"another ext", []byte{0xd5, 42, 0xab, 0xcd}, `"abcd"`},
	} {
		got, n, err := appendJSON([]byte("before"), append(c.in, 0xc1), 1<<20)
		if err != nil || n != len(c.in) || string(got) != "before"+c.want {
			t.Errorf("%s: got %q, %d bytes and %v, want %q and %d bytes", c.name, got, n, err, c.want, len(c.in))
		}
		if n, err := skip(append(c.in, 0xc1)); err != nil || n != len(c.in) {
			t.Errorf("%s: skip took %d bytes and %v, want %d", c.name, n, err, len(c.in))
		}
	}
}

func TestAppendJSONRefuses(t *testing.T) {
	deep := append(bytes.Repeat([]byte{0x91}, maxDepth), 0xc0)
	if _, _, err := appendJSON(nil, deep, 1<<20); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, errCut},
		{"0xc1", []byte{0x91, 0xc1}, errUnused},
		{"a cut str", []byte{0xa5, 'a'}, errCut},
		{"a cut header", []byte{0xdb, 0}, errCut},
		{"4 GB of str", []byte{0xdb, 0xff, 0xff, 0xff, 0xff, 'a'}, errCut},
		{"4 G elements", []byte{0xdd, 0xff, 0xff, 0xff, 0xff, 1}, errCut},
		{"4 G pairs", []byte{0xdf, 0xff, 0xff, 0xff, 0xff, 1}, errCut},
		{"one level too deep", append([]byte{0x91}, deep...), errDeep},
		{"a million levels", bytes.Repeat([]byte{0x91}, 1_000_000), errDeep},
		{"a million maps", bytes.Repeat([]byte{0x81, 0xa0}, 1_000_000), errDeep},
		{"a map as a key", object(object(), []byte{1}), errKey},
		{"an array as a key", object(array(), []byte{1}), errKey},
		{"too long a str", str(strings.Repeat("x", 1000)), errOversized},
		{"too long a key", object(str(strings.Repeat("x", 1000)), []byte{1}), errOversized},
		{"too much after escaping", str(strings.Repeat("\x01", 200)), errOversized},
		{"too many elements", array(bytes.Split(bytes.Repeat([]byte{0xc0}, 300), nil)...), errOversized},
	} {
		limit := 1 << 20
		if c.want == errOversized {
			limit = 999
		}
		if _, _, err := appendJSON([]byte("before"), c.in, limit); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// TestAppendJSONLimit: a text as long as the limit is written, one byte less of it is not enough.
func TestAppendJSONLimit(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 1000 {
		in := randomValue(r, 3)
		text, _, err := appendJSON(nil, in, 1<<24)
		if err != nil {
			t.Fatal(err)
		}
		if again, _, err := appendJSON([]byte("before"), in, len(text)); err != nil || string(again) != "before"+string(text) {
			t.Fatalf("%x, of %d bytes: %v", in, len(text), err)
		}
		if _, _, err := appendJSON([]byte("before"), in, len(text)-1); !errors.Is(err, errOversized) {
			t.Fatalf("%x, of %d bytes, with a limit of one less: %v", in, len(text), err)
		}
	}
}

// TestAppendStringAgainstReference compares with encoding/json, which agrees on what a string is and not on how it is
// best written.
func TestAppendStringAgainstReference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "b", `"`, `\`, "\n", "\x00", "\x1f", " ", "\x7f", "é", "\u2028", "😀", "x", "y", "z", "0123456"}
	for range 20_000 {
		var b strings.Builder
		for range random.IntN(40) {
			b.WriteString(alphabet[random.IntN(len(alphabet))])
		}
		var back string
		text := appendString(nil, []byte(b.String()))
		if err := json.Unmarshal(text, &back); err != nil || back != b.String() {
			t.Fatalf("%q became %s and came back as %q (%v)", b.String(), text, back, err)
		}
	}
}

// reference decodes a MessagePack value the slow way, out of the specification.
func reference(b []byte) (v any, rest []byte) {
	take := func(n int) []byte { p := b[:n]; b = b[n:]; return p }
	num := func(n int) (u uint64) {
		for _, c := range take(n) {
			u = u<<8 | uint64(c)
		}
		return u
	}
	list := func(n int) any {
		l := []any{}
		for range n {
			var e any
			e, b = reference(b)
			l = append(l, e)
		}
		return l
	}
	pairs := func(n int) any {
		m := map[string]any{}
		for range n {
			var k, e any
			k, b = reference(b)
			e, b = reference(b)
			if _, twice := m[k.(string)]; !twice {
				m[k.(string)] = e
			}
		}
		return m
	}
	switch c := take(1)[0]; {
	case c < 0x80:
		v = float64(c)
	case c < 0x90:
		v = pairs(int(c & 15))
	case c < 0xa0:
		v = list(int(c & 15))
	case c < 0xc0:
		v = string(take(int(c & 31)))
	case c == 0xc0:
	case c == 0xc2 || c == 0xc3:
		v = c == 0xc3
	case c >= 0xc4 && c <= 0xc6:
		v = string(take(int(num(1 << (c - 0xc4)))))
	case c == 0xcb:
		v = math.Float64frombits(num(8))
	case c >= 0xcc && c <= 0xcf:
		v = float64(num(1 << (c - 0xcc)))
	case c >= 0xd9 && c <= 0xdb:
		v = string(take(int(num(1 << (c - 0xd9)))))
	case c == 0xdc || c == 0xdd:
		v = list(int(num(2 << (c - 0xdc))))
	case c == 0xde || c == 0xdf:
		v = pairs(int(num(2 << (c - 0xde))))
	case c >= 0xe0:
		v = float64(int8(c))
	}
	return v, b
}

// randomValue makes a value with headers of every width.
func randomValue(r *rand.Rand, depth int) []byte {
	size := func(fix byte, max, first, narrow, n int) []byte {
		wide := r.IntN(4)
		switch {
		case wide == 0 && n < max:
			return []byte{fix | byte(n)}
		case wide <= 1 && narrow == 1:
			return []byte{byte(first), byte(n)}
		case wide <= 2:
			return []byte{byte(first + narrow), byte(n >> 8), byte(n)}
		}
		return []byte{byte(first + narrow + 1), 0, 0, byte(n >> 8), byte(n)}
	}
	text := func() []byte {
		n := r.IntN(40)
		s := make([]byte, n)
		for i := range s {
			s[i] = byte(r.IntN(0x80))
		}
		if r.IntN(4) == 0 {
			return append(size(0, 0, 0xc4, 1, n), s...)
		}
		return append(size(0xa0, 32, 0xd9, 1, n), s...)
	}
	kinds := 8
	if depth == 0 {
		kinds = 6
	}
	switch r.IntN(kinds) {
	case 0:
		return []byte{0xc0}
	case 1:
		return []byte{0xc2 | byte(r.IntN(2))}
	case 2:
		return integer(r.Uint32())
	case 3:
		return float(r.NormFloat64() * 1e6)
	case 4:
		return []byte{0xe0 | byte(r.IntN(32))}
	case 5:
		return text()
	case 6:
		n := r.IntN(20)
		out := size(0x90, 16, 0xdc, 0, n)
		for range n {
			out = append(out, randomValue(r, depth-1)...)
		}
		return out
	}
	n := r.IntN(20)
	out := size(0x80, 16, 0xde, 0, n)
	for range n {
		out = append(append(out, text()...), randomValue(r, depth-1)...)
	}
	return out
}

func TestAppendJSONAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		in := randomValue(r, 3)
		text, n, err := appendJSON(nil, in, 1<<24)
		if err != nil || n != len(in) {
			t.Fatalf("%x: %d of %d bytes, %v", in, n, len(in), err)
		}
		want, _ := reference(in)
		if diff := cmp.Diff(want, firstWins(t, text)); diff != "" {
			t.Fatalf("%x became %s: %s", in, text, diff)
		}
	}
}

// firstWins decodes JSON with the first of two equal keys, where encoding/json takes the last.
func firstWins(t *testing.T, text []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	var value func() any
	value = func() any {
		tok, err := d.Token()
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		switch tok {
		case json.Delim('['):
			l := []any{}
			for d.More() {
				l = append(l, value())
			}
			_, _ = d.Token()
			return l
		case json.Delim('{'):
			m := map[string]any{}
			for d.More() {
				k := value().(string)
				v := value()
				if _, twice := m[k]; !twice {
					m[k] = v
				}
			}
			_, _ = d.Token()
			return m
		}
		return tok
	}
	return value()
}

func FuzzAppendJSON(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		f.Add(randomValue(r, 3))
	}
	f.Add([]byte{0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Add(bytes.Repeat([]byte{0x91}, 5000))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 16
		text, n, err := appendJSON(nil, in, limit)
		size, skipErr := skip(in)
		if err != nil {
			if errors.Is(err, errCut) && skipErr == nil {
				t.Fatalf("transcoding says %v, skipping finds %d bytes", err, size)
			}
			return
		}
		if skipErr != nil || n != size || len(text) > limit {
			t.Fatalf("transcoded %d bytes to %d, skipping found %d and %v", n, len(text), size, skipErr)
		}
		if !json.Valid(text) {
			t.Fatalf("%x became %q", in, text)
		}
		if utf8.Valid(in) && !utf8.Valid(text) {
			t.Fatalf("%x became %q", in, text)
		}
	})
}
