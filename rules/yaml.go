package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Limits of a rule file.
const (
	// MaxFile is the largest rule file, 4 MiB.
	MaxFile = 4 << 20
	// MaxDocuments is how many documents a file may hold.
	MaxDocuments = 10_000
	// MaxNesting is how deep a document may nest.
	MaxNesting = 64
	// MaxNodes bounds the values of one document; what an alias repeats counts each time.
	MaxNodes = 50_000
)

// maxBrackets bounds open brackets in the text of a document before the YAML parser, which is recursive, sees it. It
// is far above MaxNesting since brackets inside strings count too.
const maxBrackets = 2000

// chunk is the text of one document and the number of lines before it.
type chunk struct {
	text   []byte
	before int
}

// chunks cuts a stream at its document markers. A line that begins with --- is one wherever it stands (YAML 1.2.2,
// 9.1.2: it may not occur within a scalar), so that a document that does not parse leaves the others alone.
func chunks(data []byte) []chunk {
	var out []chunk
	start, startLine, line := 0, 0, 0
	for at := 0; at < len(data); line++ {
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			end = len(data)
		} else {
			end += at + 1
		}
		text := data[at:end]
		if at > start && bytes.HasPrefix(text, []byte("---")) && (len(text) == 3 || strings.IndexByte(" \t\r\n", text[3]) >= 0) {
			out = append(out, chunk{data[start:at], startLine})
			start, startLine = at, line
		}
		at = end
	}
	return append(out, chunk{data[start:], startLine})
}

// brackets counts the deepest nesting of brackets in text.
func brackets(text []byte) int {
	depth, deepest := 0, 0
	for _, c := range text {
		switch c {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return deepest
}

// document is a parsed YAML document with lines that count from the beginning of the file.
type document struct {
	file   string
	before int
	root   *yaml.Node
	nodes  int
	faults []error
	// rule names the rule in faults.
	rule string
}

// parseChunk gives the documents of a chunk: usually one, more where "..." ends one.
func parseChunk(file string, c chunk) ([]*document, error) {
	if n := brackets(c.text); n > maxBrackets {
		return nil, &Fault{File: file, Line: c.before + 1, Col: 1, Msg: fmt.Sprintf("expected at most %d open brackets in a document, got %d", maxBrackets, n)}
	}
	var out []*document
	dec := yaml.NewDecoder(bytes.NewReader(c.text))
	for {
		var root yaml.Node
		err := dec.Decode(&root)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, syntaxFault(file, c.before, err)
		}
		if root.Kind == 0 || len(root.Content) == 0 {
			continue
		}
		d := &document{file: file, before: c.before, root: root.Content[0]}
		if n, msg := d.measure(d.root, 0); n != nil {
			return out, &Fault{File: file, Line: max(n.Line, 1) + c.before, Col: max(n.Column, 1), Msg: msg}
		}
		out = append(out, d)
	}
}

// measure follows aliases and counts what they repeat; it stops at the first excess.
func (d *document) measure(n *yaml.Node, depth int) (*yaml.Node, string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.nodes++; d.nodes > MaxNodes {
		return n, fmt.Sprintf("expected at most %d values in a document, counting what aliases repeat, got more", MaxNodes)
	}
	if depth > MaxNesting {
		return n, fmt.Sprintf("expected at most %d levels in a document, got more", MaxNesting)
	}
	for _, k := range n.Content {
		if bad, msg := d.measure(k, depth+1); bad != nil {
			return bad, msg
		}
	}
	return nil, ""
}

// syntaxFault makes a fault out of what the YAML parser says; it knows a line at best.
func syntaxFault(file string, before int, err error) *Fault {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	f := &Fault{File: file, Line: before + 1, Col: 1, Msg: "expected YAML, got a syntax error: " + text}
	if i := strings.Index(text, "line "); i >= 0 {
		digits := text[i+len("line "):]
		end := 0
		for end < len(digits) && digits[end] >= '0' && digits[end] <= '9' {
			end++
		}
		if n, err := strconv.Atoi(digits[:end]); err == nil {
			f.Line = before + max(n, 1)
			f.Msg = "expected YAML, got a syntax error: " + strings.TrimLeft(text[:i]+digits[end:], ": ")
		}
	}
	if strings.IndexByte(text, '\t') >= 0 || strings.Contains(text, "cannot start any token") {
		f.Hint = "indent with spaces, not with tabs; quote texts that begin with a special character"
	}
	return f
}

func (d *document) fault(n *yaml.Node, hint, format string, args ...any) {
	f := &Fault{File: d.file, Rule: d.rule, Msg: fmt.Sprintf(format, args...), Hint: hint}
	f.Line, f.Col = d.place(n)
	d.faults = append(d.faults, f)
}

func (d *document) place(n *yaml.Node) (line, col int) {
	return max(n.Line, 1) + d.before, max(n.Column, 1)
}

// pair is one entry of a mapping; aliases are followed.
type pair struct {
	key      string
	keyNode  *yaml.Node
	node     *yaml.Node
	position *yaml.Node
}

// pairs reads a mapping and faults keys that come twice or are no texts.
func (d *document) pairs(n *yaml.Node) []pair {
	seen := make(map[string]bool, len(n.Content)/2)
	out := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		position := v
		if v.Kind == yaml.AliasNode {
			v = v.Alias
		}
		switch {
		case k.Kind != yaml.ScalarNode || k.ShortTag() == "!!null":
			d.fault(k, "", "expected a text as key, got %s", kindName(k))
			continue
		case k.ShortTag() == "!!merge":
			d.fault(k, "write the keys out", "expected a key, got a YAML merge (<<)")
			continue
		case seen[k.Value]:
			d.fault(k, "", "expected each key once, got %q twice", k.Value)
			continue
		}
		seen[k.Value] = true
		out = append(out, pair{k.Value, k, v, position})
	}
	return out
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func isText(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!str" || n.ShortTag() == "!!timestamp")
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!null":
			return "null"
		case "!!int":
			return "the integer " + n.Value
		case "!!float":
			return "the number " + n.Value
		case "!!bool":
			return "the boolean " + n.Value
		case "!!str", "!!timestamp":
			if len(n.Value) > 60 {
				return "a text"
			}
			return fmt.Sprintf("%q", n.Value)
		}
	default:
	}
	return "a value of the type " + n.ShortTag()
}

// scalar reads a value of an item.
func (d *document) scalar(n *yaml.Node) (value, bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	v := value{text: n.Value}
	v.line, v.col = d.place(n)
	if n.Kind != yaml.ScalarNode {
		return v, false
	}
	switch n.ShortTag() {
	case "!!null":
		v.kind = valueNull
	case "!!bool":
		v.kind, v.text = valueBool, strings.ToLower(n.Value)
	case "!!int":
		v.kind = valueInt
		if _, ok := parseDecimal(n.Value); !ok {
			if i, err := strconv.ParseInt(n.Value, 0, 64); err == nil { // hexadecimal, octal, with underscores
				v.text = strconv.FormatInt(i, 10)
			} else {
				v.kind = valueText
			}
		}
	case "!!float":
		v.kind = valueFloat
		if isInteger(n.Value) { // one beyond 64 bits
			v.kind = valueInt
		} else if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
			v.text = shortNumber(f)
		} else if _, ok := parseDecimal(n.Value); !ok {
			v.kind = valueText
		}
	}
	return v, true
}

func isInteger(s string) bool {
	s = strings.TrimPrefix(s, "-")
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
