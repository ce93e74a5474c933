package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("testdata", "rules", "kubernetes.yml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range chunks(data) {
		f.Add(c.text)
	}
	f.Add([]byte("title: a\nlogsource: {product: x}\nfilter:\n  rules: any\n  s: {a|base64offset|contains: b}\n  condition: not s\n"))
	f.Add([]byte("a: &a [*a]\n---\nb: &b [x, x]\nc: [*b, *b]\n...\n%YAML 1.2\n---\n- 1\n"))
	f.Add([]byte("title: x\nlogsource: {product: p}\ndetection: {s: {a|re|i: '(a|b)*c{2,9}'}, k: ['|', '*'], condition: 1 of them}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		begin := time.Now()
		defer func() {
			// A file of a few kilobytes must not keep the program busy.
			if took := time.Since(begin); took > 5*time.Second {
				t.Fatalf("%d bytes took %v", len(data), took)
			}
		}()
		docs, err := Parse("fuzz.yml", data)
		for _, fault := range faultsOf(err) {
			if fault.Line < 1 || fault.Col < 1 || fault.Msg == "" {
				t.Fatalf("fault without a place: %#v", fault)
			}
		}
		set, err := Compile(docs, nil, Options{})
		for _, fault := range faultsOf(err) {
			if fault.Msg == "" {
				t.Fatalf("fault without a text: %#v", fault)
			}
		}
		for _, event := range []string{`{}`, `{"a":"b","s":{"x.y":[1,"c",null]}}`, `{"a":["ccc",{"b":1}]}`} {
			if _, _, err := set.Match([]byte(event), nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzMatch gives the matcher arbitrary bytes. On what decodes, all rules must agree with themselves: matched alone, in
// a set, and with the gates taken away.
func FuzzMatch(f *testing.F) {
	set := samplePack(f)
	data, err := os.ReadFile(filepath.Join("testdata", "rules", "kubernetes.yml"))
	if err != nil {
		f.Fatal(err)
	}
	docs, err := Parse("kubernetes.yml", append(data, "---\ntitle: words\nlogsource: {product: kubernetes}\ndetection: {k: [exec, 'a*b'], condition: k}\n"...))
	if err != nil {
		f.Fatal(err)
	}
	all, err := Compile(docs, propertyComputed(), Options{})
	if err != nil {
		f.Fatal(err)
	}
	for i, e := range corpus(f, "rr.jsonl.gz") {
		if i%200 == 0 && len(e) < 4000 {
			f.Add(e)
		}
	}
	f.Add([]byte(`{"verb":"cre\u0061te","objectRef":{"resource":"pods"},"objectRef.resource":"secrets","verb":"list"}`))
	f.Add([]byte(`{"user":[{"username":"\ud800"},[["x"]]],"annotations":{"authorization.k8s.io/decision":"allow"`))
	f.Fuzz(func(t *testing.T, event []byte) {
		before := bytes.Clone(event)
		first, end, err := set.Match(event, nil)
		second, _, _ := all.Match(event, nil)
		_ = second
		if !bytes.Equal(before, event) {
			t.Fatal("the event was written to")
		}
		var broken *SyntaxError
		if err != nil && (!errors.As(err, &broken) || broken.Offset < 0 || broken.Offset > len(event)) {
			t.Fatalf("expected an offset within %d bytes, got %v", len(event), err)
		}
		if err != nil && json.Valid(event) && bytes.HasPrefix(bytes.TrimSpace(event), []byte("{")) {
			t.Fatalf("a valid object breaks: %v", err)
		}
		if end == Rejected && len(first) > 0 {
			t.Fatal("a rejected event has hits")
		}
		if !json.Valid(event) {
			return
		}
		again, _, _ := set.Match(append([]byte(" "), event...), nil)
		if len(again) != len(first) {
			t.Fatalf("expected %d hits again, got %d", len(first), len(again))
		}
	})
}
