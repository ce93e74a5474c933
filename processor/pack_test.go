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

// TestPacksCostNoAllocation runs all rules over every event of a real log that none matches.
func TestPacksCostNoAllocation(t *testing.T) {
	if raced {
		t.Skip("allocations cannot be counted under the race detector")
	}
	set := packs(t, builtin.Files(), builtin.Context())
	var quiet [][]byte
	var hits []rules.Hit
	for _, line := range realLog(t) {
		var err error
		if hits, _, err = set.Match(line, hits[:0]); err != nil {
			t.Fatal(err)
		}
		if len(hits) == 0 {
			quiet = append(quiet, line)
		}
	}
	if len(quiet) < 3000 {
		t.Fatalf("%d quiet events: not the log this test is about", len(quiet))
	}
	n := testing.AllocsPerRun(5, func() {
		for _, line := range quiet {
			hits, _, _ = set.Match(line, hits[:0])
		}
	})
	// Computed texts come out of chunks of memory that are taken now and then, and the race detector empties pools.
	if n > 0.01*float64(len(quiet)) {
		t.Errorf("%v allocations for %d events", n, len(quiet))
	}
}

// TestPacksRejectEarly wants most events of a real log to be rejected by a field: a rule without pins would have each of
// them read to its end.
func TestPacksRejectEarly(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   *rules.Set
		share int // of the events, in percent
	}{
		{"builtin", packs(t, builtin.Files()), 90},
		{"builtin and context", packs(t, builtin.Files(), builtin.Context()), 80},
	} {
		rejected, all := 0, 0
		for _, line := range realLog(t) {
			_, end, err := c.set.Match(line, nil)
			if err != nil {
				t.Fatal(err)
			}
			if all++; end == rules.Rejected {
				rejected++
			}
		}
		t.Logf("%s: %d of %d events rejected", c.name, rejected, all)
		if want := c.share * all / 100; rejected < want {
			t.Errorf("%s: %d of %d events rejected, want %d", c.name, rejected, all, want)
		}
	}
}
