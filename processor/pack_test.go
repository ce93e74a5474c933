package processor

import (
	"io/fs"
	"testing"

	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/rules/builtin"
)

// loadPack reads a pack with its cases and compiles it as the program does.
func loadPack(t testing.TB, fsys fs.FS) (rules.Loaded, *rules.Set) {
	t.Helper()
	loaded, err := rules.Load(fsys, ".")
	if err != nil {
		t.Fatal(err)
	}
	options := RuleOptions()
	options.Fields = rules.TestFields(loaded.Tests)
	set, err := rules.Compile(loaded.Documents, ComputedFields(testModel(t)), options)
	if err != nil {
		t.Fatal(err)
	}
	return loaded, set
}

// TestPacks runs the cases beside each rule that ships, and wants each rule to have a case that matches and one that
// does not.
func TestPacks(t *testing.T) {
	for name, fsys := range map[string]fs.FS{"builtin": builtin.Files(), "context": builtin.Context()} {
		t.Run(name, func(t *testing.T) {
			loaded, set := loadPack(t, fsys)
			type seen struct{ yes, no bool }
			shown := map[string]seen{}
			for _, r := range rules.RunTests(set, loaded.Tests, fsys) {
				if !r.OK {
					t.Errorf("%s:%d: %s: %s\n%s", r.Test.File, r.Test.Line, r.Test.Name, r.Detail, r.Explain.String())
				}
				s := shown[r.Rule]
				s.yes, s.no = s.yes || r.Test.Match, s.no || !r.Test.Match
				shown[r.Rule] = s
			}
			for _, r := range loaded.Rules {
				if s := shown[r.Key()]; !s.yes || !s.no {
					t.Errorf("%s: a case that matches: %v, one that does not: %v; want both", r.File, s.yes, s.no)
				}
			}
		})
	}
}
