package rules

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestLoadFolder(t *testing.T) {
	fsys := os.DirFS("testdata")
	l, err := Load(fsys, "load")
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Rules) != 2 || len(l.Filters) != 1 || len(l.Tests) != 4 || l.Files != 2 {
		t.Fatalf("expected 2 rules, 1 filter, 4 tests in 2 files, got %d, %d, %d, %d", len(l.Rules), len(l.Filters), len(l.Tests), l.Files)
	}
	if got := l.Rules[1].File; got != "load/sub/secrets.yaml" {
		t.Errorf("expected the path of the file, got %s", got)
	}
	set, err := Compile(l.Documents, nil, Options{Fields: TestFields(l.Tests)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range RunTests(set, l.Tests, fsys) {
		if !r.OK || r.Rule != "0a6b3f52-4c1f-4a52-9f55-3f6f0b1f7a01" {
			t.Errorf("%s: %s: %s\n%s", r.Test.Name, r.Rule, r.Detail, r.Explain.String())
		}
	}
	if one, err := Load(fsys, "load/exec.yml"); err != nil || len(one.Rules) != 1 || len(one.Tests) != 2 {
		t.Errorf("expected a file by its name to load, got %+v, %v", one, err)
	}
	if named, err := Load(fsys, "load/.swap.yml"); err == nil {
		t.Errorf("expected a file that is named to be read whatever its name, got %+v", named)
	}
	if _, err := Load(fsys, "nosuch"); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("expected an error with the name, got %v", err)
	}
}

func TestLoadCollectsFaults(t *testing.T) {
	fsys := fstest.MapFS{
		"a.yml":      {Data: []byte("title: [")},
		"b.yml":      {Data: []byte(oneRule("  s: {a: b}\n  condition: s\n"))},
		"b.test.yml": {Data: []byte("- name: x\n  event: {a: b}\n- {name: y, match: yes, event: 5}\n- {name: z, evnt: {}, match: true}\n")},
		"c.yml":      {Data: make([]byte, MaxFile+1)},
		"d.txt":      {Data: []byte("no rules")},
		"e/f.yml":    {Data: []byte("title: x\n")},
	}
	l, err := Load(fsys, ".")
	if len(l.Rules) != 1 {
		t.Errorf("expected the good rule, got %d", len(l.Rules))
	}
	for _, want := range []string{
		"a.yml:", "c.yml:1:1: expected at most 4194304 bytes", "e/f.yml:1:1: rule x: expected a logsource, got none",
		"b.test.yml:1:3: expected match: true or match: false, got neither", `b.test.yml:3:20: expected true or false for match, got "yes"`,
		"b.test.yml:3:32: expected an event, got the integer 5", `b.test.yml:4:13: expected a key of a test, got "evnt" (did you mean "event"?)`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q in\n%v", want, err)
		}
	}
}

func TestRunTestsSaysWhatIsWrong(t *testing.T) {
	set := mustCompile(t, oneRule("  s: {verb: create, n: 1}\n  condition: s\n"), nil, Options{Fields: []string{"x.y"}})
	file := fstest.MapFS{"t/e.jsonl": {Data: []byte("{\"verb\":\"create\",\"n\":1}\n{\"verb\":\"create\",\"n\":2}\n")}, "t/none.jsonl": {Data: []byte("\n")}}
	event := []byte(`{"verb":"create","n":1,"x":[{"y":"A"},{"y":2}]}`)
	for _, c := range []struct {
		test   Test
		detail string
	}{
		{Test{Rule: "One", Event: event, Match: true, Fields: []FieldValue{{"x.y", "a"}, {"x.y", "2"}, {"verb", "create"}}}, ""},
		{Test{Rule: "One", Event: event, Match: false}, "expected no match, got a match"},
		{Test{RuleFile: "test.yml", Event: []byte(`{}`), Match: true}, "expected a match, got no match"},
		{Test{Rule: "One", Event: event, Match: true, Fields: []FieldValue{{"x.y", "b"}}}, `expected x.y to have "b", got ["A" "2"]`},
		{Test{Rule: "One", Event: event, Match: true, Fields: []FieldValue{{"z", "b"}}}, `expected a field that the rules or Options.Fields name, got "z"`},
		{Test{Rule: "Two", Event: event}, `expected a rule "Two" in , got none`},
		{Test{RuleFile: "other.yml", Event: event}, `expected a rule "" in other.yml, got none`},
		{Test{Rule: "One", Events: "e.jsonl", File: "t/x.test.yml", Match: true}, "line 2: expected a match, got no match"},
		{Test{Rule: "One", Events: "none.jsonl", File: "t/x.test.yml", Match: true}, "expected events in t/none.jsonl, got none"},
		{Test{Rule: "One", Events: "gone.jsonl", File: "t/x.test.yml", Match: true}, "cannot read the events: open t/gone.jsonl: file does not exist"},
		{Test{Rule: "One", Event: []byte(`{"verb"`), Match: true}, "event breaks at byte 7: expected a colon"},
	} {
		results := RunTests(set, []Test{c.test}, file)
		if len(results) != 1 || results[0].OK != (c.detail == "") || results[0].Detail != c.detail {
			t.Errorf("expected %q, got %+v", c.detail, results)
		}
	}
	if r := RunTests(set, []Test{{Rule: "One", Events: "e.jsonl"}}, nil); r[0].OK || r[0].Detail != "expected a folder to read e.jsonl from, got none" {
		t.Errorf("got %+v", r)
	}
}

