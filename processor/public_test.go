package processor

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/sources"
)

// sharedRules is where the public Sigma rules lie beside a working copy; they are no part of the repository.
const sharedRules = "../../shared/sigma"

// publicRule says of a public rule which events of the real logs it is about, and how near others come.
type publicRule struct {
	file string
	// near tells events that look alike and must not alert.
	near func(e gjson.Result) bool
	// swap makes up what nobody did while the logs were made: in a real event that asks for the first text it is
	// exchanged for the second.
	only, from, to string
	// dead rules can never match.
	dead bool
}

func resource(e gjson.Result) string { return e.Get("objectRef.resource").Str }

func reads(e gjson.Result) bool {
	v := e.Get("verb").Str
	return v == "get" || v == "list" || v == "watch"
}

func publicRules() []publicRule {
	podCreated := func(e gjson.Result) bool {
		return resource(e) == "pods" && e.Get("verb").Str == "create" && !e.Get("objectRef.subresource").Exists() &&
			e.Get("responseStatus.code").Int() == 201 && e.Get("responseObject.spec").Exists()
	}
	return []publicRule{
		{
			file: "kubernetes_audit_change_admission_controller.yml",
			near: func(e gjson.Result) bool { return resource(e) == "validatingwebhookconfigurations" && reads(e) },
			only: `"resource":"validatingwebhookconfigurations"`, from: `"verb":"list"`, to: `"verb":"create"`,
		},
		{file: "kubernetes_audit_cronjob_modification.yml", near: func(e gjson.Result) bool { return resource(e) == "jobs" && reads(e) }},
		{file: "kubernetes_audit_deployment_deleted.yml", near: func(e gjson.Result) bool { return resource(e) == "replicasets" && e.Get("verb").Str == "delete" }},
		{
			file: "kubernetes_audit_events_deleted.yml",
			near: func(e gjson.Result) bool { return resource(e) == "events" && e.Get("verb").Str == "deletecollection" },
			only: `"resource":"events"`, from: `"verb":"deletecollection"`, to: `"verb":"delete"`,
		},
		{file: "kubernetes_audit_exec_into_container.yml", near: func(e gjson.Result) bool { return e.Get("objectRef.subresource").Str == "attach" }},
		{file: "kubernetes_audit_hostpath_mount.yml", near: func(e gjson.Result) bool {
			return podCreated(e) && !bytes.Contains([]byte(e.Get("responseObject.spec.volumes").Raw), []byte("hostPath"))
		}},
		{file: "kubernetes_audit_pod_in_system_namespace.yml", near: func(e gjson.Result) bool {
			return podCreated(e) && e.Get("objectRef.namespace").Str == "default"
		}},
		{file: "kubernetes_audit_potential_enumeration_activity.yml", dead: true, near: func(e gjson.Result) bool { return true }},
		{file: "kubernetes_audit_privileged_pod_creation.yml", near: func(e gjson.Result) bool {
			return podCreated(e) && !bytes.Contains([]byte(e.Raw), []byte(`"capabilities"`))
		}},
		{
			file: "kubernetes_audit_rbac_permisions_listing.yml",
			near: func(e gjson.Result) bool { return resource(e) == "selfsubjectaccessreviews" },
			only: `"resource":"selfsubjectaccessreviews"`, from: `"resource":"selfsubjectaccessreviews"`, to: `"resource":"selfsubjectrulesreviews"`,
		},
		{file: "kubernetes_audit_rolebinding_modification.yml", near: func(e gjson.Result) bool { return resource(e) == "rolebindings" && reads(e) }},
		{file: "kubernetes_audit_secrets_enumeration.yml", near: func(e gjson.Result) bool { return resource(e) == "secrets" && e.Get("verb").Str == "watch" }},
		{file: "kubernetes_audit_secrets_modified_or_deleted.yml", near: func(e gjson.Result) bool { return resource(e) == "secrets" && reads(e) }},
		{file: "kubernetes_audit_serviceaccount_creation.yml", near: func(e gjson.Result) bool { return resource(e) == "serviceaccounts" && reads(e) }},
		{file: "kubernetes_audit_sidecar_injection.yml", near: func(e gjson.Result) bool {
			return resource(e) == "daemonsets" && e.Get("verb").Str == "patch" || resource(e) == "deployments" && reads(e)
		}},
		{file: "kubernetes_audit_unauthorized_unauthenticated_actions.yml", near: func(e gjson.Result) bool { return e.Get("responseStatus.code").Int() == 409 }},
	}
}

