package deploy_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// policy is audit.k8s.io/v1 Policy, as far as the example uses it. Decoding is strict, so the example cannot use more.
type policy struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	OmitStages []string `yaml:"omitStages"`
	Rules      []policyRule
}

type policyRule struct {
	Level           string
	Verbs           []string
	Resources       []groupResources
	NonResourceURLs []string `yaml:"nonResourceURLs"`
}

type groupResources struct {
	Group     string
	Resources []string
}

// event is what a policy looks at.
type event struct {
	Stage      string
	RequestURI string
	Verb       string
	ObjectRef  *struct{ APIGroup, Resource, Subresource string }
}

// level follows the API server: the first rule that fits decides; a rule for resources fits no other request, and one without
// resources and URLs fits all; "pods" is not "pods/status"; no rule at all is None.
func (p *policy) level(e *event) string {
	for i := range p.Rules {
		if r := &p.Rules[i]; (len(r.Verbs) == 0 || slices.Contains(r.Verbs, e.Verb)) && r.about(e) {
			return r.Level
		}
	}
	return "None"
}

func (r *policyRule) about(e *event) bool {
	if len(r.Resources) == 0 && len(r.NonResourceURLs) == 0 {
		return true
	}
	if e.ObjectRef == nil {
		path, _, _ := strings.Cut(e.RequestURI, "?")
		return slices.ContainsFunc(r.NonResourceURLs, func(u string) bool {
			prefix, wild := strings.CutSuffix(u, "*")
			return u == path || wild && strings.HasPrefix(path, prefix)
		})
	}
	name := e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		name += "/" + e.ObjectRef.Subresource
	}
	return slices.ContainsFunc(r.Resources, func(g groupResources) bool {
		return g.Group == e.ObjectRef.APIGroup && (len(g.Resources) == 0 || slices.Contains(g.Resources, name))
	})
}

func examplePolicy(t *testing.T) *policy {
	t.Helper()
	var p policy
	decode(t, "examples/audit-policy.yaml", &p)
	if p.APIVersion != "audit.k8s.io/v1" || p.Kind != "Policy" {
		t.Fatalf("expected audit.k8s.io/v1 Policy, got %s %s", p.APIVersion, p.Kind)
	}
	for i, r := range p.Rules {
		if !slices.Contains([]string{"None", "Metadata", "Request", "RequestResponse"}, r.Level) {
			t.Errorf("rule %d: no such level as %q", i, r.Level)
		}
	}
	return &p
}

// checkAuditPolicy keeps of a real log what the policy says, and finds the same workloads in it.
func checkAuditPolicy(t *testing.T, bin string) {
	p := examplePolicy(t)
	created := map[int]string{}
	for line := range bytes.Lines(read(t, root+"/testdata/corpus/rr.expected.jsonl")) {
		var o struct {
			Class, Name string
			Line        int
		}
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatal(err)
		}
		if o.Class == "workload" {
			created[o.Line] = o.Name
		}
	}
	full, cut := logs(t)
	levels := map[string]int{}
	var before, after int
	scan := bufio.NewScanner(bytes.NewReader(full))
	scan.Buffer(nil, 16<<20)
	for n := 1; scan.Scan(); n++ {
		var e event
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			t.Fatalf("line %d: %v", n, err)
		}
		level := p.level(&e)
		if slices.Contains(p.OmitStages, e.Stage) {
			level = "None"
		}
		levels[level]++
		if name, ok := created[n]; ok && level != "RequestResponse" {
			t.Errorf("line %d (%s): created a workload, expected level RequestResponse, got %s", n, name, level)
		}
		kept := reduce(t, scan.Bytes(), level)
		before, after = before+len(scan.Bytes()), after+len(kept)
		cut.Write(kept)
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("of %d lines %v; bytes %d to %d, %d %%", levels["None"]+levels["Metadata"]+levels["Request"]+levels["RequestResponse"], levels, before, after, 100*after/before)
	if levels["None"]*2 < levels["Metadata"] || 100*after/before > 50 {
		t.Errorf("expected less than half of the volume, got %d %%: %v", 100*after/before, levels)
	}
	whole, reduced := alerts(t, bin, full), alerts(t, bin, cut.Bytes())
	for id, title := range whole {
		if _, ok := reduced[id]; !ok {
			t.Errorf("the policy takes the alert away: %s", title)
		}
	}
	if len(whole) < 100 {
		t.Errorf("expected the alerts of the whole log, got %d", len(whole))
	}
}

