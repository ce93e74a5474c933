package alert

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func letter() *DeadLetter {
	return &DeadLetter{
		Reason: ReasonMalformed, Detail: "expected a value, got \"}\" at byte 17",
		Origin: Origin{Source: "audit", Topic: "k8s-audit", Partition: 2, Offset: 77},
		Size:   6, Record: []byte("{\x00\xff\n\"}"),
	}
}

func TestDeadLetterLine(t *testing.T) {
	s := compile(t, DeadLetterSchema())
	d := letter()
	line := AppendDeadLetter([]byte("before"), d)[len("before"):]
	checkLine(t, line)
	if err := validate(t, s, line); err != nil {
		t.Errorf("%#v", err)
	}
	want := map[string]any{
		"schema": "spawnwatch.deadletter/v1", "reason": "malformed", "detail": d.Detail,
		"origin": map[string]any{
			"source": "audit", "topic": "k8s-audit", "partition": json.Number("2"), "offset": json.Number("77"), "line": json.Number("0"),
		},
		"size": json.Number("6"), "record_b64": base64.StdEncoding.EncodeToString(d.Record),
	}
	if diff := cmp.Diff(want, decode(t, line)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	d.Size, d.SHA256 = 200<<20, strings.Repeat("0a", 32)
	line = AppendDeadLetter(nil, d)
	if err := validate(t, s, line); err != nil {
		t.Errorf("%#v", err)
	}
	want["size"], want["truncated"], want["sha256"] = json.Number("209715200"), true, d.SHA256
	if diff := cmp.Diff(want, decode(t, line)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDeadLetterSchemaRefuses(t *testing.T) {
	s := compile(t, DeadLetterSchema())
	d := letter()
	d.SHA256 = strings.Repeat("0a", 32)
	n := 0
	mutations(t, AppendDeadLetter(nil, d), func(path, kind string, text []byte) {
		n++
		if validate(t, s, text) == nil {
			t.Errorf("%s: the schema takes a planted fault (%s)", path, kind)
		}
	})
	if n < 20 {
		t.Errorf("planted %d faults, expected the whole dead letter", n)
	}
	for _, bad := range []DeadLetter{{Reason: "because"}, {Reason: ReasonForeign, Size: -1}, {Reason: ReasonForeign, SHA256: "short"}} {
		if validate(t, s, AppendDeadLetter(nil, &bad)) == nil {
			t.Errorf("the schema takes %+v", bad)
		}
	}
}

func TestDeadLetterReasonsAreThoseOfTheSchema(t *testing.T) {
	var got []string
	props := decode(t, DeadLetterSchema()).(map[string]any)["properties"].(map[string]any)
	for _, w := range props["reason"].(map[string]any)["enum"].([]any) {
		got = append(got, w.(string))
	}
	if diff := cmp.Diff(Reasons(), got); diff != "" {
		t.Errorf("(-package +schema):\n%s", diff)
	}
}

func TestDeadLetterHeaders(t *testing.T) {
	d := letter()
	d.Detail, d.Origin.Source, d.Origin.Line = "got \"\x1b[2J\" at 100 % é\r\nx: y", "a b", 12
	d.SHA256 = strings.Repeat("0a", 32)
	got := map[string]string{}
	for _, h := range d.Headers() {
		checkHeader(t, h)
		if _, twice := got[h.Key]; twice {
			t.Errorf("%s comes twice", h.Key)
		}
		back, err := url.PathUnescape(h.Value)
		if err != nil {
			t.Errorf("%s: %v", h.Key, err)
		}
		got[h.Key] = back
	}
	want := map[string]string{
		"content-type": "application/octet-stream", "spawnwatch-schema": "spawnwatch.deadletter/v1",
		"spawnwatch-reason": "malformed", "spawnwatch-detail": d.Detail, "spawnwatch-source": "a b", "spawnwatch-topic": "k8s-audit",
		"spawnwatch-partition": "2", "spawnwatch-offset": "77", "spawnwatch-line": "12", "spawnwatch-size": "6",
		"spawnwatch-truncated": "true", "spawnwatch-sha256": d.SHA256,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	d.SHA256 = ""
	if slices.ContainsFunc(d.Headers(), func(h Header) bool { return h.Key == "spawnwatch-truncated" }) {
		t.Error("a whole record is called truncated")
	}
}

// checkHeader holds a header to what every transport takes.
func checkHeader(t testing.TB, h Header) {
	t.Helper()
	if h.Key == "" || h.Key != strings.ToLower(h.Key) {
		t.Errorf("key %q is not lower case", h.Key)
	}
	for _, s := range []string{h.Key, h.Value} {
		if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }); i >= 0 {
			t.Errorf("%q: byte %d is not printable ASCII", s, i)
		}
	}
}

func TestHeaderTextIsCut(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
	}{
		{"the limit fits", strings.Repeat("x", MaxHeaderText), strings.Repeat("x", MaxHeaderText)},
		{"one more is cut", strings.Repeat("x", MaxHeaderText+1), strings.Repeat("x", MaxHeaderText) + "%E2%80%A6"},
		{"between runes", strings.Repeat("x", MaxHeaderText-1) + "日本", strings.Repeat("x", MaxHeaderText-1) + "%E2%80%A6"},
		{"no runes at all", strings.Repeat("\x80", 4*MaxHeaderText), strings.Repeat("%80", MaxHeaderText-4) + "%E2%80%A6"},
	} {
		if got := headerText(c.in); got != c.want {
			t.Errorf("%s: got …%q (%d bytes), want …%q (%d)", c.name, got[max(0, len(got)-30):], len(got), c.want[max(0, len(c.want)-30):], len(c.want))
		}
	}
}

func FuzzAppendPercent(f *testing.F) {
	f.Add("plain")
	f.Add("a b\"%é\x00\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := string(AppendPercent(nil, s))
		checkHeader(t, Header{"k", got})
		if back, err := url.PathUnescape(got); err != nil || back != s {
			t.Errorf("%q came back as %q (%v)", s, back, err)
		}
		if needsPercent(s) != (got != s) {
			t.Errorf("%q: needsPercent says %v", s, needsPercent(s))
		}
	})
}

func TestDeadLetterAllocatesNothing(t *testing.T) {
	d, dst := letter(), make([]byte, 0, 4096)
	d.Record = bytes.Repeat([]byte("x"), 1000)
	if n := testing.AllocsPerRun(100, func() { dst = AppendDeadLetter(dst[:0], d) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
