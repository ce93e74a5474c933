package enrich

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// respond prepares the seven steps of the resolution. Every command holds the real names, can be pasted into a POSIX shell
// as it is, and does nothing until somebody does so.
func (e *Enricher) respond(_ *Input, a *alert.Alert) error {
	t := targetOf(a)
	r := responses{all: a.Respond}
	e.contain(&r, t, a)
	r.add(2, "Find the origin: what the actor did before", relatedCommand(a))
	if w := a.Workload; w != nil && len(w.Containers) > 0 {
		r.add(2, "Find the same image elsewhere", noveltyCommand(a))
	}
	tighten(&r, t, a)
	if w := a.Workload; w != nil {
		r.add(4, "Prevent it: a ValidatingAdmissionPolicy that refuses it from now on", preventCommand(a, w))
		r.add(5, "Keep watching: a rule of its own for this actor and image", watchCommand(a, w))
	}
	r.add(6, "Tell "+whoToTell(a)+" what happened and which rule it broke", "")
	if w := a.Workload; w != nil {
		r.add(7, "If it is wanted: record the change ticket on it", t.ticket(e.options.TicketAnnotation))
		r.add(7, "If it is wanted: an entry for the allow-list (enrich.allow)", allowCommand(a, w))
	}
	a.Respond = r.all
	return nil
}

type responses struct{ all []alert.Response }

// add keeps a step; one whose command could not be made is left out unless it never has one.
func (r *responses) add(step int, title, command string) {
	if command == "" && step != 6 {
		return
	}
	r.all = append(r.all, alert.Response{Step: step, Title: title, Command: command})
}

// contain is step 1: stop it, keep it from the network, revoke what made it possible.
func (e *Enricher) contain(r *responses, t target, a *alert.Alert) {
	w := a.Workload
	if w != nil && t.exists && t.name != "" {
		r.add(1, "Stop it", t.stop(w))
		r.add(1, "Delete it with everything that it owns", t.kubectl("delete", t.root(w), "--cascade=foreground"))
		if w.Kind == "Pod" {
			r.add(1, "Cut it off from the network, and keep it for a look", t.quarantine())
		}
		if w.NodeName != "" {
			r.add(1, "Let nothing new onto its node", command("kubectl", "cordon", "--", w.NodeName))
		}
	} else if w != nil && t.exists {
		r.add(1, "Find it: the event does not tell its name", t.newest())
	}
	r.add(1, "Revoke the binding that allowed it", revokeBinding(a))
	r.add(1, "Revoke the tokens of the service account that made it", revokeAccount(a.Actor.User))
	if w != nil && w.ServiceAccount != "" && w.ServiceAccount != "default" && t.exists {
		r.add(1, "Revoke the tokens of the service account it runs as", revokeAccount("system:serviceaccount:"+w.Namespace+":"+w.ServiceAccount))
	}
}

// stop is the gentlest way to end it, by kind.
func (t target) stop(w *alert.Workload) string {
	switch w.Kind {
	case "Deployment", "StatefulSet", "ReplicaSet", "ReplicationController":
		return t.kubectl("scale", t.operand(), "--replicas=0")
	case "CronJob", "Job":
		return t.kubectl("patch", t.operand(), "--type=merge", `--patch={"spec":{"suspend":true}}`)
	case "DaemonSet":
		return t.kubectl("patch", t.operand(), "--type=merge", `--patch={"spec":{"template":{"spec":{"nodeSelector":{"spawnwatch.io/stopped":"true"}}}}}`)
	case "Pod":
		return t.kubectl("delete", t.operand(), "--grace-period=0", "--force")
	default:
		return ""
	}
}

// root is the topmost owner, since what is deleted below it comes back.
func (t target) root(w *alert.Workload) string {
	if w.Root.Name == "" || w.Root.Kind == "" || w.Root.Kind == "Node" {
		return t.operand()
	}
	return named(w.Root.Kind, w.Root.Name)
}

const quarantineLabel = "spawnwatch.io/quarantine"

