package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a card: what an alert holds beyond them is counted, not shown. -o json has it all.
const (
	labelColumns  = 12
	maxLines      = 3 // of one entry
	maxContainers = 6
	maxReasons    = 10
	maxNotes      = 4
	maxCommand    = 2000 // bytes
)

// page is a card that is being written. What goes into it passes through [printable]; it alone adds control characters.
type page struct {
	style style
	dst   *strings.Builder
}

// card appends an alert as a few lines, in the order in which somebody who was woken up by it decides: how bad, what
// happened, who, by which right, what runs now, why that is bad, how to look at it and how to stop it.
func card(s style, dst *strings.Builder, a *cardAlert) {
	p := page{s, dst}
	p.head(a)
	p.who(&a.Actor, a)
	p.row("allowed", grantText(&a.Actor))
	if a.Workload != nil {
		p.workload(a.Workload)
	} else {
		p.row("what", objectText(a))
	}
	p.row("reachable", networkText(a))
	p.reasons(a)
	p.row("policy", policyText(a))
	p.row("owner", ownerText(a))
	p.row("approval", approvalText(a))
	p.row("audit id", a.Request.AuditID)
	for i, n := range a.Notes {
		if i == maxNotes {
			p.row("", more(len(a.Notes)-i, "note"))
			break
		}
		p.row("note", n.Text)
	}
	p.commands(a)
	dst.WriteByte('\n')
}

func (p *page) head(a *cardAlert) {
	severity := strings.ToUpper(printable(a.Severity))
	badge := fmt.Sprintf(" %s %d ", cut(severity, 16), a.Score)
	p.dst.WriteString(p.style.paint(severityColour(a.Severity), badge) + " ")
	for i, line := range wrap(printable(a.Title), p.style.width-columns(badge)-1, 2) {
		if i > 0 {
			p.dst.WriteString(strings.Repeat(" ", columns(badge)+1))
		}
		p.dst.WriteString(p.style.paint(bold, line) + "\n")
	}
	if a.Title == "" {
		p.dst.WriteByte('\n')
	}
	facts := []string{shownTime(a.Time), a.Outcome}
	if a.Cluster != "" {
		facts = append(facts, "cluster "+a.Cluster)
	}
	p.row("when", strings.Join(facts, " · "))
}

// shownTime is an RFC 3339 time in UTC without fractions of a second.
func shownTime(t string) string {
	if t == "" {
		return "at an unknown time"
	}
	day, clock, ok := strings.Cut(t, "T")
	if !ok {
		return t
	}
	clock, _, _ = strings.Cut(strings.TrimSuffix(clock, "Z"), ".")
	return day + " " + clock + " UTC"
}

// row writes an entry unless there is nothing to say.
func (p *page) row(label, text string) { p.entry(label, cyan, text, maxLines) }

func (p *page) entry(label, sgr, text string, most int) {
	if text == "" {
		return
	}
	for i, line := range wrap(printable(text), p.style.width-labelColumns, most) {
		if i > 0 {
			label = ""
		}
		p.dst.WriteString(p.label(label, sgr) + line + "\n")
	}
}

func (p *page) label(label, sgr string) string {
	return p.style.paint(sgr, pad("  "+label, labelColumns))
}

// who names the effective user, and the authenticated one where they differ.
func (p *page) who(a *cardActor, all *cardAlert) {
	text := a.User
	if text == "" {
		text = "unknown"
	}
	if a.Type != "" && a.Type != "user" {
		text += " (" + a.Type + ")"
	}
	if groups := tellingGroups(a.Groups); len(groups) > 0 {
		text += ", in " + strings.Join(groups, ", ")
	}
	p.entry("who", bold, text, maxLines)
	if a.ImpersonatedBy != "" {
		p.entry("in truth", boldRed, a.ImpersonatedBy+", who impersonated "+a.User, maxLines)
	}
	p.row("from", originText(a, all))
}

// tellingGroups leaves out what every authenticated user is in.
func tellingGroups(groups []string) []string {
	return slices.DeleteFunc(slices.Clone(groups), func(g string) bool {
		return g == "system:authenticated" || g == "system:serviceaccounts" || strings.HasPrefix(g, "system:serviceaccounts:")
	})
}

// originText is the peer's address, which alone is certain, then what the client claims.
func originText(a *cardActor, all *cardAlert) string {
	var parts []string
	if n := len(a.SourceIPs); n > 0 {
		peer := a.SourceIPs[n-1]
		for _, ip := range all.Network.SourceIPs {
			if ip.IP == peer && !ip.Claimed {
				peer += " (" + strings.TrimSpace(ip.Class+" "+ip.Network) + ")"
				break
			}
		}
		parts = append(parts, peer)
		if n > 1 {
			parts = append(parts, "claims "+strings.Join(a.SourceIPs[:n-1], ", "))
		}
	}
	if a.UserAgent != "" {
		parts = append(parts, a.UserAgent)
	}
	return strings.Join(parts, " · ")
}

