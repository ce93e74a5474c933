package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"unsafe"

	"github.com/tidwall/gjson"
)

// FuzzRead: whatever the bytes, nothing panics, loops, or reads outside of them; and on valid events Read, the computed
// fields and the slow reading agree.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		rich, child, `{`, `{"`, `{"verb`, `{"verb":`, `{"verb":"\`, `{"objectRef":{"resource":"pods"},"verb":"create","responseStatus":{"code":"201"}}`,
		`{"requestObject":[`, `{"requestObject":[{"op":"add","path":"/spec/template"}],"verb":"patch","objectRef":{"resource":"deployments"},"responseStatus":{"code":200}}`,
		`{"a":}`, `{"a":,}`, `{]}`, `{"a":[}`, `{"responseObject":{"kind":"Table","rows":[{"object":`, `{"user":{"username":"\ud800\u0041\u"}}`,
	} {
		f.Add([]byte(seed))
	}
	for i, line := range corpus(f, "rr") {
		if i%150 == 0 && len(line) < 4000 {
			f.Add(line)
		}
	}
	m := newModel(f)
	var v View
	f.Fuzz(func(t *testing.T, data []byte) {
		text := string(data)
		if m.Read(data, &v) == nil {
			v.ID("c")
			for _, s := range []string{v.Event, v.requestObject, v.responseObject} {
				if !within(data, s) {
					t.Fatalf("%q is no part of the event", s)
				}
			}
			if pod, ok := v.PodTemplate(); ok && !within(data, pod.Spec) {
				t.Fatalf("%q is no part of the event", pod.Spec)
			}
			if v.Folds && (v.Outcome == Unknown || v.Outcome == Observed || v.Truncated) {
				t.Fatalf("folds, but is %s", v.Outcome)
			}
		}
		groups := m.Fields()
		for i := range groups {
			raw := make([]string, len(groups[i].Needs))
			for n := range raw {
				raw[n] = text // nonsense in every place
			}
			groups[i].Eval(raw, adderFunc(func(field int, value string) {
				if field < 0 || field >= len(groups[i].Names) {
					t.Fatalf("field %d", field)
				}
				_ = strings.Clone(value)
			}))
			groups[i].Eval(nil, new(counter))
		}
		if plainEvent(text) {
			foldsAlike(t, m, &v, text)
			checkAgainstOracle(t, m, &v, text)
		}
	})
}

// plainEvent: JSON that the slow reading reads the same way, which takes the last of duplicate keys, and numbers of
// every notation.
func plainEvent(text string) bool {
	if !json.Valid([]byte(text)) || !strings.HasPrefix(text, "{") || strings.ContainsRune(text, '\uFFFD') {
		return false
	}
	if strings.Contains(text, `\ud`) || strings.Contains(text, `\uD`) {
		return false
	}
	code := gjson.Get(text, "responseStatus.code")
	if code.Type == gjson.String && len(code.Str) != 3 || strings.ContainsAny(code.Raw, "eE+") {
		return false
	}
	return !duplicates(gjson.Parse(text))
}

func duplicates(v gjson.Result) (found bool) {
	seen := make(map[string]bool)
	object := v.IsObject()
	if !object && !v.IsArray() {
		return false
	}
	v.ForEach(func(key, value gjson.Result) bool {
		if object {
			found = found || seen[key.Str]
			seen[key.Str] = true
		}
		found = found || duplicates(value)
		return !found
	})
	return found
}

// within reports whether s lies inside of data.
func within(data []byte, s string) bool {
	if s == "" {
		return true
	}
	first := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	at := uintptr(unsafe.Pointer(unsafe.StringData(s)))
	return at >= first && at+uintptr(len(s)) <= first+uintptr(len(data))
}
