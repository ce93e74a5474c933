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
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
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
	if !isSecretKey(path) {
		f.Snippet = d.snippet(n.Line)
	}
	d.faults = append(d.faults, f)
}

// snippet is a line of the file as a fault shows it, empty where it is long, or where a secret may stand beside what is
// wrong.
func (d *decoder) snippet(number int) string {
	if number < 1 || number > len(d.lines) {
		return ""
	}
	line := strings.TrimRight(d.lines[number-1], "\r")
	if len(line) > 200 || secretInLine.MatchString(line) {
		return ""
	}
	return line
}

// secretInLine finds a secret key, or a password in a URL, anywhere in a line.
var secretInLine = regexp.MustCompile(`\b(password|token|shared_key|nkey)["']?\s*:|://[^/@\s]*:[^/@\s]*@`)

// isSecretKey tells keys whose values are not repeated.
func isSecretKey(path string) bool {
	key := path[strings.LastIndexByte(path, '.')+1:]
	switch key {
	case "password", "token", "shared_key", "nkey":
		return true
	}
	return false
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
