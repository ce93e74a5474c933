package alert

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"
)

// filler fills alerts by reflection, so that a field nobody thought of is filled too.
type filler struct {
	rnd *rand.Rand
	// most is the largest length of a list, hostile adds what is hard to encode.
	most    int
	hostile bool
	n       int
}

func (f *filler) alert() *Alert {
	a := new(Alert)
	f.fill(reflect.ValueOf(a).Elem())
	return a
}

func (f *filler) fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(f.time()))
		return
	case json.RawMessage:
		v.SetBytes(f.event())
		return
	case Bool:
		v.SetUint(uint64(f.rnd.IntN(3)))
		return
	case Int:
		if f.rnd.IntN(4) > 0 {
			v.Set(reflect.ValueOf(Number(f.rnd.Int64() - f.rnd.Int64())))
		}
		return
	case []Label:
		list := make([]Label, f.rnd.IntN(f.most+1))
		for i := range list {
			f.n++
			list[i] = Label{Key: fmt.Sprintf("%d%s", f.n, f.text()), Value: f.text()}
		}
		v.Set(reflect.ValueOf(list))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.text())
	case reflect.Bool:
		v.SetBool(f.rnd.IntN(2) == 0)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(int32(f.rnd.Uint32())))
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	case reflect.Pointer:
		if f.rnd.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem())
		}
	case reflect.Slice:
		n := f.rnd.IntN(f.most + 1)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(v.Index(i))
		}
	default:
		panic("no filling for " + v.Type().String())
	}
}

func (f *filler) time() time.Time {
	if f.rnd.IntN(5) == 0 {
		return time.Time{}
	}
	zone := time.FixedZone("", (f.rnd.IntN(25)-12)*3600)
	return time.Unix(f.rnd.Int64N(4e9), f.rnd.Int64N(1e9)).In(zone)
}

func (f *filler) text() string {
	words := []string{"", "pod", "kube-system", "a/b:c", "system:masters", "naïve", "日本", "\U0001f600"}
	if f.hostile {
		words = append(words, "\x00", "\x1b[31m", "\"", "\\", "\n", "\r\n\t", "\x7f", "\u009b0m", "\u2028", "\u2029",
			"\u202e", "\u200d", "\ufeff", "\U000e0041", "\xff", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\ufffd", "</script>")
	}
	var b strings.Builder
	for range f.rnd.IntN(4) {
		b.WriteString(words[f.rnd.IntN(len(words))])
	}
	return b.String()
}

func (f *filler) event() []byte {
	if f.rnd.IntN(3) == 0 {
		return nil
	}
	b, err := json.Marshal(map[string]any{"verb": "create", "n": f.rnd.IntN(9), "list": []string{f.text(), f.text()}})
	if err != nil {
		panic(err)
	}
	if f.rnd.IntN(2) == 0 {
		b = []byte(strings.ReplaceAll(string(b), ",", ",\r\n\t"))
	}
	return b
}

// asJSON is the oracle of the native encoder: what encoding/json decodes an alert to, made from its json tags alone.
func asJSON(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Time:
		if x.IsZero() {
			return nil
		}
		return x.UTC().Format(time.RFC3339Nano)
	case json.RawMessage:
		if len(x) == 0 {
			return nil
		}
		var out any
		if err := json.Unmarshal(x, &out); err != nil {
			panic(err)
		}
		return out
	case PSSLevel, RightsState, IntendedState, ApprovalState:
		return runes(cmp.Or(v.String(), "unknown"))
	case Detail:
		return runes(cmp.Or(v.String(), "none"))
	case Bool:
		return map[Bool]any{Unset: nil, True: true, False: false}[x]
	case Int:
		if !x.Known {
			return nil
		}
		return json.Number(fmt.Sprint(x.N))
	case []Label:
		out := map[string]any{}
		for _, l := range x {
			out[runes(l.Key)] = runes(l.Value)
		}
		return out
	}
	switch v.Kind() {
	case reflect.String:
		return runes(v.String())
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int32, reflect.Int64:
		return json.Number(fmt.Sprint(v.Int()))
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return asJSON(v.Elem())
	case reflect.Slice:
		out := []any{}
		for i := range v.Len() {
			out = append(out, asJSON(v.Index(i)))
		}
		return out
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("json")
			if name == "" || strings.ContainsAny(name, ",-") {
				panic(v.Type().String() + "." + v.Type().Field(i).Name + " has no plain json tag")
			}
			out[name] = asJSON(v.Field(i))
		}
		return out
	}
	panic("no oracle for " + v.Type().String())
}

// runes replaces every bad byte by U+FFFD.
func runes(s string) string { return string([]rune(s)) }
