package processor

import (
	"bytes"
	"context"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/tidwall/gjson"

	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/rules/builtin"
	"github.com/spawnwatch/spawnwatch/sources"
)

// headOf is what a source would show of an event.
func headOf(event []byte, members []string) []byte {
	head := []byte{'{'}
	gjson.ParseBytes(event).ForEach(func(key, value gjson.Result) bool {
		if slices.Contains(members, key.Str) {
			head = append(append(append(append(head, key.Raw...), ':'), value.Raw...), ',')
		}
		return true
	})
	head[len(head)-1] = '}'
	return head
}

// TestSkimRejectsOnlyWhatMatchingRejects: whatever the rules and wherever the deciding members stand.
func TestSkimRejectsOnlyWhatMatchingRejects(t *testing.T) {
	absent := fstest.MapFS{"absent.yml": {Data: []byte("title: a\nlogsource: {product: kubernetes, service: audit}\n" +
		"detection: {s: {verb: [get, list], objectRef.name: null, requestObject.kind: null, responseStatus.code: 200}, condition: s}\n")}}
	for name, from := range map[string][]fs.FS{
		"builtin": {builtin.Files()}, "with context": {builtin.Files(), builtin.Context()}, "what is not there": {absent},
	} {
		t.Run(name, func(t *testing.T) {
			set := packs(t, from...)
			p, _, _ := newTest(t, func(c *Config) { c.Rules = set })
			skim := p.Skim()
			rejected := 0
			log := realLog(t)
			for _, line := range log {
				last := bytes.Clone(line) // the same event, the status in front of all else but what it must begin with
				if at := bytes.Index(last, []byte(`"responseStatus":{`)); at > 0 {
					end := at + bytes.IndexByte(last[at:], '}') + 1
					if member := gjson.GetBytes(line, "responseStatus"); member.Exists() && len(member.Raw) == end-at-len(`"responseStatus":`) {
						moved := append(bytes.Clone(last[at:end]), ',')
						rest := slices.Delete(last, at, end+1)
						last = slices.Insert(rest, len(`{"kind":"Event","apiVersion":"audit.k8s.io/v1",`), moved...)
					}
				}
				for _, event := range [][]byte{line, last} {
					if !skim.Rejects(headOf(event, skim.Members)) {
						continue
					}
					rejected++
					if hits, end, err := set.Match(event, nil); end != rules.Rejected || len(hits) > 0 || err != nil {
						t.Fatalf("the head is rejected, the event %v with %d hits, %v: %.500s", end, len(hits), err, event)
					}
				}
			}
			t.Logf("the head holds %v; %d of %d are rejected", skim.Members, rejected, 2*len(log))
			if rejected < len(log) {
				t.Errorf("%d of %d heads are rejected", rejected, 2*len(log))
			}
		})
	}
}

// TestSkimLeavesWhatIsNoBareEvent: what stands in a wrapper, or is no audit event at all, must be seen by the processor.
func TestSkimLeavesWhatIsNoBareEvent(t *testing.T) {
	p, _, _ := newTest(t, nil)
	skim := p.Skim()
	if !skim.Rejects([]byte(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","verb":"get"}`)) {
		t.Error("a get is not rejected")
	}
	for _, head := range []string{
		`{}`, `{"verb":"get"}`, `{"kind":"Event","verb":"get"}`, `{"kind":"Pod","apiVersion":"v1","verb":"get"}`,
		`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","verb":"get"}`, `{"apiVersion":"audit.k8s.io/v1","kind":"Event","verb":"get"}`,
		`{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":7}`, `{"kind":"Event","apiVersion":"audit.k8s.io/v1"}`,
	} {
		if skim.Rejects([]byte(head)) {
			t.Errorf("%s is rejected", head)
		}
	}
	if all, _, _ := newTest(t, func(c *Config) { c.Validate = ValidateAll }); all.Skim().Rejects != nil {
		t.Error("events are skimmed though every byte is to be validated")
	}
}

// TestSkimmedRecordsCount as if they had come.
func TestSkimmedRecordsCount(t *testing.T) {
	p, _, _ := newTest(t, nil)
	h := p.Handler(ForeignDeadLetter)
	for _, records := range [][]sources.Record{nil, {{Value: []byte(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"get"}`)}}} {
		if err := h(context.Background(), &sources.Batch{Records: records, Skimmed: sources.Skimmed{Records: 3, Bytes: 100}}); err != nil {
			t.Fatal(err)
		}
	}
	if s := p.Stats(); s.Records != 7 || s.Events != 7 || s.Rejected != 7 || s.Bytes != 260 {
		t.Errorf("counted %+v", s)
	}
}
