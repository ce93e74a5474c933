package processor

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/tidwall/gjson"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/processor/enrich"
	"github.com/spawnwatch/spawnwatch/sources"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

// goldenRules are fixed, so that the golden alerts change only when enrichment or encoding does.
const goldenRules = `
title: Workload created
id: 57642ebe-6603-4dfd-85ad-81e1a8ad22b5
level: medium
tags: [attack.execution, attack.t1610]
logsource: {product: kubernetes, service: audit}
detection:
  s: {outcome: created}
  condition: s
---
title: Workload created with unknown outcome, or refused
id: 768d06b1-d085-46b0-a2c9-841a4d8dd9b3
level: low
tags: [attack.execution, attack.t1610]
logsource: {product: kubernetes, service: audit}
detection:
  s: {outcome: [unknown, refused]}
  condition: s
---
title: Workload changed
id: 8df248c7-aeae-46f2-9c50-92762f1b0129
level: medium
tags: [attack.persistence, attack.t1525]
logsource: {product: kubernetes, service: audit}
detection:
  s: {outcome: changed}
  condition: s
---
title: Privileged container
id: 0c7a5a86-4d0d-4a0c-8a5f-6a4c5f0c2b11
level: high
tags: [attack.privilege-escalation, attack.t1611]
logsource: {product: kubernetes, service: audit}
detection:
  s: {outcome: created, workload.privileged: "true"}
  condition: s
---
title: Exec into a container
id: 2c1f2f60-5a54-4a51-9a33-2a6a2b7c9d10
level: medium
tags: [attack.execution, attack.t1609]
logsource: {product: kubernetes, service: audit}
detection:
  s: {objectRef.resource: pods, objectRef.subresource: exec}
  condition: s
`

const goldenSnapshot = `{"kind":"List","items":[
{"kind":"ClusterRole","metadata":{"name":"cluster-admin"},"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]},
{"kind":"ClusterRole","metadata":{"name":"secret-reader"},"rules":[{"verbs":["get","list"],"apiGroups":[""],"resources":["secrets"]}]},
{"kind":"ClusterRoleBinding","metadata":{"name":"backdoor-admin"},"roleRef":{"kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"ServiceAccount","namespace":"team-a","name":"backdoor"}]},
{"kind":"RoleBinding","metadata":{"name":"readers","namespace":"team-a"},"roleRef":{"kind":"ClusterRole","name":"secret-reader"},"subjects":[{"kind":"ServiceAccount","name":"default"}]}
]}`

