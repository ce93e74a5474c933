package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/spawnwatch/spawnwatch/internal/strictyaml"
)

// comments finds what the comments in our sources say about fields of structs.
type comments struct {
	t *testing.T
	// docs of fields and, under the field "", of types, by package and type.
	docs map[string]map[string]string
	read map[string]bool
}

const modulePath = "github.com/spawnwatch/spawnwatch/"

// of is the description of a field for somebody who writes YAML: keys instead of Go names.
func (c *comments) of(typ reflect.Type, field string) string {
	c.load(typ.PkgPath())
	f, _ := typ.FieldByName(field)
	text := c.docs[typ.PkgPath()+"."+typ.Name()][field]
	if text == "" { // what the field holds speaks for it
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		c.load(inner.PkgPath())
		text = c.docs[inner.PkgPath()+"."+inner.Name()][""]
		text = strings.TrimPrefix(strings.TrimPrefix(text, inner.Name()+" is "), inner.Name()+" are ")
		text = strings.TrimPrefix(text, "what a user says about ")
		// YAML has no zero values, and the words of a type are no keys.
		return strings.TrimSpace(regexp.MustCompile(`The zero value of [^.]*\.`).ReplaceAllString(text, ""))
	}
	for other := range typ.Fields() {
		key, _ := strictyaml.Key(other)
		if key == "" {
			continue
		}
		name := regexp.MustCompile(`\b` + other.Name + `\b`)
		if other.Name == strings.ToUpper(other.Name) { // TLS is also a word of its own
			name = regexp.MustCompile(`^` + other.Name + `\b`)
		}
		text = name.ReplaceAllString(text, key)
	}
	return text
}

// load parses a package of ours.
func (c *comments) load(pkg string) {
	dir, ours := strings.CutPrefix(pkg, modulePath)
	if !ours || c.read[pkg] {
		return
	}
	c.read[pkg] = true
	files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, s := range g.Specs {
				spec, ok := s.(*ast.TypeSpec)
				if !ok {
					continue
				}
				c.keep(pkg+"."+spec.Name.Name, g, spec)
			}
		}
	}
}

func (c *comments) keep(name string, g *ast.GenDecl, spec *ast.TypeSpec) {
	fields := map[string]string{"": oneLine(g.Doc)}
	c.docs[name] = fields
	s, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	before := ""
	for _, f := range s.Fields.List {
		text := oneLine(f.Doc)
		for _, n := range f.Names {
			if text == "" && strings.Contains(before, " and "+n.Name+" ") {
				text = before // "Cert and Key are …" stands above both
			}
			fields[n.Name] = text
		}
		before = text
	}
}

func oneLine(doc *ast.CommentGroup) string { return strings.Join(strings.Fields(doc.Text()), " ") }

// TestConfigSchema holds config.schema.json to the structs that are decoded, and to their comments.
//
//	go test ./cmd/spawnwatch -run TestConfigSchema -update
func TestConfigSchema(t *testing.T) {
	c := &comments{t: t, docs: map[string]map[string]string{}, read: map[string]bool{}}
	s := strictyaml.SchemaOf("spawnwatch configuration", defaultConfig(), c.of)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(s); err != nil {
		t.Fatal(err)
	}
	golden(t, "config.schema.json", b.String())
	n := 0
	walkSchema(s, "", func(path string, p *strictyaml.Schema) {
		n++
		if p.Description == "" {
			t.Errorf("%s has no description: write a comment above its field", path)
		}
	})
	if n < 100 {
		t.Errorf("the schema has %d keys, expected over 100", n)
	}
}

// walkSchema visits every key.
func walkSchema(s *strictyaml.Schema, path string, visit func(string, *strictyaml.Schema)) {
	for key, p := range s.Properties {
		at := strings.TrimPrefix(path+"."+key, ".")
		visit(at, p)
		for p.Items != nil {
			p = p.Items
		}
		walkSchema(p, at, visit)
	}
}

var commentedKey = regexp.MustCompile(`(?m)^(\s*)#(\S)`)

// everything is the example with all that is commented out in it.
func everything() string { return commentedKey.ReplaceAllString(exampleConfig, "$1$2") }

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(configSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func asJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	packed, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestExampleConfig: the example is read and put together as it stands, agrees with the schema with everything in it
// uncommented, and then shows every key there is.
func TestExampleConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spawnwatch.yaml")
	if err := os.WriteFile(path, []byte(exampleConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadConfig(path); err != nil {
		t.Errorf("the example is not accepted: %v", err)
	}
	schema := compileSchema(t)
	for name, text := range map[string]string{"the example": exampleConfig, "the example, uncommented": everything(), "the demo's": string(demoConfig)} {
		if err := schema.Validate(asJSON(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"source: []", "processor: {worker: 1}", "sources: [{kafka: {brokers: kafka:9092}}]"} {
		if err := schema.Validate(asJSON(t, bad)); err == nil {
			t.Errorf("the schema accepts %s", bad)
		}
	}

	var root yaml.Node
	if err := yaml.Unmarshal([]byte(everything()), &root); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	keysOf(root.Content[0], "", shown)
	c := &comments{t: t, docs: map[string]map[string]string{}, read: map[string]bool{}}
	walkSchema(strictyaml.SchemaOf("", defaultConfig(), c.of), "", func(path string, _ *strictyaml.Schema) {
		// The sinks of dead letters are those of alerts.
		if strings.HasPrefix(path, "dead_letter.") {
			path = strings.Replace(path, "dead_letter.", "sinks.", 1)
		}
		if !shown[path] {
			t.Errorf("the example does not show %s", path)
		}
	})
}

// keysOf collects the paths of all keys below a node.
func keysOf(n *yaml.Node, path string, into map[string]bool) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			at := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			into[at] = true
			keysOf(n.Content[i+1], at, into)
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			keysOf(c, path, into)
		}
	default: // a value
	}
}

// TestExampleShowsDefaults: what the example gives for a key that is commented out is its default, where the program has
// one.
func TestExampleShowsDefaults(t *testing.T) {
	var example, schema map[string]any
	if err := yaml.Unmarshal([]byte(everything()), &example); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(configSchema), &schema); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, section := range []string{"processor", "rules", "admin"} {
		shown, _ := example[section].(map[string]any)
		properties := schema["properties"].(map[string]any)[section].(map[string]any)["properties"].(map[string]any)
		for key, p := range properties {
			want, ok := p.(map[string]any)["default"]
			if !ok || want == nil {
				continue
			}
			checked++
			if got := shown[key]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s.%s: the example shows %v, the default is %v", section, key, got, want)
			}
		}
	}
	if checked < 5 {
		t.Errorf("compared %d defaults", checked)
	}
}

func TestConfigCommand(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"config", "example"}, exitOK, exampleConfig},
		{[]string{"config", "schema"}, exitOK, configSchema},
		{[]string{"config", "sample"}, exitUsage, ""},
		{[]string{"config", "example", "more"}, exitUsage, ""},
	} {
		var out, errs bytes.Buffer
		if code := run(c.args, streams{in: strings.NewReader(""), out: &out, err: &errs}); code != c.code || out.String() != c.out {
			t.Errorf("%v: exit %d, want %d; %d bytes, want %d; %s", c.args, code, c.code, out.Len(), len(c.out), errs.String())
		}
		if c.code != exitOK && !slices.ContainsFunc([]string{"example", "sample", "unknown", "accepts"}, func(s string) bool { return strings.Contains(errs.String(), s) }) {
			t.Errorf("%v: %s", c.args, errs.String())
		}
	}
}
