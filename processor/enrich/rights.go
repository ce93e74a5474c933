package enrich

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// Snapshot is what RBAC allowed in a cluster when it was taken:
//
//	kubectl get clusterroles,clusterrolebindings,roles,rolebindings -A -o json
//
// What it says is never written to again; it is safe for concurrent use.
type Snapshot struct {
	// byAccount and byGroup hold the bindings of each service account ("namespace/name") and group.
	byAccount map[string][]boundRole
	byGroup   map[string][]boundRole
	// found keeps the rights that were worked out before, by account. It cannot outgrow the snapshot: accounts without a
	// binding of their own share the entry of their namespace, or that of all.
	found sync.Map
}

// boundRole is a role as one binding gives it.
type boundRole struct {
	role, binding string
	// scope is "cluster" or a namespace.
	scope string
	rules []rbacv1.PolicyRule
	// missing: the snapshot does not hold the role.
	missing bool
}

// maxSnapshot is the largest snapshot that is read, in bytes: 256 MiB, some 200,000 bindings.
const maxSnapshot = 256 << 20

// scopeCluster is the scope of a ClusterRoleBinding.
const scopeCluster = "cluster"

// ParseSnapshot reads the List that kubectl prints. Objects of other kinds are left out. A binding to a role that is not
// in the list gives nothing, as in the cluster. A list without any role or binding is refused: it is something else.
func ParseSnapshot(data []byte) (*Snapshot, error) {
	if len(data) > maxSnapshot {
		return nil, fmt.Errorf("the snapshot has %d bytes, at most %d are read", len(data), maxSnapshot)
	}
	var whole struct {
		Kind  string            `json:"kind"`
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, fmt.Errorf("expected the JSON list that kubectl get clusterroles,clusterrolebindings,roles,rolebindings -A -o json prints: %w", err)
	}
	roles := map[string][]rbacv1.PolicyRule{}
	var bindings []json.RawMessage
	for i, item := range whole.Items {
		var role struct {
			Kind     string            `json:"kind"`
			Metadata metav1.ObjectMeta `json:"metadata"`
			// Rules are decoded for roles only.
			Rules json.RawMessage `json:"rules"`
		}
		if err := json.Unmarshal(item, &role); err != nil {
			return nil, fmt.Errorf("item %d of the list: %w", i, err)
		}
		switch role.Kind {
		case "ClusterRole", "Role":
			var rules []rbacv1.PolicyRule
			if len(role.Rules) > 0 {
				if err := json.Unmarshal(role.Rules, &rules); err != nil {
					return nil, fmt.Errorf("item %d of the list, %s %s: rules: %w", i, role.Kind, role.Metadata.Name, err)
				}
			}
			roles[roleKey(role.Kind, role.Metadata.Namespace, role.Metadata.Name)] = rules
		case "ClusterRoleBinding", "RoleBinding":
			bindings = append(bindings, item)
		}
	}
	if len(roles)+len(bindings) == 0 {
		return nil, fmt.Errorf("expected the list that kubectl get clusterroles,clusterrolebindings,roles,rolebindings -A -o json prints, got kind %q with %d items, none of them a role or a binding", whole.Kind, len(whole.Items))
	}
	s := &Snapshot{byAccount: map[string][]boundRole{}, byGroup: map[string][]boundRole{}}
	for _, item := range bindings {
		var b rbacv1.RoleBinding // a ClusterRoleBinding has the same fields
		if err := json.Unmarshal(item, &b); err != nil {
			return nil, fmt.Errorf("a binding of the list: %w", err)
		}
		s.bind(&b, roles)
	}
	return s, nil
}

func roleKey(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

func (s *Snapshot) bind(b *rbacv1.RoleBinding, roles map[string][]rbacv1.PolicyRule) {
	bound := boundRole{role: b.RoleRef.Kind + "/" + b.RoleRef.Name, binding: "ClusterRoleBinding/" + b.Name, scope: scopeCluster}
	roleNamespace := ""
	if b.Namespace != "" {
		bound.binding, bound.scope = "RoleBinding/"+b.Namespace+"/"+b.Name, b.Namespace
		if b.RoleRef.Kind == "Role" {
			roleNamespace = b.Namespace
			bound.role = "Role/" + b.Namespace + "/" + b.RoleRef.Name
		}
	}
	rules, ok := roles[roleKey(b.RoleRef.Kind, roleNamespace, b.RoleRef.Name)]
	bound.rules, bound.missing = rules, !ok
	for _, subject := range b.Subjects {
		switch subject.Kind {
		case rbacv1.ServiceAccountKind:
			namespace := subject.Namespace
			if namespace == "" {
				namespace = b.Namespace
			}
			key := namespace + "/" + subject.Name
			s.byAccount[key] = append(s.byAccount[key], bound)
		case rbacv1.GroupKind:
			s.byGroup[subject.Name] = append(s.byGroup[subject.Name], bound)
		case rbacv1.UserKind:
			if account, ok := strings.CutPrefix(subject.Name, "system:serviceaccount:"); ok {
				key := strings.Replace(account, ":", "/", 1)
				s.byAccount[key] = append(s.byAccount[key], bound)
			}
		}
	}
}

// rolesOf lists what a service account is bound to, by itself and by the groups every service account is in.
func (s *Snapshot) rolesOf(namespace, name string) []boundRole {
	var all []boundRole
	all = append(all, s.byAccount[namespace+"/"+name]...)
	for _, group := range []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"} {
		all = append(all, s.byGroup[group]...)
	}
	return all
}

