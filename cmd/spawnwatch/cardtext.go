package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// The texts of the entries of a card; "" where there is nothing to say. They are as the alert has them: [page] makes them safe.

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

func tellingGroups(groups []string) []string {
	return slices.DeleteFunc(slices.Clone(groups), func(g string) bool {
		return g == "system:authenticated" || g == "system:serviceaccounts" || strings.HasPrefix(g, "system:serviceaccounts:")
	})
}

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
