package audit

import (
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// collector is an Adder that keeps everything by name.
type collector struct {
	group  *FieldGroup
	values map[string][]string
}

func (c *collector) Add(field int, value string) {
	name := c.group.Names[field]
	c.values[name] = append(c.values[name], strings.Clone(value))
}

// needs takes the raw top-level values of an event that a group asks for, by another reader than ours.
func needs(event string, g *FieldGroup) []string {
	raw := make([]string, len(g.Needs))
	for i, name := range g.Needs {
		raw[i] = gjson.Get(event, name).Raw
	}
	return raw
}

// evaluate computes all fields of an event.
func evaluate(m *Model, event string) map[string][]string {
	c := collector{values: make(map[string][]string)}
	groups := m.Fields()
	for i := range groups {
		c.group = &groups[i]
		groups[i].Eval(needs(event, c.group), &c)
	}
	return c.values
}

// event is an audit event the slow way.
type event map[string]any

func (e event) text(path ...string) string {
	s, _ := e.at(path...).(string)
	return s
}

func (e event) at(path ...string) any {
	var v any = map[string]any(e)
	for _, p := range path {
		o, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = o[p]
	}
	return v
}

// outcome is the definition of the package comment once more, slow and obvious: decoded JSON, net/url, no sharing.
func (e event) outcome() Outcome {
	group, resource := e.text("objectRef", "apiGroup"), e.text("objectRef", "resource")
	if version := e.text("objectRef", "apiVersion"); group == "" && strings.Contains(version, "/") {
		group = strings.Split(version, "/")[0]
	}
	template := "spec.template"
	groups := []string{}
	switch resource {
	case "pods":
		groups, template = []string{""}, "spec"
	case "replicationcontrollers":
		groups = []string{""}
	case "deployments", "replicasets", "daemonsets":
		groups = []string{"apps", "extensions", ""}
	case "statefulsets":
		groups = []string{"apps", ""}
	case "jobs":
		groups = []string{"batch", ""}
	case "cronjobs":
		groups, template = []string{"batch", ""}, "spec.jobTemplate.spec.template"
	case "rollouts":
		groups = []string{"argoproj.io"}
	case "workflows":
		groups, template = []string{"argoproj.io"}, "spec.templates"
	}
	if !slices.Contains(groups, group) {
		return Observed
	}
	verb := e.text("verb")
	if verb != "create" && verb != "update" && verb != "patch" {
		return Observed
	}
	if _, query, ok := strings.Cut(e.text("requestURI"), "?"); ok {
		values, _ := url.ParseQuery(query)
		if values.Has("dryRun") {
			return Observed
		}
	}
	var code float64
	switch c := e.at("responseStatus", "code").(type) {
	case float64:
		code = c
	case string:
		code, _ = strconv.ParseFloat(c, 64)
	}
	stage, named := e.at("stage").(string)
	complete := named && stage == "ResponseComplete" || e.at("stage") == nil
	sub := e.text("objectRef", "subresource")
	if code == 200 && complete && verb != "create" {
		truncated := e.text("annotations", "audit.k8s.io/truncated") == "true"
		switch {
		case sub == "ephemeralcontainers" && resource == "pods":
			return Changed
		case sub == "" && (truncated || e.touches(template)):
			return Changed
		}
	}
	if sub != "" {
		return Observed
	}
	message := e.text("responseStatus", "message")
	timeout := strings.Contains(message, "deadline exceeded") || strings.Contains(message, "context canceled") || strings.Contains(message, "timed out")
	switch {
	case code == 201 && complete:
		return Created
	case (code == 504 || code == 500 && timeout) && (complete || stage == "Panic"):
		return Unknown
	case code == 409 && verb != "create":
		return Observed
	case code >= 400 && code < 600 && (complete || stage == "Panic" || stage == "ResponseStarted"):
		return Refused
	}
	return Observed
}

func (e event) touches(template string) bool {
	path := strings.Split(template, ".")
	switch body := e["requestObject"].(type) {
	case []any:
		for _, op := range body {
			o, _ := op.(map[string]any)
			verb, _ := o["op"].(string)
			pointers := []any{o["path"]}
			if verb == "move" {
				pointers = append(pointers, o["from"])
			}
			for _, p := range pointers {
				s, ok := p.(string)
				if !ok || verb == "test" {
					continue
				}
				own := "/" + strings.Join(path, "/")
				lists := []string{own}
				if template == "spec" {
					lists = []string{own + "/containers", own + "/initContainers", own + "/ephemeralContainers"}
				}
				for _, list := range lists {
					if s == list || strings.HasPrefix(s, list+"/") || strings.HasPrefix(list, s+"/") {
						return true
					}
				}
			}
		}
	case map[string]any:
		var v any = body
		for _, p := range path {
			o, ok := v.(map[string]any)
			if !ok {
				return false
			}
			if v, ok = o[p]; !ok {
				return false
			}
		}
		spec, ok := v.(map[string]any)
		if template != "spec" || e.text("verb") == "update" || !ok {
			return true
		}
		for _, list := range []string{"containers", "initContainers", "ephemeralContainers"} {
			if _, ok := spec[list]; ok {
				return true
			}
		}
	}
	return false
}

// holds reports whether a pin holds for an event.
func holds(p *Pin, event string) bool {
	r := gjson.Get(event, p.Path)
	switch {
	case !r.Exists() || r.Type == gjson.Null:
		return p.Absent
	case r.Type == gjson.Number && p.Max >= p.Min && p.Max != 0:
		return r.Num >= p.Min && r.Num <= p.Max
	}
	return slices.Contains(p.Values, r.String())
}

// checkAgainstOracle holds Read, the computed fields and the pins against the slow reading of the same event.
func checkAgainstOracle(t *testing.T, m *Model, v *View, text string) Outcome {
	t.Helper()
	var e event
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	want := e.outcome()
	if err := m.Read([]byte(text), v); err != nil {
		t.Fatal(err)
	}
	if v.Outcome != want {
		t.Fatalf("outcome %s, want %s: %.1500s", v.Outcome, want, text)
	}
	fields := evaluate(m, text)
	if got := fields["outcome"]; len(got) != 1 || got[0] != string(want) {
		t.Fatalf("field outcome %v, want %s: %.1500s", got, want, text)
	}
	groups := m.Fields()
	for i := range groups {
		if groups[i].Implies == nil {
			continue
		}
		for _, name := range groups[i].Names {
			for _, value := range fields[name] {
				for _, p := range groups[i].Implies(name, strings.ToUpper(value)) {
					if !holds(&p, text) {
						t.Fatalf("%s is %q, but the pin %+v doesn't hold: %.1500s", name, value, p, text)
					}
				}
			}
		}
	}
	if w := v.Workload; want != Observed {
		if fields["workload.kind"][0] != w.Kind || fields["workload.controlled"][0] != strconv.FormatBool(w.Controlled) {
			t.Fatalf("fields %v, workload %+v", fields, w)
		}
		if got := strings.Join(fields["workload.name"], ""); got != w.Name {
			t.Fatalf("workload.name %q, want %q", got, w.Name)
		}
	}
	if fields["actor.user"][0] != v.Actor.Name || fields["actor.type"][0] != string(v.Actor.Type) {
		t.Fatalf("fields %v, actor %+v", fields["actor.user"], v.Actor)
	}
	if got := strings.Join(fields["grant.binding"], ""); got != v.Grant.Binding {
		t.Fatalf("grant.binding %q, want %q", got, v.Grant.Binding)
	}
	return want
}

func TestOutcomesAgreeWithASlowReading(t *testing.T) {
	m := newModel(t)
	for _, policy := range policies {
		seen := make(map[Outcome]int)
		var v View
		for i, line := range corpus(t, policy) {
			if len(line) > 200_000 || i%thin != 0 {
				continue
			}
			seen[checkAgainstOracle(t, m, &v, string(line))]++
		}
		for _, o := range []Outcome{Created, Unknown, Refused, Changed, Observed} {
			if seen[o] == 0 && thin == 1 {
				t.Errorf("%s: no event is %s", policy, o)
			}
		}
		t.Log(policy, seen)
	}
}

// TestOutcomesOfMutants changes what decides in real events.
func TestOutcomesOfMutants(t *testing.T) {
	m := newModel(t)
	random := rand.New(rand.NewPCG(3, 5))
	var seeds []event
	for i, line := range corpus(t, "rr") {
		verb, ref := gjson.GetBytes(line, "verb").Str, referenceOf(gjson.GetBytes(line, "objectRef").Raw)
		if len(line) < 20_000 && (m.find(&ref) != nil && slices.Contains([]string{"create", "patch", "update"}, verb) || i%400 == 0) {
			var e event
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			seeds = append(seeds, e)
		}
	}
	seen := make(map[Outcome]int)
	var v View
	for range 8_000 / thin {
		e := seeds[random.IntN(len(seeds))].clone()
		for range 1 + random.IntN(2) {
			e.mutate(random)
		}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		seen[checkAgainstOracle(t, m, &v, string(text))]++
	}
	for _, o := range []Outcome{Created, Unknown, Refused, Changed, Observed} {
		if seen[o] < 50/thin {
			t.Errorf("only %d mutants are %s", seen[o], o)
		}
	}
	t.Log(seen)
}

// clone copies what mutate may change.
func (e event) clone() event {
	c := make(event, len(e))
	for k, v := range e {
		if o, ok := v.(map[string]any); ok && k != "requestObject" && k != "responseObject" {
			copied := make(map[string]any, len(o))
			for k, v := range o {
				copied[k] = v
			}
			v = copied
		}
		c[k] = v
	}
	return c
}

func (e event) set(value any, path ...string) {
	if len(path) == 1 {
		if value == nil {
			delete(e, path[0])
		} else {
			e[path[0]] = value
		}
		return
	}
	o, ok := e[path[0]].(map[string]any)
	if !ok {
		o = make(map[string]any)
		e[path[0]] = o
	}
	if value == nil {
		delete(o, path[1])
	} else {
		o[path[1]] = value
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func (e event) mutate(r *rand.Rand) {
	uri, _, _ := strings.Cut(e.text("requestURI"), "?")
	switch r.IntN(11) {
	case 0:
		e.set(pick[any](r, 200, 201, "201", 201.0, "200", 202, 204, 400, 401, 403, 404, 409, 422, 429, 500, 503, 504, "504", "x", 0, true, nil), "responseStatus", "code")
	case 1:
		e.set(pick[any](r, "ResponseComplete", "ResponseStarted", "RequestReceived", "Panic", "", nil), "stage")
	case 2:
		e.set(pick[any](r, "create", "patch", "update", "delete", "get", "Create", nil), "verb")
	case 3:
		e.set(pick[any](r, "status", "binding", "eviction", "ephemeralcontainers", "scale", "", nil), "objectRef", "subresource")
	case 4:
		e.set(pick[any](r, "apps", "batch", "extensions", "argoproj.io", "metrics.k8s.io", "", nil), "objectRef", "apiGroup")
	case 5:
		e.set(pick[any](r, "v1", "apps/v1", "extensions/v1beta1", "metrics.k8s.io/v1", nil), "objectRef", "apiVersion")
	case 6:
		e.set(pick[any](r, "x - context deadline exceeded", "context canceled \"now\"", "timed\tout", "it timed out\n", "boom", nil), "responseStatus", "message")
	case 7:
		e.set(uri+pick(r, "?dryRun=All", "?a=b&dryRun=All", "?dry%52un=All", "?note=dryRun%3DAll", "?dryRun", "?dryRun=%zz", "?x=%zz&dryRun=All",
			"?dryRun=All;x=1", "?x;y&dryRun=All", "?+dryRun=All", "?DryRun=All", "?dryRunn=All", "?dryRu=All", "?&&dryRun=", "?d=1&%64ryRun=All", "?%", "?%4&dryRun=a", "?é=ü&dryRun=", "?", ""), "requestURI")
	case 8:
		e.set(pick[any](r, "true", "false", nil), "annotations", "audit.k8s.io/truncated")
	case 9:
		e.set(pick[any](r, nil,
			[]any{map[string]any{"op": pick(r, "replace", "add", "test", "remove", "move"), "path": pick(r, "/spec/template/spec", "/spec", "", "/spec/templatex", "/metadata/labels", "/spec/containers/0/image", "/spec/template", "/spec/jobTemplate/spec/template/x", "spec"), "from": "/spec/template/x"}},
			map[string]any{"spec": map[string]any{pick(r, "template", "replicas", "containers", "initContainers", "jobTemplate", "templates"): map[string]any{}}},
			map[string]any{"spec": nil}, "x", 7), "requestObject")
	case 10:
		e.set(pick[any](r, "pods", "deployments", "cronjobs", "jobs", "statefulsets", "replicationcontrollers", "rollouts", "workflows", "bindings", "podtemplates", "PODS", nil), "objectRef", "resource")
	}
}
