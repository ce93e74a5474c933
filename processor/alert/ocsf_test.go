package alert

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// at follows keys and indexes into a document; nil where there is nothing.
func at(doc any, path ...any) any {
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := doc.(map[string]any)
			doc = m[s]
		case int:
			list, _ := doc.([]any)
			if s >= len(list) {
				return nil
			}
			doc = list[s]
		}
	}
	return doc
}

// TestOCSF holds places and values; .ci/ocsf-check holds the whole to the schema of OCSF.
func TestOCSF(t *testing.T) {
	s := samples()
	sub := small()
	sub.Attack = []Technique{{"T1053.007", "Container Orchestration Job", "execution", "TA0002"}, {}, {Tactic: "persistence"}}
	s["subtechnique"] = sub
	ipless := small()
	ipless.Actor.SourceIPs = []string{"1.2.3.4", "fe80::1%eth0", "pipe"}
	s["ipless"] = ipless
	for _, c := range []struct {
		sample string
		want   any
		path   []any
	}{
		{"small", 2004.0, []any{"class_uid"}},
		{"small", 200401.0, []any{"type_uid"}},
		{"small", true, []any{"is_alert"}},
		{"small", 1795464930123.0, []any{"time"}},
		{"bare", 1795464931000.0, []any{"time"}}, // when it was seen
		{"small", 3.0, []any{"severity_id"}},
		{"enriched", 5.0, []any{"severity_id"}},
		{"enriched", 100.0, []any{"risk_score"}},
		{"small", "1.8.0", []any{"metadata", "version"}},
		{"small", "57642ebe-6603-4dfd-85ad-81e1a8ad22b5", []any{"finding_info", "analytic", "uid"}},
		{"small", "T1610", []any{"finding_info", "attacks", 0, "technique", "uid"}},
		{"small", "TA0002", []any{"finding_info", "attacks", 0, "tactic", "uid"}},
		{"subtechnique", "T1053", []any{"finding_info", "attacks", 0, "technique", "uid"}},
		{"subtechnique", nil, []any{"finding_info", "attacks", 0, "technique", "name"}},
		{"subtechnique", "Container Orchestration Job", []any{"finding_info", "attacks", 0, "sub_technique", "name"}},
		{"subtechnique", map[string]any{"tactic": map[string]any{"name": "persistence"}}, []any{"finding_info", "attacks", 1}},
		{"enriched", "admin", []any{"evidences", 0, "actor", "user", "name"}},
		{"enriched", "edit", []any{"evidences", 0, "actor", "authorizations", 0, "policy", "name"}},
		{"refused", nil, []any{"evidences", 0, "actor", "authorizations"}},
		{"refused", 403.0, []any{"evidences", 0, "api", "response", "code"}},
		{"bare", nil, []any{"evidences", 0, "api", "response", "code"}},
		{"enriched", "203.0.113.9", []any{"evidences", 0, "src_endpoint", "ip"}},
		{"enriched", 2.0, []any{"evidences", 0, "src_endpoint", "network_scope_id"}},
		{"enriched", []any{"10.0.0.1"}, []any{"evidences", 0, "http_request", "x_forwarded_for"}},
		{"ipless", map[string]any{"name": "pipe"}, []any{"evidences", 0, "src_endpoint"}},
		{"ipless", []any{"1.2.3.4"}, []any{"evidences", 0, "http_request", "x_forwarded_for"}},
		{"small", "POST", []any{"evidences", 0, "http_request", "http_method"}},
		{"enriched", "create", []any{"evidences", 0, "data", "verb"}},
		{"enriched", "registry.example.com:5000/tools/shell", []any{"evidences", 1, "container", "image", "name"}},
		{"enriched", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", []any{"evidences", 1, "container", "image", "uid"}},
		{"enriched", true, []any{"evidences", 1, "data", "security", "privileged"}},
		{"enriched", "Not A Reference", []any{"evidences", 2, "container", "image", "uid"}},
		{"enriched", "debug-x7k", []any{"resources", 0, "name"}},
		{"enriched", "platform", []any{"resources", 0, "owner", "name"}},
		{"small", "team=checkout", []any{"resources", 0, "labels", 1}},
		{"small", "prod-eu-1", []any{"resources", 1, "name"}},
		{"bare", nil, []any{"resources", 1}},
		{"observed", "pods", []any{"resources", 0, "type"}},
		{"observed", "exec", []any{"resources", 0, "data", "subresource"}},
		{"enriched", "Stop it: kubectl -n kube-system delete pod debug-x7k", []any{"remediation", "desc"}},
		{"small", nil, []any{"remediation"}},
		{"small", "created", []any{"unmapped", "outcome"}},
		{"small", 1042.0, []any{"unmapped", "origin", "offset"}},
	} {
		doc := numbers(decode(t, AppendOCSF(nil, s[c.sample])))
		if diff := cmp.Diff(c.want, at(doc, c.path...)); diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", c.sample, c.path, diff)
		}
	}
}

func TestOCSFSeveritiesRise(t *testing.T) {
	for i, s := range Severities() {
		c := ocsfSeverity(Severity(s))
		if c.id != int64(i+1) || !strings.EqualFold(c.caption, s) {
			t.Errorf("%s: got %+v", s, c)
		}
	}
	if c := ocsfSeverity("urgent"); c.id != 0 {
		t.Errorf("a word that is no severity: got %+v", c)
	}
}
