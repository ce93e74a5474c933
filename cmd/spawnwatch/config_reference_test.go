package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/internal/strictyaml"
)

const referenceHead = `# Configuration

Every key that ` + "`spawnwatch.yaml`" + ` may hold, out of the schema that ` + "`spawnwatch config schema`" + ` prints. ` + "`spawnwatch config example`" + ` prints a file to start
from, and ` + "`spawnwatch check -c FILE --connect`" + ` says what is wrong with one, with line and column. An unknown key is an error.

Any value may name variables: ` + "`${VAR}`" + `, ` + "`${VAR:-default}`" + `, and ` + "`${file:/path}`" + ` for the content of a file. Secrets belong there. ` + "`$$`" + ` is a dollar sign.
Durations are written 500ms, 10s, 1m30s.
`

// TestConfigReference holds docs/config.md to the schema, which has to be written before.
//
//	go test ./cmd/spawnwatch -run TestConfigReference -update
func TestConfigReference(t *testing.T) {
	var s strictyaml.Schema
	if err := json.Unmarshal([]byte(configSchema), &s); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(referenceHead)
	reference(&b, "", &s)
	golden(t, "../../docs/config.md", b.String())
}

// reference writes the keys of an object as a table, and behind it the tables of the objects in it.
func reference(b *strings.Builder, path string, s *strictyaml.Schema) {
	if path != "" {
		fmt.Fprintf(b, "\n## %s\n", path)
	}
	b.WriteString("\n| key | type | meaning |\n|---|---|---|\n")
	keys := slices.Sorted(maps.Keys(s.Properties))
	for _, key := range keys {
		p := s.Properties[key]
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, kindOf(p), meaning(key, p))
	}
	for _, key := range keys {
		p, at := s.Properties[key], strings.TrimPrefix(path+"."+key, ".")
		if p.Items != nil {
			p, at = p.Items, at+"[]"
		}
		switch {
		case p.Properties == nil:
		case path == "dead_letter":
			// The same sinks once more.
		case at == "dead_letter":
			fmt.Fprintf(b, "\n## %s\n\nExactly one of %s, each with the keys that it has as a sink below.\n", at, "`"+strings.Join(slices.Sorted(maps.Keys(p.Properties)), "`, `")+"`")
		default:
			reference(b, at, p)
		}
	}
}

func kindOf(p *strictyaml.Schema) string {
	switch {
	case p.Items != nil:
		return "list of " + kindOf(p.Items) + "s"
	case p.Pattern != "":
		return "duration"
	case p.Properties != nil:
		return "object"
	case p.AdditionalProperties != nil:
		return "map"
	}
	if kinds, ok := p.Type.([]any); ok {
		return fmt.Sprint(kinds[0]) // the others are there for values that YAML reads as something else
	}
	return fmt.Sprint(p.Type)
}

// meaning is the description without the key, which stands beside it, and with the default.
func meaning(key string, p *strictyaml.Schema) string {
	text := regexp.MustCompile(`^`+regexp.QuoteMeta(key)+` (is|are) `).ReplaceAllString(p.Description, "")
	text = strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(text)
	if p.Default != nil && !strings.Contains(strings.ToLower(text), "default") {
		text += fmt.Sprintf(" Default: %v.", p.Default)
	}
	return text
}