func grantText(a *cardActor) string {
	g := &a.Grant
	switch {
	case g.Binding != "":
		binding := g.Binding
		if g.BindingNamespace != "" {
			binding = g.BindingNamespace + "/" + binding
		}
		text := "by " + g.BindingKind + " " + binding + " of " + g.RoleKind + " " + g.Role
		if g.Subject != "" {
			text += " to " + g.SubjectKind + " " + g.Subject
		}
		if g.Scope == "cluster" {
			text += " (in the whole cluster)"
		}
		return text
	case g.Reason != "":
		return g.Reason
	case slices.Contains(a.Groups, "system:masters"):
		return "as member of system:masters, which may do everything and is not subject to RBAC"
	default:
		return ""
	}
}

func (p *page) workload(w *cardWorkload) {
	name := w.Name
	switch {
	case w.NameUnknown && w.GenerateName != "":
		name = w.GenerateName + "… (the event tells only how its name begins)"
	case w.NameUnknown:
		name = "… (the event does not tell its name)"
	}
	text := w.Kind + " " + w.Namespace + "/" + name
	if w.Replicas != nil {
		text += ", replicas: " + strconv.Itoa(*w.Replicas)
	}
	if w.NodeName != "" {
		text += ", bound to node " + w.NodeName
	}
	p.entry("what", bold, text, maxLines)
	p.row("owned by", ownershipText(w))
	for i := range w.Containers {
		if i == maxContainers {
			p.row("", more(len(w.Containers)-i, "container"))
			break
		}
		p.container(&w.Containers[i])
	}
	switch w.Detail {
	case "metadata", "none":
		p.row("image", "unknown: the event does not show the pod template")
	}
	p.row("runs as", accountText(w))
	p.row("mounts", mountsText(w))
}

func ownershipText(w *cardWorkload) string {
	if w.Owner.Name == "" {
		return ""
	}
	text := w.Owner.Kind + " " + w.Owner.Name
	if w.Root.Name != "" && w.Root != w.Owner {
		text += " of " + w.Root.Kind + " " + w.Root.Name
	}
	if !w.Controlled {
		text += " (as it claims: no controller made it)"
	}
	return text
}

func (p *page) container(c *cardContainer) {
	text := c.Image.Raw
	var marks []string
	if c.Type != "container" && c.Type != "" {
		marks = append(marks, c.Type)
	}
	if c.Security.Privileged {
		marks = append(marks, "privileged")
	}
	if u := c.Security.RunAsUser; u != nil && *u == 0 {
		marks = append(marks, "as root")
	}
	for _, capability := range c.Security.CapabilitiesAdd {
		marks = append(marks, "+"+capability)
	}
	if len(marks) > 0 {
		text += " (" + strings.Join(marks, ", ") + ")"
	}
	p.row("image", text)
	if line := commandLine(c); line != "" {
		p.row("", "$ "+line)
	}
}

