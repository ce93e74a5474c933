package enrich

import (
	"slices"
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
)

// contain is step 1: stop it, keep it from the network, revoke what made it possible.
func (e *Enricher) contain(r *responses, in *Input, t target, a *alert.Alert) {
	w := a.Workload
	switch {
	case w == nil || !t.exists:
	case t.known():
		root := t.root(w)
		if root == t.operand() {
			r.add(1, "Stop it", t.stop(root, w.Kind))
		} else {
			r.add(1, "Stop "+root+", which would make it anew", t.stop(root, w.Root.Kind))
		}
		r.add(1, "Cut it off from the network, and keep it for a look", t.quarantine(in, a, w))
		r.add(1, "Delete "+root+" with everything that it owns", t.kubectl("delete", root, "--cascade=foreground"))
		if isName253(w.NodeName) {
			r.add(1, "Let nothing new onto its node", command("kubectl", "cordon", "--", w.NodeName))
		}
	default:
		r.add(1, "Find it: the event does not tell its name", t.newest())
	}
	revokeGrant(r, &a.Actor.Grant)
	if a.Actor.Type == alert.ServiceAccount {
		r.add(1, "Revoke the tokens of "+a.Actor.User+", which made the request (all who run as it lose theirs)", revokeTokens(a.Actor.User))
	}
	if w != nil && w.ServiceAccount != "" && t.exists {
		user := "system:serviceaccount:" + w.Namespace + ":" + w.ServiceAccount
		if user != a.Actor.User {
			r.add(1, "Revoke the tokens of "+user+", as which it runs (all who run as it lose theirs)", revokeTokens(user))
		}
	}
}

// root is the topmost owner, since what is deleted below it comes back. An owner counts only where its controller made the
// object: everybody can write an ownerReference, and so have somebody else's Deployment deleted.
func (t target) root(w *alert.Workload) string {
	if !w.Controlled || !isKind(w.Root.Kind) || !isName253(w.Root.Name) {
		return t.operand()
	}
	return strings.ToLower(w.Root.Kind) + "/" + w.Root.Name
}

// isKind tells the kinds of Kubernetes from what somebody wrote into an ownerReference.
func isKind(kind string) bool {
	if kind == "" || len(kind) > 63 {
		return false
	}
	for i := range len(kind) {
		if c := kind[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// stop ends it in a way that can be taken back, where the kind has one. A Pod is not forced: that only forgets it while its
// processes go on.
func (t target) stop(operand, kind string) string {
	switch kind {
	case "Deployment", "StatefulSet", "ReplicaSet", "ReplicationController":
		return t.kubectl("scale", operand, "--replicas=0")
	case "CronJob", "Job":
		return t.kubectl("patch", operand, "--type=merge", `--patch={"spec":{"suspend":true}}`)
	case "DaemonSet":
		return t.kubectl("patch", operand, "--type=merge", `--patch={"spec":{"template":{"spec":{"nodeSelector":{"spawnwatch.io/stopped":"true"}}}}}`)
	case "Pod":
		return t.kubectl("delete", operand, "--now")
	default:
		return ""
	}
}

const quarantineLabel = "spawnwatch.io/quarantine"

// quarantine applies a NetworkPolicy (networking.k8s.io/v1) that lets nothing in or out: of a Pod by a label of its own, of
// other kinds by the labels of their Pods. It does not hold what uses the network of its node.
func (t target) quarantine(in *Input, a *alert.Alert, w *alert.Workload) string {
	if a.Network.HostNetwork == alert.True || t.namespace == "" {
		return ""
	}
	if w.Kind == "Pod" {
		isolate := apply(t.isolation("spawnwatch-quarantine", map[string]string{quarantineLabel: "true"}))
		label := t.kubectl("label", "--overwrite", t.operand(), quarantineLabel+"=true")
		if isolate == "" || label == "" {
			return ""
		}
		return label + " && " + isolate
	}
	if in.Template == nil || len(in.Template.Labels) == 0 {
		return ""
	}
	return apply(t.isolation("spawnwatch-quarantine-"+a.ID, labelMap(in.Template.Labels)))
}

func labelMap(labels []audit.Label) map[string]string {
	all := make(map[string]string, len(labels))
	for _, l := range slices.Backward(labels) { // the first of equal keys wins
		all[l.Key] = l.Value
	}
	return all
}

// networkPolicy is as much of one as is needed to isolate Pods: no rule allows anything.
type networkPolicy struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       struct {
		PodSelector selector `json:"podSelector"`
		PolicyTypes []string `json:"policyTypes"`
	} `json:"spec"`
}

type metadata struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

type selector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

func (t target) isolation(name string, labels map[string]string) *networkPolicy {
	p := &networkPolicy{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Metadata: metadata{Name: name, Namespace: t.namespace}}
	p.Spec.PodSelector.MatchLabels, p.Spec.PolicyTypes = labels, []string{"Ingress", "Egress"}
	return p
}

// apply is a command that applies an object, written as one line of JSON.
func apply(object any) string {
	text, err := line(object)
	if err != nil {
		return ""
	}
	return pipe(command("printf", "%s", text), "kubectl apply --filename=-")
}

// revokeGrant takes the subject out of the very binding that allowed the request, or deletes the binding. Bindings that
// belong to Kubernetes are only shown: without them the cluster stops working.
func revokeGrant(r *responses, g *alert.Grant) {
	if !g.Known || g.Binding == "" {
		return
	}
	in, binding := []string{"kubectl"}, "clusterrolebinding/"+g.Binding
	if g.BindingNamespace != "" {
		in, binding = append(in, "--namespace="+g.BindingNamespace), "rolebinding/"+g.Binding
	}
	get := command(append(in, "get", binding, "--output=json")...)
	if strings.HasPrefix(g.Binding, "system:") {
		r.add(1, "Look at the binding that allowed it (a part of Kubernetes: do not delete it)", get)
		return
	}
	name, namespace := g.Subject, ""
	if g.SubjectKind == "ServiceAccount" {
		if ns, account, ok := strings.Cut(g.Subject, "/"); ok {
			namespace, name = ns, account
		}
	}
	const filter = `.subjects |= map(select((.kind == $kind and .name == $name and (.kind != "ServiceAccount" or .namespace == $namespace)) | not))`
	r.add(1, "Revoke the grant: take "+g.SubjectKind+" "+g.Subject+" out of the binding that allowed it", pipe(get,
		command("jq", "--arg", "kind", g.SubjectKind, "--arg", "name", name, "--arg", "namespace", namespace, filter), "kubectl replace --filename=-"))
	r.add(1, "Revoke the grant of all its subjects: delete the binding", command(append(in, "delete", binding)...))
}

// revokeTokens ends every token of a service account, which are bound to its uid: it is deleted and made anew with
// everything but its identity. "" for the accounts of the control plane.
func revokeTokens(user string) string {
	account, ok := strings.CutPrefix(user, "system:serviceaccount:")
	if !ok {
		return ""
	}
	namespace, name, ok := strings.Cut(account, ":")
	if !ok || !isName253(namespace) || !isName253(name) || namespace == "kube-system" && strings.HasSuffix(name, "-controller") {
		return ""
	}
	return pipe(command("kubectl", "--namespace="+namespace, "get", "serviceaccount/"+name, "--output=json"),
		command("jq", "del(.metadata.uid, .metadata.resourceVersion, .metadata.creationTimestamp, .secrets)"), "kubectl replace --force --filename=-")
}