func TestLint(t *testing.T) {
	docs, err := Parse("r.yml", []byte(oneRule("  s:\n    verb: [create, replace, 'pa*', craete]\n    objectref.resource: pods\n    responseObject.spec.x: 1\n    user.extra: y\n    user.uid|fieldref: user.nosuch\n  w: [word]\n  condition: s\n")+
		"---\ntitle: F\nlogsource: {product: kubernetes}\nfilter: {s: {vreb: x}, condition: not s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range Lint(docs, Vocabulary{
		Fields: []string{"verb", "objectRef.resource", "responseObject.*", "user.*"},
		Values: map[string][]string{"verb": {"create", "patch", "update", "delete", "get", "list", "watch"}},
	}) {
		got = append(got, f.Error())
	}
	const rule = "rule 00000000-0000-4000-8000-000000000001: "
	want := []string{
		"r.yml:11:3: " + rule + "the condition does not use the selection w",
		"r.yml:6:5: " + rule + `verb is never "replace" (it is one of create, delete, get, list, patch, update, watch)`,
		"r.yml:6:5: " + rule + `verb is never "craete" (did you mean "create"?)`,
		"r.yml:7:5: " + rule + `the field "objectref.resource" never occurs (did you mean "objectRef.resource"?)`,
		`r.yml:16:14: rule F: the field "vreb" never occurs (did you mean "verb"?)`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("expected\n%s\ngot\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
	if n := len(Lint(docs, Vocabulary{})); n != 1 {
		t.Errorf("without a vocabulary expected only what parsing found, got %d", n)
	}
}

func TestExplainDraws(t *testing.T) {
	set := mustCompile(t, oneRule("  sel:\n    verb: [create, patch]\n    user.groups|contains: admin\n    n|gte: 5\n  filter: {user.name|startswith: 'sys'}\n  kw: [word]\n  condition: sel and not filter and 1 of k*\n"), nil, Options{Guards: stageGuard})
	n, err := set.Explain("00000000-0000-4000-8000-000000000001", []byte(`{"verb":"PATCH","user":{"groups":["a","cluster-admins",null],"name":"`+strings.Repeat("x", 300)+`"},"n":4}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `✗ (all)
  ✗ (all)
    ✗ sel (all)
      ✓ verb: ["create", "patch"]   ("PATCH")
      ✓ user.groups|contains: "admin"   ("a", "cluster-admins", null)
      ✗ n|gte: 5   (4)
    ✓ (not)
      ✗ filter: user.name|startswith: "sys"   ("` + strings.Repeat("x", 200) + `…")
    ✗ any of k* (any)
      ✗ kw: keywords: "word"
  ✓ guard on stage: stage: [ResponseStarted, ResponseComplete, Panic, null]   (absent)
`
	if got := n.String(); got != want {
		t.Errorf("expected\n%s\ngot\n%s", want, got)
	}
	if n.Kids[0].Kids[0].Kids[0].Line != 6 {
		t.Errorf("expected the line of the rule, got %+v", n.Kids[0].Kids[0].Kids[0])
	}
	if _, err := set.Explain("nosuch", []byte(`{}`)); err == nil || !strings.Contains(err.Error(), `"nosuch"`) {
		t.Errorf("expected an error with the name, got %v", err)
	}
	if _, err := set.Explain("One", []byte(`{`)); err == nil {
		t.Error("expected a broken event to be an error")
	}
}
