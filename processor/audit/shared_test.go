package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// shared is the folder of reference cases beside the repository; a plain clone has none.
func shared(t *testing.T, parts ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{root(t), "..", "shared"}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the reference cases are not here: %v", err)
	}
	return path
}

// events takes a record apart as far as these cases need it: lists, arrays, a line in a field of a log shipper.
func events(record string) []string {
	record = strings.TrimSpace(strings.TrimPrefix(record, "\ufeff"))
	if !gjson.Valid(record) || strings.Count(record, "[") > 500 {
		return nil
	}
	whole := gjson.Parse(record)
	list := whole.Get("items")
	if whole.IsArray() {
		list = whole
	}
	var found []string
	switch {
	case list.IsArray():
		for _, item := range list.Array() {
			found = append(found, events(item.Raw)...)
		}
	case whole.Get("log").Type == gjson.String:
		found = events(whole.Get("log").Str)
	case whole.IsObject():
		found = []string{record}
	}
	return found
}

func TestTraps(t *testing.T) {
	path := shared(t, "traps", "cases.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(t)
	n := 0
	for dec := json.NewDecoder(bytes.NewReader(text)); dec.More(); {
		var c struct{ Name, Record, Verdict, Workload, Why string }
		if err := dec.Decode(&c); err != nil {
			t.Fatal(err)
		}
		if c.Verdict == "dead-letter" {
			continue // of which this package sees nothing
		}
		n++
		t.Run(c.Name, func(t *testing.T) {
			record, err := base64.StdEncoding.DecodeString(c.Record)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range events(string(record)) {
				v := read(t, m, e)
				if (v.Outcome != Created && v.Outcome != Unknown) || v.Folds {
					continue
				}
				if want := map[bool]Outcome{true: Unknown, false: Created}[c.Name == "timeout-504" || c.Name == "no-stage-504" || c.Name == "code-500-deadline"]; v.Outcome != want {
					t.Errorf("outcome %s, want %s", v.Outcome, want)
				}
				if v.Workload.NameUnknown != (v.Workload.Name == "") {
					t.Errorf("name %q, unknown %v", v.Workload.Name, v.Workload.NameUnknown)
				}
				names = append(names, v.Workload.Name)
			}
			if want := strings.HasPrefix(c.Verdict, "alert"); want != (len(names) == 1) || want && names[0] != c.Workload {
				t.Errorf("%s: alerts for %q, want %s of %q", c.Why, names, c.Verdict, c.Workload)
			}
		})
	}
	if n < 40 {
		t.Errorf("only %d cases", n)
	}
}

// TestCasesOfOthers reads what other projects test themselves with.
func TestCasesOfOthers(t *testing.T) {
	path := shared(t, "peercases", "index.jsonl")
	index, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(t)
	files := make(map[string][]string)
	created, n := 0, 0
	for dec := json.NewDecoder(bytes.NewReader(index)); dec.More(); {
		var c struct {
			Source, Case, File, Envelope, Why string
			Line                              int
			Creation                          any `json:"workload_creation"`
		}
		if err := dec.Decode(&c); err != nil {
			t.Fatal(err)
		}
		if c.Envelope != "raw" {
			continue
		}
		if files[c.File] == nil {
			text, err := os.ReadFile(filepath.Join(filepath.Dir(path), c.File))
			if err != nil {
				t.Fatal(err)
			}
			files[c.File] = strings.Split(string(text), "\n")
		}
		n++
		want := c.Creation == true // "unknown" is a create without a code: nothing says that it succeeded
		v := read(t, m, files[c.File][c.Line-1])
		if (v.Outcome == Created) != want {
			t.Errorf("%s %s: outcome %s, want creation %v: %s", c.Source, c.Case, v.Outcome, c.Creation, c.Why)
		}
		if want {
			created++
			if v.Workload.Kind == "" {
				t.Errorf("%s %s: no kind", c.Source, c.Case)
			}
		}
	}
	if n < 250 || created < 50 {
		t.Errorf("%d cases, %d creations: expected all", n, created)
	}
}