func commandLine(c *cardContainer) string {
	var words []string
	for _, w := range slices.Concat(c.Command, c.Args) {
		if w == "" || strings.ContainsAny(w, " \t\n'\"") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func accountText(w *cardWorkload) string {
	if w.ServiceAccount == "" {
		return ""
	}
	text := "service account " + w.ServiceAccount
	if w.Rights.State == "known" {
		text += ": " + w.Rights.Text
		for _, d := range w.Rights.Dangerous {
			text += "; " + d.Text
		}
	}
	return text
}

// mountsText names what reaches beyond the Pod: paths of the node and secrets.
func mountsText(w *cardWorkload) string {
	var all []string
	for _, v := range w.Volumes {
		switch v.Type {
		case "hostPath":
			all = append(all, v.Detail+" of the node")
		case "secret":
			all = append(all, "secret "+v.Detail)
		}
	}
	return strings.Join(all, ", ")
}

// objectText is what a request was about that made no workload.
func objectText(a *cardAlert) string {
	o := &a.Request.Object
	text := a.Request.Verb + " " + o.Resource
	if o.Subresource != "" {
		text += "/" + o.Subresource
	}
	if name := strings.Trim(o.Namespace+"/"+o.Name, "/"); name != "" {
		text += " " + name
	}
	return strings.TrimSpace(text)
}

func networkText(a *cardAlert) string {
	var parts []string
	if a.Network.HostNetwork {
		parts = append(parts, "shares the network of the node")
	}
	if len(a.Network.HostPorts) > 0 {
		ports := make([]string, len(a.Network.HostPorts))
		for i, port := range a.Network.HostPorts {
			ports[i] = strconv.Itoa(port)
		}
		parts = append(parts, "ports of the node: "+strings.Join(ports, ", "))
	}
	if w := a.Workload; w != nil && w.HostPID {
		parts = append(parts, "sees all processes of the node")
	}
	if w := a.Workload; w != nil && w.HostIPC {
		parts = append(parts, "shares the IPC of the node")
	}
	return strings.Join(parts, " · ")
}

// reasons lists the parts of the score, the weightiest first.
func (p *page) reasons(a *cardAlert) {
	if len(a.Reasons) == 0 {
		for _, r := range a.Rules {
			p.row("rule", r.Title+" ("+r.Level+")")
		}
		return
	}
	reasons := heaviestFirst(a.Reasons)
	label := "why"
	for i, r := range reasons {
		if i == maxReasons {
			p.row("", more(len(reasons)-i, "reason"))
			break
		}
		p.row(label, fmt.Sprintf("%+3d %s", r.Points, r.Text))
		label = ""
	}
}

func heaviestFirst(reasons []cardReason) []cardReason {
	reasons = slices.Clone(reasons)
	slices.SortStableFunc(reasons, func(x, y cardReason) int { return cmp.Compare(y.Points, x.Points) })
	return reasons
}

func policyText(a *cardAlert) string {
	var parts []string
	if l := a.Policy.Level; l != "" && l != "unknown" {
		parts = append(parts, "Pod Security level "+l+brokenChecks(a))
	}
	for _, d := range a.Policy.Admission {
		if d.Type == "violation" || d.Type == "failure" {
			parts = append(parts, "admission: "+d.Detail)
		}
	}
	parts = append(parts, a.Policy.Intended.Deviations...)
	return strings.Join(parts, " · ")
}

// brokenChecks names what keeps a workload from the baseline, which hardly any needs, and counts what keeps it from
// being restricted, which many are not.
func brokenChecks(a *cardAlert) string {
	var baseline, restricted []string
	for _, v := range a.Policy.Violations {
		list := &restricted
		if v.Level == "baseline" {
			list = &baseline
		}
		if !slices.Contains(*list, v.Check) {
			*list = append(*list, v.Check)
		}
	}
	switch {
	case len(baseline) > 0:
		return ": breaks " + strings.Join(baseline, ", ")
	case len(restricted) > 0:
		return ": breaks " + strconv.Itoa(len(restricted)) + " of the checks for restricted"
	}
	return ""
}

func ownerText(a *cardAlert) string {
	var parts []string
	for _, part := range []string{a.Owners.Team, a.Owners.Contact, a.Owners.Chat, a.Owners.Runbook} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " · ")
}

func approvalText(a *cardAlert) string {
	ap := &a.Approval
	if ap.State != "approved" && len(ap.Deviations) == 0 {
		return ""
	}
	text := ap.State
	if ap.By != "" {
		text += " by " + ap.By
	}
	if ap.Ticket != "" {
		text += ", ticket " + ap.Ticket
	}
	for _, d := range ap.Deviations {
		text += "; " + d
	}
	return text
}

// Steps of the alert's guide (docs/alerts.md) whose commands stand on a card.
const (
	stepDetails = 2
	stepEvents  = 3
	stepStop    = 1
)

func (p *page) commands(a *cardAlert) {
	for _, step := range a.Investigate {
		if step.Step == stepDetails || step.Step == stepEvents {
			p.command("look", cyan, "", step.Command)
		}
	}
	// Of each kind the first: the gentlest.
	shown := map[string]bool{}
	for _, r := range a.Respond {
		label := responseLabel(r.Title)
		if r.Step != stepStop || r.Command == "" || label == "" || shown[label] {
			continue
		}
		shown[label] = true
		p.command(label, boldRed, r.Title, r.Command)
	}
}

// responseLabel sorts the commands of the first step by their titles; "" are those that a card leaves out.
func responseLabel(title string) string {
	switch {
	case strings.HasPrefix(title, "Revoke the grant"), strings.HasPrefix(title, "Revoke the binding"):
		return "revoke"
	case strings.HasPrefix(title, "Revoke"):
		return ""
	case strings.HasPrefix(title, "Find"):
		return "find"
	default:
		return "stop"
	}
}

// command is written on one line however long it is, so that it can be pasted: the terminal wraps it.
func (p *page) command(label, sgr, title, text string) {
	shown := printable(text)
	switch {
	case text == "":
		return
	case len(text) > maxCommand:
		p.entry(label, sgr, title+": the command is too long for a card, take it from the alert (-o json)", maxLines)
		return
	case shown != text:
		p.entry(label, sgr, title+": the command holds characters that must not reach a terminal, take it from the alert (-o json)", maxLines)
		return
	}
	p.dst.WriteString(p.label(label, sgr) + shown + "\n")
}

func more(n int, what string) string {
	if n > 1 {
		what += "s"
	}
	return fmt.Sprintf("and %d more %s", n, what)
}
