package audit

import (
	"strings"
	"testing"
	"unsafe"
)

// child is an event in which a controller makes a Pod for a ReplicaSet.
const child = `{"level":"RequestResponse","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/n/pods","verb":"create",` +
	`"user":{"username":"system:serviceaccount:kube-system:replicaset-controller"},"objectRef":{"resource":"pods","namespace":"n"},"responseStatus":{"code":201},` +
	`"requestObject":{"kind":"Pod","metadata":{"generateName":"p-","ownerReferences":[{"kind":"ReplicaSet","name":"p","uid":"u","controller":true}]}},` +
	`"responseObject":{"kind":"Pod","metadata":{"name":"p-1","ownerReferences":[{"kind":"ReplicaSet","name":"p","uid":"u","controller":true}]}}}`

func TestFolding(t *testing.T) {
	m, err := NewModel(Options{
		Workloads: []CustomWorkload{{Group: "argoproj.io", Resource: "rollouts", Kind: "Rollout", Template: "spec.template"}},
		Controllers: []Controller{
			{User: "system:serviceaccount:argo:rollouts", Owner: "Rollout", Child: "ReplicaSet"},
			{User: "system:serviceaccount:any:thing"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	const account = "system:serviceaccount:kube-system:replicaset-controller"
	user := func(name string) []string { return []string{account, name} }
	made := func(by, resource, group, kind, owner string) []string {
		return []string{
			account, by, `"resource":"pods"`, `"resource":"` + resource + `","apiGroup":"` + group + `"`,
			`"kind":"Pod"`, `"kind":"` + kind + `"`, `"kind":"ReplicaSet"`, `"kind":"` + owner + `"`,
		}
	}
	const system = "system:serviceaccount:kube-system:"
	noBody := child[:strings.Index(child, `,"requestObject"`)] + "}"
	for name, c := range map[string]struct {
		event   string
		change  []string
		folds   bool
		outcome Outcome
	}{
		"child":                        {child, nil, true, Created},
		"shared credential":            {child, user("system:kube-controller-manager"), true, Created},
		"shared credential, any other": {child, []string{account, "system:kube-controller-manager", `"kind":"ReplicaSet"`, `"kind":"Deployment"`}, false, Created},
		"person":                       {child, user("alice"), false, Created},
		"anonymous":                    {child, user(""), false, Created},
		"another namespace":            {child, user("system:serviceaccount:default:replicaset-controller"), false, Created},
		"look-alike":                   {child, user(system + "replicaset-controller2"), false, Created},
		"not one of the seven":         {child, user(system + "generic-garbage-collector"), false, Created},
		"another case":                 {child, user("system:serviceaccount:kube-system:ReplicaSet-controller"), false, Created},
		"another's child":              {child, user(system + "deployment-controller"), false, Created},
		"deployment":                   {child, made(system+"deployment-controller", "replicasets", "apps", "ReplicaSet", "Deployment"), true, Created},
		"cronjob":                      {child, made(system+"cronjob-controller", "jobs", "batch", "Job", "CronJob"), true, Created},
		"job":                          {child, made(system+"job-controller", "pods", "", "Pod", "Job"), true, Created},
		"statefulset":                  {child, made(system+"statefulset-controller", "pods", "", "Pod", "StatefulSet"), true, Created},
		"daemonset":                    {child, made(system+"daemon-set-controller", "pods", "", "Pod", "DaemonSet"), true, Created},
		"replication controller":       {child, made(system+"replication-controller", "pods", "", "Pod", "ReplicationController"), true, Created},
		"job for a deployment":         {child, made(system+"job-controller", "pods", "", "Pod", "Deployment"), false, Created},
		"cronjob makes no pods":        {child, made(system+"cronjob-controller", "pods", "", "Pod", "CronJob"), false, Created},
		"deployment makes no jobs":     {child, made(system+"deployment-controller", "jobs", "batch", "Job", "Deployment"), false, Created},
		"mirror pod":                   {child, made("system:node:n1", "pods", "", "Pod", "Node"), false, Created},
		"impersonated":                 {child, []string{`"objectRef"`, `"impersonatedUser":{"username":"` + account + `"},"objectRef"`}, false, Created},
		"controller impersonating":     {child, []string{`"objectRef"`, `"impersonatedUser":{},"objectRef"`}, false, Created},
		"owner controls nothing":       {child, []string{`"controller":true`, `"controller":false`}, false, Created},
		"controller as text":           {child, []string{`"controller":true`, `"controller":"true"`}, false, Created},
		"owner without controller":     {child, []string{`,"controller":true`, ``}, false, Created},
		"no owner":                     {child, []string{`"ownerReferences"`, `"owners"`}, false, Created},
		"second owner controls":        {child, []string{`[{"kind"`, `[{"kind":"Node","name":"x"},{"kind"`}, true, Created},
		"stored without owner":         {child, []string{`"name":"p-1","ownerReferences"`, `"name":"p-1","none"`}, false, Created},
		"refused":                      {child, []string{`"code":201`, `"code":403`, `"responseObject":{"kind":"Pod"`, `"responseObject":{"kind":"Status"`}, true, Refused},
		"unknown":                      {child, []string{`"code":201`, `"code":504`}, false, Unknown},
		"no body":                      {noBody, nil, true, Created},
		"no body, person":              {noBody, user("alice"), false, Created},
		"no body, another's child":     {noBody, user(system + "deployment-controller"), false, Created},
		"no body, unknown":             {noBody, []string{`"code":201`, `"code":504`}, false, Unknown},
		"truncated":                    {noBody, []string{`"verb"`, `"annotations":{"audit.k8s.io/truncated":"true"},"verb"`}, false, Created},
		"dry run":                      {child, []string{"/pods\"", "/pods?dryRun=All\""}, false, Observed},
		"configured":                   {child, made("system:serviceaccount:argo:rollouts", "replicasets", "apps", "ReplicaSet", "Rollout"), true, Created},
		"configured, another owner":    {child, made("system:serviceaccount:argo:rollouts", "replicasets", "apps", "ReplicaSet", "Deployment"), false, Created},
		"configured, another child":    {child, made("system:serviceaccount:argo:rollouts", "pods", "", "Pod", "Rollout"), false, Created},
		"configured for anything":      {child, made("system:serviceaccount:any:thing", "jobs", "batch", "Job", "Workflow"), true, Created},
		"anything but no owner":        {child, []string{account, "system:serviceaccount:any:thing", `"ownerReferences"`, `"owners"`}, false, Created},
	} {
		event := c.event
		for i := 0; i < len(c.change); i += 2 {
			if !strings.Contains(event, c.change[i]) {
				t.Fatalf("%s: %q is not there to be replaced", name, c.change[i])
			}
			event = strings.ReplaceAll(event, c.change[i], c.change[i+1])
		}
		v := read(t, m, event)
		if v.Folds != c.folds || v.Outcome != c.outcome {
			t.Errorf("%s: folds %v, outcome %s, want %v %s", name, v.Folds, v.Outcome, c.folds, c.outcome)
		}
		if v.Folds && !v.Workload.Controlled {
			t.Errorf("%s: folds, but isn't controlled", name)
		}
	}
}

// TestChangesByControllersFold: scaling its own ReplicaSets is the Deployment controller's work. Whoever changed the
// Deployment has an alert of their own.
func TestChangesByControllersFold(t *testing.T) {
	m := newModel(t)
	var v View
	folded, alone := 0, 0
	for i, line := range corpus(t, "rr") {
		if err := m.Read(line, &v); err != nil {
			t.Fatal(err)
		}
		if v.Outcome != Changed {
			continue
		}
		if v.Folds {
			folded++
			if v.Actor.Name != "system:serviceaccount:kube-system:deployment-controller" || v.Workload.Kind != "ReplicaSet" {
				t.Errorf("line %d: %s changes %s and folds", i+1, v.Actor.Name, v.Workload.Kind)
			}
		} else {
			alone++
			if strings.HasPrefix(v.Actor.Name, "system:serviceaccount:kube-system:") {
				t.Errorf("line %d: %s changes %s and doesn't fold", i+1, v.Actor.Name, v.Workload.Kind)
			}
		}
	}
	if folded == 0 || alone == 0 {
		t.Errorf("%d folded, %d alone", folded, alone)
	}
}

// TestEphemeralContainersNeverFold: no controller adds any.
func TestEphemeralContainersNeverFold(t *testing.T) {
	m := newModel(t)
	event := strings.NewReplacer(`"verb":"create"`, `"verb":"patch"`, `"code":201`, `"code":200`,
		`"resource":"pods"`, `"resource":"pods","subresource":"ephemeralcontainers"`).Replace(child)
	if v := read(t, m, event); v.Outcome != Changed || !v.Workload.Controlled || v.Folds {
		t.Errorf("outcome %s, folds %v: %+v", v.Outcome, v.Folds, v.Workload)
	}
}

// placesOf finds the members of an event as whoever validates it would.
func placesOf(event string) *Members {
	var x Members
	at := func(part string) int {
		return int(uintptr(unsafe.Pointer(unsafe.StringData(part))) - uintptr(unsafe.Pointer(unsafe.StringData(event))))
	}
	for m := membersOf(event); m.next(); {
		if m.key == "" || m.val == "" {
			continue // the one is no member of ours, the other no JSON
		}
		key, val := at(m.key), at(m.val)
		x.Member(key, key+len(m.key), val, val+len(m.val))
	}
	return &x
}

// foldsAlike holds [Model.Folds], which looks at little, against [Model.Read].
func foldsAlike(t testing.TB, m *Model, v *View, event string) {
	t.Helper()
	outcome, folds := m.Folds([]byte(event), placesOf(event))
	if folds != v.Folds || folds && outcome != v.Outcome {
		t.Fatalf("Folds says %v %q, Read %v %q: %.300s", folds, outcome, v.Folds, v.Outcome, event)
	}
}

func TestFoldsAgreesWithRead(t *testing.T) {
	m := newModel(t)
	var v View
	for _, policy := range policies {
		folded := 0
		for _, line := range corpus(t, policy) {
			if err := m.Read(line, &v); err != nil {
				t.Fatal(err)
			}
			foldsAlike(t, m, &v, string(line))
			if v.Folds {
				folded++
			}
		}
		if folded < 10 {
			t.Errorf("%s: %d events fold", policy, folded)
		}
	}
	escaped := strings.NewReplacer(`"user":{"username":"system:`, `"us\u0065r":{"usern\u0061me":"syst\u0065m:`).Replace(child)
	if v := read(t, m, escaped); !v.Folds {
		t.Error("with escapes it doesn't fold")
	}
}
