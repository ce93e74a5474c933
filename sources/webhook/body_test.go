package webhook

import (
	"slices"
	"testing"
)

// TestBodiesOfLines: what log shippers post line by line is a record a line; everything else is one record.
func TestBodiesOfLines(t *testing.T) {
	const list = `{"kind":"EventList","items":[{"verb":"get"}]}`
	for body, want := range map[string][]string{
		list:                         {list},
		list + "\n":                  {list + "\n"},
		`{"a":1}` + "\n" + `{"b":2}`: {`{"a":1}`, `{"b":2}`},
		`{"a":1}` + "\r\n\n" + ` {"b":2} ` + "\n": {`{"a":1}`, `{"b":2}`},
		"{\n \"a\": {\n  \"b\": 1\n }\n}\n":       {"{\n \"a\": {\n  \"b\": 1\n }\n}\n"},
		"[\n{\"a\":1},\n{\"b\":2}\n]":             {"[\n{\"a\":1},\n{\"b\":2}\n]"},
		`{"a":1}` + "\n" + `{"cut":`:              {`{"a":1}` + "\n" + `{"cut":`},
		"":                                        {""},
	} {
		var got []string
		for _, r := range records([]byte(body), nil) {
			got = append(got, string(r.Value))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q is %q, want %q", body, got, want)
		}
	}
}
