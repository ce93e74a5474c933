package envelope

import (
	"fmt"
	"strings"
	"testing"
)

// TestSeveralValues: what base64 or gzip holds is read to its end, so that no event hides those behind it.
func TestSeveralValues(t *testing.T) {
	read := strings.Replace(event, `"create"`, `"get"`, 1)
	other := `{"annotations":{},"auditID":"b",` + event[1:]
	cri := "2026-11-23T01:02:09.000000000Z stdout F "
	cut := read[:len(read)-40]
	for name, c := range map[string]struct {
		data   string
		events []string
		faults string // reasons
		raw    string // of the first fault
	}{
		"lines":              {read + "\n" + event + "\n", []string{read, event}, "[]", ""},
		"nothing between":    {read + event, []string{read, event}, "[]", ""},
		"other order":        {other + "\r\n" + event, []string{other, event}, "[]", ""},
		"lines of a runtime": {cri + read + "\n" + cri + event + "\n", []string{read, event}, "[]", ""},
		"lists":              {"[" + read + "]" + `{"kind":"EventList","items":[` + event + "]}", []string{read, event}, "[]", ""},
		"strings":            {quote(read) + " " + quote(event), []string{read, event}, "[]", ""},
		"gzip members":       {zip(read) + zip(event), []string{read, event}, "[]", ""},
		"one is foreign":     {read + `{"a":1}` + "\n" + event, []string{read, event}, "[foreign]", `{"a":1}`},
		"the first is cut":   {cut + "\n" + event, nil, "[malformed]", "-"},
		"cut, nothing between": {
			cut + event, nil, "[malformed]", "-",
		},
		"the last is cut": {event + "\n" + cut, []string{event}, "[malformed]", cut},
		"text behind":     {event + "\nx {}", []string{event}, "[malformed]", "x {}"},
	} {
		for form, record := range map[string]string{
			"gzip": zip(c.data), "base64": `{"records":[{"data":"` + b64(c.data) + `"}]}`, "both": `{"awslogs":{"data":"` + b64(zip(c.data)) + `"}}`,
		} {
			rec := readAll([]byte(record))
			var events []string
			for _, it := range rec.events {
				events = append(events, string(it.Event))
			}
			var reasons []Reason
			for _, f := range rec.faults {
				reasons = append(reasons, f.Reason)
			}
			if fmt.Sprint(events) != fmt.Sprint(c.events) || fmt.Sprint(reasons) != c.faults {
				t.Errorf("%s in %s: events %.300q, faults %v; want %.300q, %s", name, form, events, rec.faults, c.events, c.faults)
			} else if len(c.raw) > 1 && string(rec.faults[0].Raw) != c.raw {
				t.Errorf("%s in %s: the fault has %q, want only what is broken, %q", name, form, rec.faults[0].Raw, c.raw)
			}
		}
	}
	rec := readAll([]byte(zip(read + "\n" + event)))
	for i, it := range rec.events {
		if it.Index != i || string(it.Raw) != string(it.Event) {
			t.Errorf("value %d: index %d, raw %.80q; want its place and its own bytes", i, it.Index, it.Raw)
		}
	}
}

// TestValuesAreBounded: values count as the elements of lists do.
func TestValuesAreBounded(t *testing.T) {
	rec := readAll([]byte(zip(strings.Repeat("{}", 3*MaxItems))))
	if n := len(rec.faults); n != MaxItems+2 || rec.faults[n-1].Reason != TooLarge {
		t.Errorf("%d values: %d faults, want %d, the last too_large", 3*MaxItems, n, MaxItems+2)
	}
}
