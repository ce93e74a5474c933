package processor

import (
	"os"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/rules/builtin"
)

// TestRulesPage holds docs/rules.md to the rules that ship, the aliases, and what it shows.
func TestRulesPage(t *testing.T) {
	data, err := os.ReadFile("../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	listed := strings.Count(page, "` |\n")
	_, ours, ok := strings.Cut(page, "## The rules that ship")
	if !ok {
		t.Fatal("the section about the rules that ship is gone")
	}
	n := 0
	var docs rules.Documents
	for _, pack := range []rules.Loaded{first(loadPack(t, builtin.Files())), first(loadPack(t, builtin.Context()))} {
		docs.Append(pack.Documents)
		for _, r := range pack.Rules {
			n++
			if row := "| " + r.Title + " | " + r.Level + " | "; !strings.Contains(ours, row) || !strings.Contains(ours, "| `"+r.ID+"` |\n") {
				t.Errorf("%s: the page has no row %q with id %s", r.File, row, r.ID)
			}
		}
	}
	if listed < n {
		t.Errorf("%d rows end in an id, want %d or more", listed, n)
	}
	for alias, fields := range Aliases() {
		if row := "| `" + alias + "` | `" + strings.Join(fields, "`, `") + "` |"; !strings.Contains(ours, row) {
			t.Errorf("the page has no row %q", row)
		}
	}
	// The filter that the page shows must be one, and apply.
	_, text, _ := strings.Cut(ours, "```yaml\ntitle: ")
	text, _, _ = strings.Cut(text, "```")
	shown, err := rules.Parse("docs/rules.md", []byte("title: "+text))
	if err != nil || len(shown.Filters) != 1 {
		t.Fatalf("the filter of the page: %d filters, %v", len(shown.Filters), err)
	}
	docs.Append(shown)
	if _, err := rules.Compile(docs, ComputedFields(testModel(t)), RuleOptions()); err != nil {
		t.Error(err)
	}
	_, text, _ = strings.Cut(ours, "```yaml\n- name: ")
	text, _, _ = strings.Cut(text, "```")
	if tests, err := rules.ParseTests("docs/rules.md", []byte("- name: "+text), ""); err != nil || len(tests) != 3 {
		t.Errorf("the cases of the page: %d, %v", len(tests), err)
	}
}