// quarantine labels the Pod and applies a NetworkPolicy that lets nothing in or out of what is so labelled.
func (t target) quarantine() string {
	return t.kubectl("label", "--overwrite", t.operand(), quarantineLabel+"=true") + " && " + apply(map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
		"metadata": map[string]any{"name": "spawnwatch-quarantine", "namespace": t.namespace},
		"spec": map[string]any{
			"podSelector": map[string]any{"matchLabels": map[string]string{quarantineLabel: "true"}},
			"policyTypes": []string{"Ingress", "Egress"},
		},
	})
}

// apply is a command that applies an object, written as one line of JSON.
func apply(object any) string {
	text, err := json.Marshal(object)
	if err != nil {
		return ""
	}
	return command("printf", "%s", string(text)) + " | kubectl apply --filename=-"
}

func revokeBinding(a *alert.Alert) string {
	g := &a.Actor.Grant
	switch {
	case !g.Known || g.Binding == "":
		return ""
	case g.BindingNamespace != "":
		return command("kubectl", "--namespace="+g.BindingNamespace, "delete", "rolebinding/"+g.Binding)
	default:
		return command("kubectl", "delete", "clusterrolebinding/"+g.Binding)
	}
}

// revokeAccount ends every token of a service account: those bound to it end with it, and it is made anew without them.
func revokeAccount(user string) string {
	account, ok := strings.CutPrefix(user, "system:serviceaccount:")
	if !ok {
		return ""
	}
	namespace, name, ok := strings.Cut(account, ":")
	if !ok || namespace == "kube-system" && strings.HasSuffix(name, "-controller") {
		return ""
	}
	in := "--namespace=" + namespace
	return command("kubectl", in, "delete", "serviceaccount/"+name) + " && " + command("kubectl", in, "create", "serviceaccount", "--", name)
}

// tighten is step 3: who else has the grant, and what it says.
func tighten(r *responses, t target, a *alert.Alert) {
	g := &a.Actor.Grant
	if g.Known && g.Role != "" {
		kind := strings.ToLower(g.RoleKind)
		filter := `.items[] | select(.roleRef.name == $role) | [.kind, .metadata.namespace // "-", .metadata.name, (.subjects // [] | map(.kind + ":" + (.namespace // "") + "/" + .name) | join(","))] | @tsv`
		r.add(3, "Who else has this role", "kubectl get rolebindings,clusterrolebindings --all-namespaces --output=json | "+command("jq", "-r", "--arg", "role", g.Role, filter))
		if kind == "role" {
			r.add(3, "What the role allows", command("kubectl", "--namespace="+g.BindingNamespace, "get", "role/"+g.Role, "--output=yaml"))
		} else {
			r.add(3, "What the role allows", command("kubectl", "get", "clusterrole/"+g.Role, "--output=yaml"))
		}
		return
	}
	verb, resource := a.Request.Verb, a.Request.Object.Resource
	if verb != "" && resource != "" && a.Actor.User != "" {
		r.add(3, "Whether the actor still may", t.kubectl("auth", "can-i", verb, resourceName(&a.Request.Object), "--as="+a.Actor.User))
	}
}

func whoToTell(a *alert.Alert) string {
	switch {
	case a.Owners.Team != "":
		return "team " + a.Owners.Team + " and " + a.Actor.User
	case a.Actor.User != "":
		return a.Actor.User
	default:
		return "the owners of the namespace"
	}
}

func (t target) ticket(annotation string) string {
	if t.name == "" || !t.exists || annotation == "" {
		return ""
	}
	return t.kubectl("annotate", "--overwrite", t.operand(), annotation+"=TICKET")
}

// allowCommand prints an entry that allows exactly this.
func allowCommand(a *alert.Alert, w *alert.Workload) string {
	entry := map[string]any{
		"name": "approved-" + a.ID, "namespaces": []string{pattern(w.Namespace)}, "kinds": []string{w.Kind}, "actors": []string{pattern(a.Actor.User)},
		"approve": true, "reason": "TICKET",
	}
	if w.Name != "" {
		entry["names"] = []string{pattern(w.Name)}
	}
	var images []string
	for i := range w.Containers {
		images = append(images, pattern(w.Containers[i].Image.Raw))
	}
	if len(images) > 0 {
		entry["images"] = images
	}
	text, err := json.Marshal([]any{entry})
	if err != nil {
		return ""
	}
	return command("printf", "%s\\n", string(text)) + " >> allow.yaml"
}

