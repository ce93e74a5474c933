package rules

import (
	"fmt"
	"strings"
	"testing"
)

func titles(t *testing.T, set *Set, event string) string {
	t.Helper()
	hits, _, err := set.Match([]byte(event), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, h := range hits {
		out = append(out, h.Rule.Title)
	}
	return strings.Join(out, " ")
}

func smallRule(title, source, detection string) string {
	return fmt.Sprintf("---\ntitle: %s\nid: 00000000-0000-4000-8000-%012x\nname: name_%s\nlogsource: {%s}\ndetection: %s\n", title, title, strings.ToLower(title), source, detection)
}

const k8s = "product: kubernetes, service: audit"

func TestFilters(t *testing.T) {
	rules := smallRule("A", k8s, "{s: {verb: create}, condition: s}") + smallRule("B", k8s, "{s: {verb: [create, delete]}, condition: s}") +
		smallRule("C", "product: windows", "{s: {verb: create}, condition: s}")
	filter := func(rules, condition string) string {
		return "---\ntitle: F\nid: 11111111-0000-4000-8000-000000000000\nlogsource: {product: kubernetes}\nfilter:\n" + rules + "  s: {user: [ops, admin]}\n  condition: " + condition + "\n"
	}
	id := fmt.Sprintf("00000000-0000-4000-8000-%012x", "A")
	for name, c := range map[string]struct{ filter, ops, other string }{
		"none":    {"", "A B C", "A B C"},
		"by id":   {filter("  rules: ["+strings.ToUpper(id)+"]\n", "not s"), "B C", "A B C"},
		"by name": {filter("  rules: [name_b]\n", "not s"), "A C", "A B C"},
		"any":     {filter("  rules: any\n", "not s"), "C", "A B C"},
		"omitted": {filter("", "not s"), "C", "A B C"},
		"only":    {filter("  rules: any\n", "s"), "A B C", "C"},
		"two":     {filter("  rules: [name_b]\n", "not s") + filter("  rules: [name_a]\n", "not s"), "C", "A B C"},
		"source":  {strings.Replace(filter("", "not s"), "product: kubernetes", "product: kubernetes, category: x", 1), "A B C", "A B C"},
	} {
		set := mustCompile(t, rules+c.filter, nil, Options{})
		if got := titles(t, set, `{"verb":"create","user":"ops"}`); got != c.ops {
			t.Errorf("%s: expected %q, got %q", name, c.ops, got)
		}
		if got := titles(t, set, `{"verb":"create"}`); got != c.other {
			t.Errorf("%s: without the user expected %q, got %q", name, c.other, got)
		}
	}
	docs, err := Parse("r.yml", []byte(rules+filter("  rules: [nosuch]\n", "not s")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Compile(docs, nil, Options{}); err == nil || !strings.Contains(err.Error(), `expected the id or name of a rule, got "nosuch", which no rule has`) {
		t.Errorf("expected a missing reference to be a fault, got %v", err)
	}
}

func TestOptions(t *testing.T) {
	rules := smallRule("A", k8s, "{s: {verb: create}, condition: s}") + smallRule("B", k8s, "{s: {verb: create, stage: RequestReceived}, condition: s}") +
		smallRule("C", "product: windows", "{s: {verb: create}, condition: s}") + smallRule("D", "category: application", "{s: {alias: x}, condition: s}")
	const event = `{"verb":"create","stage":"%s","p":{"q":["y","x"]}}`
	set := mustCompile(t, rules, nil, Options{
		LogSource: LogSource{Product: "Kubernetes"}, Guards: stageGuard, Aliases: map[string][]string{"alias": {"nosuch", "p.q"}},
		Levels: map[string]string{"name_a": "critical"},
	})
	for stage, want := range map[string]string{"ResponseComplete": "A D", "RequestReceived": "B", "responsestarted": "A D"} {
		if got := titles(t, set, fmt.Sprintf(event, stage)); got != want {
			t.Errorf("%s: expected %q, got %q", stage, want, got)
		}
	}
	if got := titles(t, set, `{"verb":"create"}`); got != "A" {
		t.Errorf("without a stage: expected A, got %q", got)
	}
	if r := set.Rules(); len(r) != 3 || r[0].Level != "critical" {
		t.Errorf("expected three rules, the first critical, got %v", r)
	}
	if out := set.LeftOut(); len(out) != 1 || out[0].Title != "C" {
		t.Errorf("expected C to be left out, got %v", out)
	}
	set = mustCompile(t, rules, nil, Options{Disable: []string{"A", "name_b", strings.ToUpper(fmt.Sprintf("00000000-0000-4000-8000-%012x", "C"))}})
	if len(set.Rules()) != 1 || len(set.LeftOut()) != 3 {
		t.Errorf("expected three rules to be disabled, got %d", len(set.LeftOut()))
	}
	docs, _ := Parse("r.yml", []byte(rules+smallRule("A", k8s, "{s: {a: b}, condition: s}")))
	set, err := Compile(docs, []Computed{{Names: []string{"x", "x"}}}, Options{Disable: []string{"nosuch"}, Levels: map[string]string{"A": "hgih", "gone": "low"}})
	for _, want := range []string{
		`expected an id of its own, got that of "A" at r.yml:2 (the first is kept)`, `expected each computed field once, got "x" twice`,
		`got "nosuch", which no rule has`, `got "gone", which no rule has`, `expected a level, got "hgih" (did you mean "high"?)`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q in\n%v", want, err)
		}
	}
	if len(set.Rules()) != 4 {
		t.Errorf("expected the good rules beside the faults, got %d", len(set.Rules()))
	}
}

// A fault at compile time names the rule and the place, and the others are compiled.
func TestCompileFaults(t *testing.T) {
	docs, err := Parse("r.yml", []byte(smallRule("A", k8s, "{s: {verb|expand: ['%one%', '%none%']}, condition: s}")+smallRule("B", k8s, "{s: {verb|expand: '%one%'}, condition: s}")))
	if err != nil {
		t.Fatal(err)
	}
	set, err := Compile(docs, nil, Options{Placeholders: map[string][]string{"one": {"cre*"}}})
	want := "r.yml:6:40: rule 00000000-0000-4000-8000-000000000041: verb|expand: expected a defined placeholder, got %none% (define it in the configuration)"
	if err == nil || err.Error() != want {
		t.Errorf("expected\n%s\ngot\n%v", want, err)
	}
	if got := titles(t, set, `{"verb":"create"}`); got != "B" {
		t.Errorf("expected B, got %q", got)
	}
}
