package enrich

import (
	"slices"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// stepText is all that an alert says about one step.
func stepText(a *alert.Alert, list string, step int) string {
	var b strings.Builder
	if list == "investigate" {
		for _, s := range a.Investigate {
			if s.Step == step {
				b.WriteString(s.Answer + "\n" + s.Command + "\n")
			}
		}
		return b.String()
	}
	for _, r := range a.Respond {
		if r.Step == step {
			b.WriteString(r.Title + "\n" + r.Command + "\n")
		}
	}
	return b.String()
}

// TestEveryStepFollowsTheFact changes one fact of an event and looks for the change in the answer of the step that is about
// it, so that no constant can pass.
func TestEveryStepFollowsTheFact(t *testing.T) {
	snapshot, err := ParseSnapshot([]byte(snapshotText))
	if err != nil {
		t.Fatal(err)
	}
	networks, err := ParseNetworks(map[string][]string{"office": {"198.51.100.0/24"}})
	if err != nil {
		t.Fatal(err)
	}
	e := newEnricher(t, Options{Networks: networks, Teams: map[string]Team{"shop": {Team: "checkout", Chat: "#checkout"}}, Allow: []Allow{{Name: "known", Images: []string{"docker.io/library/nginx"}}}})
	e.SetSnapshot(snapshot)
	const spec = `{"containers":[{"name":"main","image":"nginx:1.27","ports":[{"containerPort":8080}]}],"serviceAccountName":"quiet"}`
	original := pod(`"web-1"`, spec)
	before := enriched(t, e, original)
	for name, c := range map[string]struct {
		list     string
		step     int
		old, new string
		gone     string // what the answer said before
		said     string // what it says after
	}{
		"actor":              {"investigate", 1, `"username":"alice"`, `"username":"mallory"`, "alice", "mallory"},
		"time":               {"investigate", 1, `20:15:30.120000Z`, `08:15:30.120000Z`, "T20:00:30Z", "T08:00:30Z"},
		"image":              {"investigate", 2, `nginx:1.27`, `evil.example/x:1`, "nginx:1.27", "evil.example/x:1"},
		"command":            {"investigate", 2, `"name":"main",`, `"name":"main","command":["sh","-c","id"],`, "", "runs sh -c id"},
		"name":               {"investigate", 2, `web-1`, `web-2`, "pods/web-1", "pods/web-2"},
		"kind":               {"investigate", 2, `"resource":"pods"`, `"resource":"secrets"`, "Pod shop/web-1", "create secrets"},
		"events of it":       {"investigate", 3, `web-1`, `web-2`, "pods/web-1", "pods/web-2"},
		"refused":            {"investigate", 3, `"code":201`, `"message":"quota exceeded","code":403`, "not part", "quota exceeded"},
		"timeout":            {"investigate", 3, `"code":201`, `"code":504`, "not part", "timeout"},
		"security context":   {"investigate", 4, `"name":"main",`, `"name":"main","securityContext":{"privileged":true},`, "only the baseline", "only the privileged"},
		"allow-list":         {"investigate", 4, `nginx:1.27`, `evil.example/x:1`, "within the allow-list entry known", "outside of the allow-lists"},
		"admission":          {"investigate", 4, `"annotations":{"auth`, `"annotations":{"pod-security.kubernetes.io/audit-violations":"would violate","auth`, "", "admission noted: would violate"},
		"port":               {"investigate", 5, `8080`, `9999`, "8080/TCP", "9999/TCP"},
		"host port":          {"investigate", 5, `"containerPort":8080`, `"containerPort":8080,"hostPort":80`, "8080/TCP", "[80] of its node"},
		"host network":       {"investigate", 5, `"serviceAccountName"`, `"hostNetwork":true,"serviceAccountName"`, "8080/TCP", "network of its node"},
		"source":             {"investigate", 5, `"10.1.2.3"`, `"198.51.100.7"`, "10.1.2.3 (private)", "198.51.100.7 (public), network office"},
		"spoofed source":     {"investigate", 5, `"10.1.2.3"`, `"1.1.1.1","10.1.2.3"`, "", "earlier addresses are the client's claims"},
		"grant":              {"investigate", 6, `devs/shop`, `ops/shop`, "shop/devs", "shop/ops"},
		"no grant":           {"investigate", 6, `"authorization.k8s.io/reason":"RBAC`, `"x":"RBAC`, "was allowed by", "is unknown, because the event names no binding"},
		"masters":            {"investigate", 6, `"groups":["devs"`, `"groups":["system:masters"`, "", "--as=system:serviceaccount:shop:quiet"},
		"service account":    {"investigate", 6, `"quiet"`, `"loud"`, "quiet has", "it may read Secrets (shop, by RoleBinding/shop/readers)"},
		"impersonation":      {"investigate", 6, `"sourceIPs"`, `"impersonatedUser":{"username":"boss"},"sourceIPs"`, "", "boss (in truth alice"},
		"label":              {"investigate", 7, `"app":"web"`, `"team":"payments"`, "team checkout", "team payments"},
		"namespace":          {"investigate", 7, `"namespace":"shop"`, `"namespace":"elsewhere"`, "team checkout", "unknown, because"},
		"name like a system": {"investigate", 8, `web-1`, `kube-proxy-1`, "", "imitates that of kube-proxy"},
		"image elsewhere":    {"investigate", 8, `nginx:1.27`, `evil.example/x:1`, "-e nginx:1.27", "-e evil.example/x:1"},

		"stop":          {"respond", 1, `web-1`, `web-2`, "delete pods/web-1 --now", "delete pods/web-2 --now"},
		"stop, refused": {"respond", 1, `"code":201`, `"code":403`, "delete pods/web-1", "Revoke the grant"},
		"node":          {"respond", 1, `"serviceAccountName"`, `"nodeName":"n7","serviceAccountName"`, "", "cordon -- n7"},
		"binding":       {"respond", 1, `devs/shop`, `ops/shop`, "rolebinding/devs", "rolebinding/ops"},
		"account":       {"respond", 1, `"quiet"`, `"loud"`, "serviceaccount/quiet", "serviceaccount/loud"},
		"isolation":     {"respond", 1, `"serviceAccountName"`, `"hostNetwork":true,"serviceAccountName"`, "NetworkPolicy", "Stop it"},
		"origin":        {"respond", 2, `"username":"alice"`, `"username":"mallory"`, "alice", "mallory"},
		"same image":    {"respond", 2, `nginx:1.27`, `evil.example/x:1`, "-e nginx:1.27", "-e evil.example/x:1"},
		"role":          {"respond", 3, `ClusterRole \"edit\"`, `ClusterRole \"admin\"`, "clusterrole/edit", "clusterrole/admin"},
		"no role":       {"respond", 3, `"authorization.k8s.io/reason":"RBAC`, `"x":"RBAC`, "clusterrole/edit", "auth can-i create pods --as=alice --as-group=devs"},
		"policy":        {"respond", 4, `nginx:1.27`, `evil.example/x:1`, `\"nginx:1.27\"`, `\"evil.example/x:1\"`},
		"level":         {"respond", 4, `"name":"main",`, `"name":"main","securityContext":{"privileged":true},`, "enforce=restricted", "enforce=baseline"},
		"level already": {"respond", 4, `"annotations":{"auth`, `"annotations":{"pod-security.kubernetes.io/enforce-policy":"restricted:latest","auth`, "enforce=restricted", "ValidatingAdmissionPolicy"},
		"watch actor":   {"respond", 5, `"username":"alice"`, `"username":"mallory"`, `"actor.user":["alice"]`, `"actor.user":["mallory"]`},
		"watch image":   {"respond", 5, `nginx:1.27`, `evil.example/x:1`, `"nginx:1.27"`, `"evil.example/x:1"`},
		"tell":          {"respond", 6, `"app":"web"`, `"team":"payments"`, "team checkout", "team payments"},
		"allow":         {"respond", 7, `nginx:1.27`, `evil.example/x:1`, `"images":["nginx:1.27"]`, `"images":["evil.example/x:1"]`},
		"ticket":        {"respond", 7, `web-1`, `web-2`, "pods/web-1", "pods/web-2"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(original, c.old) {
				t.Fatalf("the event does not hold %s", c.old)
			}
			then := stepText(before, c.list, c.step)
			now := stepText(enriched(t, e, strings.ReplaceAll(original, c.old, c.new)), c.list, c.step)
			if c.gone != "" && (!strings.Contains(then, c.gone) || strings.Contains(now, c.gone)) {
				t.Errorf("%q should be said before and no longer:\nbefore %s\nafter  %s", c.gone, then, now)
			}
			if !strings.Contains(now, c.said) || c.said != "Stop it" && c.said != "Revoke the grant" && c.said != "ValidatingAdmissionPolicy" && name != "masters" && strings.Contains(then, c.said) {
				t.Errorf("%q should be said only now:\nbefore %s\nafter  %s", c.said, then, now)
			}
		})
	}
}