// pattern escapes what path.Match would interpret.
func pattern(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(text)
}

// preventCommand applies a policy (KEP-3488, admissionregistration.k8s.io/v1) that refuses the very case: the images of
// this workload in this resource, wherever the pod template of the kind is.
func preventCommand(a *alert.Alert, w *alert.Workload) string {
	spec := templatePath(w.Kind)
	o := &a.Request.Object
	if spec == "" || len(w.Containers) == 0 || o.Resource == "" || o.Version == "" {
		return ""
	}
	quoted := make([]string, 0, len(w.Containers))
	for i := range w.Containers {
		quoted = append(quoted, celString(w.Containers[i].Image.Raw))
	}
	images := "[" + strings.Join(quoted, ", ") + "]"
	all := func(list string) string {
		return fmt.Sprintf("(!has(%s.%s) || %s.%s.all(c, !(c.image in %s)))", spec, list, spec, list, images)
	}
	name := "spawnwatch-" + a.ID
	policy := map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"failurePolicy": "Fail",
			"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
				"apiGroups": []string{o.Group}, "apiVersions": []string{o.Version}, "operations": []string{"CREATE", "UPDATE"}, "resources": []string{o.Resource},
			}}},
			"validations": []any{map[string]any{
				"expression": all("containers") + " && " + all("initContainers"),
				"message":    "refused after alert " + a.ID,
			}},
		},
	}
	binding := map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"policyName": name, "validationActions": []string{"Deny"}},
	}
	return apply(map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{policy, binding}})
}

// templatePath is where the spec of the Pod stands in an object of a kind, as a CEL expression.
func templatePath(kind string) string {
	switch kind {
	case "Pod":
		return "object.spec"
	case "CronJob":
		return "object.spec.jobTemplate.spec.template.spec"
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController":
		return "object.spec.template.spec"
	default:
		return ""
	}
}

// celString is a string literal of the Common Expression Language. A JSON string is one but for the escapes of the
// characters that only HTML minds.
func celString(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""`
	}
	return strings.TrimSpace(b.String())
}

// watchCommand writes a Sigma rule that fires on whatever this actor creates, and on this image whoever creates it.
func watchCommand(a *alert.Alert, w *alert.Workload) string {
	actor := sigmaValue(a.Actor.User)
	if a.Actor.User == "" {
		return ""
	}
	detection := map[string]any{"actor": map[string]any{"actor.user": actor}}
	condition := "made and actor"
	detection["made"] = map[string]any{"outcome": []string{"created", "unknown", "changed", "refused"}}
	if len(w.Containers) > 0 && w.Containers[0].Image.Raw != "" {
		detection["image"] = map[string]any{"workload.image": sigmaValue(w.Containers[0].Image.Raw)}
		condition = "made and (actor or image)"
	}
	detection["condition"] = condition
	rule := map[string]any{
		"title": "Watched after alert " + a.ID, "id": uuidOf(a.ID), "status": "experimental", "level": "high",
		"description": "Made from an alert: " + a.Title,
		"logsource":   map[string]string{"product": "kubernetes", "service": "audit"},
		"detection":   detection,
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(rule); err != nil {
		return ""
	}
	return command("printf", "%s", b.String()) + " > " + quote("rules.d/watch-"+a.ID+".yml")
}

// sigmaValue escapes what Sigma would take for a wildcard (Sigma specification 2.1, "Escaping").
func sigmaValue(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(s)
}

// uuidOf forms a version 8 UUID (RFC 9562, 5.8) of the hexadecimal id of an alert.
func uuidOf(id string) string {
	hexes := make([]byte, 0, 32)
	for i := 0; i < len(id) && len(hexes) < 32; i++ {
		if c := id[i]; c >= '0' && c <= '9' || c >= 'a' && c <= 'f' {
			hexes = append(hexes, c)
		}
	}
	for len(hexes) < 32 {
		hexes = append(hexes, '0')
	}
	hexes[12], hexes[16] = '8', 'a'
	h := string(hexes)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
