package sinks

import (
	"fmt"
	"slices"
	"strings"
)

// Template is the text of a topic, subject, key or path in which names in braces stand for the [Labels] of a message:
// k8s.alerts.{severity}. Braces have no other use; there is no escape for them. The zero Template is empty text.
// It is immutable and safe for concurrent use.
type Template struct {
	text  string
	parts []templatePart
}

// templatePart is literal text, or a label where label is not nil.
type templatePart struct {
	text  string
	label func(*Labels) string
}

// placeholders are the names that a template may use, in the order in which they are documented.
var placeholders = []struct {
	name  string
	label func(*Labels) string
}{
	{"cluster", func(l *Labels) string { return l.Cluster }},
	{"namespace", func(l *Labels) string { return l.Namespace }},
	{"kind", func(l *Labels) string { return l.Kind }},
	{"name", func(l *Labels) string { return l.Name }},
	{"severity", func(l *Labels) string { return l.Severity }},
	{"outcome", func(l *Labels) string { return l.Outcome }},
	{"rule", func(l *Labels) string { return l.Rule }},
}

// ParseTemplate reads text. An unknown name, an opening brace that is not closed and a closing one that was not opened
// are errors that say where (a byte offset counted from 0) and, for a misspelled name, which was likely meant.
func ParseTemplate(text string) (Template, error) {
	t := Template{text: text}
	for pos := 0; pos < len(text); {
		brace := strings.IndexAny(text[pos:], "{}")
		if brace < 0 {
			t.parts = append(t.parts, templatePart{text: text[pos:]})
			break
		}
		if text[pos+brace] == '}' {
			return Template{}, fmt.Errorf("template %q: the brace closed at offset %d was not opened: write {name}, e.g. {severity}", text, pos+brace)
		}
		if brace > 0 {
			t.parts = append(t.parts, templatePart{text: text[pos : pos+brace]})
		}
		pos += brace + 1
		end := strings.IndexAny(text[pos:], "{}")
		if end < 0 || text[pos+end] == '{' {
			return Template{}, fmt.Errorf("template %q: the brace opened at offset %d is not closed: write {name}, e.g. {severity}", text, pos-1)
		}
		label, err := lookUpPlaceholder(text[pos : pos+end])
		if err != nil {
			return Template{}, fmt.Errorf("template %q: offset %d: %w", text, pos, err)
		}
		t.parts = append(t.parts, templatePart{label: label})
		pos += end + 1
	}
	return t, nil
}

func lookUpPlaceholder(name string) (func(*Labels) string, error) {
	names := make([]string, len(placeholders))
	nearest, best := "", 3 // three edits away is another word
	for i, p := range placeholders {
		if p.name == name {
			return p.label, nil
		}
		names[i] = "{" + p.name + "}"
		if d := editDistance(strings.ToLower(name), p.name); d < best {
			nearest, best = p.name, d
		}
	}
	if nearest != "" {
		return nil, fmt.Errorf("unknown placeholder {%s}: did you mean {%s}?", name, nearest)
	}
	return nil, fmt.Errorf("unknown placeholder {%s}: expected one of %s", name, strings.Join(names, " "))
}

// editDistance counts the insertions, deletions and replacements of single bytes that turn a into b (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// String is the text that was parsed.
func (t Template) String() string { return t.text }

// Fixed is true where the template names no label: it expands to [Template.String] for every message.
func (t Template) Fixed() bool {
	return !slices.ContainsFunc(t.parts, func(p templatePart) bool { return p.label != nil })
}

// Append appends the expansion for l to dst. The literal text goes out as it is; each label's value goes through
// clean, which appends it in a form that is safe for the transport. Values come from the event, so from whoever made
// it: clean must cope with any bytes, and with the empty string of an unknown label, for which most transports need
// some word (an empty token is not a NATS subject). It must not touch what dst already holds.
func (t Template) Append(dst []byte, l *Labels, clean func(dst []byte, value string) []byte) []byte {
	for i := range t.parts {
		if p := &t.parts[i]; p.label != nil {
			dst = clean(dst, p.label(l))
		} else {
			dst = append(dst, p.text...)
		}
	}
	return dst
}
