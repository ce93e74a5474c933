package enrich

import (
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// target is what commands are about.
type target struct {
	// resource is as kubectl takes it: RESOURCE.GROUP, also for one whose kind it does not know. "" where it is none.
	resource, namespace string
	// name is "" where it is unknown, and for what was refused: there is nothing of that name to look at.
	name string
	// exists is false for what was refused.
	exists bool
}

func targetOf(a *alert.Alert) target {
	o := &a.Request.Object
	t := target{resource: resourceName(o), namespace: o.Namespace, name: o.Name, exists: a.Outcome != alert.Refused}
	if w := a.Workload; w != nil {
		t.namespace, t.name = w.Namespace, w.Name
	}
	if !t.exists || !isName253(t.name) {
		t.name = ""
	}
	if !isName253(t.namespace) {
		t.namespace = ""
	}
	return t
}

// resourceName is "" for what no API serves: whoever asks for /api/v1/--kubeconfig=x gets that into the audit log, but not
// into a command.
func resourceName(o *alert.Object) string {
	name := o.Resource
	if o.Group != "" {
		name += "." + o.Group
	}
	if !isName253(name) {
		return ""
	}
	return name
}

// isName253 tells names that the API server accepts for workloads, nodes and namespaces (RFC 1123 subdomains), which
// resources are as well.
func isName253(name string) bool {
	if name == "" || len(name) > 253 || name[0] == '-' || name[0] == '.' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// kubectl begins a command in the namespace of the target.
func (t target) kubectl(words ...string) string {
	if t.resource == "" {
		return ""
	}
	start := []string{"kubectl"}
	if t.namespace != "" {
		start = append(start, "--namespace="+t.namespace)
	}
	return command(append(start, words...)...)
}

// operand is TYPE/NAME, in which a name is never taken for a flag.
func (t target) operand() string { return t.resource + "/" + t.name }

// known: there is an object of that name to look at.
func (t target) known() bool { return t.resource != "" && t.name != "" }

// newest lists what was made last, for objects whose name the event does not tell.
func (t target) newest() string {
	return t.kubectl("get", t.resource, "--sort-by=.metadata.creationTimestamp", "--output=wide")
}

// look describes the object, compares it with what was applied last, and shows what its containers print.
func (t target) look(a *alert.Alert) string {
	if !t.known() {
		return t.newest()
	}
	all := []string{t.kubectl("describe", t.operand())}
	w := a.Workload
	if w == nil && t.resource != "pods" {
		return all[0]
	}
	all = append(all, t.kubectl("logs", t.operand(), "--all-containers=true", "--prefix=true", "--tail=200"))
	if w != nil && w.Kind != "Pod" && !w.Controlled {
		all = append(all, t.kubectl("apply", "view-last-applied", t.operand(), "--output=json")+" | kubectl diff --filename=-")
	}
	return strings.Join(all, "; ")
}

func (t target) events() string {
	if !t.known() {
		return t.kubectl("events")
	}
	return t.kubectl("events", "--for="+t.operand())
}

// policy asks the API server which Pods of the namespace would break the restricted level; nothing is changed.
func (t target) policy() string {
	if t.namespace == "" {
		return ""
	}
	return command("kubectl", "label", "--dry-run=server", "--overwrite", "namespace/"+t.namespace, "pod-security.kubernetes.io/enforce=restricted")
}

func (t target) network() string {
	return t.kubectl("get", "services,endpointslices,networkpolicies,ingresses", "--output=wide")
}

func (t target) rights(a *alert.Alert) string {
	if w := a.Workload; w != nil && w.ServiceAccount != "" {
		return t.kubectl("auth", "can-i", "--list", "--as=system:serviceaccount:"+w.Namespace+":"+w.ServiceAccount)
	}
	if a.Actor.User == "" {
		return ""
	}
	return t.kubectl(append([]string{"auth", "can-i", "--list"}, asActor(a)...)...)
}

// maxGroups bounds the groups that a command names.
const maxGroups = 20

// asActor acts as the effective user. Of groups, the server adds those of service accounts and of everybody by itself.
func asActor(a *alert.Alert) []string {
	flags := []string{"--as=" + a.Actor.User}
	if a.Actor.Type == alert.ServiceAccount {
		return flags
	}
	for i, g := range a.Actor.Groups {
		if i < maxGroups && g != "system:authenticated" && g != "system:unauthenticated" {
			flags = append(flags, "--as-group="+g)
		}
	}
	return flags
}

func (t target) owners() string {
	if t.namespace == "" {
		return ""
	}
	return command("kubectl", "get", "namespace/"+t.namespace, "--output=yaml")
}