// logs returns a real audit log and an empty one.
func logs(t *testing.T) (full []byte, cut *bytes.Buffer) {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(read(t, root+"/testdata/corpus/rr.jsonl.gz")))
	if err != nil {
		t.Fatal(err)
	}
	cut = &bytes.Buffer{}
	if _, err := cut.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return cut.Bytes(), &bytes.Buffer{}
}

// reduce is the line as the API server would have written it at a level.
func reduce(t *testing.T, line []byte, level string) []byte {
	t.Helper()
	var drop []string
	switch level {
	case "None":
		return nil
	case "Metadata":
		drop = []string{"requestObject", "responseObject"}
	case "Request":
		drop = []string{"responseObject"}
	}
	var e map[string]json.RawMessage
	if err := json.Unmarshal(line, &e); err != nil {
		t.Fatal(err)
	}
	for _, key := range drop {
		delete(e, key)
	}
	out, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// alerts are the ids and titles of the workloads that the program finds.
func alerts(t *testing.T, bin string, log []byte) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, log, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin, "replay", "-o", "json", path).Output()
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	found := map[string]string{}
	for line := range bytes.Lines(out) {
		var a struct{ ID, Title, Outcome string }
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		found[a.ID] = a.Outcome + ": " + a.Title
	}
	return found
}

// The evaluation itself, on what goes wrong easily.
func TestPolicyLevel(t *testing.T) {
	p := examplePolicy(t)
	ref := func(group, resource, subresource string) *struct{ APIGroup, Resource, Subresource string } {
		return &struct{ APIGroup, Resource, Subresource string }{group, resource, subresource}
	}
	for _, c := range []struct {
		event event
		level string
	}{
		{event{Verb: "create", ObjectRef: ref("apps", "deployments", "")}, "RequestResponse"},
		{event{Verb: "patch", ObjectRef: ref("apps", "deployments", "")}, "RequestResponse"},
		{event{Verb: "patch", ObjectRef: ref("apps", "deployments", "status")}, "None"},
		{event{Verb: "patch", ObjectRef: ref("apps", "deployments", "scale")}, "Metadata"},
		{event{Verb: "create", ObjectRef: ref("", "pods", "exec")}, "Metadata"},
		{event{Verb: "get", ObjectRef: ref("", "pods", "exec")}, "Metadata"}, // over WebSocket an exec is a GET
		{event{Verb: "patch", ObjectRef: ref("", "pods", "ephemeralcontainers")}, "RequestResponse"},
		{event{Verb: "get", ObjectRef: ref("", "pods", "")}, "None"},
		{event{Verb: "delete", ObjectRef: ref("", "pods", "")}, "Metadata"},
		{event{Verb: "list", ObjectRef: ref("", "secrets", "")}, "Metadata"},
		{event{Verb: "watch", ObjectRef: ref("", "secrets", "")}, "None"},
		{event{Verb: "create", ObjectRef: ref("", "secrets", "")}, "Metadata"},
		{event{Verb: "create", ObjectRef: ref("", "serviceaccounts", "token")}, "Metadata"},
		{event{Verb: "create", ObjectRef: ref("rbac.authorization.k8s.io", "clusterrolebindings", "")}, "Request"},
		{event{Verb: "update", ObjectRef: ref("coordination.k8s.io", "leases", "")}, "None"},
		{event{Verb: "create", ObjectRef: ref("events.k8s.io", "events", "")}, "None"},
		{event{Verb: "get", RequestURI: "/healthz?verbose"}, "None"},
		{event{Verb: "get", RequestURI: "/apis"}, "None"},
	} {
		if got := p.level(&c.event); got != c.level {
			t.Errorf("%s %+v: expected %s, got %s", c.event.Verb, c.event.ObjectRef, c.level, got)
		}
	}
}