// TestByKind: what stops a workload depends on its kind, and the policy looks where the kind keeps its template.
func TestByKind(t *testing.T) {
	e := newEnricher(t, Options{})
	const spec = `{"containers":[{"name":"main","image":"nginx:1.27"}]}`
	template := `{"template":{"metadata":{"labels":{"app":"x"}},"spec":` + spec + `}}`
	for resource, c := range map[string]struct{ group, spec, stop, path string }{
		"deployments":            {"apps", template, "scale deployments.apps/x --replicas=0", "object.spec.template.spec.containers.all"},
		"statefulsets":           {"apps", template, "scale statefulsets.apps/x --replicas=0", "object.spec.template.spec.containers.all"},
		"replicasets":            {"apps", template, "scale replicasets.apps/x --replicas=0", "object.spec.template.spec.containers.all"},
		"daemonsets":             {"apps", template, "nodeSelector", "object.spec.template.spec.containers.all"},
		"jobs":                   {"batch", template, `"suspend":true`, "object.spec.template.spec.containers.all"},
		"cronjobs":               {"batch", `{"jobTemplate":{"spec":` + template + `}}`, `"suspend":true`, "object.spec.jobTemplate.spec.template.spec.containers.all"},
		"replicationcontrollers": {"", template, "scale replicationcontrollers/x --replicas=0", "!has(object.spec.template)"},
		"pods":                   {"", spec, "delete pods/x --now", "object.spec.ephemeralContainers"},
		"rollouts":               {"argoproj.io", template, "delete rollouts.argoproj.io/x --cascade", ""},
	} {
		event := pod(`"x"`, c.spec)
		if c.group != "" {
			event = strings.Replace(event, `"resource":"pods"`, `"apiGroup":"`+c.group+`","resource":"`+resource+`"`, 1)
		} else {
			event = strings.Replace(event, `"resource":"pods"`, `"resource":"`+resource+`"`, 1)
		}
		a := enriched(t, e, event)
		if got := stepText(a, "respond", 1); !strings.Contains(got, c.stop) {
			t.Errorf("%s: step 1 is %s, want %s", resource, got, c.stop)
		}
		got := stepText(a, "respond", 4)
		if !strings.Contains(got, c.path) || c.path == "" && strings.Contains(got, "object.spec") {
			t.Errorf("%s: step 4 is %s, want %s", resource, got, c.path)
		}
		if resource != "pods" && !strings.Contains(stepText(a, "respond", 1), `"matchLabels":{"app":"x"}`) {
			t.Errorf("%s: its Pods are not isolated by their labels", resource)
		}
		checkSteps(t, a)
	}
}

