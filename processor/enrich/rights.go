package enrich

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// Snapshot is what RBAC allowed in a cluster when it was taken:
//
//	kubectl get clusterroles,clusterrolebindings,roles,rolebindings -A -o json
//
// It is immutable.
type Snapshot struct {
	// bySubject holds the bindings of each service account ("namespace/name") and group.
	byAccount map[string][]boundRole
	byGroup   map[string][]boundRole
	bindings  int
}

// boundRole is a role as one binding gives it.
type boundRole struct {
	role, binding string
	// scope is "cluster" or a namespace.
	scope string
	rules []rbacv1.PolicyRule
}

// scopeCluster is the scope of a ClusterRoleBinding.
const scopeCluster = "cluster"

// ParseSnapshot reads the List that kubectl prints. Objects of other kinds are left out. A binding to a role that is not
// in the list gives nothing, as in the cluster.
func ParseSnapshot(data []byte) (*Snapshot, error) {
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("expected the JSON list that kubectl get … -o json prints: %w", err)
	}
	roles := map[string][]rbacv1.PolicyRule{}
	var bindings []json.RawMessage
	for i, item := range list.Items {
		var role struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Name, Namespace string
			} `json:"metadata"`
			Rules []rbacv1.PolicyRule `json:"rules"`
		}
		if err := json.Unmarshal(item, &role); err != nil {
			return nil, fmt.Errorf("item %d of the list: %w", i, err)
		}
		switch role.Kind {
		case "ClusterRole", "Role":
			roles[roleKey(role.Kind, role.Metadata.Namespace, role.Metadata.Name)] = role.Rules
		case "ClusterRoleBinding", "RoleBinding":
			bindings = append(bindings, item)
		}
	}
	s := &Snapshot{byAccount: map[string][]boundRole{}, byGroup: map[string][]boundRole{}, bindings: len(bindings)}
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
		}
	}
	bound.rules = roles[roleKey(b.RoleRef.Kind, roleNamespace, b.RoleRef.Name)]
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
		{"everything", "may do everything", []rbacv1.PolicyRule{rule("*", "*", "*")}},
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
func (e *Enricher) rights(_ *Input, a *alert.Alert) error {
	w := a.Workload
	if w == nil {
		return nil
	}
	snapshot := e.snapshot.Load()
	switch {
	case w.ServiceAccount == "":
		w.Rights = alert.Rights{State: alert.RightsUnknown, Text: "unknown, because the event does not show which service account it runs as"}
		return nil
	case snapshot == nil:
		w.Rights = alert.Rights{State: alert.RightsUnknown, Text: "unknown, because no snapshot of the cluster's roles is configured (enrich.rbac_snapshot)"}
		return nil
	}
	roles := snapshot.rolesOf(w.Namespace, w.ServiceAccount)
	found := e.dangerous(roles)
	names := map[string]bool{}
	for i := range roles {
		names[roles[i].role] = true
	}
	text := fmt.Sprintf("%d roles in %d bindings, by the snapshot", len(names), len(roles))
	if len(found) == 0 {
		text += "; none of the rights that lead further"
	}
	w.Rights = alert.Rights{State: alert.RightsKnown, Text: text, Dangerous: found}
	return nil
}

// dangerous lists each dangerous right once per scope, with the first binding that gives it.
func (e *Enricher) dangerous(roles []boundRole) []alert.Right {
	var found []alert.Right
	seen := map[string]bool{}
	for i := range roles {
		r := &roles[i]
		for _, d := range e.dangers {
			key := d.code + "\x00" + r.scope
			if seen[key] || !allows(r.rules, d.any) {
				continue
			}
			seen[key] = true
			found = append(found, alert.Right{Code: d.code, Scope: r.scope, Role: r.role, Binding: r.binding, Text: d.text})
			if d.code == "everything" {
				break // it says all the others
			}
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].Scope == scopeCluster && found[j].Scope != scopeCluster })
	return found
}

func allows(rules, any []rbacv1.PolicyRule) bool {
	for i := range any {
		if ok, _ := validation.Covers(rules, any[i:i+1]); ok {
			return true
		}
	}
	return false
}