// golden are the alerts kept in testdata/golden, each made of one line of a recorded log.
var golden = []struct {
	name, log string
	// event says which line: all of these paths have these values; a value that ends in * is a prefix.
	event map[string]string
	// shows are values that the alert must have, whatever else changes.
	shows map[string]string
}{
	{
		"kubectl-run", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "pods", "objectRef.name": "hello", "responseStatus.code": "201"},
		map[string]string{"outcome": "created", "workload.kind": "Pod", "workload.name": "hello", "workload.service_account_rights.state": "known"},
	},
	{
		"deployment", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "deployments", "objectRef.name": "web", "responseStatus.code": "201"},
		map[string]string{"outcome": "created", "workload.kind": "Deployment", "actor.user": "alice", "owners.application": "web"},
	},
	{
		"server-side-apply", "rr",
		map[string]string{"verb": "patch", "objectRef.resource": "deployments", "objectRef.name": "cart", "responseStatus.code": "201"},
		map[string]string{"outcome": "created", "request.verb": "patch", "policy.admission.#(type==violation).source": "pod-security.kubernetes.io/audit-violations"},
	},
	{
		"cronjob", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "cronjobs", "objectRef.name": "tick", "responseStatus.code": "201"},
		map[string]string{"outcome": "created", "workload.kind": "CronJob"},
	},
	{
		"cronjob-job", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "jobs", "user.username": "system:serviceaccount:kube-system:cronjob-controller", "responseStatus.code": "201"},
		map[string]string{"outcome": "created", "workload.owner.kind": "CronJob", "workload.controlled": "true"},
	},
	{
		"cronjob-pod", "rr",
		map[string]string{"objectRef.resource": "pods", "user.username": "system:serviceaccount:kube-system:job-controller", "responseStatus.code": "201", "responseObject.metadata.generateName": "tick-*"},
		map[string]string{"outcome": "created", "workload.owner.kind": "Job", "workload.controlled": "true"},
	},
	{
		"privileged-host-path", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "daemonsets", "objectRef.name": "node-setup", "responseStatus.code": "201"},
		map[string]string{"outcome": "created", "policy.pss_level": "privileged", "severity": "critical"},
	},
	{
		"host-path", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "pods", "objectRef.name": "p-host", "responseStatus.code": "201"},
		map[string]string{"outcome": "created", "policy.pss_level": "privileged", "workload.volumes.0.type": "hostPath"},
	},
	{
		"debug-node", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "pods", "objectRef.namespace": "default", "responseStatus.code": "201"},
		map[string]string{"outcome": "created", "workload.node_name": "node-1", "network.host_network": "true"},
	},
	{
		"miner", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "deployments", "objectRef.name": "kube-dns-helper", "responseStatus.code": "201"},
		map[string]string{"policy.findings.#(code==miner).code": "miner", "policy.findings.#(code==lookalike_name).code": "lookalike_name"},
	},
	{
		"impersonation", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "deployments", "objectRef.name": "asuser", "responseStatus.code": "201"},
		map[string]string{"actor.user": "alice", "actor.impersonated_by": "ops@example.com"},
	},
	{
		"anonymous", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "pods", "objectRef.name": "anon2", "responseStatus.code": "201"},
		map[string]string{"actor.type": "anonymous", "workload.containers.0.image.registry": "evil.example"},
	},
	{
		"fresh-binding", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "pods", "objectRef.name": "shadow", "objectRef.namespace": "kube-system"},
		map[string]string{"actor.grant.known": "true", "actor.user": "system:serviceaccount:team-a:backdoor", "policy.findings.#(code==system_namespace).code": "system_namespace"},
	},
	{
		"runs-as-cluster-admin", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "pods", "objectRef.name": "usesa"},
		map[string]string{"workload.service_account": "backdoor", "workload.service_account_rights.dangerous.0.code": "everything"},
	},
	{
		"refused", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "pods", "objectRef.name": "priv", "responseStatus.code": "403"},
		map[string]string{"outcome": "refused", "request.code": "403"},
	},
	{
		"outcome-unknown", "rr",
		map[string]string{"verb": "create", "objectRef.resource": "pods", "objectRef.name": "slow-5", "responseStatus.code": "504"},
		map[string]string{"outcome": "unknown", "policy.findings.#(code==outcome_unknown).code": "outcome_unknown"},
	},
	{
		"truncated", "rr-trunc",
		map[string]string{"verb": "create", "objectRef.resource": "pods", "objectRef.name": "big-ann", "stage": "ResponseComplete"},
		map[string]string{"outcome": "created", "workload.detail": "none", "policy.findings.#(code==truncated).code": "truncated"},
	},
	{
		"new-revision", "rr",
		map[string]string{"verb": "patch", "objectRef.resource": "deployments", "objectRef.name": "web", "objectRef.subresource": "", "responseStatus.code": "200"},
		map[string]string{"outcome": "changed", "workload.containers.0.image.tag": "1.28"},
	},
	{
		"patch-only", "request",
		map[string]string{"verb": "patch", "objectRef.resource": "deployments", "objectRef.name": "web", "objectRef.subresource": "", "responseStatus.code": "200"},
		map[string]string{"outcome": "changed", "policy.pss_level": "unknown"},
	},
	{
		"ephemeral-container", "rr",
		map[string]string{"verb": "patch", "objectRef.resource": "pods", "objectRef.subresource": "ephemeralcontainers", "responseStatus.code": "200"},
		map[string]string{"outcome": "changed", "workload.containers.#(type==ephemeral).image.raw": "busybox:1.36"},
	},
	{
		"metadata-level", "metadata",
		map[string]string{"verb": "create", "objectRef.resource": "deployments", "objectRef.name": "web", "responseStatus.code": "201"},
		map[string]string{"outcome": "created", "workload.detail": "none", "workload.name": "web", "policy.pss_level": "unknown"},
	},
	{
		"observed-exec", "rr",
		map[string]string{"objectRef.resource": "pods", "objectRef.subresource": "exec"},
		map[string]string{"outcome": "observed", "workload": ""},
	},
}

// goldenLine finds the first line of a log that the values pick.
func goldenLine(t *testing.T, log string, event map[string]string) ([]byte, int) {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("..", "testdata", "corpus", log+".jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
lines:
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSuffix(line, []byte("\n"))
		for path, want := range event {
			got := gjson.GetBytes(line, path).String()
			if prefix, ok := strings.CutSuffix(want, "*"); got != want && (!ok || !strings.HasPrefix(got, prefix)) {
				continue lines
			}
		}
		return line, n
	}
	t.Fatalf("%s holds no line with %v", log, event)
	return nil, 0
}