// TestSystemBindingStays: a binding that belongs to Kubernetes is shown, never deleted.
func TestSystemBindingStays(t *testing.T) {
	e := newEnricher(t, Options{})
	a := enriched(t, e, strings.Replace(pod(`"x"`, `{"containers":[{"name":"a"}]}`), `RoleBinding \"devs/shop\"`, `ClusterRoleBinding \"system:node\"`, 1))
	got := stepText(a, "respond", 1)
	if strings.Contains(got, "delete clusterrolebinding") || !strings.Contains(got, "get clusterrolebinding/system:node") {
		t.Errorf("%s", got)
	}
}

// TestScore: every finding counts once, with the points of its weight, and the severity is that of the thresholds.
func TestScore(t *testing.T) {
	e := newEnricher(t, Options{Thresholds: alert.Thresholds{Low: 1, Medium: 2, High: 3, Critical: 100}})
	a := enriched(t, e, pod(`"x"`, `{"hostPID":true,"containers":[{"name":"a","image":"a:1","securityContext":{"privileged":true}},{"name":"b","image":"b:1","securityContext":{"privileged":true}}]}`))
	sum := 0
	var codes []string
	for _, r := range a.Reasons {
		sum += r.Points
		if slices.Contains(codes, r.Code) {
			t.Errorf("%s counts twice", r.Code)
		}
		codes = append(codes, r.Code)
		if r.Code != alert.ReasonRuleLevel && r.Points != alert.Points(r.Code) || r.Text == "" {
			t.Errorf("%+v", r)
		}
	}
	if a.Score != min(sum, 100) || a.Score != 85 || a.Severity != alert.High {
		t.Errorf("score %d of %v, severity %s", a.Score, codes, a.Severity)
	}
}
