package strictyaml

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Limits of what is read. A configuration near them is not one that a person wrote.
const (
	// MaxBytes is the largest file, 1 MiB.
	MaxBytes = 1 << 20
	// MaxDepth is the deepest nesting.
	MaxDepth = 50
	// MaxNodes bounds the nodes of a document, those that aliases repeat counted each time.
	MaxNodes = 100_000
)

func (d *decoder) parse(data []byte) (*yaml.Node, error) {
	if len(data) > MaxBytes {
		return nil, &Fault{File: d.file, Line: 1, Column: 1, Text: fmt.Sprintf("expected at most %d bytes of YAML, got %d", MaxBytes, len(data))}
	}
	if at, depth := deepest(data); depth > MaxDepth {
		return nil, &Fault{File: d.file, Line: at, Column: 1, Text: fmt.Sprintf("expected at most %d levels of brackets, got more", MaxDepth)}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, d.syntax(err)
	}
	if doc.Kind == 0 || len(doc.Content) == 0 {
		return nil, nil
	}
	count := 0
	if n := tooMuch(&doc, 0, &count); n != nil {
		return nil, &Fault{File: d.file, Line: max(n.Line, 1), Column: max(n.Column, 1), Text: fmt.Sprintf("expected at most %d levels and %d values, got more", MaxDepth, MaxNodes)}
	}
	return doc.Content[0], nil
}

// deepest is a cheap look at flow nesting before the recursive parser sees it.
func deepest(data []byte) (line, depth int) {
	now, at, deep := 0, 1, 0
	for _, c := range data {
		switch c {
		case '\n':
			at++
		case '[', '{':
			now++
			if now > deep {
				deep, line = now, at
			}
		case ']', '}':
			now = max(now-1, 0)
		}
	}
	return line, deep
}

// tooMuch returns the first node beyond the limits; aliases count as what they repeat.
func tooMuch(n *yaml.Node, depth int, count *int) *yaml.Node {
	*count++
	if depth > MaxDepth || *count > MaxNodes {
		return n
	}
	if n.Kind == yaml.AliasNode {
		return tooMuch(n.Alias, depth+1, count)
	}
	for _, c := range n.Content {
		if over := tooMuch(c, depth+1, count); over != nil {
			return over
		}
	}
	return nil
}

// syntax turns the parser's error into a fault with a position.
func (d *decoder) syntax(err error) error {
	f := &Fault{File: d.file, Line: 1, Column: 1, Text: "not valid YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	text := f.Text
	if i := strings.Index(text, "line "); i >= 0 {
		digits := text[i+len("line "):]
		end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(digits)
		}
		if n, convErr := strconv.Atoi(digits[:end]); convErr == nil && n >= 1 {
			f.Line = n
			f.Snippet = d.snippet(n)
		}
	}
	return f
}
