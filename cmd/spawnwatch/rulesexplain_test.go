package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/rules"
)

// TestReadRecord finds the record that -e names.
func TestReadRecord(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	long := strings.Repeat("x", 200<<10)
	lines := "{\"n\":1}\n" + long + "\n\n{\"n\":4}"
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(lines)) // a buffer takes everything
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	plain, zipped := write("log", []byte(lines)), write("log.gz", packed.Bytes())
	odd := write("audit:3", []byte(`{"odd":true}`))
	pretty := write("pretty", []byte("{\n \"n\": 1\n}\n"))
	for _, c := range []struct{ where, want, fault string }{
		{where: plain + ":1", want: "{\"n\":1}\n"},
		{where: plain + ":2", want: long + "\n"},
		{where: plain + ":3", want: "\n"},
		{where: plain + ":4", want: "{\"n\":4}"},
		{where: zipped + ":4", want: "{\"n\":4}"},
		{where: plain + ":5", fault: "expected 5 lines or more, got 4"},
		{where: plain + ":0", fault: "counted from 1"},
		{where: odd, want: `{"odd":true}`},
		{where: pretty, want: "{\n \"n\": 1\n}"},
		{where: plain, fault: "expected one event, got 4 lines: name one"},
		{where: filepath.Join(dir, "none"), fault: "none"},
		{where: "-", want: `{"in":1}`},
		{where: "-:2", want: `{"in":2}`},
	} {
		in := "{\"in\":1}\n"
		if c.where == "-:2" {
			in += `{"in":2}`
		}
		got, err := readRecord(strings.NewReader(in), c.where)
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: error %v, want %q", c.where, err, c.fault)
		}
		if string(got) != c.want {
			t.Errorf("%s: got %.40q, want %.40q", c.where, got, c.want)
		}
	}
}

// TestTreeIsPainted wants colour where the terminal has it, and no raw control character of an event anywhere.
func TestTreeIsPainted(t *testing.T) {
	tree := rules.Node{Kind: rules.NodeAll, Holds: false, Kids: []rules.Node{
		{Kind: rules.NodeField, Holds: true, Text: "user: x", Seen: []string{"\"a\x1b[31m\u202e\""}},
		{Kind: rules.NodeNot, Kids: []rules.Node{{Kind: rules.NodeNothing, Label: "1 of none*"}}},
		{Kind: rules.NodeKeywords, Text: "keywords: \x07"},
		{Kind: rules.NodeField, Text: "verb: create", Absent: true},
	}}
	var plain, painted bytes.Buffer
	writeTree(&plain, style{width: defaultWidth}, &tree, "")
	writeTree(&painted, style{width: defaultWidth, colour: true}, &tree, "")
	want := "✗ all of\n  ✓ user: x   ← \"a\\x1b[31m\\u202e\"\n  ✗ not\n    ✗ 1 of none* (a pattern that fits no selection)\n" +
		"  ✗ keywords: \\x07\n  ✗ verb: create   ← absent\n"
	if plain.String() != want {
		t.Errorf("got\n%s\nwant\n%s", plain.String(), want)
	}
	for _, sgr := range []string{green, red, dim, "0"} {
		painted = *bytes.NewBuffer(bytes.ReplaceAll(painted.Bytes(), []byte("\x1b["+sgr+"m"), nil))
	}
	if painted.String() != want {
		t.Errorf("painted: got\n%q\nwant\n%q", painted.String(), want)
	}
}

func TestWithCases(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.yml", "a.test.yml", "b.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct{ in, want []string }{
		{[]string{at("a.yml")}, []string{at("a.yml"), at("a.test.yml")}},
		{[]string{at("a.test.yml"), at("a.yml")}, []string{at("a.test.yml"), at("a.yml")}},
		{[]string{at("b.yaml"), dir}, []string{at("b.yaml"), dir}},
	} {
		if got := withCases(c.in); strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}
