package alert

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/alerts.md")

// section is a part of docs/alerts.md that is made from the code.
type section struct{ begin, end, text string }

// TestDocs holds docs/alerts.md to the schema, the weights and the encoders.
func TestDocs(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "alerts.md")
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := string(doc)
	for _, s := range []section{
		{"<!-- fields:", "<!-- end of fields -->", fieldTable(t)},
		{"<!-- weights:", "<!-- end of weights -->", weightTable()},
		{"(line breaks added):\n\n```json", "```", pretty(t, AppendNative(nil, typical()))},
		{"deadletter.schema.json):\n\n```json", "```", string(AppendDeadLetter(nil, letter()))},
	} {
		start := strings.Index(got, s.begin)
		if start < 0 {
			t.Fatalf("%s: no %q", file, s.begin)
		}
		start += len(s.begin)
		start += strings.Index(got[start:], "\n") + 1
		end := start + strings.Index(got[start:], s.end)
		if end < start {
			t.Fatalf("%s: no %q", file, s.end)
		}
		if want := s.text + "\n"; got[start:end] != want {
			if !*update {
				t.Errorf("%s: the part after %q is stale: run go test ./processor/alert -run TestDocs -update", file, s.begin)
			}
			got = got[:start] + want + got[end:]
		}
	}
	for _, word := range slices.Concat(Reasons(), Formats(), attributeNames()) {
		if !strings.Contains(got, "`"+word+"`") {
			t.Errorf("%s does not mention %s", file, word)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func attributeNames() (names []string) {
	for _, h := range CloudEvent(nil, typical()) {
		names = append(names, h.Key)
	}
	return names
}

// pretty puts every field of an object on a line of its own.
func pretty(t *testing.T, text []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf(" %q: %s", key, value))
	}
	return "{\n" + strings.Join(lines, ",\n") + "\n}"
}

func weightTable() string {
	lines := []string{"| code | points | when |", "|---|---|---|"}
	for _, w := range Weights() {
		lines = append(lines, fmt.Sprintf("| `%s` | %+d | %s |", w.Code, w.Points, w.Text))
	}
	return strings.Join(lines, "\n")
}

// ordered is a JSON schema as far as a table needs it; objects keep the order of their fields by [ordered.Required].
type ordered struct {
	Type        json.RawMessage
	Description string
	Enum        []string
	Const       any
	Ref         string `json:"$ref"`
	Required    []string
	Properties  map[string]ordered
	Additional  json.RawMessage `json:"additionalProperties"`
	Items       *ordered
	OneOf       []ordered
	Defs        map[string]ordered `json:"$defs"`
}

func fieldTable(t *testing.T) string {
	t.Helper()
	var root ordered
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	lines := []string{"| field | type | what |", "|---|---|---|"}
	var walk func(path string, s ordered)
	walk = func(path string, s ordered) {
		for _, name := range s.Required {
			f := s.Properties[name]
			description := f.Description
			for _, alternative := range f.OneOf {
				if alternative.Ref != "" {
					f = alternative
				}
			}
			if f.Ref != "" {
				f = root.Defs[strings.TrimPrefix(f.Ref, "#/$defs/")]
			}
			if description == "" {
				description = f.Description
			}
			place, inner, kind := path+name, f, typeName(f)
			if f.Items != nil {
				place += "[]"
				inner = *f.Items
				if inner.Ref != "" {
					inner = root.Defs[strings.TrimPrefix(inner.Ref, "#/$defs/")]
				}
				kind = "list of " + typeName(inner)
			}
			if name == "workload" {
				kind = "object or null"
			}
			if len(f.Enum) > 0 {
				kind = "`" + strings.Join(f.Enum, "` `") + "`"
			}
			lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", place, kind, description))
			walk(place+".", inner)
		}
	}
	walk("", root)
	if len(lines) < 150 {
		t.Fatalf("the table has %d lines: fields were missed", len(lines))
	}
	return strings.Join(lines, "\n")
}

func typeName(s ordered) string {
	var one string
	var many []string
	switch {
	case s.Const != nil:
		return fmt.Sprintf("`%v`", s.Const)
	case json.Unmarshal(s.Type, &one) == nil:
		many = []string{one}
	default:
		_ = json.Unmarshal(s.Type, &many)
	}
	if len(many) == 1 && many[0] == "object" && bytes.Contains(s.Additional, []byte("string")) {
		return "object of texts"
	}
	return strings.NewReplacer("string", "text").Replace(strings.Join(many, " or "))
}
