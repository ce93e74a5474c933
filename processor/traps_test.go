package processor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestTraps hands every trap record to the handler as one message, also those that are no single line.
func TestTraps(t *testing.T) {
	data, err := os.ReadFile("../../shared/traps/cases.jsonl")
	if err != nil {
		t.Skipf("the trap cases are not part of a plain clone: %v", err)
	}
	for line := range bytes.Lines(data) {
		var c struct{ Name, Record, Verdict, Workload, Why string }
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		t.Run(c.Name, func(t *testing.T) {
			record, err := base64.StdEncoding.DecodeString(c.Record)
			if err != nil {
				t.Fatal(err)
			}
			p, out, dead := newTest(t, func(cfg *Config) { cfg.DeadLetter.Form = DeadLetterHeaders })
			before := bytes.Clone(record)
			if err := p.Handler("")(t.Context(), batch(record)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(record, before) {
				t.Error("the record was changed")
			}
			var want []string
			if strings.HasPrefix(c.Verdict, "alert") {
				want = []string{c.Workload}
			}
			if got := names(t, out.all()); strings.Join(got, " ") != strings.Join(want, " ") || len(got) != len(want) {
				t.Errorf("alerts %q, want %q: %s", got, want, c.Why)
			}
			letters := dead.all()
			if (len(letters) == 1) != strings.Contains(c.Verdict, "dead-letter") {
				t.Errorf("%d dead letters: %s", len(letters), c.Why)
			}
			if c.Verdict == "dead-letter" && len(letters) == 1 && !bytes.Equal(letters[0].Value, record) {
				t.Error("the dead letter does not hold the original bytes")
			}
		})
	}
}
