package enrich

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

const snapshotText = `{"kind":"List","apiVersion":"v1","items":[
{"kind":"ClusterRole","metadata":{"name":"cluster-admin","creationTimestamp":"2026-01-01T00:00:00Z"},"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]},{"verbs":["*"],"nonResourceURLs":["*"]}]},
{"kind":"ClusterRole","metadata":{"name":"secret-reader"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["secrets"]}]},
{"kind":"ClusterRole","metadata":{"name":"one-secret"},"rules":[{"verbs":["get","create"],"apiGroups":[""],"resources":["secrets","pods"],"resourceNames":["db"]}]},
{"kind":"ClusterRole","metadata":{"name":"viewer"},"rules":[{"verbs":["get","list","watch"],"apiGroups":["","apps"],"resources":["pods","deployments"]}]},
{"kind":"Role","metadata":{"name":"exec","namespace":"shop"},"rules":[{"verbs":["create"],"apiGroups":[""],"resources":["pods/exec"]}]},
{"kind":"ClusterRoleBinding","metadata":{"name":"admins"},"roleRef":{"kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"ServiceAccount","namespace":"shop","name":"god"},{"kind":"User","name":"system:serviceaccount:shop:god2"}]},
{"kind":"RoleBinding","metadata":{"name":"readers","namespace":"shop"},"roleRef":{"kind":"ClusterRole","name":"secret-reader"},"subjects":[{"kind":"ServiceAccount","name":"loud"}]},
{"kind":"RoleBinding","metadata":{"name":"named","namespace":"shop"},"roleRef":{"kind":"ClusterRole","name":"one-secret"},"subjects":[{"kind":"ServiceAccount","name":"named","namespace":"shop"}]},
{"kind":"RoleBinding","metadata":{"name":"execs","namespace":"shop"},"roleRef":{"kind":"Role","name":"exec"},"subjects":[{"kind":"ServiceAccount","name":"loud"}]},
{"kind":"RoleBinding","metadata":{"name":"elsewhere","namespace":"other"},"roleRef":{"kind":"Role","name":"exec"},"subjects":[{"kind":"ServiceAccount","name":"lost","namespace":"shop"}]},
{"kind":"ClusterRoleBinding","metadata":{"name":"everybody"},"roleRef":{"kind":"ClusterRole","name":"viewer"},"subjects":[{"kind":"Group","name":"system:serviceaccounts"}]},
{"kind":"ClusterRoleBinding","metadata":{"name":"of-a-namespace"},"roleRef":{"kind":"ClusterRole","name":"secret-reader"},"subjects":[{"kind":"Group","name":"system:serviceaccounts:vault"}]},
{"kind":"ConfigMap","metadata":{"name":"not-a-role"}}
]}`

func TestRights(t *testing.T) {
	s, err := ParseSnapshot([]byte(snapshotText))
	if err != nil {
		t.Fatal(err)
	}
	for account, want := range map[string]struct {
		rights []string
		text   string
	}{
		"shop/god":   {[]string{"everything cluster ClusterRole/cluster-admin ClusterRoleBinding/admins may do everything"}, "2 roles in 2 bindings"},
		"shop/god2":  {[]string{"everything cluster ClusterRole/cluster-admin ClusterRoleBinding/admins may do everything"}, "2 roles in 2 bindings"},
		"shop/loud":  {[]string{"read_secrets shop ClusterRole/secret-reader RoleBinding/shop/readers may read Secrets", "exec shop Role/shop/exec RoleBinding/shop/execs may run commands in Pods"}, "3 roles in 3 bindings"},
		"shop/named": {[]string{"read_secrets shop ClusterRole/one-secret RoleBinding/shop/named may read Secrets (only db)"}, "2 roles"},
		"shop/lost":  {nil, "1 binding to a role that the snapshot does not hold"},
		"shop/quiet": {nil, "1 role in 1 binding, by the snapshot; none of the rights that lead further"},
		"vault/any":  {[]string{"read_secrets cluster ClusterRole/secret-reader ClusterRoleBinding/of-a-namespace may read Secrets"}, "2 roles"},
		"none/any":   {nil, "1 role in 1 binding"},
	} {
		namespace, name, _ := strings.Cut(account, "/")
		for range 2 { // worked out, and remembered
			got := s.rightsOf(namespace, name, dangerousRights())
			var rights []string
			for _, r := range got.Dangerous {
				rights = append(rights, strings.Join([]string{r.Code, r.Scope, r.Role, r.Binding, r.Text}, " "))
			}
			if !slices.Equal(rights, want.rights) || got.State != alert.RightsKnown || !strings.Contains(got.Text, want.text) {
				t.Errorf("%s:\ngot  %q %q\nwant %q %q", account, rights, got.Text, want.rights, want.text)
			}
		}
	}
	// Accounts that nobody bound share what is remembered: names that somebody makes up cost nothing.
	for i := range 1000 {
		s.rightsOf(fmt.Sprint("n", i), "x", dangerousRights())
	}
	n := 0
	s.found.Range(func(any, any) bool { n++; return true })
	if n > 8 {
		t.Errorf("%d entries are remembered", n)
	}
}