// everythingCode is the code of the right that holds all others.
const everythingCode = "everything"

// dangerousRight is a right that leads further: to secrets, to other workloads, to other identities.
type dangerousRight struct {
	code, text string
	// any of these rules is enough.
	any []rbacv1.PolicyRule
}

func rule(verb, group, resource string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}}
}

func dangerousRights() []dangerousRight {
	const rbac = "rbac.authorization.k8s.io"
	return []dangerousRight{
		{everythingCode, "may do everything", []rbacv1.PolicyRule{rule("*", "*", "*")}},
		{"read_secrets", "may read Secrets", []rbacv1.PolicyRule{rule("get", "", "secrets"), rule("list", "", "secrets"), rule("watch", "", "secrets")}},
		{"exec", "may run commands in Pods", []rbacv1.PolicyRule{rule("create", "", "pods/exec"), rule("get", "", "pods/exec"), rule("create", "", "pods/attach"), rule("update", "", "pods/ephemeralcontainers"), rule("patch", "", "pods/ephemeralcontainers")}},
		{"create_pods", "may create Pods, and so run as any service account of the namespace", []rbacv1.PolicyRule{
			rule("create", "", "pods"), rule("create", "apps", "deployments"), rule("create", "apps", "daemonsets"), rule("create", "apps", "statefulsets"),
			rule("create", "apps", "replicasets"), rule("create", "batch", "jobs"), rule("create", "batch", "cronjobs"), rule("create", "", "replicationcontrollers"),
		}},
		{"change_pods", "may change what workloads run", []rbacv1.PolicyRule{
			rule("patch", "apps", "deployments"), rule("update", "apps", "deployments"), rule("patch", "apps", "daemonsets"), rule("update", "apps", "daemonsets"),
			rule("patch", "apps", "statefulsets"), rule("update", "apps", "statefulsets"), rule("patch", "batch", "cronjobs"), rule("update", "batch", "cronjobs"),
		}},
		{"impersonate", "may act as other users, groups or service accounts", []rbacv1.PolicyRule{rule("impersonate", "", "users"), rule("impersonate", "", "groups"), rule("impersonate", "", "serviceaccounts")}},
		{"escalate", "may give roles rights that it does not have", []rbacv1.PolicyRule{rule("escalate", rbac, "clusterroles"), rule("escalate", rbac, "roles")}},
		{"bind", "may bind roles that it does not have", []rbacv1.PolicyRule{rule("bind", rbac, "clusterroles"), rule("bind", rbac, "roles")}},
		{"change_rbac", "may create or change bindings", []rbacv1.PolicyRule{
			rule("create", rbac, "clusterrolebindings"), rule("patch", rbac, "clusterrolebindings"), rule("update", rbac, "clusterrolebindings"),
			rule("create", rbac, "rolebindings"), rule("patch", rbac, "rolebindings"), rule("update", rbac, "rolebindings"),
		}},
		{"node_proxy", "may reach the kubelets past the API server's audit log", []rbacv1.PolicyRule{rule("get", "", "nodes/proxy"), rule("create", "", "nodes/proxy")}},
		{"issue_tokens", "may issue tokens of service accounts", []rbacv1.PolicyRule{rule("create", "", "serviceaccounts/token")}},
		{"sign_certificates", "may approve certificates of users and nodes", []rbacv1.PolicyRule{rule("update", "certificates.k8s.io", "certificatesigningrequests/approval"), rule("patch", "certificates.k8s.io", "certificatesigningrequests/approval")}},
		{"change_admission", "may change admission webhooks", []rbacv1.PolicyRule{
			rule("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"), rule("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
			rule("update", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"), rule("delete", "admissionregistration.k8s.io", "validatingwebhookconfigurations"),
		}},
	}
}

// rights answers what the service account of the workload may do.
func (e *Enricher) rights(in *Input, a *alert.Alert) error {
	w := a.Workload
	if w == nil {
		return nil
	}
	snapshot := e.snapshot.Load()
	unknown := ""
	switch {
	case w.ServiceAccount == "" && in.Template == nil:
		unknown = "unknown, because " + in.unjudged()
	case w.ServiceAccount == "":
		unknown = "unknown, because the event does not show which one it is"
	case snapshot == nil:
		unknown = "unknown, because no snapshot of the cluster's roles is configured (enrich.rbac_snapshot); the command asks the cluster"
	case e.options.SnapshotCluster != "" && a.Cluster != e.options.SnapshotCluster:
		unknown = "unknown, because the snapshot of roles is that of another cluster (" + e.options.SnapshotCluster + ")"
	}
	if unknown != "" {
		w.Rights = alert.Rights{State: alert.RightsUnknown, Text: unknown}
		return nil
	}
	w.Rights = snapshot.rightsOf(w.Namespace, w.ServiceAccount, e.dangers)
	return nil
}

// rightsOf works the rights out, once per account. The list in what it returns is shared: read only.
func (s *Snapshot) rightsOf(namespace, name string, dangers []dangerousRight) alert.Rights {
	key := namespace + "/" + name
	if len(s.byAccount[key]) == 0 {
		key = namespace + "/"
		if len(s.byGroup["system:serviceaccounts:"+namespace]) == 0 {
			key = ""
		}
	}
	if known, ok := s.found.Load(key); ok {
		return known.(alert.Rights)
	}
	rights := evaluate(s.rolesOf(namespace, name), dangers)
	s.found.Store(key, rights)
	return rights
}

// maxRights bounds the rights that an alert lists: an account may be bound in every namespace.
const maxRights = 40

func evaluate(roles []boundRole, dangers []dangerousRight) alert.Rights {
	found := dangerous(roles, dangers)
	names := map[string]bool{}
	missing := 0
	for i := range roles {
		names[roles[i].role] = true
		if roles[i].missing {
			missing++
		}
	}
	text := fmt.Sprintf("%s in %s, by the snapshot", count(len(names), "role"), count(len(roles), "binding"))
	if missing > 0 {
		text += fmt.Sprintf(" (%s to a role that the snapshot does not hold: what it gives is unknown)", count(missing, "binding"))
	}
	switch n := len(found); {
	case n == 0:
		text += "; none of the rights that lead further"
	case n > maxRights:
		text += fmt.Sprintf("; %d rights that lead further, the first %d listed", n, maxRights)
		found = found[:maxRights]
	}
	return alert.Rights{State: alert.RightsKnown, Text: text, Dangerous: found}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// dangerous lists each dangerous right once per scope, with the first binding that gives it: those of the whole cluster
// first, then by how far they lead. What is allowed on named objects only is told apart.
func dangerous(roles []boundRole, dangers []dangerousRight) []alert.Right {
	var found []alert.Right
	everything := map[string]bool{}
	for _, clusterWide := range [...]bool{true, false} {
		for _, d := range dangers {
			seen := map[string]bool{}
			for i := range roles {
				r := &roles[i]
				if (r.scope == scopeCluster) != clusterWide || seen[r.scope] || everything[r.scope] || everything[scopeCluster] {
					continue
				}
				text := d.text
				if !allows(r.rules, d.any) {
					names := named(r.rules, d.any)
					if len(names) == 0 {
						continue
					}
					text += " (only " + strings.Join(names, ", ") + ")"
				}
				seen[r.scope] = true
				found = append(found, alert.Right{Code: d.code, Scope: r.scope, Role: r.role, Binding: r.binding, Text: text})
			}
			if d.code == everythingCode { // says all the others
				for scope := range seen {
					everything[scope] = true
				}
			}
		}
	}
	return found
}

// allows reports whether the rules cover one of any.
func allows(rules, any []rbacv1.PolicyRule) bool {
	for i := range any {
		if ok, _ := validation.Covers(rules, any[i:i+1]); ok {
			return true
		}
	}
	return false
}

// maxNamed bounds the names that a right lists.
const maxNamed = 5

// named lists the objects that the rules allow one of any on, where they do so by name. A create is never allowed by name,
// since the name is not known then.
func named(rules, any []rbacv1.PolicyRule) []string {
	var names []string
	for i := range rules {
		if len(rules[i].ResourceNames) == 0 {
			continue
		}
		open := rules[i]
		open.ResourceNames = nil
		for j := range any {
			if any[j].Verbs[0] == "create" {
				continue
			}
			if ok, _ := validation.Covers([]rbacv1.PolicyRule{open}, any[j:j+1]); ok {
				names = append(names, rules[i].ResourceNames...)
				break
			}
		}
	}
	if len(names) > maxNamed {
		names = append(names[:maxNamed:maxNamed], "…")
	}
	return names
}
