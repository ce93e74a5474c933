// Package strictyaml decodes a YAML configuration into Go structs and reports everything that is wrong with it at
// once: each fault with file, line and column, the line itself, and the nearest key that would have been right.
//
// Keys are the `yaml` tags of exported fields. Scalars may name variables: ${VAR}, ${VAR:-default} and ${file:/path}
// (the content of a file without its last line feed); $$ stands for a dollar sign. What came out of a variable is never
// repeated in a fault.
package strictyaml

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

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

// Environment is what variables are looked up in.
type Environment struct {
	// LookUp finds an environment variable.
	LookUp func(name string) (string, bool)
	// ReadFile reads the file of ${file:path}.
	ReadFile func(path string) ([]byte, error)
}

// Validator is a value that knows more about itself than its type says. Validate joins its faults. A fault that
// implements [Keyed] is reported at the key it names, others at the value itself.
type Validator interface {
	Validate() error
}

// Keyed is a fault that names the key at fault, relative to the value that was validated: "tls.cert".
type Keyed interface {
	error
	Key() string
}

// Fault is one thing that is wrong.
type Fault struct {
	File         string
	Line, Column int
	// Path is the key: sources[0].kafka.brokers.
	Path string
	// Text says what was expected and what came.
	Text string
	// Hint says what to do, if it is clear.
	Hint string
	// Snippet is the line of the file, empty if it may hold a secret.
	Snippet string
}

// Error gives file:line:col, the key, the text, the line and a mark below the column.
func (f *Fault) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", f.File, f.Line, f.Column)
	if f.Path != "" {
		fmt.Fprintf(&b, "%s: ", f.Path)
	}
	b.WriteString(f.Text)
	if f.Hint != "" {
		fmt.Fprintf(&b, " (%s)", f.Hint)
	}
	if f.Snippet != "" {
		fmt.Fprintf(&b, "\n    %5d | %s\n          | %s^", f.Line, f.Snippet, strings.Repeat(" ", max(f.Column-1, 0)))
	}
	return b.String()
}

// Decode fills the struct that dst points to. The values dst already holds are the defaults. It returns all faults
// joined, each a [*Fault].
func Decode(file string, data []byte, dst any, env Environment) error {
	d := &decoder{file: file, env: env, lines: strings.Split(string(data), "\n")}
	root, err := d.parse(data)
	if err != nil {
		return err
	}
	if root != nil {
		d.value(root, reflect.ValueOf(dst).Elem(), "")
	}
	return errors.Join(d.faults...)
}

type decoder struct {
	file   string
	env    Environment
	lines  []string
	faults []error
}

func (d *decoder) fault(n *yaml.Node, path, hint, format string, args ...any) {
	f := &Fault{File: d.file, Line: n.Line, Column: n.Column, Path: path, Text: fmt.Sprintf(format, args...), Hint: hint}
	if n.Line >= 1 && n.Line <= len(d.lines) && !isSecretKey(path) {
		if line := strings.TrimRight(d.lines[n.Line-1], "\r"); len(line) <= 200 {
			f.Snippet = line
		}
	}
	d.faults = append(d.faults, f)
}

// isSecretKey tells keys whose values are not repeated.
func isSecretKey(path string) bool {
	key := path[strings.LastIndexByte(path, '.')+1:]
	switch key {
	case "password", "token", "shared_key", "nkey":
		return true
	}
	return false
}

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
			if n <= len(d.lines) && len(d.lines[n-1]) <= 200 {
				f.Snippet = strings.TrimRight(d.lines[n-1], "\r")
			}
		}
	}
	return f
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	before := len(d.faults)
	d.typed(n, v, path)
	if len(d.faults) > before || !v.CanAddr() {
		return
	}
	if val, ok := v.Addr().Interface().(Validator); ok {
		d.validate(n, val, path)
	}
}

