package audit

import (
	"strings"
	"testing"
)

func TestNewModelReportsEveryFault(t *testing.T) {
	_, err := NewModel(Options{
		Workloads: []CustomWorkload{
			{Resource: "rollouts", Kind: "Rollout"},
			{Group: "argoproj.io", Resource: "Rollouts", Kind: "Rollout"},
			{Group: "argoproj.io", Resource: "rollouts"},
			{Group: "apps", Resource: "deployments", Kind: "Deployment"},
			{Group: "argoproj.io", Resource: "rollouts", Kind: "Rollout", Template: "spec..template"},
			{Group: "argoproj.io", Resource: "rollouts", Kind: "Rollout", Template: "spec.template"},
			{Group: "argoproj.io", Resource: "rollouts", Kind: "Rollout", Template: "spec.template"},
		},
		Controllers: []Controller{{Owner: "Rollout"}},
	})
	if err == nil {
		t.Fatal("expected an error")
	}
	for _, want := range []string{
		`workloads[0]: expected an API group such as argoproj.io, got none (resource "rollouts")`,
		`workloads[1]: expected the plural name of a resource in lower case, such as rollouts, got "Rollouts"`,
		`workloads[2]: expected the kind of rollouts.argoproj.io`,
		`workloads[3]: deployments.apps is a workload already`,
		`workloads[4]: expected the dotted path of a pod template, such as spec.template, got "spec..template"`,
		`workloads[6]: rollouts.argoproj.io is a workload already`,
		`controllers[0]: expected the user name`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 7 {
		t.Errorf("%d faults, want 7:\n%v", n, err)
	}
}

func TestWorkloadsAreKnownByGroupAndResource(t *testing.T) {
	m := newModel(t)
	for _, c := range []struct{ group, version, resource, kind string }{
		{"", "v1", "pods", "Pod"},
		{"", "v1", "replicationcontrollers", "ReplicationController"},
		{"apps", "v1", "deployments", "Deployment"},
		{"apps", "v1", "replicasets", "ReplicaSet"},
		{"apps", "v1", "statefulsets", "StatefulSet"},
		{"apps", "v1", "daemonsets", "DaemonSet"},
		{"batch", "v1", "jobs", "Job"},
		{"batch", "v1beta1", "cronjobs", "CronJob"},
		{"argoproj.io", "v1alpha1", "rollouts", "Rollout"},
		{"extensions", "v1beta1", "deployments", "Deployment"},
		{"extensions", "v1beta1", "replicasets", "ReplicaSet"},
		{"", "extensions/v1beta1", "daemonsets", "DaemonSet"}, // audit v1alpha1 wrote both into one
		{"", "apps/v1", "statefulsets", "StatefulSet"},
		{"", "", "cronjobs", "CronJob"}, // shortened: no server has them in the core group
		{"metrics.k8s.io", "v1beta1", "pods", ""},
		{"", "metrics.k8s.io/v1beta1", "pods", ""},
		{"extensions", "v1beta1", "jobs", ""},
		{"extensions", "v1beta1", "pods", ""},
		{"batch", "v1", "deployments", ""},
		{"", "v1", "rollouts", ""},
		{"", "v1", "bindings", ""},
		{"", "v1", "podtemplates", ""},
		{"", "v1", "Pods", ""},
		{"", "v1", "", ""},
	} {
		ref := `{"resource":"` + c.resource + `","apiGroup":"` + c.group + `","apiVersion":"` + c.version + `"}`
		r := referenceOf(ref)
		got := ""
		if k := m.find(&r); k != nil {
			got = k.kind
		}
		if got != c.kind {
			t.Errorf("%s: %q, want %q", ref, got, c.kind)
		}
	}
}

func TestFieldDocs(t *testing.T) {
	m := newModel(t)
	var names []string
	for _, g := range m.Fields() {
		names = append(names, g.Names...)
	}
	docs := FieldDocs()
	if len(docs) != len(names) {
		t.Fatalf("%d docs, %d fields", len(docs), len(names))
	}
	seen := make(map[string]bool)
	for i, d := range docs {
		if d.Name != names[i] || seen[d.Name] || d.Text == "" || strings.HasSuffix(d.Text, ".") {
			t.Errorf("field %q, doc %+v", names[i], d)
		}
		seen[d.Name] = true
	}
	for last, docs := range map[int][]FieldDoc{
		fieldNamespace: decisionDocs(), fieldAutomount: workloadDocs(), fieldUserAgent: actorDocs(), fieldScope: grantDocs(),
	} {
		if last != len(docs)-1 {
			t.Errorf("%s: the constants end at %d, the docs at %d", docs[0].Name, last, len(docs)-1)
		}
	}
}

// TestFieldsOfThisEvent spells out every value, so that no constant can slip.
func TestFieldsOfThisEvent(t *testing.T) {
	m := newModel(t)
	got := evaluate(m, rich)
	want := map[string]string{
		"outcome": "created", "dry_run": "false", "truncated": "false",
		"workload.kind": "Deployment", "workload.group": "apps", "workload.namespace": "shop",
		"workload.name": "cart", "workload.generate_name": "", "workload.label": "app=cart|tier=web", "workload.annotation": "note|deployment.kubernetes.io/revision",
		"workload.revision": "3", "workload.replicas": "2", "workload.owner.kind": "Rollout", "workload.owner.name": "r1", "workload.controlled": "false",
		"workload.container.name": "main|side|setup|dbg", "workload.container.type": "container|container|init|ephemeral",
		"workload.image": "nginx:1.27|ghcr.io/a/b@sha256:1|busybox|netshoot", "workload.ephemeral_image": "netshoot",
		"workload.command": "sh -c sleep \"9\"|run", "workload.privileged": "true", "workload.allow_privilege_escalation": "false",
		"workload.capability": "SYS_ADMIN|NET_RAW", "workload.run_as_user": "1000|0|1000|1000", "workload.run_as_non_root": "true|true|true|true",
		"workload.seccomp": "RuntimeDefault|Unconfined|RuntimeDefault|RuntimeDefault",
		"workload.port":    "8080|9090", "workload.host_port": "80", "workload.env_name": "TOKEN|MODE", "workload.env_from": "secret/db|configmap/cfg",
		"workload.host_network": "true", "workload.host_pid": "false", "workload.host_ipc": "false",
		"workload.volume_type": "hostPath|secret|persistentVolumeClaim|emptyDir|csi|configMap|projected",
		"workload.volume":      "hostPath=/var/run/docker.sock|secret=tls|persistentVolumeClaim=data|csi=secrets.csi|configMap=cfg",
		"workload.host_path":   "/var/run/docker.sock", "workload.service_account": "runner", "workload.node_name": "node-1", "workload.automount_token": "false",
		"actor.user": "system:serviceaccount:ci:bot", "actor.groups": "g1|g2", "actor.uid": "u9", "actor.type": "serviceaccount",
		"actor.namespace": "ci", "actor.account": "bot", "actor.impersonated": "true", "actor.impersonated_by": "alice",
		"actor.source_ip": "10.0.0.9", "actor.user_agent": "kubectl/v1",
		"grant.decision": "allow", "grant.binding": "devs", "grant.binding_kind": "RoleBinding", "grant.binding_namespace": "shop",
		"grant.role": "edit", "grant.role_kind": "ClusterRole", "grant.subject": "ci/bot", "grant.subject_kind": "ServiceAccount", "grant.scope": "shop",
	}
	for _, d := range FieldDocs() {
		if g := strings.Join(got[d.Name], "|"); g != want[d.Name] {
			t.Errorf("%s: %q, want %q", d.Name, g, want[d.Name])
		}
	}
}

// rich is an event that says something about everything.
const rich = `{"kind":"Event","level":"RequestResponse","auditID":"a1","stage":"ResponseComplete","requestURI":"/apis/apps/v1/namespaces/shop/deployments?a=b\u0026c=d",
"verb":"create","user":{"username":"alice","groups":["system:masters"]},"impersonatedUser":{"username":"system:serviceaccount:ci:bot","uid":"u9","groups":["g1","g2"],"extra":{"authentication.kubernetes.io/credential-id":["JTI=7"]}},
"sourceIPs":["203.0.113.9","10.0.0.9"],"userAgent":"kubectl/v1","objectRef":{"resource":"deployments","namespace":"shop","name":"cart","apiGroup":"apps","apiVersion":"v1"},
"responseStatus":{"metadata":{},"code":201},"requestObject":{"kind":"Deployment","metadata":{"name":"cart"}},
"responseObject":{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"cart","namespace":"shop","uid":"u-1","resourceVersion":"77","labels":{"app":"cart","tier":"web"},
"annotations":{"note":"x","deployment.kubernetes.io/revision":"3"},"ownerReferences":[{"apiVersion":"argoproj.io/v1alpha1","kind":"Rollout","name":"r1","uid":"u-0","controller":true}]},
"spec":{"replicas":2,"template":{"metadata":{"labels":{"app":"cart"},"annotations":{"t":"1"}},"spec":{
"volumes":[{"name":"sock","hostPath":{"path":"/var/run/docker.sock","type":""}},{"name":"s","secret":{"secretName":"tls"}},{"persistentVolumeClaim":{"claimName":"data"},"name":"d"},{"name":"e","emptyDir":{}},{"name":"c","csi":{"driver":"secrets.csi"}},{"name":"m","configMap":{"name":"cfg"}},{"name":"p","projected":{"sources":[{"secret":{"name":"zz"}}]}}],
"ephemeralContainers":[{"name":"dbg","image":"netshoot"}],"initContainers":[{"name":"setup","image":"busybox"}],
"containers":[{"name":"main","image":"nginx:1.27","command":["sh","-c"],"args":["sleep \"9\""],"env":[{"name":"TOKEN","value":"hush"},{"name":"MODE"}],"envFrom":[{"secretRef":{"name":"db"}},{"prefix":"P","configMapRef":{"name":"cfg"}}],
"ports":[{"containerPort":8080,"hostPort":80,"name":"http"},{"containerPort":9090,"protocol":"UDP"}],"resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":2}},
"securityContext":{"privileged":true,"capabilities":{"add":["SYS_ADMIN","NET_RAW"],"drop":["ALL"]}}},
{"name":"side","image":"ghcr.io/a/b@sha256:1","args":["run"],"securityContext":{"runAsUser":0,"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,"seccompProfile":{"type":"Unconfined"}}}],
"hostNetwork":true,"nodeName":"node-1","serviceAccountName":"runner","serviceAccount":"old","automountServiceAccountToken":false,"securityContext":{"runAsUser":1000,"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}}}}},
"requestReceivedTimestamp":"2026-11-23T02:52:29.781271Z","stageTimestamp":"2026-11-23T02:52:29.790823Z",
"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by RoleBinding \"devs/shop\" of ClusterRole \"edit\" to ServiceAccount \"bot/ci\""}}`

// TestFieldsOfAPatch: where only the patch is visible, what it doesn't mention is unknown, and so has no value.
func TestFieldsOfAPatch(t *testing.T) {
	m := newModel(t)
	got := evaluate(m, `{"verb":"patch","objectRef":{"resource":"deployments","apiGroup":"apps","name":"web"},"responseStatus":{"code":200},
		"requestObject":{"spec":{"template":{"spec":{"hostPID":true,"containers":[{"name":"c","image":"evil"}]}}}}}`)
	for name, want := range map[string]string{
		"outcome": "changed", "workload.name": "web", "workload.image": "evil", "workload.host_pid": "true", "workload.privileged": "", "workload.host_network": "",
	} {
		if g := strings.Join(got[name], "|"); g != want {
			t.Errorf("%s: %q, want %q", name, g, want)
		}
	}
	// Of what is neither created nor changed nothing is said, whatever its body shows.
	for _, verb := range []string{"get", "delete", "list"} {
		got = evaluate(m, replaced(t, `"verb":"create"`, `"verb":"`+verb+`"`))
		for name := range got {
			if strings.HasPrefix(name, "workload.") {
				t.Errorf("%s: %s is %q", verb, name, got[name])
			}
		}
	}
}
