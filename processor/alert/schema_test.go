package alert

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compile(t testing.TB, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.AssertContent()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t testing.TB, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s.Validate(doc)
}

// samples are alerts of every outcome and of every amount of knowledge.
func samples() map[string]*Alert {
	s := map[string]*Alert{"small": small(), "enriched": typical()}

	observed := small()
	observed.Outcome, observed.Workload = Observed, nil
	observed.Title = "exec into web-1 in shop by alice"
	observed.Request.Object = Object{Version: "v1", Resource: "pods", Subresource: "exec", Namespace: "shop", Name: "web-1"}
	s["observed"] = observed

	nameless := small() // level Metadata, generateName
	nameless.Workload = &Workload{Kind: "Pod", APIVersion: "v1", Namespace: "shop", NameUnknown: true}
	nameless.Request.Object.Name, nameless.Request.Level = "", "Metadata"
	nameless.Notes = []Note{{"name_unknown", "the audit level shows no object"}}
	s["nameless"] = nameless

	refused := small()
	refused.Outcome, refused.Severity, refused.Score = Refused, Low, 20
	refused.Request.Code, refused.Request.Message = Number(403), "deployments.apps is forbidden"
	refused.Actor = Actor{User: "system:anonymous", Groups: []string{"system:unauthenticated"}, Type: Anonymous}
	s["refused"] = refused

	unknown := small()
	unknown.Outcome, unknown.Request.Code = Unknown, Number(504)
	s["unknown"] = unknown

	changed := small()
	changed.Outcome, changed.Request.Verb, changed.Request.Code = Changed, "patch", Number(200)
	changed.Actor.UID = "u-4"
	s["changed"] = changed

	bare := small() // the least that is known of an event rebuilt on its way
	bare.Time, bare.Cluster, bare.Attack, bare.Reasons = time.Time{}, "", nil, nil
	bare.Request = Request{Verb: "create"}
	bare.Origin = Origin{Source: "files", Topic: "audit.log", Partition: -1, Offset: -1, Line: 1}
	s["bare"] = bare

	hostile := typical()
	hostile.Workload.Name, hostile.Actor.User = "\x1b]0;owned\x07\u202e\xff", "\"},{\"\n\\"
	hostile.Workload.Containers[0].Args = []string{"\u2028", "", "\x00"}
	hostile.Cluster, hostile.Workload.Namespace = "prod eu/1:?#%", "ns/\xf0\x9f"
	s["hostile"] = hostile
	return s
}

