package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestPeerCases runs the events of other projects' own tests: bare ones, and those of GKE and AKS in their wrappers.
func TestPeerCases(t *testing.T) {
	const dir = "../../../shared/peercases"
	index, err := os.ReadFile(filepath.Join(dir, "index.jsonl"))
	if err != nil {
		t.Skipf("the cases of other projects are not part of a plain clone: %v", err)
	}
	// Where the sample and the detection disagree for a reason of its own.
	known := map[string]string{}
	n := map[bool]int{}
	for line := range bytes.Lines(index) {
		var c struct {
			Source, Case, File, Envelope string
			Line                         int
			WorkloadCreation             any `json:"workload_creation"`
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		want, certain := c.WorkloadCreation.(bool)
		if !certain {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, c.File))
		if err != nil {
			t.Fatal(err)
		}
		record := bytes.Split(data, []byte("\n"))[c.Line-1]
		r := runReplay(t, record, "--children", "alert", "--enrich", "none", "-")
		got := false
		for _, a := range r.alerts {
			got = got || a.Outcome == "created"
		}
		n[want]++
		if got != want && known[c.Case] == "" {
			t.Errorf("%s %s (%s:%d, %s): created %v, want %v\n%.300s", c.Source, c.Case, c.File, c.Line, c.Envelope, got, want, r.stderr)
		}
	}
	if n[true] < 50 || n[false] < 200 {
		t.Errorf("%v cases: not the index this test is about", n)
	}
}
