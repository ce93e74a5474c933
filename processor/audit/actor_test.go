package audit

import (
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

func TestActors(t *testing.T) {
	for _, c := range []struct {
		name      string
		kind      ActorType
		ns, local string
	}{
		{"alice", User, "", ""},
		{"system:serviceaccount:ns:sa", ServiceAccount, "ns", "sa"},
		{"system:serviceaccount:ns:", System, "", ""},
		{"system:serviceaccount:ns", System, "", ""},
		{"system:serviceaccount::sa", System, "", ""},
		{"system:node:n1", Node, "", ""},
		{"system:node:", System, "", ""},
		{"system:kube-scheduler", System, "", ""},
		{"system:anonymous", Anonymous, "", ""},
		{"anonymous", User, "", ""},
		{"", Anonymous, "", ""},
		{"systemd", User, "", ""},
	} {
		if kind, ns, local := classify(c.name); kind != c.kind || ns != c.ns || local != c.local {
			t.Errorf("%q: %s %q %q, want %+v", c.name, kind, ns, local, c)
		}
	}
}

func TestImpersonation(t *testing.T) {
	for _, c := range []struct {
		user, impersonated string
		name, by           string
		is                 bool
	}{
		{`{"username":"a"}`, ``, "a", "", false},
		{`{"username":"a"}`, `null`, "a", "", false},
		{`{"username":"a"}`, `{"username":"b"}`, "b", "a", true},
		{`{"username":"a"}`, `{}`, "a", "a", true},
		{`{"username":"a","username":"z"}`, `{"username":"b","username":"y"}`, "b", "a", true},
		{`{}`, ``, "", "", false},
		{`[]`, `7`, "", "", true},
	} {
		var a Actor
		a.read(c.user, c.impersonated, new(arena))
		if a.Name != c.name || a.ImpersonatedBy.Name != c.by || a.Impersonated != c.is {
			t.Errorf("%s %s: %+v", c.user, c.impersonated, a)
		}
	}
}

func TestGrants(t *testing.T) {
	for _, c := range []struct{ reason, want string }{
		{`RBAC: allowed by RoleBinding "devs/team-a" of ClusterRole "edit" to User "alice"`, "RoleBinding|devs|team-a|ClusterRole|edit|User|alice|team-a"},
		{`RBAC: allowed by RoleBinding "r/ns" of Role "x" to Group "dev team"`, "RoleBinding|r|ns|Role|x|Group|dev team|ns"},
		{`RBAC: allowed by ClusterRoleBinding "cluster-admin" of ClusterRole "cluster-admin" to Group "system:masters"`, "ClusterRoleBinding|cluster-admin||ClusterRole|cluster-admin|Group|system:masters|cluster"},
		{`RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "system:controller:job-controller" to ServiceAccount "job-controller/kube-system"`, "ClusterRoleBinding|b||ClusterRole|system:controller:job-controller|ServiceAccount|kube-system/job-controller|cluster"},
		{`RBAC: allowed by RoleBinding "a/b" of Role "r" to User "o\"hare\\ \u00e9\t" and more`, "RoleBinding|a|b|Role|r|User|o\"hare\\ é\t|b"},
		{`EKS Access Policy: allowed by ClusterRoleBinding "arn:aws:eks::aws:policy/Admin+arn" of ClusterRole "arn:x" to User "AROA:me"`, "ClusterRoleBinding|arn:aws:eks::aws:policy/Admin+arn||ClusterRole|arn:x|User|AROA:me|cluster"},
		{`access granted by IAM permissions.`, ""},
		{`no relationship found between node 'node-1' and this object`, ""},
		{`RBAC: allowed by RoleBinding "a/b" of Role "r" to User alice`, ""},
		{`RBAC: allowed by RoleBinding "a/b" of Role "r`, ""},
		{`RBAC: allowed by Something "a/b" of Role "r" to User "x"`, ""},
		{`RBAC: allowed by RoleBinding 'a' of Role "r" to User "x"`, ""},
		{"RBAC: allowed by RoleBinding `a` of Role \"r\" to User \"x\"", ""},
		{`RBAC: allowed by RoleBinding "a/b" to User "x"`, ""},
		{`allowed by `, ""},
		{``, ""},
	} {
		var g Grant
		g.read(`{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":`+jsonText(c.reason)+`}`, new(arena))
		got := strings.Join([]string{g.BindingKind, g.Binding, g.BindingNamespace, g.RoleKind, g.Role, g.SubjectKind, g.Subject, g.Scope}, "|")
		if !g.Known {
			if got != "|||||||" {
				t.Errorf("%s: unknown, but %s", c.reason, got)
			}
			got = ""
		}
		if got != c.want || g.Reason != c.reason || g.Decision != "allow" {
			t.Errorf("%s: %+v, want %s", c.reason, g, c.want)
		}
	}
}

func jsonText(s string) string { return string(gjson.AppendJSONString(nil, s)) }

// TestGrantsOfTheLogs: every reason that RBAC wrote is understood, and put together again it is the same.
func TestGrantsOfTheLogs(t *testing.T) {
	m := newModel(t)
	for _, policy := range policies {
		known := 0
		var v View
		for i, line := range corpus(t, policy) {
			if err := m.Read(line, &v); err != nil {
				t.Fatal(err)
			}
			g := v.Grant
			if g.Known != strings.HasPrefix(g.Reason, "RBAC: allowed by") {
				t.Fatalf("%s line %d: %+v", policy, i+1, g)
			}
			if !g.Known {
				continue
			}
			known++
			binding, subject := g.Binding, g.Subject
			if g.BindingKind == "RoleBinding" {
				binding += "/" + g.BindingNamespace
			}
			if g.SubjectKind == "ServiceAccount" {
				namespace, name, _ := strings.Cut(subject, "/")
				subject = name + "/" + namespace
				if v.Actor.Type != ServiceAccount || v.Actor.Account != name || v.Actor.Namespace != namespace {
					t.Errorf("%s line %d: grant to %s, actor %s", policy, i+1, g.Subject, v.Actor.Name)
				}
			}
			again := "RBAC: allowed by " + g.BindingKind + " " + strconv.Quote(binding) + " of " + g.RoleKind + " " + strconv.Quote(g.Role) + " to " + g.SubjectKind + " " + strconv.Quote(subject)
			if again != g.Reason {
				t.Fatalf("%s line %d: %s, want %s", policy, i+1, again, g.Reason)
			}
		}
		if known < 2000 {
			t.Errorf("%s: only %d grants", policy, known)
		}
	}
}
