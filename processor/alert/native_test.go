package alert

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// decode reads JSON with numbers kept as written.
func decode(t testing.TB, text []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	if d.More() {
		t.Fatalf("more than one value:\n%s", text)
	}
	return v
}

// numbers makes the event's numbers comparable: its oracle decodes without json.Number.
func numbers(v any) any {
	switch x := v.(type) {
	case json.Number:
		f, _ := strconv.ParseFloat(string(x), 64)
		return f
	case map[string]any:
		for k := range x {
			x[k] = numbers(x[k])
		}
	case []any:
		for i := range x {
			x[i] = numbers(x[i])
		}
	}
	return v
}

// checkLine finds what must not leave the program raw.
func checkLine(t testing.TB, text []byte) {
	t.Helper()
	if !utf8.Valid(text) {
		t.Fatalf("not UTF-8: %q", text)
	}
	for i, r := range string(text) {
		if unicode.IsControl(r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) || unicode.Is(unicode.Bidi_Control, r) {
			t.Fatalf("%U at byte %d came out raw: %q", r, i, text)
		}
	}
}

func TestNativeEqualsTheStruct(t *testing.T) {
	for seed := range uint64(250) {
		f := &filler{rnd: rand.New(rand.NewPCG(seed, 1)), most: 3, hostile: true}
		a := f.alert()
		got := AppendNative(nil, a)
		checkLine(t, got)
		want := asJSON(reflect.ValueOf(a).Elem()).(map[string]any)
		want["schema"] = "spawnwatch.alert/v1"
		if diff := cmp.Diff(numbers(want), numbers(decode(t, got))); diff != "" {
			t.Fatalf("seed %d (-struct +encoded):\n%s", seed, diff)
		}
	}
}

// TestEveryFieldIsEncoded changes one leaf after the other.
func TestEveryFieldIsEncoded(t *testing.T) {
	a := full()
	before := string(AppendNative(nil, a))
	n := 0
	eachLeaf(reflect.ValueOf(a).Elem(), "", func(path string, v reflect.Value) {
		old := reflect.ValueOf(v.Interface())
		change(v)
		if string(AppendNative(nil, a)) == before {
			t.Errorf("%s is not encoded", path)
		}
		v.Set(old)
		n++
	})
	if n < 150 {
		t.Errorf("saw %d leaves, expected the whole alert", n)
	}
	if string(AppendNative(nil, a)) != before {
		t.Error("the walk left a trace: its comparisons mean nothing")
	}
}

// full is an alert in which every list has one element.
func full() *Alert {
	a := new(Alert)
	var grow func(v reflect.Value)
	grow = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			grow(v.Elem())
		case reflect.Slice:
			if v.Type() == reflect.TypeFor[json.RawMessage]() {
				return
			}
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			grow(v.Index(0))
		case reflect.Struct:
			if v.Type() != reflect.TypeFor[time.Time]() {
				for i := range v.NumField() {
					grow(v.Field(i))
				}
			}
		}
	}
	grow(reflect.ValueOf(a).Elem())
	return a
}

func eachLeaf(v reflect.Value, path string, leaf func(string, reflect.Value)) {
	switch v.Interface().(type) {
	case time.Time, json.RawMessage, Int:
		leaf(path, v)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		eachLeaf(v.Elem(), path, leaf)
	case reflect.Slice:
		eachLeaf(v.Index(0), path+"[0]", leaf)
	case reflect.Struct:
		for i := range v.NumField() {
			eachLeaf(v.Field(i), path+"."+v.Type().Field(i).Name, leaf)
		}
	default:
		leaf(path, v)
	}
}

func change(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
	case json.RawMessage:
		v.SetBytes([]byte(`{}`))
	case Int:
		v.Set(reflect.ValueOf(Number(7)))
	default:
		switch v.Kind() {
		case reflect.String:
			v.SetString("changed")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Uint8:
			v.SetUint(uint64(True))
		default:
			v.SetInt(v.Int() + 7)
		}
	}
}

