package main

import (
	"fmt"
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
// row writes an entry unless there is nothing to say.
func (p *page) row(label, text string) { p.entry(label, cyan, text) }

func (p *page) entry(label, sgr, text string) {
	if text == "" {
		return
	}
	for i, line := range wrap(printable(text), p.style.width-labelColumns, maxLines) {
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
	p.entry("who", bold, text)
	if a.ImpersonatedBy != "" {
		p.entry("in truth", boldRed, a.ImpersonatedBy+", who impersonated "+a.User)
	}
	p.row("from", originText(a, all))
}

// tellingGroups leaves out what every authenticated user is in.
// originText is the peer's address, which alone is certain, then what the client claims.
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
	p.entry("what", bold, text)
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

// mountsText names what reaches beyond the Pod: paths of the node and secrets.
// objectText is what a request was about that made no workload.
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

// brokenChecks names what keeps a workload from the baseline, which hardly any needs, and counts what keeps it from
// being restricted, which many are not.
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
		p.entry(label, sgr, title+": the command is too long for a card, take it from the alert (-o json)")
		return
	case shown != text:
		p.entry(label, sgr, title+": the command holds characters that must not reach a terminal, take it from the alert (-o json)")
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
