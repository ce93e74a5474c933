package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Test is a case of a rule: an event, and what the rule should say of it.
type Test struct {
	// Name says what the case shows.
	Name string
	// Rule is the id, name or title of the rule; empty means every rule of RuleFile.
	Rule, RuleFile string
	// Event is the event as JSON; Events instead names a file with an event a line, relative to the file of the case.
	Event  []byte
	Events string
	// Match is what is expected, of a file for every event in it.
	Match bool
	// Fields are texts that fields must have among their values.
	Fields []FieldValue
	// File, Line and Col say where the case is written.
	File      string
	Line, Col int
}

// FieldValue is a value that a case expects.
type FieldValue struct{ Field, Value string }

// TestResult is how a case came out.
type TestResult struct {
	Test Test
	// Rule is the rule it was run on.
	Rule string
	OK   bool
	// Detail says what was expected and what came, where it is not OK; Explain shows the evaluation of the event.
	Detail  string
	Explain Node
}

// ParseTests reads the cases of a NAME.test.yml: a list, or a mapping with the list under "tests". ruleFile is the file
// they belong to. Every fault is reported, joined.
func ParseTests(file string, data []byte, ruleFile string) ([]Test, error) {
	if len(data) > MaxFile {
		return nil, &Fault{File: file, Line: 1, Col: 1, Msg: fmt.Sprintf("expected at most %d bytes, got %d", MaxFile, len(data))}
	}
	var tests []Test
	var faults []error
	for _, c := range chunks(data) {
		docs, err := parseChunk(file, c)
		if err != nil {
			faults = append(faults, err)
		}
		for _, d := range docs {
			n := d.root
			if n.Kind == yaml.MappingNode {
				for _, p := range d.pairs(n) {
					if p.key == "tests" {
						n = p.node
					} else {
						d.fault(p.keyNode, didYouMean(p.key, []string{"tests"}), "expected tests, got %q", shorten(p.key))
					}
				}
			}
			list := d.tests(n)
			for i := range list {
				list[i].RuleFile = ruleFile
			}
			tests = append(tests, list...)
			faults = append(faults, d.faults...)
		}
	}
	return tests, errors.Join(faults...)
}

var testKeys = []string{"name", "rule", "event", "events", "match", "fields"}

// tests reads a list of cases.
func (d *document) tests(n *yaml.Node) []Test {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, "", "expected a list of tests, got %s", kindName(n))
		return nil
	}
	var out []Test
	for _, entry := range n.Content {
		if entry.Kind == yaml.AliasNode {
			entry = entry.Alias
		}
		if entry.Kind != yaml.MappingNode {
			d.fault(entry, "", "expected a test (a mapping), got %s", kindName(entry))
			continue
		}
		before := len(d.faults)
		if t := d.test(entry); len(d.faults) == before {
			out = append(out, t)
		}
	}
	return out
}

func (d *document) test(n *yaml.Node) Test {
	t := Test{File: d.file}
	t.Line, t.Col = d.place(n)
	hasMatch := false
	for _, p := range d.pairs(n) {
		switch p.key {
		case "name":
			t.Name = d.text(p)
		case "rule":
			t.Rule = d.text(p)
		case "events":
			t.Events = d.text(p)
			if t.Events != "" && !fs.ValidPath(path.Clean(t.Events)) {
				d.fault(p.position, "", "expected a file below the folder of the test, got %q", shorten(t.Events))
			}
		case "event":
			t.Event = d.event(p)
		case "match":
			v, ok := d.scalar(p.node)
			if hasMatch = true; !ok || v.kind != valueBool {
				d.fault(p.position, "", "expected true or false for match, got %s", kindName(p.node))
			}
			t.Match = v.text == "true"
		case "fields":
			t.Fields = d.expectations(p)
		default:
			d.fault(p.keyNode, didYouMean(p.key, testKeys), "expected a key of a test, got %q", shorten(p.key))
		}
	}
	if t.Name == "" {
		d.fault(n, "", "expected a name, got none")
	}
	if (t.Event == nil) == (t.Events == "") {
		d.fault(n, "", "expected an event or a file of events, and not both")
	}
	if !hasMatch {
		d.fault(n, "", "expected match: true or match: false, got neither")
	}
	return t
}

func (d *document) expectations(p pair) []FieldValue {
	if p.node.Kind != yaml.MappingNode {
		d.fault(p.position, "", "expected fields with their values, got %s", kindName(p.node))
		return nil
	}
	var out []FieldValue
	for _, f := range d.pairs(p.node) {
		list := []*yaml.Node{f.node}
		if f.node.Kind == yaml.SequenceNode {
			list = f.node.Content
		}
		for _, n := range list {
			v, ok := d.scalar(n)
			if !ok || v.kind == valueNull {
				d.fault(n, "", "expected a value for %s, got %s", f.key, kindName(n))
				continue
			}
			out = append(out, FieldValue{f.key, v.text})
		}
	}
	return out
}

