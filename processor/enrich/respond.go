package enrich

import (
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// respond prepares the seven steps of the resolution. Every command holds the real names, can be pasted into a POSIX shell
// as it is, and does nothing until somebody does so. A step for which nothing can be prepared says why.
func (e *Enricher) respond(in *Input, a *alert.Alert) error {
	t := targetOf(a)
	r := responses{all: a.Respond}
	e.contain(&r, in, t, a)
	r.otherwise(1, "Nothing to stop or to revoke: "+whyNothing(a))

	r.add(2, "Find the origin: what "+orElse(a.Actor.User, "the client")+" did before", relatedCommand(a))
	if len(imagesOf(a)) > 0 {
		r.add(2, "Find the same image elsewhere", sameImages(a))
	}
	r.otherwise(2, "Find the origin: unknown, because the names in the event are too long for a command")

	tighten(&r, t, a)
	r.otherwise(3, "Tighten the grant: unknown, because the event names neither a binding nor an actor")

	prevent(&r, a)
	r.otherwise(4, "Prevent it: unknown, because the event shows nothing that a policy could refuse; enforce a level of the Pod Security Standards")

	r.add(5, "Keep watching: a rule of its own for "+watched(a), watchCommand(a))
	r.otherwise(5, "Keep watching: unknown, because the event names nobody to watch")

	r.say(6, "Tell "+whoToTell(a)+": "+a.Title)

	if a.Workload != nil {
		r.add(7, "If it is wanted: record the change ticket on it", t.ticket(e.options.TicketAnnotation))
		r.add(7, "If it is wanted: an entry for the allow-list (enrich.allow_files)", allowCommand(a, a.Workload))
	}
	r.otherwise(7, "If it is wanted: disable the rule or filter it, since allow-lists are about workloads")
	a.Respond = r.all
	return nil
}

type responses struct{ all []alert.Response }

// add keeps a step whose command could be made.
func (r *responses) add(step int, title, command string) {
	if command != "" {
		r.all = append(r.all, alert.Response{Step: step, Title: title, Command: command})
	}
}

// say keeps a step without a command.
func (r *responses) say(step int, title string) {
	r.all = append(r.all, alert.Response{Step: step, Title: title})
}

// otherwise says why a step that got nothing so far has nothing.
func (r *responses) otherwise(step int, title string) {
	for i := range r.all {
		if r.all[i].Step == step {
			return
		}
	}
	r.say(step, title)
}

func whyNothing(a *alert.Alert) string {
	switch {
	case a.Outcome == alert.Refused:
		return "it was refused"
	case a.Workload == nil:
		return "the request made no workload, and the event names no binding"
	default:
		return "unknown, because the event names neither the object nor a binding"
	}
}

// tighten is step 3: who else has the grant, and what it says.
func tighten(r *responses, t target, a *alert.Alert) {
	g := &a.Actor.Grant
	if g.Known && g.Role != "" {
		const filter = `.items[] | select(.roleRef.kind == $kind and .roleRef.name == $role) | [.kind, .metadata.namespace, .metadata.name, [.subjects[]? | [.kind, .namespace, .name]]]`
		list := command("kubectl", "get", "rolebindings,clusterrolebindings", "--all-namespaces", "--output=json")
		role := command("kubectl", "get", "clusterrole/"+g.Role, "--output=yaml")
		if g.RoleKind == "Role" {
			list = command("kubectl", "--namespace="+g.BindingNamespace, "get", "rolebindings", "--output=json")
			role = command("kubectl", "--namespace="+g.BindingNamespace, "get", "role/"+g.Role, "--output=yaml")
		}
		r.add(3, "Who else has "+g.RoleKind+" "+g.Role, pipe(list, command("jq", "-ac", "--arg", "kind", g.RoleKind, "--arg", "role", g.Role, filter)))
		r.add(3, "What "+g.RoleKind+" "+g.Role+" allows", role)
		return
	}
	verb, object := a.Request.Verb, &a.Request.Object
	if !isName253(verb) || t.resource == "" || a.Actor.User == "" {
		return
	}
	words := []string{"auth", "can-i", verb, t.resource}
	if object.Subresource != "" {
		words = append(words, "--subresource="+object.Subresource)
	}
	r.add(3, "Whether "+a.Actor.User+" may still do so", t.kubectl(append(words, asActor(a)...)...))
}

// whoToTell names the owners by what is known of them, and the actor.
func whoToTell(a *alert.Alert) string {
	var all []string
	o := &a.Owners
	if o.Team != "" {
		all = append(all, "team "+o.Team)
	}
	for _, way := range [...]string{o.Contact, o.Chat} {
		if way != "" {
			all = append(all, way)
		}
	}
	if len(all) == 0 && a.Request.Object.Namespace != "" {
		all = append(all, "the owners of namespace "+a.Request.Object.Namespace)
	}
	if who := orElse(a.Actor.ImpersonatedBy, a.Actor.User); who != "" {
		all = append(all, who)
	}
	if len(all) == 0 {
		return "the administrators of the cluster"
	}
	return strings.Join(all, ", ")
}

func (t target) ticket(annotation string) string {
	if !t.known() {
		return ""
	}
	return t.kubectl("annotate", "--overwrite", t.operand(), annotation+"=TICKET")
}

// allowCommand appends an entry that allows exactly this. A prefix from which the server makes names is taken as a prefix.
func allowCommand(a *alert.Alert, w *alert.Workload) string {
	entry := Allow{
		Name: "approved-" + a.ID, Namespaces: []string{pattern(w.Namespace)}, Kinds: []string{pattern(w.Kind)}, Actors: []string{pattern(a.Actor.User)},
		Reason: "TICKET", Approve: true,
	}
	if a.Actor.ImpersonatedBy != "" {
		entry.Actors = append(entry.Actors, pattern(a.Actor.ImpersonatedBy))
	}
	switch {
	case w.GenerateName != "" && strings.HasPrefix(w.Name, w.GenerateName):
		entry.Names = []string{pattern(w.GenerateName) + "*"}
	case w.Name != "":
		entry.Names = []string{pattern(w.Name)}
	}
	for _, image := range imagesOf(a) {
		entry.Images = append(entry.Images, pattern(image))
	}
	text, err := line(&entry)
	if err != nil {
		return ""
	}
	// A list in block style, whose items are JSON, can be appended to.
	return redirect(command("printf", "%s\\n", "- "+text), " >> allow.yaml")
}

// redirect appends a redirection to a command, if there is one.
func redirect(command, to string) string {
	if command == "" {
		return ""
	}
	return command + to
}

// pattern escapes what path.Match would interpret.
func pattern(text string) string { return escape(text, `\*?[`) }
