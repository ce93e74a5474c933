package processor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/rules/builtin"
)

// lint parses one rule with the given selection and lints it.
func lint(t *testing.T, selection string) []string {
	t.Helper()
	docs, err := rules.Parse("r.yml", []byte("title: A\nlogsource: {product: kubernetes, service: audit}\ndetection:\n  s:\n    "+selection+"\n  condition: s\n"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range rules.Lint(docs, Vocabulary(Aliases())) {
		out = append(out, f.Error())
	}
	return out
}

func TestVocabularyWarns(t *testing.T) {
	for selection, want := range map[string]string{
		"verb: replace":                            `r.yml:5:5: rule A: verb is never "replace"`,
		"verb: [create, replace]":                  `verb is never "replace"`,
		"responseStatus.code: ALLOW":               `responseStatus.code is never "ALLOW"`,
		"responseStatus.code: 1201":                `responseStatus.code is never "1201"`,
		"stage: Complete":                          `it is one of Panic, RequestReceived, ResponseComplete, ResponseStarted`,
		"objectRef.ressource: pods":                `did you mean "objectRef.resource"?`,
		"objectref.resource: pods":                 `the field "objectref.resource" never occurs`,
		"user.name: alice":                         `the field "user.name" never occurs`,
		"outcome: create":                          `did you mean "created"?`,
		"workload.privileged: yes-it-is":           `it is one of false, true`,
		"actor.namespace|fieldref: workload.nsp":   `the field "workload.nsp" never occurs`,
		"annotations.audit.k8s.io/truncated: trve": `did you mean "true"?`,
	} {
		if got := lint(t, selection); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: got %q, want %q", selection, got, want)
		}
	}
}

func TestVocabularyIsSilent(t *testing.T) {
	for _, selection := range []string{
		"verb: [get, LIST, post]", "verb: del*", "responseStatus.code: [401, '403']", "responseStatus.code|gte: 400",
		"requestObject.spec.template.spec.containers.image: x", "responseObject: null", "annotations.my.example/key: x",
		"user.extra.authentication.kubernetes.io/credential-id: x", "impersonatedUser: null", "workload.image|contains: x",
		"hostPath: '*'", "apiGroup: apps", "grant.decision: forbid", "workload.privileged: true", "dry_run: false",
	} {
		if got := lint(t, selection); len(got) != 0 {
			t.Errorf("%s: got %q, want nothing", selection, got)
		}
	}
}

// TestVocabularyKnowsRealEvents walks every key of a real log: what occurs there must be in the table.
func TestVocabularyKnowsRealEvents(t *testing.T) {
	v := Vocabulary(nil)
	knows := func(field string) bool {
		return slices.ContainsFunc(v.Fields, func(k string) bool {
			prefix, free := strings.CutSuffix(k, ".*")
			return field == k || free && (field == prefix || strings.HasPrefix(field, prefix+"."))
		})
	}
	var walk func(path string, value any)
	unknown := map[string]bool{}
	walk = func(path string, value any) {
		object, ok := value.(map[string]any)
		if !ok || len(object) == 0 || strings.HasSuffix(path, "Object") {
			if !knows(path) {
				unknown[path] = true
			}
			return
		}
		for key, member := range object {
			walk(strings.TrimPrefix(path+"."+key, "."), member)
		}
	}
	for _, line := range realLog(t) {
		var event map[string]any
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		walk("", event)
		for _, field := range []string{"verb", "stage", "level", "kind", "apiVersion"} {
			if !slices.Contains(v.Values[field], fmt.Sprint(event[field])) {
				t.Fatalf("%s %v occurs and is not in the table", field, event[field])
			}
		}
	}
	for path := range unknown {
		t.Errorf("%s occurs and is not in the table", path)
	}
}

// TestPacksAreClean wants no warning about a rule of ours, and values only for fields that exist.
func TestPacksAreClean(t *testing.T) {
	v := Vocabulary(Aliases())
	for field := range v.Values {
		if !slices.Contains(v.Fields, field) {
			t.Errorf("values are listed for %s, which is no field", field)
		}
	}
	for _, pack := range []rules.Loaded{first(loadPack(t, builtin.Files())), first(loadPack(t, builtin.Context()))} {
		for _, w := range rules.Lint(pack.Documents, v) {
			t.Error(w)
		}
	}
}

func first[A, B any](a A, _ B) A { return a }

// TestComputedValuesOccur holds the table of values against what the fields really give on real logs.
func TestComputedValuesOccur(t *testing.T) {
	names := make([]string, 0, len(computedValues()))
	for name := range computedValues() {
		names = append(names, name)
	}
	options := RuleOptions()
	options.Fields = names
	docs, err := rules.Parse("r.yml", []byte(createdRule))
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Compile(docs, ComputedFields(testModel(t)), options)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]map[string]bool{}
	for i, line := range realLog(t) {
		for _, name := range names {
			if name != "outcome" && i%8 != 0 { // each costs a walk of its own
				continue
			}
			values, err := set.Values(name, line)
			if err != nil {
				t.Fatal(err)
			}
			for _, value := range values {
				if seen[name] == nil {
					seen[name] = map[string]bool{}
				}
				seen[name][value] = true
				if !slices.Contains(computedValues()[name], value) {
					t.Fatalf("%s has the value %q, which is not in the table", name, value)
				}
			}
		}
	}
	for _, o := range []audit.Outcome{audit.Created, audit.Unknown, audit.Refused, audit.Changed, audit.Observed} {
		if !seen["outcome"][string(o)] {
			t.Errorf("no event has the outcome %s: not the log this test is about", o)
		}
	}
}