// TestEachDangerousRight: a role with exactly one of its rules has the right, and one with another verb has not.
func TestEachDangerousRight(t *testing.T) {
	for _, d := range dangerousRights() {
		for _, r := range d.any {
			got := dangerous([]boundRole{{role: "r", binding: "b", scope: "shop", rules: slices.Clone(d.any[:0:0])}}, dangerousRights())
			if len(got) > 0 {
				t.Fatalf("no rule gives %v", got)
			}
			roles := []boundRole{{role: "r", binding: "b", scope: "shop"}}
			roles[0].rules = append(roles[0].rules, r)
			if got := dangerous(roles, dangerousRights()); len(got) != 1 || got[0].Code != d.code {
				t.Errorf("%v gives %v, want %s", r, got, d.code)
			}
			harmless := r.DeepCopy()
			harmless.Verbs = []string{"deletecollection"}
			roles[0].rules[0] = *harmless
			if got := dangerous(roles, dangerousRights()); d.code != everythingCode && len(got) > 0 {
				t.Errorf("%v gives %v", harmless, got)
			}
		}
	}
}

func TestManyRights(t *testing.T) {
	var roles []boundRole
	for i := range 200 {
		roles = append(roles, boundRole{role: "r", binding: fmt.Sprint("b", i), scope: fmt.Sprint("n", i), rules: dangerousRights()[1].any})
	}
	roles = append(roles, boundRole{role: "c", binding: "last", scope: scopeCluster, rules: dangerousRights()[2].any})
	got := evaluate(roles, dangerousRights())
	if len(got.Dangerous) != maxRights || got.Dangerous[0].Scope != scopeCluster || !strings.Contains(got.Text, "201 rights that lead further, the first 40 listed") {
		t.Errorf("%d rights, the first %+v: %s", len(got.Dangerous), got.Dangerous[0], got.Text)
	}
}

func TestSnapshotRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"not JSON":     {"apiVersion: v1", "expected the JSON list"},
		"another list": {`{"kind":"PodList","items":[{"kind":"Pod"}]}`, `got kind "PodList" with 1 items`},
		"empty":        {`{}`, "none of them a role"},
		"bad rules":    {`{"items":[{"kind":"Role","metadata":{"name":"x"},"rules":"all"}]}`, "item 0 of the list, Role x"},
		"bad item":     {`{"items":[7]}`, "item 0"},
	} {
		if _, err := ParseSnapshot([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestRightsUnknown: no snapshot, that of another cluster, and an unknown account are told apart.
func TestRightsUnknown(t *testing.T) {
	s, err := ParseSnapshot([]byte(snapshotText))
	if err != nil {
		t.Fatal(err)
	}
	whole := pod(`"x"`, `{"containers":[{"name":"a"}]}`)
	cut := whole[:strings.Index(whole, `"responseObject"`)] + whole[strings.Index(whole, `"requestReceivedTimestamp"`):]
	for name, c := range map[string]struct {
		cluster, event, want string
		snapshot             *Snapshot
	}{
		"none":    {"", whole, "no snapshot", nil},
		"another": {"prod", whole, "another cluster (prod)", s},
		"account": {"", cut, "does not show the object", s},
	} {
		e := newEnricher(t, Options{SnapshotCluster: c.cluster})
		e.SetSnapshot(c.snapshot)
		a := enriched(t, e, c.event)
		if r := a.Workload.Rights; r.State != alert.RightsUnknown || !strings.HasPrefix(r.Text, "unknown, because") || !strings.Contains(r.Text, c.want) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestSnapshotSwap swaps the snapshot while alerts are enriched; the race detector looks on.
func TestSnapshotSwap(t *testing.T) {
	s, err := ParseSnapshot([]byte(snapshotText))
	if err != nil {
		t.Fatal(err)
	}
	e, m := newEnricher(t, Options{}), newModel(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 50 {
				v := view(t, m, pod(`"x"`, `{"containers":[{"name":"a"}],"serviceAccountName":"loud"}`))
				a := base(v, "x")
				e.Enrich(v, a)
				if got := len(a.Workload.Rights.Dangerous); got != 0 && got != 2 {
					t.Errorf("%d rights", got)
				}
				if i%2 == 0 {
					e.SetSnapshot(s)
				} else {
					e.SetSnapshot(nil)
				}
			}
		})
	}
	wg.Wait()
}
