package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// publicAliases are the names that the public rules for Kubernetes use and raw audit events do not have.
var publicAliases = map[string][]string{
	"apiGroup":     {"objectRef.apiGroup"},
	"hostPath":     {"requestObject.spec.volumes.hostPath.path", "requestObject.spec.template.spec.volumes.hostPath.path"},
	"capabilities": {"requestObject.spec.containers.securityContext.capabilities.add", "requestObject.spec.containers.securityContext.capabilities.drop"},
}

// The public rules load unchanged, and all but one fire on real logs. That one asks for a status code "ALLOW".
func TestPublicRules(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(shared(t, "sigma"), "*.yml"))
	if err != nil || len(names) != 16 {
		t.Fatalf("expected 16 rules, got %d, %v", len(names), err)
	}
	var docs Documents
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(filepath.Base(name), data)
		if err != nil {
			t.Fatal(err)
		}
		docs.Append(d)
	}
	set, err := Compile(docs, nil, Options{Aliases: publicAliases, Guards: stageGuard, LogSource: LogSource{Product: "kubernetes", Service: "audit"}})
	if err != nil {
		t.Fatal(err)
	}
	hits := map[string]int{}
	total := 0
	match := func(e []byte) {
		found, _, err := set.Match(e, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range found {
			hits[h.Rule.File]++
		}
	}
	// Three things nobody did while the logs were made: real events, with what they ask for exchanged.
	changed := map[string][2]string{
		`"verb":"list"|"resource":"validatingwebhookconfigurations"`: {`"verb":"list"`, `"verb":"create"`},
		`"verb":"deletecollection"|"resource":"events"`:              {`"verb":"deletecollection"`, `"verb":"delete"`},
		`"verb":"create"|"apiGroup":"authorization.k8s.io"`:          {`"resource":"selfsubjectaccessreviews"`, `"resource":"selfsubjectrulesreviews"`},
	}
	for _, log := range []string{"rr.jsonl.gz", "rr-trunc.jsonl.gz", "request.jsonl.gz", "metadata.jsonl.gz"} {
		for _, e := range corpus(t, log) {
			total++
			match(e)
			for key, swap := range changed {
				first, second, _ := strings.Cut(key, "|")
				if line := string(e); strings.Contains(line, first) && strings.Contains(line, second) && strings.Contains(line, swap[0]) {
					match([]byte(strings.Replace(line, swap[0], swap[1], 1)))
				}
			}
		}
	}
	for _, r := range set.Rules() {
		fires := r.File != "kubernetes_audit_potential_enumeration_activity.yml"
		if n := hits[r.File]; fires && n == 0 || !fires && n > 0 || n > total/2 {
			t.Errorf("%s: %d hits in %d events", r.File, n, total)
		}
	}
}