// event reads an event written as YAML, or as a text of JSON.
func (d *document) event(p pair) []byte {
	if isText(p.node) {
		if !json.Valid([]byte(p.node.Value)) {
			d.fault(p.position, "", "expected an event as JSON, got a text that is none")
			return nil
		}
		return []byte(p.node.Value)
	}
	if p.node.Kind != yaml.MappingNode {
		d.fault(p.position, "", "expected an event, got %s", kindName(p.node))
		return nil
	}
	return d.appendJSON(nil, p.node)
}

// appendJSON writes a YAML value as JSON. Depth and aliases were measured before.
func (d *document) appendJSON(dst []byte, n *yaml.Node) []byte {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	quote := func(dst []byte, s string) []byte {
		text, _ := json.Marshal(s) // a string always marshals
		return append(dst, text...)
	}
	switch n.Kind {
	case yaml.MappingNode:
		dst = append(dst, '{')
		for i, p := range d.pairs(n) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(quote(dst, p.key), ':')
			dst = d.appendJSON(dst, p.node)
		}
		return append(dst, '}')
	case yaml.SequenceNode:
		dst = append(dst, '[')
		for i, e := range n.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = d.appendJSON(dst, e)
		}
		return append(dst, ']')
	default:
	}
	switch v, _ := d.scalar(n); v.kind {
	case valueNull:
		return append(dst, "null"...)
	case valueBool:
		return append(dst, v.text...)
	case valueInt, valueFloat:
		if json.Valid([]byte(v.text)) {
			return append(dst, v.text...)
		}
		return quote(dst, v.text)
	default:
		return quote(dst, v.text)
	}
}

// TestFields are the fields that the cases expect values of: for [Options.Fields].
func TestFields(tests []Test) []string {
	var out []string
	for _, t := range tests {
		for _, f := range t.Fields {
			if !slices.Contains(out, f.Field) {
				out = append(out, f.Field)
			}
		}
	}
	return out
}

// RunTests runs cases on the rules of a set, which must have been compiled with their [TestFields]. Files of events are
// read from fsys, which may be nil where there are none.
func RunTests(set *Set, tests []Test, fsys fs.FS) []TestResult {
	var out []TestResult
	for _, t := range tests {
		rules := set.testedBy(t)
		if len(rules) == 0 {
			out = append(out, TestResult{Test: t, Rule: t.Rule, Detail: fmt.Sprintf("expected a rule %q in %s, got none", t.Rule, t.RuleFile)})
		}
		for _, r := range rules {
			out = append(out, set.runTest(t, r, fsys))
		}
	}
	return out
}

func (s *Set) testedBy(t Test) []*compiledRule {
	if t.Rule != "" {
		if r := s.lookUp(t.Rule); r != nil {
			return []*compiledRule{r}
		}
		return nil
	}
	var out []*compiledRule
	for _, r := range s.rules {
		if r.rule.File == t.RuleFile {
			out = append(out, r)
		}
	}
	return out
}

func (s *Set) runTest(t Test, r *compiledRule, fsys fs.FS) TestResult {
	res := TestResult{Test: t, Rule: r.rule.Key()}
	events := [][]byte{t.Event}
	if t.Events != "" {
		if fsys == nil {
			res.Detail = "expected a folder to read " + t.Events + " from, got none"
			return res
		}
		name := path.Join(path.Dir(t.File), t.Events)
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			res.Detail = fmt.Sprintf("cannot read the events: %v", err)
			return res
		}
		events = events[:0]
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" {
				events = append(events, []byte(line))
			}
		}
		if len(events) == 0 {
			res.Detail = "expected events in " + name + ", got none"
			return res
		}
	}
	for i, e := range events {
		where := ""
		if len(events) > 1 {
			where = "line " + strconv.Itoa(i+1) + ": "
		}
		hits, _, err := s.Match(e, nil)
		if err != nil {
			res.Detail = where + err.Error()
			return res
		}
		matched := slices.ContainsFunc(hits, func(h Hit) bool { return h.Rule == r.rule })
		if matched != t.Match {
			res.Detail = where + "expected " + matchWord(t.Match) + ", got " + matchWord(matched)
			res.Explain, _ = s.Explain(r.rule.Key(), e)
			return res
		}
		for _, f := range t.Fields {
			values, err := s.Values(f.Field, e)
			if err != nil {
				res.Detail = where + err.Error()
				return res
			}
			if !slices.ContainsFunc(values, func(v string) bool { return fold(v) == fold(f.Value) }) {
				res.Detail = fmt.Sprintf("%sexpected %s to have %q, got %q", where, f.Field, f.Value, values)
				return res
			}
		}
	}
	res.OK = true
	return res
}

func matchWord(match bool) string {
	if match {
		return "a match"
	}
	return "no match"
}
