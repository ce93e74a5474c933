package builtin

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// A random UUID, version 4 (RFC 9562, section 5.4).
var idLine = regexp.MustCompile(`(?m)^id: ([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})$`)

// frozen are ids that alerts, dashboards and configurations out there refer to.
var frozen = map[string]string{
	"workload_created.yml":          "57642ebe-6603-4dfd-85ad-81e1a8ad22b5",
	"workload_creation_refused.yml": "8df248c7-aeae-46f2-9c50-92762f1b0129",
	"workload_creation_unknown.yml": "768d06b1-d085-46b0-a2c9-841a4d8dd9b3",
	"workload_event_truncated.yml":  "eb271f9c-590d-4e0e-afa6-03a8e53a208c",
}

// TestFiles wants one rule in each file, with an id of its own and cases beside it.
func TestFiles(t *testing.T) {
	seen := map[string]string{}
	for pack, fsys := range map[string]fs.FS{"builtin": Files(), "context": Context()} {
		names, err := fs.Glob(fsys, "*.yml")
		if err != nil || len(names) < 30 {
			t.Fatalf("%s: %d files, %v", pack, len(names), err)
		}
		for _, name := range names {
			if stem, ok := strings.CutSuffix(name, ".test.yml"); ok {
				if _, err := fs.Stat(fsys, stem+".yml"); err != nil {
					t.Errorf("%s/%s: cases of no rule: %v", pack, name, err)
				}
				continue
			}
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				t.Fatal(err)
			}
			ids := idLine.FindAllStringSubmatch(string(data), -1)
			if len(ids) != 1 {
				t.Errorf("%s/%s: %d random ids, want one", pack, name, len(ids))
				continue
			}
			id := ids[0][1]
			if other, twice := seen[id]; twice {
				t.Errorf("%s/%s has the id of %s", pack, name, other)
			}
			seen[id] = pack + "/" + name
			if want, ok := frozen[name]; ok && id != want {
				t.Errorf("%s/%s: the id %s is frozen, got %s", pack, name, want, id)
			}
			if _, err := fs.Stat(fsys, strings.TrimSuffix(name, ".yml")+".test.yml"); err != nil {
				t.Errorf("%s/%s: no cases beside it: %v", pack, name, err)
			}
		}
	}
	for name := range frozen {
		if _, err := fs.Stat(Files(), name); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
	if _, err := fs.Stat(Files(), "context"); err == nil {
		t.Error("the pack that is on by default holds the context rules")
	}
}
