package rules

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Parse reads the documents of a file: rules and filters. It reports every fault, joined, each a [*Fault]; documents
// without a fault are returned beside them. file is only a name for faults.
//
// What it reads is bounded by [MaxFile], [MaxDocuments], [MaxNesting] and [MaxNodes].
func Parse(file string, data []byte) (Documents, error) {
	var docs Documents
	if len(data) > MaxFile {
		return docs, &Fault{File: file, Line: 1, Col: 1, Msg: fmt.Sprintf("expected at most %d bytes, got %d", MaxFile, len(data)), Hint: "split the file"}
	}
	if i := bytes.IndexByte(data, 0); i >= 0 || !utf8.Valid(data) {
		return docs, &Fault{File: file, Line: 1, Col: 1, Msg: "expected YAML in UTF-8, got binary data"}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	parts := chunks(data)
	if len(parts) > MaxDocuments {
		return docs, &Fault{File: file, Line: parts[MaxDocuments].before + 1, Col: 1, Msg: fmt.Sprintf("expected at most %d documents in a file, got %d", MaxDocuments, len(parts)), Hint: "split the file"}
	}
	var faults []error
	for _, c := range parts {
		parsed, err := parseChunk(file, c)
		if err != nil {
			faults = append(faults, err)
		}
		for _, d := range parsed {
			d.read(&docs)
			faults = append(faults, d.faults...)
		}
	}
	return docs, errors.Join(faults...)
}

// read adds the rule or filter that d holds, unless it has a fault.
func (d *document) read(docs *Documents) {
	if isNull(d.root) {
		return
	}
	if d.root.Kind != yaml.MappingNode {
		d.fault(d.root, "", "expected a rule (a mapping), got %s", kindName(d.root))
		return
	}
	pairs := d.pairs(d.root)
	kinds := map[string]bool{}
	for _, p := range pairs {
		switch p.key {
		case "detection", "filter", "correlation", "action":
			kinds[p.key] = true
		case "id", "name", "title":
			if d.rule == "" && p.node.Kind == yaml.ScalarNode && len(p.node.Value) <= maxTitle {
				d.rule = p.node.Value
			}
		}
	}
	for _, p := range pairs {
		if p.key == "id" && p.node.Kind == yaml.ScalarNode && len(p.node.Value) <= maxTitle {
			d.rule = p.node.Value
		}
	}
	switch {
	case kinds["correlation"]:
		d.correlation(pairs)
	case kinds["action"]:
		d.fault(d.root, "Sigma 2 dropped rule collections: write each rule out", "expected a rule, got a document with an action")
	case kinds["filter"]:
		if f := d.filter(pairs); len(d.faults) == 0 {
			docs.Filters = append(docs.Filters, f)
		}
	default:
		if r := d.parseRule(pairs); len(d.faults) == 0 {
			docs.Rules = append(docs.Rules, r)
		}
	}
}

// maxTitle is the longest title, in characters (Sigma specification 2.1, Title).
const maxTitle = 256

var (
	statuses  = []string{"stable", "test", "experimental", "deprecated", "unsupported"}
	levels    = []string{"informational", "low", "medium", "high", "critical"}
	relations = []string{"derived", "obsolete", "merged", "renamed", "similar", "correlation"}
)

func (d *document) parseRule(pairs []pair) *Rule {
	r := &Rule{File: d.file}
	r.Line, r.Col = d.place(d.root)
	var detection *yaml.Node
	hasTitle, hasSource := false, false
	for _, p := range pairs {
		n := p.node
		switch p.key {
		case "title":
			hasTitle = true
			r.Title = d.title(n)
		case "id":
			r.ID = d.uuid(n)
		case "name":
			r.Name = d.text(p)
		case "related":
			d.related(n)
		case "status":
			r.Status = d.oneOf(p, statuses)
		case "level":
			r.Level = d.oneOf(p, levels)
		case "description":
			r.Description = d.text(p)
		case "author":
			r.Author = d.text(p)
		case "license":
			r.License = d.text(p)
		case "taxonomy":
			d.text(p)
		case "date":
			r.Date = d.date(p)
		case "modified":
			r.Modified = d.date(p)
		case "tags":
			r.Tags = d.texts(p)
		case "references":
			r.References = d.texts(p)
		case "falsepositives":
			r.FalsePositives = d.texts(p)
		case "fields":
			r.Fields = d.texts(p)
		case "scope":
			d.texts(p)
		case "logsource":
			hasSource = true
			r.LogSource = d.logSource(n)
		case "detection":
			detection = n
		case "tests":
			r.Tests = d.tests(n)
		default:
			r.Custom = append(r.Custom, d.custom(p))
		}
	}
	if !hasTitle {
		d.fault(d.root, "", "expected a title, got none")
	}
	if !hasSource {
		d.fault(d.root, "", "expected a logsource, got none")
	}
	if detection == nil {
		d.fault(d.root, "", "expected a detection, got none")
	} else {
		r.Detection = d.detection(detection, nil)
	}
	for i := range r.Tests {
		r.Tests[i].RuleFile = r.File
		if r.Tests[i].Rule == "" {
			r.Tests[i].Rule = r.Key()
		}
	}
	for _, w := range r.Detection.warnings {
		w.File, w.Rule = r.File, r.Key()
		r.Warnings = append(r.Warnings, w)
	}
	return r
}

func (d *document) title(n *yaml.Node) string {
	if !isText(n) || n.Value == "" {
		d.fault(n, "quote it", "expected a text as title, got %s", kindName(n))
		return ""
	}
	if c := utf8.RuneCountInString(n.Value); c > maxTitle {
		d.fault(n, "", "expected a title of at most %d characters, got %d", maxTitle, c)
	}
	return n.Value
}

func (d *document) text(p pair) string {
	if isNull(p.node) {
		return ""
	}
	if p.node.Kind != yaml.ScalarNode {
		d.fault(p.position, "", "expected a text for %s, got %s", p.key, kindName(p.node))
		return ""
	}
	return p.node.Value
}

func (d *document) texts(p pair) []string {
	if isNull(p.node) {
		return nil
	}
	if p.node.Kind != yaml.SequenceNode {
		d.fault(p.position, "begin each line with a hyphen", "expected a list for %s, got %s", p.key, kindName(p.node))
		return nil
	}
	out := make([]string, 0, len(p.node.Content))
	for _, n := range p.node.Content {
		if v, ok := d.scalar(n); !ok || v.kind == valueNull {
			d.fault(n, "", "expected a text in the list of %s, got %s", p.key, kindName(n))
		} else {
			out = append(out, v.text)
		}
	}
	return out
}

func (d *document) uuid(n *yaml.Node) string {
	ok := isText(n) && len(n.Value) == 36
	for i := 0; ok && i < 36; i++ {
		c := n.Value[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			ok = c == '-'
		} else {
			ok = c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
		}
	}
	if !ok {
		d.fault(n, "a UUID such as 01234567-89ab-4cde-8f01-23456789abcd", "expected a UUID as id, got %s", kindName(n))
		return ""
	}
	return strings.ToLower(n.Value)
}

func (d *document) oneOf(p pair, allowed []string) string {
	if isNull(p.node) {
		return ""
	}
	for _, a := range allowed {
		if p.node.Kind == yaml.ScalarNode && p.node.Value == a {
			return a
		}
	}
	d.fault(p.position, didYouMean(p.node.Value, allowed), "expected a %s, got %s", p.key, kindName(p.node))
	return ""
}

// date reads YYYY-MM-DD; YYYY/MM/DD is what rules before Sigma 2 have.
func (d *document) date(p pair) string {
	if isNull(p.node) {
		return ""
	}
	if p.node.Kind == yaml.ScalarNode {
		for _, layout := range []string{"2006-01-02", "2006/01/02"} {
			if t, err := time.Parse(layout, p.node.Value); err == nil {
				return t.Format("2006-01-02")
			}
		}
	}
	d.fault(p.position, "write it as 2026-11-23", "expected a date for %s, got %s", p.key, kindName(p.node))
	return ""
}

func (d *document) related(n *yaml.Node) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fault(n, "", "expected a list for related, got %s", kindName(n))
		return
	}
	for _, entry := range n.Content {
		if entry.Kind == yaml.AliasNode {
			entry = entry.Alias
		}
		if entry.Kind != yaml.MappingNode {
			d.fault(entry, "", "expected an id and a type in related, got %s", kindName(entry))
			continue
		}
		id, kind := false, false
		for _, p := range d.pairs(entry) {
			switch p.key {
			case "id":
				id = true
				d.uuid(p.node)
			case "type":
				kind = true
				if isNull(p.node) {
					d.fault(p.position, didYouMean("", relations), "expected a type, got null")
				}
				d.oneOf(p, relations)
			}
		}
		if !id || !kind {
			d.fault(entry, "", "expected an id and a type in related, got only one of them")
		}
	}
}