func goldenEnricher(t *testing.T) *enrich.Enricher {
	t.Helper()
	networks, err := enrich.ParseNetworks(map[string][]string{"office": {"198.51.100.0/24"}, "machines": {"127.0.0.0/8"}})
	if err != nil {
		t.Fatal(err)
	}
	teams, err := enrich.ParseTeams([]byte(`{"team-a": {"team": "A-Team", "chat": "#team-a"}, "batch-*": {"team": "batch", "contact": "batch@example.com"}}`))
	if err != nil {
		t.Fatal(err)
	}
	allow, err := enrich.ParseAllow([]byte("- {name: the shop, namespaces: [shop], actors: [kubernetes-admin], images: [docker.io/library/*], approve: true, reason: reviewed}\n"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := enrich.New(enrich.Options{Networks: networks, Teams: teams, Allow: allow, Budget: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := enrich.ParseSnapshot([]byte(goldenSnapshot))
	if err != nil {
		t.Fatal(err)
	}
	e.SetSnapshot(snapshot)
	return e
}

// TestGolden takes single lines of real logs through the whole pipeline. Write the files anew with -update, and read the
// difference.
func TestGolden(t *testing.T) {
	schema := compileSchema(t)
	m, err := audit.NewModel(audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]bool{}
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			line, number := goldenLine(t, g.log, g.event)
			native, ocsf := &memorySink{}, &memorySink{}
			p, err := New(Config{
				Rules: compile(t, m, goldenRules), Model: m, Enricher: goldenEnricher(t), Cluster: "test", Children: AlertChildren, Workers: 1,
				Routes:     []Route{{Name: "native", Sink: native, Format: "native", Attributes: "ce_"}, {Name: "ocsf", Sink: ocsf, Format: "ocsf"}},
				DeadLetter: DeadLetter{Sink: &memorySink{}},
				Now:        func() time.Time { return time.Date(2026, 11, 23, 21, 0, 0, 0, time.UTC) },
			})
			if err != nil {
				t.Fatal(err)
			}
			b := &sources.Batch{
				Origin:  sources.Origin{Source: "audit", Topic: g.log + ".jsonl", Partition: -1},
				Records: []sources.Record{{Value: line, Offset: -1, Line: int64(number)}},
			}
			if err := p.Handler("")(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			msgs, findings := native.all(), ocsf.all()
			if len(msgs) != 1 || len(findings) != 1 {
				t.Fatalf("%d alerts, expected one", len(msgs))
			}
			checkGolden(t, schema, msgs[0].Value, g.shows)
			for _, h := range msgs[0].Headers {
				if name, ok := strings.CutPrefix(h.Key, "ce_"); ok && !regexp.MustCompile(`^[a-z0-9]{1,20}$`).MatchString(name) {
					t.Errorf("%s is no name of a CloudEvents attribute", name)
				}
			}
			written[compareGolden(t, g.name+".json", msgs[0].Value)] = true
			written[compareGolden(t, "ocsf-"+g.name+".json", findings[0].Value)] = true
		})
	}
	// A file that no case makes would be taken for one that is checked.
	files, err := os.ReadDir(filepath.Join("testdata", "golden"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !written[f.Name()] && !t.Failed() {
			t.Errorf("testdata/golden/%s belongs to no case: delete it", f.Name())
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(alert.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkGolden holds an alert against the schema, against what its case must show, and against what every alert must: an
// entry for each of the fifteen steps, nothing that failed, no raw control character.
func checkGolden(t *testing.T, schema *jsonschema.Schema, text []byte, shows map[string]string) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Error(err)
	}
	for path, want := range shows {
		if got := gjson.GetBytes(text, path).String(); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	for _, note := range gjson.GetBytes(text, "notes").Array() {
		if c := note.Get("code").String(); c == "enricher_failed" || c == "enrichment_timeout" {
			t.Errorf("%s: %s", c, note.Get("text"))
		}
	}
	for list, steps := range map[string]int{"investigate": 8, "respond": 7} {
		have := map[int64]bool{}
		for _, s := range gjson.GetBytes(text, list).Array() {
			have[s.Get("step").Int()] = true
			if s.Get("answer").String()+s.Get("command").String()+s.Get("title").String() == "" {
				t.Errorf("%s %s says nothing", list, s.Get("step"))
			}
		}
		for step := 1; step <= steps; step++ {
			if !have[int64(step)] {
				t.Errorf("%s %d is missing", list, step)
			}
		}
	}
	for i, c := range text {
		if c < 0x20 || c == 0x7f {
			t.Fatalf("byte %d is the control character %#x", i, c)
		}
	}
}

// compareGolden compares with a file of testdata/golden and returns its name.
func compareGolden(t *testing.T, name string, got []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, got, "", " "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		return name
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: write it with go test ./processor -run TestGolden -update", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
	return name
}
