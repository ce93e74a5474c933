package enrich

import (
	"fmt"
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// investigate answers the eight steps of the guide: with what the alert knows, or with "unknown, because …" and always
// with the command that finds out more.
func (e *Enricher) investigate(_ *Input, a *alert.Alert) error {
	t := targetOf(a)
	a.Investigate = append(a.Investigate,
		alert.Step{Step: 1, Question: "What else did the actor do around that time?", Answer: relatedAnswer(a), Command: relatedCommand(a)},
		alert.Step{Step: 2, Question: "What exactly is it?", Answer: detailsAnswer(a), Command: t.get()},
		alert.Step{Step: 3, Question: "What happened to it in the cluster?", Answer: eventsAnswer(a), Command: t.events()},
		alert.Step{Step: 4, Question: "Does its configuration break a policy?", Answer: policyAnswer(a), Command: t.policy()},
		alert.Step{Step: 5, Question: "How can it be reached, and where did the request come from?", Answer: networkAnswer(a), Command: t.network()},
		alert.Step{Step: 6, Question: "Why was it allowed, and what may it do itself?", Answer: rbacAnswer(a), Command: t.rights(a)},
		alert.Step{Step: 7, Question: "Whose is it?", Answer: ownersAnswer(a), Command: t.owners()},
		alert.Step{Step: 8, Question: "How does it differ from what runs already?", Answer: noveltyAnswer(a), Command: noveltyCommand(a)},
	)
	return nil
}

// target is what commands are about.
type target struct {
	// kind is as kubectl takes it, name "" where it is unknown; exists is false for what was refused.
	kind, namespace, name string
	exists                bool
}

func targetOf(a *alert.Alert) target {
	o := &a.Request.Object
	t := target{kind: resourceName(o), namespace: o.Namespace, name: o.Name, exists: a.Outcome != alert.Refused}
	if w := a.Workload; w != nil {
		t.namespace, t.name = w.Namespace, w.Name
	}
	return t
}

// resourceName is RESOURCE.GROUP, which kubectl takes for every resource, also for one whose kind it does not know.
func resourceName(o *alert.Object) string {
	if o.Group == "" {
		return o.Resource
	}
	return o.Resource + "." + o.Group
}

// kubectl begins a command in the namespace of the target.
func (t target) kubectl(words ...string) string {
	if t.namespace == "" {
		return command(append([]string{"kubectl"}, words...)...)
	}
	return command(append([]string{"kubectl", "--namespace=" + t.namespace}, words...)...)
}

// operand is TYPE/NAME, in which a name is never taken for a flag.
func (t target) operand() string { return t.kind + "/" + t.name }

// newest lists what was made last, for objects whose name the event does not tell.
func (t target) newest() string {
	return t.kubectl("get", t.kind, "--sort-by=.metadata.creationTimestamp", "--output=wide")
}

func (t target) get() string {
	if t.name == "" || !t.exists {
		return t.newest()
	}
	return t.kubectl("get", t.operand(), "--output=yaml")
}

func (t target) events() string {
	if t.name == "" || !t.exists {
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
	return t.kubectl("auth", "can-i", "--list", "--as="+a.Actor.User)
}

func (t target) owners() string {
	if t.namespace == "" {
		return ""
	}
	return command("kubectl", "get", "namespace/"+t.namespace, "--output=yaml")
}

func relatedAnswer(a *alert.Alert) string {
	if n := len(a.Related); n > 0 {
		return fmt.Sprintf("%d events of the same actor or namespace, see related", n)
	}
	return "unknown, because this version remembers nothing across events; the command searches the audit log"
}

// relatedCommand searches an audit log for the effective user: wherever the log is kept, the filter is the same.
func relatedCommand(a *alert.Alert) string {
	const filter = `select((.impersonatedUser.username // .user.username) == $user or .user.username == $user) | [.stageTimestamp, .verb, .requestURI, .responseStatus.code] | @tsv`
	return command("jq", "-r", "--arg", "user", a.Actor.User, filter) + " /var/log/kubernetes/audit/*.log"
}

func detailsAnswer(a *alert.Alert) string {
	w := a.Workload
	if w == nil {
		return fmt.Sprintf("%s %s %s, answered %s", a.Request.Verb, resourceName(&a.Request.Object), a.Request.Object.Name, code(a))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s/%s", w.Kind, w.Namespace, nameOf(w))
	if w.Owner.Name != "" {
		fmt.Fprintf(&b, ", owned by %s %s", w.Owner.Kind, w.Owner.Name)
	}
	if w.Detail != alert.DetailFull {
		b.WriteString("; its containers are unknown, because the event does not show the object")
		return b.String()
	}
	for i := range w.Containers {
		c := &w.Containers[i]
		fmt.Fprintf(&b, "; %s %s: %s", containerWord(c.Type), c.Name, c.Image.Raw)
		if words := append(append([]string(nil), c.Command...), c.Args...); len(words) > 0 {
			fmt.Fprintf(&b, " runs %s", strings.Join(words, " "))
		}
	}
	if w.ServiceAccount != "" {
		fmt.Fprintf(&b, "; as service account %s", w.ServiceAccount)
	}
	for i := range w.Volumes {
		if v := &w.Volumes[i]; v.Type == "hostPath" || v.Type == "secret" {
			fmt.Fprintf(&b, "; mounts %s %s", v.Type, v.Detail)
		}
	}
	return b.String()
}

func containerWord(t alert.ContainerType) string {
	if t == alert.Main || t == "" {
		return "container"
	}
	return string(t) + " container"
}

func nameOf(w *alert.Workload) string {
	switch {
	case w.Name != "":
		return w.Name
	case w.GenerateName != "":
		return w.GenerateName + "… (name unknown)"
	default:
		return "(name unknown)"
	}
}

func code(a *alert.Alert) string {
	if !a.Request.Code.Known {
		return "without a status"
	}
	return fmt.Sprint(a.Request.Code.N)
}

func eventsAnswer(a *alert.Alert) string {
	if a.Outcome == alert.Refused {
		text := "nothing: it was refused"
		if a.Request.Message != "" {
			text += " (" + a.Request.Message + ")"
		}
		return text
	}
	return "unknown, because Events of the cluster are not part of this alert; the command lists them"
}

func policyAnswer(a *alert.Alert) string {
	p := &a.Policy
	var parts []string
	switch p.PSSLevel {
	case alert.PSSUnknown, "":
		parts = append(parts, "unknown, because the event does not show the pod template")
	case alert.PSSRestricted:
		parts = append(parts, "no: it reaches the restricted level of the Pod Security Standards")
	case alert.PSSBaseline, alert.PSSPrivileged:
		words := make([]string, len(p.Violations))
		for i := range p.Violations {
			words[i] = p.Violations[i].Detail
		}
		parts = append(parts, fmt.Sprintf("yes: it reaches only the %s level of the Pod Security Standards: %s", p.PSSLevel, strings.Join(words, "; ")))
	}
	for i := range p.Admission {
		if p.Admission[i].Type == alert.AdmissionViolation {
			parts = append(parts, "admission noted: "+p.Admission[i].Detail)
		}
	}
	switch p.Intended.State {
	case alert.IntendedYes:
		parts = append(parts, "within the allow-list entry "+p.Intended.By)
	case alert.IntendedNo:
		parts = append(parts, "outside of the allow-lists: "+strings.Join(p.Intended.Deviations, "; "))
	case alert.IntendedUnknown:
	}
	return strings.Join(parts, ". ")
}

func networkAnswer(a *alert.Alert) string {
	var parts []string
	if a.Workload != nil {
		switch {
		case a.Network.HostNetwork == alert.True:
			parts = append(parts, "it shares the network of its node")
		case len(a.Network.HostPorts) > 0:
			parts = append(parts, fmt.Sprintf("it binds the ports %v of its node", a.Network.HostPorts))
		case a.Workload.Detail != alert.DetailFull:
			parts = append(parts, "its ports are unknown, because the event does not show the object")
		case len(a.Network.Ports) > 0:
			parts = append(parts, fmt.Sprintf("it declares %d ports, none on the node; Services that select it are not part of this alert", len(a.Network.Ports)))
		default:
			parts = append(parts, "it declares no port")
		}
	}
	if p := peer(&a.Network); p != nil {
		text := fmt.Sprintf("the request came from %s (%s)", p.IP, p.Class)
		if p.Network != "" {
			text += ", network " + p.Network
		}
		if len(a.Network.SourceIPs) > 1 {
			text += "; earlier addresses are the client's claims"
		}
		parts = append(parts, text)
	} else {
		parts = append(parts, "where the request came from is unknown, because the event names no address")
	}
	return strings.Join(parts, ". ")
}

func rbacAnswer(a *alert.Alert) string {
	g := &a.Actor.Grant
	who := a.Actor.User
	if a.Actor.ImpersonatedBy != "" {
		who += " (in truth " + a.Actor.ImpersonatedBy + ", who impersonated it)"
	}
	var text string
	switch {
	case a.Outcome == alert.Refused:
		text = who + " was refused"
	case g.Known:
		text = fmt.Sprintf("%s was allowed by %s %s of %s %s", who, g.BindingKind, g.Binding, g.RoleKind, g.Role)
	case contains(a.Actor.Groups, "system:masters"):
		text = who + " is in system:masters, which may do everything and is not subject to RBAC"
	default:
		text = "why " + who + " was allowed is unknown, because the event names no binding"
	}
	w := a.Workload
	if w == nil {
		return text
	}
	if w.Rights.State != alert.RightsKnown {
		return text + ". What it may do itself: " + w.Rights.Text
	}
	text += fmt.Sprintf(". Its service account %s has %s", w.ServiceAccount, w.Rights.Text)
	for i := range w.Rights.Dangerous {
		r := &w.Rights.Dangerous[i]
		text += fmt.Sprintf("; it %s (%s, by %s)", r.Text, r.Scope, r.Binding)
	}
	return text
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

func ownersAnswer(a *alert.Alert) string {
	o := &a.Owners
	var parts []string
	for _, p := range [][2]string{{"team", o.Team}, {"contact", o.Contact}, {"chat", o.Chat}, {"runbook", o.Runbook}, {"application", o.Application}, {"managed by", o.ManagedBy}, {"repository", o.Repository}} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	if len(parts) == 0 {
		return "unknown, because neither its labels and annotations nor the team file name an owner"
	}
	return strings.Join(parts, ", ") + " (by " + o.Source + ")"
}

func noveltyAnswer(a *alert.Alert) string {
	for i := range a.Policy.Findings {
		if f := &a.Policy.Findings[i]; f.Code == "lookalike_name" {
			return f.Text + "; whether image and actor are new is unknown, because this version remembers nothing across events"
		}
	}
	return "unknown, because this version remembers nothing across events; the command shows where the image runs already"
}

func noveltyCommand(a *alert.Alert) string {
	all := command("kubectl", "get", "pods", "--all-namespaces", "--output=custom-columns=NAMESPACE:.metadata.namespace,NAME:.metadata.name,IMAGES:.spec.containers[*].image")
	if a.Workload == nil || len(a.Workload.Containers) == 0 {
		return all
	}
	return all + " | " + command("grep", "-F", "--", a.Workload.Containers[0].Image.Raw)
}
