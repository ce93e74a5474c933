package enrich

import (
	"fmt"
	"strings"
	"time"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// investigate answers the eight steps of the guide: with what the alert knows, or with "unknown, because …", and with the
// command that finds out more.
func (e *Enricher) investigate(in *Input, a *alert.Alert) error {
	t := targetOf(a)
	a.Investigate = append(a.Investigate,
		alert.Step{Step: 1, Question: "What else did the actor do around that time?", Answer: relatedAnswer(a), Command: relatedCommand(a)},
		alert.Step{Step: 2, Question: "What exactly is it?", Answer: detailsAnswer(in, a), Command: t.look(a)},
		alert.Step{Step: 3, Question: "What happened to it in the cluster?", Answer: eventsAnswer(a), Command: t.events()},
		alert.Step{Step: 4, Question: "Does its configuration break a policy?", Answer: policyAnswer(in, a), Command: t.policy()},
		alert.Step{Step: 5, Question: "How can it be reached, and where did the request come from?", Answer: networkAnswer(in, a), Command: t.network()},
		alert.Step{Step: 6, Question: "Why was it allowed, and what may it do itself?", Answer: rbacAnswer(a), Command: t.rights(a)},
		alert.Step{Step: 7, Question: "Whose is it?", Answer: ownersAnswer(a), Command: t.owners()},
		alert.Step{Step: 8, Question: "How does it differ from what runs already?", Answer: noveltyAnswer(a), Command: sameImages(a)},
	)
	return nil
}

// around is how far before and after the request the search for related events reaches.
const around = 15 * time.Minute

func relatedAnswer(a *alert.Alert) string {
	if n := len(a.Related); n > 0 {
		return fmt.Sprintf("%d events of the same actor or namespace, see related", n)
	}
	return "unknown, because this version remembers nothing across events; the command lists what " + orElse(a.Actor.User, "who did not authenticate") +
		" did within " + around.String() + " of it"
}

// relatedCommand searches an audit log for the user, in either role, around the time of the event; where the event came
// from a file, that file. Wherever the log is kept, the filter is the same. The output is ASCII (-a): what an audit log
// holds must not drive a terminal.
func relatedCommand(a *alert.Alert) string {
	const (
		who  = `select((.impersonatedUser.username // .user.username) == $user or .user.username == $user)`
		when = ` | select(.stageTimestamp >= $from and .stageTimestamp <= $to)`
		what = ` | [.stageTimestamp, .verb, .requestURI, .responseStatus.code, .auditID]`
	)
	words := []string{"jq", "-ac", "--arg", "user", a.Actor.User}
	filter := who
	if !a.Time.IsZero() {
		const form = "2006-01-02T15:04:05Z"
		words = append(words, "--arg", "from", a.Time.Add(-around).UTC().Format(form), "--arg", "to", a.Time.Add(around).UTC().Format(form))
		filter += when
	}
	search := command(append(words, filter+what)...)
	if search == "" {
		return ""
	}
	if a.Origin.Line > 0 && a.Origin.Topic != "" && a.Origin.Topic != "-" {
		return pipe(command("zcat", "-f", "--", a.Origin.Topic), search)
	}
	return search + " /var/log/kubernetes/audit/*.log"
}

// maxWords bounds how much of a command line an answer repeats, in bytes; the whole is in the workload.
const maxWords = 300

func detailsAnswer(in *Input, a *alert.Alert) string {
	w := a.Workload
	if w == nil {
		return fmt.Sprintf("%s %s %s, answered %s", a.Request.Verb, resourceWords(&a.Request.Object), a.Request.Object.Name, code(a))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s/%s", w.Kind, w.Namespace, nameOf(w))
	if w.Owner.Name != "" {
		fmt.Fprintf(&b, ", owned by %s %s", w.Owner.Kind, w.Owner.Name)
		if !w.Controlled {
			b.WriteString(" by its own claim")
		}
	}
	if in.Template == nil {
		b.WriteString("; what it runs is unknown, because " + in.unjudged())
		return b.String()
	}
	if !in.complete() {
		b.WriteString("; the rest of it is unknown, because " + in.unjudged())
	}
	for i := range w.Containers {
		c := &w.Containers[i]
		fmt.Fprintf(&b, "; %s %s: %s", containerWord(c.Type), c.Name, orElse(c.Image.Raw, "(image unknown)"))
		if len(c.Command)+len(c.Args) > 0 {
			b.WriteString(" runs " + commandLine(c, maxWords))
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

// commandLine is the command and the arguments of a container, cut to about limit bytes.
func commandLine(c *alert.Container, limit int) string {
	var b strings.Builder
	for _, list := range [...][]string{c.Command, c.Args} {
		for _, word := range list {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			if b.Len()+len(word) > limit {
				b.WriteString(strings.ToValidUTF8(word[:max(0, limit-b.Len())], "") + "…")
				return b.String()
			}
			b.WriteString(word)
		}
	}
	return b.String()
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// resourceWords is the resource as the request names it.
func resourceWords(o *alert.Object) string {
	if o.Subresource != "" {
		return o.Resource + "/" + o.Subresource
	}
	return o.Resource
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
	switch a.Outcome {
	case alert.Refused:
		text := "nothing: it was refused with " + code(a)
		if a.Request.Message != "" {
			text += " (" + a.Request.Message + ")"
		}
		return text
	case alert.Unknown:
		return "unknown, because the answer was a timeout (" + code(a) + "): the command shows whether it exists"
	case alert.Created, alert.Changed, alert.Observed:
	}
	return "unknown, because Events of the cluster are not part of this alert; the command lists them"
}

func policyAnswer(in *Input, a *alert.Alert) string {
	p := &a.Policy
	var parts []string
	switch {
	case a.Workload == nil:
		parts = append(parts, "unknown, because the request is not about a workload")
	case p.PSSLevel == alert.PSSRestricted:
		parts = append(parts, "no: it reaches the restricted level of the Pod Security Standards")
	case p.PSSLevel == alert.PSSBaseline, p.PSSLevel == alert.PSSPrivileged:
		words := make([]string, len(p.Violations))
		for i := range p.Violations {
			words[i] = p.Violations[i].Detail
		}
		parts = append(parts, fmt.Sprintf("yes: it reaches only the %s level of the Pod Security Standards: %s", p.PSSLevel, strings.Join(words, "; ")))
	default:
		parts = append(parts, "unknown, because "+orElse(in.unjudged(), "it could not be evaluated"))
	}
	for i := range p.Admission {
		switch n := &p.Admission[i]; {
		case n.Type == alert.AdmissionViolation:
			parts = append(parts, "admission noted: "+n.Detail)
		case n.Type == alert.AdmissionExempt:
			parts = append(parts, "exempt from the namespace's level: "+n.Detail)
		case n.Source == enforcePolicy:
			parts = append(parts, "the namespace enforces "+n.Detail)
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

func networkAnswer(in *Input, a *alert.Alert) string {
	var parts []string
	if a.Workload != nil {
		switch n := &a.Network; {
		case n.HostNetwork == alert.True:
			parts = append(parts, "it shares the network of its node, where no NetworkPolicy holds it")
		case len(n.HostPorts) > 0:
			parts = append(parts, fmt.Sprintf("it binds the ports %v of its node", n.HostPorts))
		case len(n.Ports) > 0:
			ports := make([]string, len(n.Ports))
			for i := range n.Ports {
				ports[i] = fmt.Sprintf("%d/%s", n.Ports[i].Port, n.Ports[i].Protocol)
			}
			parts = append(parts, "it declares the ports "+strings.Join(ports, ", ")+", none on the node; which Services select it is unknown, because they are not part of this alert")
		case !in.complete():
			parts = append(parts, "its ports are unknown, because "+in.unjudged())
		default:
			parts = append(parts, "it declares no port, which keeps nobody from listening on one")
		}
	}
	p := peer(&a.Network)
	if p == nil {
		return strings.Join(append(parts, "where the request came from is unknown, because the event names no address"), ". ")
	}
	text := fmt.Sprintf("the request came from %s (%s)", p.IP, p.Class)
	if p.Network != "" {
		text += ", network " + p.Network
	}
	if len(a.Network.SourceIPs) > 1 {
		text += "; earlier addresses are the client's claims"
	}
	return strings.Join(append(parts, text), ". ")
}

func rbacAnswer(a *alert.Alert) string {
	g := &a.Actor.Grant
	who := orElse(a.Actor.User, "nobody")
	if a.Actor.ImpersonatedBy != "" {
		who += " (in truth " + a.Actor.ImpersonatedBy + ", who impersonated it)"
	}
	var text string
	switch {
	case g.Known && a.Outcome == alert.Refused:
		text = fmt.Sprintf("%s was allowed by %s to %s %s, and refused later (%s)", who, grantWords(g), g.SubjectKind, g.Subject, code(a))
	case a.Outcome == alert.Refused:
		text = who + " was refused (" + code(a) + ")"
	case g.Known:
		text = fmt.Sprintf("%s was allowed by %s to %s %s", who, grantWords(g), g.SubjectKind, g.Subject)
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
		return text + ". What its service account " + w.ServiceAccount + " may do is " + w.Rights.Text
	}
	text += fmt.Sprintf(". Its service account %s has %s", w.ServiceAccount, w.Rights.Text)
	for i := range w.Rights.Dangerous {
		r := &w.Rights.Dangerous[i]
		text += fmt.Sprintf("; it %s (%s, by %s)", r.Text, r.Scope, r.Binding)
	}
	return text
}

func grantWords(g *alert.Grant) string {
	binding := g.Binding
	if g.BindingNamespace != "" {
		binding = g.BindingNamespace + "/" + binding
	}
	return fmt.Sprintf("%s %s of %s %s", g.BindingKind, binding, g.RoleKind, g.Role)
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
	for _, p := range [...][2]string{{"team", o.Team}, {"contact", o.Contact}, {"chat", o.Chat}, {"runbook", o.Runbook}, {"application", o.Application}, {"managed by", o.ManagedBy}, {"repository", o.Repository}} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	known := strings.Join(parts, ", ")
	if known != "" {
		known += " (by " + o.Source + ")"
	}
	if o.Team != "" || o.Contact != "" || o.Chat != "" {
		return known
	}
	unknown := "unknown, because neither its labels and annotations nor the team file name a team"
	if a.Workload == nil {
		unknown = "unknown, because the team file does not name the namespace"
	}
	if known == "" {
		return unknown
	}
	return unknown + "; what they tell: " + known
}

func noveltyAnswer(a *alert.Alert) string {
	const unknown = "whether image and actor are new is unknown, because this version remembers nothing across events"
	for i := range a.Policy.Findings {
		if f := &a.Policy.Findings[i]; f.Code == "lookalike_name" {
			return f.Text + "; " + unknown
		}
	}
	if images := imagesOf(a); len(images) > 0 {
		return unknown + "; the command shows where " + strings.Join(images, ", ") + " runs already"
	}
	return unknown + "; the command shows what runs"
}

// maxImages bounds how many images a command or an answer names.
const maxImages = 20

// imagesOf lists the images of the workload, each once.
func imagesOf(a *alert.Alert) []string {
	if a.Workload == nil {
		return nil
	}
	var images []string
	for i := range a.Workload.Containers {
		if raw := a.Workload.Containers[i].Image.Raw; raw != "" && len(images) < maxImages && !contains(images, raw) {
			images = append(images, raw)
		}
	}
	return images
}

// sameImages lists the Pods that run one of the images.
func sameImages(a *alert.Alert) string {
	all := command("kubectl", "get", "pods", "--all-namespaces", "--output=custom-columns=NAMESPACE:.metadata.namespace,NAME:.metadata.name,INIT:.spec.initContainers[*].image,IMAGES:.spec.containers[*].image,DEBUG:.spec.ephemeralContainers[*].image")
	images := imagesOf(a)
	if len(images) == 0 {
		return all
	}
	words := []string{"grep", "-F"}
	for _, image := range images {
		words = append(words, "-e", image)
	}
	return pipe(all, command(words...))
}
