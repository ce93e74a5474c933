package enrich

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseTeams(t *testing.T) {
	want := map[string]Team{"shop": {Team: "checkout", Chat: "#checkout"}, "infra-*": {Contact: "ops@example.com", Runbook: "https://r"}}
	for name, text := range map[string]string{
		"yaml": "shop:\n  team: checkout\n  chat: \"#checkout\"\ninfra-*:\n  contact: ops@example.com\n  runbook: https://r\n",
		"json": `{"shop":{"team":"checkout","chat":"#checkout"},"infra-*":{"contact":"ops@example.com","runbook":"https://r"}}`,
	} {
		got, err := ParseTeams([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	if got, err := ParseTeams(nil); err != nil || len(got) != 0 {
		t.Errorf("an empty file gives %v, %v", got, err)
	}
}

func TestParseAllow(t *testing.T) {
	want := []Allow{
		{Name: "ci", Actors: []string{"system:serviceaccount:ci:*"}, Approve: true, Reason: "pipelines"},
		{Name: "mirror", Registries: []string{"registry.example.com"}},
	}
	got, err := ParseAllow([]byte("- name: ci\n  actors: [\"system:serviceaccount:ci:*\"]\n  approve: true\n  reason: pipelines\n- {\"name\":\"mirror\",\"registries\":[\"registry.example.com\"]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, err := ParseAllow([]byte("\n# nothing yet\n")); err != nil || len(got) != 0 {
		t.Errorf("an empty file gives %v, %v", got, err)
	}
}

func TestFilesRefuse(t *testing.T) {
	teams := func(data []byte) error { _, err := ParseTeams(data); return err }
	allow := func(data []byte) error { _, err := ParseAllow(data); return err }
	for name, c := range map[string]struct {
		parse      func([]byte) error
		text, want string
	}{
		"unknown key":           {teams, "shop:\n  team: a\n  slack: b\n", "line 3"},
		"twice":                 {teams, "shop: {team: a}\nshop: {team: b}\n", "line 2"},
		"a list":                {teams, "- shop\n", "expected a map"},
		"nobody":                {teams, "shop: {}\n", `namespace "shop"`},
		"broken":                {teams, "shop: {team: a\n", "L1"},
		"two documents":         {teams, "shop: {team: a}\n---\nshop: {team: b}\n", "one document"},
		"too large":             {teams, strings.Repeat("#", maxFile+1), "split it"},
		"unknown key, list":     {allow, "- name: a\n  image: b\n", "line 2"},
		"everything":            {allow, "- {name: all, approve: true}\n", "would allow everything"},
		"a pattern":             {allow, "- {name: a, images: [\"[\"]}\n", `entry 1 ("a")`},
		"a map":                 {allow, "name: a\n", "expected a list"},
		"a wildcard before /**": {allow, "- {name: a, images: [\"**/**\"]}\n", "**"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.parse([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// TestFilesBombs: what a few hundred bytes blow up to, or nest into, must not stop the program.
func TestFilesBombs(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		prev := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [*" + prev + strings.Repeat(",*"+prev, 8) + "]\n"
	}
	for name, text := range map[string]string{"aliases": bomb, "brackets": strings.Repeat("[", 1<<20), "indents": strings.Repeat("- ", 1<<19)} {
		began := time.Now()
		if _, err := ParseTeams([]byte(text)); err == nil {
			t.Errorf("%s: expected an error, got none", name)
		}
		if _, err := ParseAllow([]byte(text)); err == nil {
			t.Errorf("%s: expected an error, got none", name)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
}