func (d *decoder) typed(n *yaml.Node, v reflect.Value, path string) {
	if v.Kind() == reflect.Pointer {
		if isNull(n) {
			return
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem(), path)
		return
	}
	if isNull(n) {
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.scalar(n, path, "text", func(s string) error { return u.UnmarshalText([]byte(s)) })
		return
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d.scalar(n, path, "a duration such as 20s or 5m", func(s string) error {
			parsed, err := time.ParseDuration(s)
			if err == nil && parsed < 0 {
				err = errors.New("it is negative")
			}
			v.SetInt(int64(parsed))
			return err
		})
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.String:
		d.scalar(n, path, "text", func(s string) error { v.SetString(s); return nil })
	case reflect.Bool:
		d.scalar(n, path, "true or false", func(s string) error {
			b, err := strconv.ParseBool(s)
			v.SetBool(b)
			return err
		})
	case reflect.Int, reflect.Int32, reflect.Int64:
		d.scalar(n, path, "a whole number", func(s string) error {
			i, err := strconv.ParseInt(s, 10, v.Type().Bits())
			v.SetInt(i)
			return err
		})
	case reflect.Float64:
		d.scalar(n, path, "a number", func(s string) error {
			x, err := strconv.ParseFloat(s, 64)
			if err == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
				err = errors.New("it is not finite")
			}
			v.SetFloat(x)
			return err
		})
	default:
		panic(fmt.Sprintf("strictyaml: %s has a type that no configuration should have: %s", path, v.Type()))
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// scalar expands variables and hands the text to set.
func (d *decoder) scalar(n *yaml.Node, path, want string, set func(string) error) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n, path, "", "expected %s, got %s", want, kindName(n))
		return
	}
	text, expanded, err := d.env.expand(n.Value)
	if err != nil {
		d.fault(n, path, "", "%v", err)
		return
	}
	if err := set(text); err != nil {
		got := strconv.Quote(text)
		if expanded || isSecretKey(path) {
			got = "a value that is not shown"
		}
		var num *strconv.NumError
		if errors.As(err, &num) {
			err = num.Err
		}
		d.fault(n, path, "", "expected %s, got %s: %v", want, got, err)
	}
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	default:
		return strconv.Quote(n.Value)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		hint := ""
		if n.Kind == yaml.ScalarNode {
			hint = "write it as a list: [" + n.Value + "]"
			if isSecretKey(path) {
				hint = "write it as a list"
			}
		}
		d.fault(n, path, hint, "expected a list, got %s", kindName(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		d.value(c, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(out)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "", "expected a map, got %s", kindName(n))
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		elem := reflect.New(v.Type().Elem()).Elem()
		d.value(n.Content[i+1], elem, join(path, key))
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), elem)
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "", "expected a map with the keys %s, got %s", strings.Join(keys(v.Type()), ", "), kindName(n))
		return
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if first, twice := seen[key.Value]; twice {
			d.fault(key, path, "", "the key %q stands here twice, first in line %d", key.Value, first.Line)
			continue
		}
		seen[key.Value] = key
		field, ok := fieldByKey(v, key.Value)
		if !ok {
			d.fault(key, path, nearest(key.Value, keys(v.Type())), "unknown key %q", key.Value)
			continue
		}
		d.value(value, field, join(path, key.Value))
	}
}

func (d *decoder) validate(n *yaml.Node, v Validator, path string) {
	err := v.Validate()
	if err == nil {
		return
	}
	for _, e := range leaves(err) {
		at, where := n, path
		var keyed Keyed
		if errors.As(e, &keyed) {
			at, where = nodeAt(n, keyed.Key()), join(path, keyed.Key())
		}
		text := e.Error()
		if keyed != nil {
			text = strings.TrimPrefix(text, keyed.Key()+": ")
		}
		d.once(at, where, text)
	}
}

// once reports a fault unless a part of the value has reported the very same.
func (d *decoder) once(n *yaml.Node, path, text string) {
	for _, e := range d.faults {
		var f *Fault
		if errors.As(e, &f) && f.Line == n.Line && f.Text == text {
			return
		}
	}
	d.fault(n, path, "", "%s", text)
}

// leaves lists the errors that errors.Join put together.
func leaves(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range j.Unwrap() {
			all = append(all, leaves(e)...)
		}
		return all
	}
	return []error{err}
}

// nodeAt follows a dotted key as far as it is there.
func nodeAt(n *yaml.Node, key string) *yaml.Node {
	for part := range strings.SplitSeq(key, ".") {
		found := false
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == part {
				n, found = n.Content[i+1], true
				break
			}
		}
		if !found {
			break
		}
	}
	return n
}