func (d *document) logSource(n *yaml.Node) LogSource {
	var s LogSource
	if n.Kind != yaml.MappingNode {
		d.fault(n, "", "expected a mapping for logsource, got %s", kindName(n))
		return s
	}
	for _, p := range d.pairs(n) {
		switch p.key {
		case "category":
			s.Category = d.text(p)
		case "product":
			s.Product = d.text(p)
		case "service":
			s.Service = d.text(p)
		case "definition":
			s.Definition = d.text(p)
		}
	}
	if s.Category == "" && s.Product == "" && s.Service == "" {
		d.fault(n, "for example product: kubernetes", "expected a category, a product or a service in logsource, got none")
	}
	return s
}

func (d *document) custom(p pair) Custom {
	if p.node.Kind == yaml.ScalarNode {
		return Custom{p.key, p.node.Value}
	}
	text, err := yaml.Dump(p.node)
	if err != nil {
		return Custom{Name: p.key}
	}
	return Custom{p.key, string(text)}
}

func (d *document) filter(pairs []pair) *Filter {
	f := &Filter{File: d.file}
	f.Line, f.Col = d.place(d.root)
	hasTitle, hasSource := false, false
	for _, p := range pairs {
		switch p.key {
		case "title":
			hasTitle = true
			f.Title = d.title(p.node)
		case "id":
			f.ID = d.uuid(p.node)
		case "logsource":
			hasSource = true
			f.LogSource = d.logSource(p.node)
		case "filter":
			d.filterBody(p.node, f)
		}
	}
	if !hasTitle {
		d.fault(d.root, "", "expected a title, got none")
	}
	if !hasSource {
		d.fault(d.root, "", "expected a logsource, got none")
	}
	return f
}

func (d *document) filterBody(n *yaml.Node, f *Filter) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, "", "expected a mapping for filter, got %s", kindName(n))
		return
	}
	f.Any = true // without rules it applies to all of its log source
	for _, p := range d.pairs(n) {
		if p.key != "rules" {
			continue
		}
		switch {
		case p.node.Kind == yaml.ScalarNode && p.node.Value == "any" || isNull(p.node):
		case p.node.Kind == yaml.ScalarNode:
			f.Any, f.Rules = false, []string{p.node.Value}
		default:
			f.Rules = d.texts(p)
			f.Any = len(f.Rules) == 0
		}
	}
	f.Detection = d.detection(n, []string{"rules"})
}
