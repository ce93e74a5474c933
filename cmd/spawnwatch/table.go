package main

import (
	"strconv"
	"strings"
)

// tableColumns are the widths of a table that is width columns wide: time, severity and score are fixed, the rest is
// shared.
type tableColumns struct{ workload, actor, why int }

const (
	timeColumn     = 20
	severityColumn = 14
	scoreColumn    = 4
	leastColumn    = 8
	// leastTable is as narrow as a table gets: a narrower terminal wraps its lines.
	leastTable = timeColumn + severityColumn + scoreColumn + 3*leastColumn + 2
)

func columnsOf(width int) tableColumns {
	rest := max(width, leastTable) - timeColumn - severityColumn - scoreColumn
	c := tableColumns{workload: max(rest*4/10, leastColumn), actor: max(rest*3/10, leastColumn)}
	c.why = max(rest-c.workload-c.actor, leastColumn)
	return c
}

func tableTitle(s style) string {
	c := columnsOf(s.width)
	line := pad("TIME (UTC)", timeColumn) + pad("SEVERITY", severityColumn-1) + " " + pad("PTS", scoreColumn) +
		cell("WORKLOAD", c.workload) + cell("ACTOR", c.actor) + "WHY"
	return s.paint(dim, line) + "\n"
}

// tableRow appends an alert as one line.
func tableRow(s style, dst *strings.Builder, a *cardAlert) {
	c := columnsOf(s.width)
	severity := printable(a.Severity)
	dst.WriteString(cell(printable(strings.TrimSuffix(shownTime(a.Time), " UTC")), timeColumn))
	dst.WriteString(s.paint(severityColour(a.Severity), cut(severity, severityColumn-1)))
	dst.WriteString(strings.Repeat(" ", max(severityColumn-columns(severity), 1)))
	dst.WriteString(cell(strconv.Itoa(a.Score), scoreColumn))
	dst.WriteString(cell(printable(tableWorkload(a)), c.workload))
	dst.WriteString(cell(printable(tableActor(&a.Actor)), c.actor))
	dst.WriteString(cut(printable(tableWhy(a)), c.why) + "\n")
}

// cell is text cut and padded to limit columns, the last of which stays empty.
func cell(text string, limit int) string { return pad(cut(text, limit-1), limit) }

func tableWorkload(a *cardAlert) string {
	w := a.Workload
	if w == nil {
		return objectText(a)
	}
	name := w.Name
	if w.NameUnknown {
		name = w.GenerateName + "…"
	}
	text := w.Kind + " " + w.Namespace + "/" + name
	if a.Outcome != "created" {
		text = a.Outcome + ": " + text
	}
	return text
}

func tableActor(a *cardActor) string {
	if a.ImpersonatedBy != "" {
		return a.User + " (" + a.ImpersonatedBy + ")"
	}
	return a.User
}

// tableWhy is what raised the score beyond the rule's own level, else the rule.
func tableWhy(a *cardAlert) string {
	var codes []string
	for _, r := range heaviestFirst(a.Reasons) {
		if r.Code != "rule_level" && r.Points != 0 {
			codes = append(codes, strings.ReplaceAll(r.Code, "_", " "))
		}
	}
	if len(codes) == 0 && len(a.Rules) > 0 {
		return a.Rules[0].Title
	}
	return strings.Join(codes, ", ")
}
