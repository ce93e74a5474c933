package processor

import (
	"maps"
	"slices"
	"strconv"

	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
)

// EventField is a field that occurs in audit events as the API server writes them.
type EventField struct {
	// Name is its path; one that ends in ".*" stands for everything below it.
	Name, Text string
	// Values are all that it can hold, where these are known.
	Values []string
}

// EventFields are the fields of an audit event (audit.k8s.io/v1, Event). What lies in the bodies and annotations is free.
func EventFields() []EventField {
	return []EventField{
		{"kind", "", []string{"Event"}},
		{"apiVersion", "", []string{"audit.k8s.io/v1", "audit.k8s.io/v1beta1", "audit.k8s.io/v1alpha1"}},
		{"level", "how much the audit policy keeps", []string{"None", "Metadata", "Request", "RequestResponse"}},
		{"auditID", "id of the request; a client may choose it", nil},
		{"stage", "a rule that does not name it sees ResponseStarted and ResponseComplete", []string{"RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"}},
		{"requestURI", "path and query as the client sent them", nil},
		{"verb", "for requests that are about no resource, the method in lower case", verbs()},
		{"user", "who authenticated", nil},
		{"user.username", "name of who authenticated; actor.user is the effective one", nil},
		{"user.uid", "uid of that user", nil},
		{"user.groups", "groups of that user", nil},
		{"user.extra.*", "what the authenticator adds, such as authentication.kubernetes.io/credential-id", nil},
		{"impersonatedUser", "as whom they act, if not as themselves", nil},
		{"impersonatedUser.username", "name of that user", nil},
		{"impersonatedUser.uid", "uid of that user", nil},
		{"impersonatedUser.groups", "groups of that user", nil},
		{"impersonatedUser.extra.*", "what the client adds", nil},
		{"authenticationMetadata.*", "how the impersonation was constrained (Kubernetes 1.35)", nil},
		{"sourceIPs", "addresses that the client and its proxies claim; only the last is the peer's", nil},
		{"userAgent", "what the client says it is", nil},
		{"objectRef", "what the request is about; absent where it is about no resource", nil},
		{"objectRef.resource", "plural, in lower case: pods, deployments …", nil},
		{"objectRef.subresource", "exec, log, status, scale, binding, token …", nil},
		{"objectRef.namespace", "absent for what is in no namespace, and for requests about all", nil},
		{"objectRef.name", "absent for lists, and where the server makes the name", nil},
		{"objectRef.uid", "rarely there; responseObject.metadata.uid has it", nil},
		{"objectRef.apiGroup", "absent for the core group", nil},
		{"objectRef.apiVersion", "version of the API group: v1, v1beta1 …", nil},
		{"objectRef.resourceVersion", "rarely there", nil},
		{"responseStatus", "the answer; absent before there is one", nil},
		{"responseStatus.code", "status code of HTTP", codes()},
		{"responseStatus.status", "", []string{"Success", "Failure"}},
		{"responseStatus.message", "why it failed, in words", nil},
		{"responseStatus.reason", "why it failed: Forbidden, AlreadyExists …", nil},
		{"responseStatus.details.*", "what the failure is about", nil},
		{"responseStatus.metadata.*", "empty as a rule", nil},
		{"requestObject.*", "what the client sent, from level Request on", nil},
		{"responseObject.*", "what the server answered, at level RequestResponse", nil},
		{"requestReceivedTimestamp", "when the request came", nil},
		{"stageTimestamp", "when this stage was reached", nil},
		{"annotations.*", "authorization.k8s.io/decision, authorization.k8s.io/reason, and those of admission", nil},
		{"annotations.authorization.k8s.io/decision", "", []string{"allow", "forbid"}},
		{"annotations.audit.k8s.io/truncated", "", []string{"true"}},
	}
}

// verbs are those of resources, and the methods of other requests in lower case.
func verbs() []string {
	return []string{
		"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection",
		"head", "options", "post", "put", "trace", "connect",
	}
}

// codes are the status codes of HTTP (RFC 9110, section 15), as text.
func codes() []string {
	list := make([]string, 0, 500)
	for c := 100; c < 600; c++ {
		list = append(list, strconv.Itoa(c))
	}
	return list
}

// computedValues are those of computed fields, where they are known.
func computedValues() map[string][]string {
	outcomes := []audit.Outcome{audit.Created, audit.Unknown, audit.Refused, audit.Changed, audit.Observed}
	actors := []audit.ActorType{audit.User, audit.ServiceAccount, audit.Node, audit.System, audit.Anonymous}
	flag := []string{"true", "false"}
	v := map[string][]string{
		"outcome":                 texts(outcomes),
		"actor.type":              texts(actors),
		"grant.decision":          {"allow", "forbid"},
		"grant.binding_kind":      {"RoleBinding", "ClusterRoleBinding"},
		"grant.role_kind":         {"Role", "ClusterRole"},
		"grant.subject_kind":      {"User", "Group", "ServiceAccount"},
		"workload.container.type": {"container", "init", "ephemeral"},
	}
	for _, name := range []string{
		"dry_run", "truncated", "actor.impersonated", "workload.controlled", "workload.privileged",
		"workload.allow_privilege_escalation", "workload.run_as_non_root", "workload.host_network", "workload.host_pid",
		"workload.host_ipc", "workload.automount_token",
	} {
		v[name] = flag
	}
	return v
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// Vocabulary is what rules can speak of: the fields of an audit event, the computed ones, and the aliases, with the
// values that are known. A rule that names anything else never matches.
func Vocabulary(aliases map[string][]string) rules.Vocabulary {
	v := rules.Vocabulary{Values: computedValues()}
	for _, f := range EventFields() {
		v.Fields = append(v.Fields, f.Name)
		if f.Values != nil {
			v.Values[f.Name] = f.Values
		}
	}
	for _, d := range audit.FieldDocs() {
		v.Fields = append(v.Fields, d.Name)
	}
	v.Fields = append(v.Fields, slices.Sorted(maps.Keys(aliases))...)
	return v
}
