package rules

import (
	"encoding/json"
	"slices"
	"testing"
)

// otherReadings are the contested switches where this engine reads Sigma otherwise than the default of the verdicts.
// docs/rules.md gives the reasons.
var otherReadings = []string{"fold"}

func TestVerdicts(t *testing.T) {
	var placeholders map[string][]string
	if err := json.Unmarshal(readShared(t, "verdicts/placeholders.json"), &placeholders); err != nil {
		t.Fatal(err)
	}
	docs, err := Parse("rules.yml", readShared(t, "verdicts/rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(docs.Rules) != 859 {
		t.Fatalf("expected 859 rules, got %d", len(docs.Rules))
	}
	all, err := Compile(docs, nil, Options{Placeholders: placeholders})
	if err != nil {
		t.Fatal(err)
	}
	events := decodeLines[verdictEvent](t, readShared(t, "verdicts/events.jsonl"))
	verdicts := decodeLines[verdict](t, readShared(t, "verdicts/verdicts.jsonl"))
	// Once with all rules in one set, so that gates and automata are in play, once with each on its own.
	together := map[string][]string{}
	for _, e := range events {
		hits, _, err := all.Match(e.Event, nil)
		if err != nil {
			t.Fatalf("%s: %v", e.ID, err)
		}
		for _, h := range hits {
			together[h.Rule.ID] = append(together[h.Rule.ID], e.ID)
		}
	}
	checked, contested := 0, 0
	for i, v := range verdicts {
		if docs.Rules[i].ID != v.Rule {
			t.Fatalf("rule %d is %s, its verdict is for %s", i, docs.Rules[i].ID, v.Rule)
		}
		if raceDetector && i%8 != 0 {
			continue // ten times as slow; the other run has them all
		}
		single, err := Compile(Documents{Rules: docs.Rules[i : i+1]}, nil, Options{Placeholders: placeholders})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			hits, _, err := single.Match(e.Event, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := len(hits) == 1
			if inAll := slices.Contains(together[v.Rule], e.ID); inAll != got {
				t.Errorf("%s on %s: alone %v, among all %v", v.Title, e.ID, got, inAll)
			}
			want := slices.Contains(v.Match, e.ID)
			for name, ids := range v.Contested {
				if slices.Contains(ids, e.ID) {
					contested++
					if slices.Contains(otherReadings, name) {
						want = got // either reading is one of the alternatives; TestReadings pins ours
					}
				}
			}
			checked++
			if got != want {
				t.Errorf("%s on %s: expected %v, got %v\n%s", v.Title, e.ID, want, got, e.Event[:min(len(e.Event), 200)])
			}
		}
	}
	t.Logf("%d pairs, %d contested", checked, contested)
}

func TestInvalidDocuments(t *testing.T) {
	type invalid struct{ ID, YAML, Why string }
	for _, d := range decodeLines[invalid](t, readShared(t, "verdicts/invalid.jsonl")) {
		docs, err := Parse(d.ID+".yml", []byte(d.YAML))
		if err == nil {
			_, err = Compile(docs, nil, Options{Placeholders: map[string][]string{"one": {"alice"}}})
		}
		if err == nil {
			t.Errorf("%s (%s): expected a fault, got none\n%s", d.ID, d.Why, d.YAML)
			continue
		}
		for _, f := range faultsOf(err) {
			if f.Line < 1 || f.Col < 1 || f.File == "" || f.Msg == "" {
				t.Errorf("%s (%s): fault without a place or a text: %v", d.ID, d.Why, f)
			}
		}
	}
}

// faultsOf takes a joined error apart.
func faultsOf(err error) []*Fault {
	switch e := err.(type) {
	case nil:
		return nil
	case *Fault:
		return []*Fault{e}
	case interface{ Unwrap() []error }:
		var out []*Fault
		for _, x := range e.Unwrap() {
			out = append(out, faultsOf(x)...)
		}
		return out
	}
	return []*Fault{{Msg: err.Error()}}
}
