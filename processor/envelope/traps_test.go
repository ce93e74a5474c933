package envelope

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// recorder is a Visitor that keeps copies of everything.
type recorder struct {
	events  []Item
	faults  []Fault
	ignored []string
}

func (r *recorder) Event(i Item) {
	i.Event, i.Raw = bytes.Clone(i.Event), bytes.Clone(i.Raw)
	r.events = append(r.events, i)
}

func (r *recorder) Fault(f Fault) {
	f.Raw = bytes.Clone(f.Raw)
	r.faults = append(r.faults, f)
}

func (r *recorder) Ignored(kind string) { r.ignored = append(r.ignored, kind) }

// readAll reads one record with a Reader of its own.
func readAll(record []byte) *recorder {
	var (
		rd  Reader
		rec recorder
	)
	rd.Read(record, &rec)
	return &rec
}

// view is what the tests need to see of an event. The package itself never decodes one.
type view struct {
	Kind, APIVersion, AuditID, Stage, Level, RequestURI string
	Verb                                                any
	User                                                struct{ Username string }
	SourceIPs                                           []string
	UserAgent                                           string
	ObjectRef                                           struct{ Resource, Namespace, Name, APIGroup, APIVersion, Subresource string }
	ResponseStatus                                      struct {
		Status, Message, Reason string
		Code                    any
	}
	RequestObject, ResponseObject            json.RawMessage
	RequestReceivedTimestamp, StageTimestamp string
	Annotations                              map[string]string
}

// code is the response code as a number, whatever a shipper made of it; 0 where there is none.
func (v *view) code() int {
	switch c := v.ResponseStatus.Code.(type) {
	case float64:
		return int(c)
	case string:
		n, _ := strconv.Atoi(c)
		return n
	}
	return 0
}

// firstWins decodes an event as the program reads it: the first of duplicate keys counts, and case matters. Only the
// top level matters here.
func firstWins(t testing.TB, event []byte) view {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(event))
	dec.UseNumber()
	if _, err := dec.Token(); err != nil {
		t.Fatalf("decoding %.80q: %v", event, err)
	}
	seen := map[string]json.RawMessage{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
		if _, had := seen[key.(string)]; !had && !strings.EqualFold(key.(string), "verb") || key == "verb" && !had {
			seen[key.(string)] = value
		}
	}
	again, err := json.Marshal(seen)
	if err != nil {
		t.Fatal(err)
	}
	var v view
	if err := json.Unmarshal(again, &v); err != nil {
		t.Fatalf("decoding %.200s: %v", again, err)
	}
	return v
}

// judge stands in for the caller: a matcher that knows creations of Pods and rejects early, in the order that the
// program documents: what a field rejects is not read further, everything else is checked in full.
func judge(t testing.TB, rec *recorder) (alerts int, letters []Fault) {
	letters = append(letters, rec.faults...)
	for _, it := range rec.events {
		// A deciding member that says no, wherever it is readable, ends it: code 200 and verb get do in these cases.
		if rejects(it.Event) {
			continue
		}
		if f := Check(it.Event); f != nil {
			letters = append(letters, Fault{f.Reason, f.Detail, it.Raw, it.Index})
			continue
		}
		v := firstWins(t, it.Event)
		if s, isString := v.Verb.(string); !isString || s == "" {
			letters = append(letters, Fault{NoVerb, "", it.Raw, it.Index})
			continue
		}
		alerts++
	}
	return alerts, letters
}

// rejects walks the top level as far as it can be walked.
func rejects(event []byte) bool {
	var m members
	m.open(event, 0, MaxDepth)
	for m.next() {
		value := m.skip()
		if m.code != ok {
			return false
		}
		if string(m.name()) == "verb" {
			return isString(value, "get")
		}
	}
	return false
}

func TestTraps(t *testing.T) {
	// Who decides a case by what the event says about a creation is not this package. These it decides itself, or
	// together with the stand-in above.
	want := map[string]struct {
		events int
		faults []Reason
	}{
		"truncated-body": {0, []Reason{Malformed}},
		"garbage-tail":   {0, []Reason{Malformed}}, "nul-tail": {0, []Reason{Malformed}}, "quiet-cut": {0, []Reason{Malformed}},
		"empty-object": {0, []Reason{Foreign}}, "json-null": {0, []Reason{Foreign}}, "empty-record": {0, nil},
		"deep-nesting": {0, []Reason{TooDeep}}, "empty-list": {0, nil}, "list-cut": {0, []Reason{Malformed}},
		"list-item-null": {1, []Reason{Foreign}}, "event-list": {2, nil}, "event-list-items-first": {1, nil},
		"event-list-one-bad-item": {2, nil}, "list-item-without-kind": {1, nil}, "array-of-events": {1, nil},
		"fluent-bit-log-string": {1, nil}, "fluent-bit-kubernetes-wrapped": {1, nil},
		"log-string-not-json": {0, []Reason{Foreign}}, "bom": {1, nil}, "surrounding-white-space": {1, nil},
		"two-objects": {1, nil}, "deep-nesting-in-body": {1, nil},
	}
	for line := range bytes.Lines(readFile(t, "traps", "cases.jsonl")) {
		var c struct{ Name, Record, Verdict, Why string }
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		record, err := base64.StdEncoding.DecodeString(c.Record)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(c.Name, func(t *testing.T) {
			rec := readAll(record)
			if len(rec.ignored) > 0 {
				t.Errorf("ignored as %q", rec.ignored)
			}
			w, listed := want[c.Name]
			if !listed {
				w.events = 1
			}
			var reasons []Reason
			for _, f := range rec.faults {
				reasons = append(reasons, f.Reason)
			}
			if len(rec.events) != w.events || fmt.Sprint(reasons) != fmt.Sprint(w.faults) {
				t.Fatalf("%d events, faults %v; want %d, %v (%s)", len(rec.events), rec.faults, w.events, w.faults, c.Why)
			}
			alerts, letters := judge(t, rec)
			switch c.Verdict {
			case "dead-letter":
				if alerts > 0 || len(letters) != 1 {
					t.Fatalf("%d alerts, letters %v; want one letter (%s)", alerts, letters, c.Why)
				}
				if !bytes.Equal(letters[0].Raw, record) || letters[0].Index != -1 {
					t.Errorf("the letter is not the whole record: index %d, %.60q", letters[0].Index, letters[0].Raw)
				}
			case "alert+dead-letter":
				if alerts != 1 || len(letters) != 1 {
					t.Fatalf("%d alerts, letters %v; want one of each (%s)", alerts, letters, c.Why)
				}
				if letters[0].Index != 0 || !bytes.Contains(record, letters[0].Raw) || len(letters[0].Raw) >= len(record) {
					t.Errorf("the letter is not the first item: index %d, %.60q", letters[0].Index, letters[0].Raw)
				}
			default: // alert, none: every event must have come through readable
				if len(letters) > 0 {
					t.Errorf("letters %v; want none (%s)", letters, c.Why)
				}
				if c.Verdict == "alert" && alerts != 1 {
					t.Errorf("%d events left, want the one that alerts (%s)", alerts, c.Why)
				}
			}
		})
	}
}