func TestNativeOfTheZeroAlert(t *testing.T) {
	got := decode(t, AppendNative([]byte("x"), &Alert{})[1:]).(map[string]any)
	for _, key := range []string{"reasons", "rules", "attack", "related", "investigate", "respond", "notes"} {
		if list, ok := got[key].([]any); !ok || len(list) != 0 {
			t.Errorf("%s: got %v, expected []", key, got[key])
		}
	}
	for _, key := range []string{"time", "detected_at", "workload", "event"} {
		if v, there := got[key]; !there || v != nil {
			t.Errorf("%s: got %v, expected null", key, v)
		}
	}
}

func TestMarshalJSONIsNative(t *testing.T) {
	a := typical()
	got, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decode(t, AppendNative(nil, a)), decode(t, got)); diff != "" {
		t.Error(diff)
	}
}

func TestStamp(t *testing.T) {
	east := time.FixedZone("", 2*3600)
	for want, at := range map[string]time.Time{
		`null`:                          {},
		`"2026-11-23T20:15:30.123456Z"`: time.Date(2026, 11, 23, 22, 15, 30, 123456000, east),
		`"2026-11-23T20:15:30Z"`:        time.Date(2026, 11, 23, 20, 15, 30, 0, time.UTC),
		`"9999-12-31T23:59:59Z"`:        time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		if got := string(stamp(nil, "", at)); got != want {
			t.Errorf("%v: got %s, want %s", at, got, want)
		}
	}
	if got := string(stamp(nil, "", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))); got != "null" {
		t.Errorf("year 10000: got %s, which is no RFC 3339", got)
	}
}

func TestReset(t *testing.T) {
	a := full()
	rules := a.Rules
	a.Reset()
	if diff := cmp.Diff(string(AppendNative(nil, &Alert{})), string(AppendNative(nil, a))); diff != "" {
		t.Errorf("not empty:\n%s", diff)
	}
	if cap(a.Rules) != 1 || !reflect.DeepEqual(rules[0], Rule{}) {
		t.Error("the list is gone, or it still holds on to a rule")
	}
	// every list of the alert keeps its memory, the event (which is lent) does not
	v := reflect.ValueOf(a).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice && f.Type() != reflect.TypeFor[json.RawMessage]() && f.Cap() == 0 {
			t.Errorf("%s lost its memory", v.Type().Field(i).Name)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\n\r\t\b\f\x00\x1b\x7f", "\u0085\u009b\u2028\u202e\ufeff", "\xff\xfe", "\xe2\x80", "é日\U0001f600\U000e0041\U0010ffff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := appendString(nil, s)
		checkLine(t, got)
		if back := decode(t, got); back != runes(s) {
			t.Errorf("%q came back as %q", s, back)
		}
	})
}

func FuzzAppendRaw(f *testing.F) {
	for _, s := range []string{`{}`, "{\n\t\"a\" : [1,\r\n2]}", "[\"\x7f\u0085\u2028\u202e\U000e0041\", \"\\u001b\\n\"]", "\"\\\\\x7f\"", "\"\\\\\\\"\u2029\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := appendRaw(nil, text)
		if !json.Valid(text) || !utf8.Valid(text) {
			return // outside of the contract; it only must not panic
		}
		checkLine(t, got)
		if diff := cmp.Diff(decode(t, text), decode(t, got)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNativeAllocatesNothing(t *testing.T) {
	a, dst := typical(), make([]byte, 0, 64<<10)
	if n := testing.AllocsPerRun(100, func() { dst = AppendNative(dst[:0], a) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkFormats(b *testing.B) {
	for _, format := range Formats() {
		encode, err := Format(format)
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range []struct {
			name  string
			alert *Alert
		}{{"small", small()}, {"enriched", typical()}} {
			b.Run(format+"/"+c.name, func(b *testing.B) {
				dst := make([]byte, 0, 64<<10)
				b.ReportAllocs()
				b.SetBytes(int64(len(encode(nil, c.alert))))
				for b.Loop() {
					dst = encode(dst[:0], c.alert)
				}
			})
		}
	}
}

func BenchmarkAppendRaw(b *testing.B) {
	event := []byte(`{"kind":"Event","note":"` + strings.Repeat("an audit event of the usual kind ", 120) + `"}`)
	dst := make([]byte, 0, 64<<10)
	b.SetBytes(int64(len(event)))
	for b.Loop() {
		dst = appendRaw(dst[:0], event)
	}
}
