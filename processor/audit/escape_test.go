package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// escapeAll writes JSON anew with every character of every key and text as an escape, white space everywhere, and the
// keys of the event itself in another order.
func escapeAll(t *testing.T, raw []byte) string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	writeEscaped(&b, v)
	return b.String()
}

func writeEscaped(b *strings.Builder, v any) {
	b.WriteString(" \t")
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		slices.Reverse(keys)
		b.WriteString("{")
		for i, k := range keys {
			if i > 0 {
				b.WriteString("\n,")
			}
			writeEscaped(b, k)
			b.WriteString(":")
			writeEscaped(b, v[k])
		}
		b.WriteString("\r}")
	case []any:
		b.WriteString("[")
		for i, e := range v {
			if i > 0 {
				b.WriteString(",")
			}
			writeEscaped(b, e)
		}
		b.WriteString(" ]")
	case string:
		b.WriteByte('"')
		for _, u := range utf16.Encode([]rune(v)) {
			fmt.Fprintf(b, `\u%04X`, u)
		}
		b.WriteByte('"')
	case nil:
		b.WriteString("null")
	default:
		fmt.Fprint(b, v)
	}
	b.WriteString(" ")
}

// TestEscapedEqualsPlain: however an event is written, it says the same. This also holds knownKeys to what is used.
func TestEscapedEqualsPlain(t *testing.T) {
	m := newModel(t)
	var plain, escaped View
	n := 0
	same := cmp.Options{
		cmpopts.IgnoreUnexported(View{}),
		cmpopts.IgnoreFields(View{}, "Event"),
		cmpopts.IgnoreFields(PodTemplate{}, "Spec"),
		cmpopts.SortSlices(func(a, b Label) bool { return a.Key < b.Key }),
		cmpopts.EquateEmpty(),
	}
	fields := cmp.Options{cmpopts.SortSlices(strings.Compare)}
	for i, line := range corpus(t, "rr") {
		if len(line) > 60_000 || i%thin != 0 || i%5 != 0 && !bytes.Contains(line, []byte(`"code":201`)) {
			continue
		}
		text := escapeAll(t, line)
		if err := m.Read(line, &plain); err != nil {
			t.Fatal(err)
		}
		if err := m.Read([]byte(text), &escaped); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&plain, &escaped, same); diff != "" {
			t.Fatalf("line %d: %s", i+1, diff)
		}
		p, ok := plain.PodTemplate()
		e, okEscaped := escaped.PodTemplate()
		if diff := cmp.Diff(p, e, same); diff != "" || ok != okEscaped {
			t.Fatalf("line %d: %s", i+1, diff)
		}
		if plain.ID("c") != escaped.ID("c") {
			t.Fatalf("line %d: another id", i+1)
		}
		if i%3 == 0 {
			if diff := cmp.Diff(evaluate(m, string(line)), evaluate(m, text), fields); diff != "" {
				t.Fatalf("line %d: %s", i+1, diff)
			}
		}
		n++
	}
	if n < 500/thin {
		t.Fatalf("only %d events", n)
	}
}

// TestLentTextStaysItself: what an Eval handed out isn't overwritten by the next one.
func TestLentTextStaysItself(t *testing.T) {
	m := newModel(t)
	type lent struct {
		value, copied string
	}
	var all []lent
	keep := adderFunc(func(_ int, value string) {
		all = append(all, lent{value, strings.Clone(value)})
	})
	for _, line := range corpus(t, "rr")[:1500] {
		text := string(line)
		for _, g := range m.Fields() {
			g.Eval(needs(text, &g), keep)
		}
	}
	for _, l := range all {
		if l.value != l.copied {
			t.Fatalf("%q became %q", l.copied, l.value)
		}
	}
	if len(all) < 10_000 {
		t.Fatalf("only %d values", len(all))
	}
}

type adderFunc func(field int, value string)

func (f adderFunc) Add(field int, value string) { f(field, value) }
