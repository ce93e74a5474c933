package audit

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestKnownKeysAreUnique(t *testing.T) {
	keys := slices.Clone(knownKeys[:])
	slices.Sort(keys)
	if n := len(slices.Compact(slices.Clone(keys))); n != len(keys) {
		t.Errorf("%d of %d keys are unique", n, len(keys))
	}
}

func TestTextIsDecodedAsJSON(t *testing.T) {
	for _, raw := range []string{
		`"plain"`, `""`, `"a\"b\\c\/d\b\f\n\r\t"`, `"\u0026\u003c\u00e9\u20ac"`, `"\ud83d\ude00x"`, `"\ud83dx"`, `"\ude00"`, `"\ud83d\u0041"`, `"é\u0041"`,
		`"\\u0041"`, `"\\\\"`, `"\\\""`, `"01234567\""`, `"0123456\\"`, `"0123456789abcdef\n0123456789"`,
	} {
		var want string
		if err := json.Unmarshal([]byte(raw), &want); err != nil {
			t.Fatal(err)
		}
		if got := new(arena).text(raw); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
		if !textIs(raw, want) || textIs(raw, want+"x") || textIs(raw[:len(raw)-1]+`x"`, want) {
			t.Errorf("%s doesn't say %q", raw, want)
		}
		if want != "" && !saysAnywhere(`"..`+raw[1:], want) {
			t.Errorf("%s isn't found", raw)
		}
		if end, _ := skipString(raw+`tail"`, 0); end != len(raw) {
			t.Errorf("%s ends at %d, want %d", raw, end, len(raw))
		}
	}
	for _, raw := range []string{"", "null", "7", "true", `{"a":"b"}`, `["x"]`, `"`} {
		if got := new(arena).text(raw); got != "" {
			t.Errorf("%s: %q", raw, got)
		}
	}
}

func TestNumbers(t *testing.T) {
	for raw, want := range map[string]int64{
		"201": 201, `"201"`: 201, "201.0": 201, "201.000": 201, "0": 0, "-1": -1, `"-7"`: -7, `"\u0032\u00301"`: 201, "999999999999999999": 999999999999999999,
	} {
		if n, ok := number(raw); !ok || n != want {
			t.Errorf("%s: %d %v, want %d", raw, n, ok, want)
		}
	}
	for _, raw := range []string{"", "null", "201.5", "2e2", `""`, `"x"`, `"201.0"`, `" 201"`, "201.", ".5", "-", "1234567890123456789", "true", "[201]", `{"a":1}`} {
		if n, ok := number(raw); ok {
			t.Errorf("%s is no integer, got %d", raw, n)
		}
	}
}

func TestFirstOfDuplicatesWins(t *testing.T) {
	m := newModel(t)
	v := read(t, m, `{"verb":"create","verb":"get","\u0076erb":"list","objectRef":{"resource":"pods","resource":"x","name":"a","name":"b"},
		"objectRef":{},"responseStatus":{"code":201,"code":403},"responseStatus":{},"user":{"username":"u","username":"w"},"user":{},
		"responseObject":{"metadata":{"name":"a","uid":"1","uid":"2","labels":{"k":"1","\u006b":"2"}},"metadata":{},"spec":{"containers":[{"image":"i","image":"j","image":"k"}],"containers":[{"image":"z"}],"hostPID":true,"hostPID":false},"spec":{}},"responseObject":{}}`)
	pod, _ := v.PodTemplate()
	if v.Outcome != Created || v.Workload.Name != "a" || v.Workload.UID != "1" || v.Actor.Name != "u" || len(v.Workload.Labels) != 1 || v.Workload.Labels[0].Value != "1" {
		t.Errorf("%s %+v", v.Outcome, v.Workload)
	}
	if len(pod.Containers) != 1 || pod.Containers[0].Image != "i" || pod.HostPID != True {
		t.Errorf("%+v", pod)
	}
}
