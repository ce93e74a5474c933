package alert

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// falcoAlert is what a reader of Falco's JSON decodes: a time that must parse, and output fields that are all texts.
type falcoAlert struct {
	UUID         string            `json:"uuid"`
	Output       string            `json:"output"`
	Priority     string            `json:"priority"`
	Rule         string            `json:"rule"`
	Time         time.Time         `json:"time"`
	Source       string            `json:"source"`
	Hostname     string            `json:"hostname"`
	Tags         []string          `json:"tags"`
	OutputFields map[string]string `json:"output_fields"`
}

func falco(t *testing.T, a *Alert) (f falcoAlert) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(AppendFalco(nil, a)))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFalco(t *testing.T) {
	want := falcoAlert{
		UUID: "sw-7d1e8f0a4b5c6d7e8f9a0b1c2d3e4f50",
		Output: "Critical privileged Pod debug-x7k created in kube-system by carol (as admin) " +
			"(outcome=created user=admin ns=kube-system resource=deployments name=debug-x7k " +
			"image=(registry.example.com:5000/tools/shell:latest@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08,Not A Reference))",
		Priority: "Critical", Rule: "Workload created", Time: time.Date(2026, 11, 23, 20, 15, 30, 123456000, time.UTC),
		Source: "k8s_audit", Hostname: "prod-eu-1", Tags: []string{"attack.execution", "attack.t1610"},
		OutputFields: map[string]string{
			"ka.user.name": "carol", "ka.impuser.name": "admin", "ka.user.groups": "(developers,system:authenticated)",
			"ka.auditid": "4f6c1e2d-aaaa-4bbb-8ccc-1234567890ab", "ka.stage": "ResponseComplete", "ka.verb": "create",
			"ka.auth.reason": `RBAC: allowed by RoleBinding "developers/shop" of ClusterRole "edit" to Group "developers"`,
			"ka.uri":         "/apis/apps/v1/namespaces/shop/deployments?fieldManager=kubectl-create",
			"ka.target.name": "debug-x7k", "ka.target.namespace": "kube-system", "ka.target.resource": "deployments",
			"ka.useragent": "kubectl/v1.36.2 (linux/amd64) kubernetes/abcdef0", "ka.response.code": "201", "ka.resp.name": "debug-x7k",
			"ka.req.pod.containers.image":            "(registry.example.com:5000/tools/shell:latest@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08,Not A Reference)",
			"ka.req.pod.containers.image.repository": "(tools/shell,)", "ka.req.pod.containers.privileged": "(true,false)",
			"ka.req.pod.host_network": "true", "ka.req.pod.host_pid": "true", "ka.req.pod.host_ipc": "false",
			"ka.sourceips": "(10.0.0.1,203.0.113.9)", "ka.req.pod.volumes.hostpath": "(/)",
			"spawnwatch.workload.kind": "Pod", "spawnwatch.workload.uid": "0b8b2a1e-3c4d-4e5f-8a9b-0c1d2e3f4a5b",
			"spawnwatch.workload.service_account": "builder", "spawnwatch.workload.root.kind": "Deployment", "spawnwatch.workload.root.name": "debug",
			"spawnwatch.cluster": "prod-eu-1", "spawnwatch.outcome": "created", "spawnwatch.severity": "critical", "spawnwatch.score": "100",
			"spawnwatch.reasons":   `(rule "Workload created" is of level medium,container "shell" is privileged,mounts / of the node,carol acted as admin,the request came from 203.0.113.9)`,
			"spawnwatch.source_ip": "203.0.113.9", "spawnwatch.policy.pss_level": "privileged", "spawnwatch.owners.team": "platform",
			"spawnwatch.owners.runbook": "https://runbooks.example.com/debug", "spawnwatch.approval.state": "unapproved", "spawnwatch.approval.ticket": "CHG-7",
		},
	}
	if diff := cmp.Diff(want, falco(t, typical())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFalcoOfEverySample(t *testing.T) {
	priorities := "Critical Error Warning Notice Informational"
	for name, a := range samples() {
		f := falco(t, a)
		if f.Output == "" || f.Rule == "" || !strings.Contains(priorities, f.Priority) || f.Time.IsZero() || len(f.OutputFields) == 0 {
			t.Errorf("%s: a reader refuses %+v", name, f)
		}
	}
	if f := falco(t, &Alert{}); f.Time.Unix() != 0 || f.Priority != "Informational" {
		t.Errorf("the zero alert: got %v, %s", f.Time, f.Priority)
	}
	if f := falco(t, samples()["observed"]); f.OutputFields["ka.target.name"] != "web-1" || f.OutputFields["ka.target.subresource"] != "exec" {
		t.Errorf("observed: got %v", f.OutputFields)
	}
	if f := falco(t, samples()["refused"]); f.OutputFields["ka.response.code"] != "403" || f.OutputFields["spawnwatch.request.message"] == "" {
		t.Errorf("refused: got %v", f.OutputFields)
	}
	last := len(priorities)
	for _, s := range Severities() {
		i := strings.Index(priorities, falcoPriority(Severity(s)))
		if i >= last {
			t.Errorf("%s: its priority is not above that of the severity before", s)
		}
		last = i
	}
}