func corpusLog(t testing.TB, name string) [][]byte {
	t.Helper()
	f, err := os.Open("../testdata/corpus/" + name + ".jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// TestPublicRules loads the public rules for Kubernetes unchanged and runs the real logs through the whole pipeline: each
// rule alerts on something, and not on what only looks alike.
func TestPublicRules(t *testing.T) {
	if _, err := os.Stat(sharedRules); err != nil {
		t.Skipf("the public rules are not part of a plain clone: %v", err)
	}
	loaded, err := rules.Load(os.DirFS(sharedRules), ".")
	if err != nil {
		t.Fatal(err)
	}
	model := testModel(t)
	set, err := rules.Compile(loaded.Documents, ComputedFields(model), RuleOptions())
	if err != nil {
		t.Fatal(err)
	}
	table := publicRules()
	if len(set.Rules()) != len(table) {
		t.Fatalf("%d rules, want %d", len(set.Rules()), len(table))
	}
	ids := map[string]string{}
	for _, r := range set.Rules() {
		ids[r.File] = r.ID
	}
	var lines [][]byte
	for _, log := range []string{"rr", "metadata"} {
		lines = append(lines, corpusLog(t, log)...)
	}
	madeUp := len(lines)
	for _, line := range lines[:madeUp] {
		for i := range table {
			if r := &table[i]; r.only != "" && bytes.Contains(line, []byte(r.only)) && bytes.Contains(line, []byte(r.from)) {
				lines = append(lines, bytes.Replace(line, []byte(r.from), []byte(r.to), 1))
			}
		}
	}
	alerted := alertsByLine(t, model, set, lines)
	for _, r := range table {
		id, hits, near := ids[r.file], 0, 0
		for i, line := range lines {
			if alerted[i][id] {
				if hits++; i < madeUp && r.only != "" {
					t.Errorf("%s: alerts on line %d, so that none has to be made up", r.file, i)
				}
			}
			if i < madeUp && r.near(gjson.ParseBytes(line)) {
				if near++; alerted[i][id] {
					t.Errorf("%s: alerts on what only looks alike: %.400s", r.file, line)
				}
			}
		}
		if (hits == 0) != r.dead || near == 0 {
			t.Errorf("%s: %d alerts, %d events that look alike", r.file, hits, near)
		}
	}
}

// alertsByLine runs lines through a processor and says which rules alerted on each.
func alertsByLine(t *testing.T, model *audit.Model, set *rules.Set, lines [][]byte) []map[string]bool {
	t.Helper()
	p, out, dead := newTest(t, func(c *Config) {
		c.Rules, c.Model, c.Children = set, model, AlertChildren
	})
	h := p.Handler("")
	b := &sources.Batch{Origin: sources.Origin{Source: "log", Partition: -1}}
	for i, line := range lines {
		b.Records = append(b.Records, sources.Record{Value: line, Offset: int64(i)})
	}
	if err := h(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if n := len(dead.all()); n != 0 {
		t.Fatalf("%d dead letters", n)
	}
	alerted := make([]map[string]bool, len(lines))
	for _, msg := range out.all() {
		var a struct {
			Origin struct {
				Offset int `json:"offset"`
			} `json:"origin"`
			Rules []struct {
				ID string `json:"id"`
			} `json:"rules"`
		}
		if err := json.Unmarshal(msg.Value, &a); err != nil {
			t.Fatal(err)
		}
		if alerted[a.Origin.Offset] == nil {
			alerted[a.Origin.Offset] = map[string]bool{}
		}
		for _, r := range a.Rules {
			alerted[a.Origin.Offset][r.ID] = true
		}
	}
	return alerted
}