func TestSamplesFollowTheSchema(t *testing.T) {
	s := compile(t, Schema())
	for name, a := range samples() {
		if err := validate(t, s, AppendNative(nil, a)); err != nil {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

// TestSchemaRefuses plants one fault after the other: into every place of a full alert, so that no corner is lax.
func TestSchemaRefuses(t *testing.T) {
	s := compile(t, Schema())
	good := AppendNative(nil, typical())
	n := 0
	mutations(t, good, func(path string, kind string, text []byte) {
		n++
		if strings.HasPrefix(path, ".event.") || path == ".event" && kind == "added" {
			return // not ours
		}
		if strings.Contains(path, ".labels") && kind != "type" {
			return // free keys
		}
		if validate(t, s, text) == nil {
			t.Errorf("%s: the schema takes a planted fault (%s)", path, kind)
		}
	})
	if n < 400 {
		t.Errorf("planted %d faults, expected the whole alert", n)
	}
	for name, edit := range map[string]func(map[string]any){
		"schema v2":           func(a map[string]any) { a["schema"] = "spawnwatch.alert/v2" },
		"empty id":            func(a map[string]any) { a["id"] = "" },
		"unknown outcome":     func(a map[string]any) { a["outcome"] = "Created" },
		"unknown severity":    func(a map[string]any) { a["severity"] = "urgent" },
		"score above 100":     func(a map[string]any) { a["score"] = 101 },
		"no rule":             func(a map[string]any) { a["rules"] = []any{} },
		"no time":             func(a map[string]any) { a["time"] = "yesterday" },
		"observed workload":   func(a map[string]any) { a["outcome"] = "observed" },
		"created nothing":     func(a map[string]any) { a["workload"] = nil },
		"named yet unknown":   func(a map[string]any) { a["workload"].(map[string]any)["name_unknown"] = true },
		"actor of a new type": func(a map[string]any) { a["actor"].(map[string]any)["type"] = "robot" },
		"step 9":              func(a map[string]any) { a["investigate"].([]any)[0].(map[string]any)["step"] = 9 },
		"response 8":          func(a map[string]any) { a["respond"].([]any)[0].(map[string]any)["step"] = 8 },
		"partition -2":        func(a map[string]any) { a["origin"].(map[string]any)["partition"] = -2 },
		"content in novelty":  func(a map[string]any) { a["novelty"].(map[string]any)["image"] = "new" },
		"event as text":       func(a map[string]any) { a["event"] = "{}" },
		"half a technique":    func(a map[string]any) { a["attack"].([]any)[0].(map[string]any)["technique"] = "T16" },
		"code with a capital": func(a map[string]any) { a["notes"].([]any)[0].(map[string]any)["code"] = "Redacted" },
		"fraction of a point": func(a map[string]any) { a["reasons"].([]any)[0].(map[string]any)["points"] = 0.5 },
		"restricted violation": func(a map[string]any) {
			a["policy"].(map[string]any)["violations"].([]any)[0].(map[string]any)["level"] = "privileged"
		},
	} {
		doc := decode(t, good).(map[string]any)
		edit(doc)
		if validate(t, s, marshal(t, doc)) == nil {
			t.Errorf("%s: the schema takes it", name)
		}
	}
}

// mutations gives text with a field left out, a field added, or a value of another type, at every place.
func mutations(t *testing.T, text []byte, use func(path, kind string, text []byte)) {
	root := decode(t, text)
	var walk func(path string, v any, set func(any))
	walk = func(path string, v any, set func(any)) {
		var other any = map[string]any{"neither": "nor"}
		if _, ok := v.(map[string]any); ok {
			other = []any{"neither"}
		}
		if path != "" {
			set(other)
			use(path, "type", marshal(t, root))
			set(v)
		}
		switch x := v.(type) {
		case map[string]any:
			x["planted"] = "x"
			use(path, "added", marshal(t, root))
			delete(x, "planted")
			keys := make([]string, 0, len(x))
			for k := range x {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			for _, k := range keys {
				old := x[k]
				delete(x, k)
				use(path+"."+k, "left out", marshal(t, root))
				x[k] = old
				walk(path+"."+k, old, func(n any) { x[k] = n })
			}
		case []any:
			for i := range x {
				walk(path+"[]", x[i], func(n any) { x[i] = n })
			}
		}
	}
	walk("", root, func(any) {})
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSchemaDescribesEverything: each field has a description, and each word of an enum is one of the package.
func TestSchemaDescribesEverything(t *testing.T) {
	for name, text := range map[string][]byte{"alert": Schema(), "dead letter": DeadLetterSchema()} {
		var walk func(path string, v any)
		walk = func(path string, v any) {
			switch x := v.(type) {
			case map[string]any:
				if props, ok := x["properties"].(map[string]any); ok && x["type"] == "object" {
					for k, p := range props {
						f := p.(map[string]any)
						if ref, _ := f["$ref"].(string); ref == "" && len(f["description"].(string)) < 5 {
							t.Errorf("%s: %s.%s has no description", name, path, k)
						}
					}
				}
				for k, p := range x {
					walk(path+"."+k, p)
				}
			case []any:
				for _, p := range x {
					walk(path, p)
				}
			}
		}
		walk("", decode(t, text))
	}
	props := decode(t, Schema()).(map[string]any)["properties"].(map[string]any)
	words := func(field string) (list []string) {
		for _, w := range props[field].(map[string]any)["enum"].([]any) {
			list = append(list, w.(string))
		}
		slices.Sort(list)
		return list
	}
	for field, want := range map[string][]string{"outcome": Outcomes(), "severity": Severities()} {
		slices.Sort(want)
		if got := words(field); !slices.Equal(got, want) {
			t.Errorf("%s: the schema has %v, the package %v", field, got, want)
		}
	}
}
