package sinks

import (
	"strings"
	"testing"
)

func upper(dst []byte, value string) []byte {
	if value == "" {
		return append(dst, '_')
	}
	return append(dst, strings.ToUpper(value)...)
}

func TestTemplateAppend(t *testing.T) {
	l := Labels{Cluster: "c", Namespace: "ns", Kind: "Pod", Name: "web", Severity: "high", Outcome: "created", Rule: "r1"}
	for _, c := range []struct {
		text, want string
		fixed      bool
	}{
		{text: "", want: "", fixed: true},
		{text: "k8s-alerts", want: "k8s-alerts", fixed: true},
		{text: "a.{severity}", want: "a.HIGH"},
		{text: "{severity}.b", want: "HIGH.b"},
		{text: "{kind}{name}", want: "PODWEB"},
		{text: "/{cluster}/{namespace}/{kind}/{name}/{severity}/{outcome}/{rule}/", want: "/C/NS/POD/WEB/HIGH/CREATED/R1/"},
		{text: "é{name}é", want: "éWEBé"},
	} {
		tpl, err := ParseTemplate(c.text)
		if err != nil {
			t.Errorf("ParseTemplate(%q): %v", c.text, err)
			continue
		}
		if got := string(tpl.Append([]byte("kept:"), &l, upper)); got != "kept:"+c.want {
			t.Errorf("%q expands to %q, want %q", c.text, got, "kept:"+c.want)
		}
		if tpl.Fixed() != c.fixed || tpl.String() != c.text {
			t.Errorf("%q: Fixed %v, String %q", c.text, tpl.Fixed(), tpl.String())
		}
	}
}

func TestTemplateUnknownLabelIsCleanedToo(t *testing.T) {
	tpl, err := ParseTemplate("a.{namespace}.b")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(tpl.Append(nil, &Labels{}, upper)); got != "a._.b" {
		t.Errorf("got %q: clean was not asked what to do with an empty label", got)
	}
}

func TestZeroTemplateIsEmpty(t *testing.T) {
	var tpl Template
	if got := tpl.Append(nil, &Labels{Name: "x"}, upper); len(got) != 0 || !tpl.Fixed() {
		t.Errorf("zero template expands to %q, Fixed %v", got, tpl.Fixed())
	}
}

func TestParseTemplateFaults(t *testing.T) {
	for text, want := range map[string]string{
		"k8s.{severty}":   `offset 5: unknown placeholder {severty}: did you mean {severity}?`,
		"{Namespace}":     `did you mean {namespace}?`,
		"{topic}":         `expected one of {cluster} {namespace} {kind} {name} {severity} {outcome} {rule}`,
		"{}":              `offset 1: unknown placeholder {}`,
		"{ name }":        `did you mean {name}?`,
		"a{name":          `opened at offset 1 is not closed`,
		"a{b{name}":       `opened at offset 1 is not closed`,
		"name}":           `closed at offset 4 was not opened`,
		"{name}}":         `closed at offset 6 was not opened`,
		"{{name}}":        `opened at offset 0 is not closed`,
		"{\xff\x00\nname": `is not closed`,
	} {
		tpl, err := ParseTemplate(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseTemplate(%q) = %v, want an error with %q", text, err, want)
		}
		if tpl.String() != "" || !tpl.Fixed() {
			t.Errorf("ParseTemplate(%q) gave a template besides the error", text)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"rule", "rule", 0}, {"rules", "rule", 1}, {"eman", "name", 4}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestTemplateAppendAllocatesNothing(t *testing.T) {
	tpl, err := ParseTemplate("k8s.{namespace}.{severity}")
	if err != nil {
		t.Fatal(err)
	}
	l := Labels{Namespace: "kube-system", Severity: "high"}
	plain := func(dst []byte, v string) []byte { return append(dst, v...) }
	dst := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { dst = tpl.Append(dst[:0], &l, plain) }); n != 0 {
		t.Errorf("%v allocations per expansion, want 0", n)
	}
}

func FuzzParseTemplate(f *testing.F) {
	for _, s := range []string{"", "a.{severity}", "{", "}", "{name}{kind}", "{{}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := ParseTemplate(text)
		if err != nil {
			return
		}
		// Expanded with the names themselves, a template gives back its own text.
		l := Labels{Cluster: "cluster", Namespace: "namespace", Kind: "kind", Name: "name", Severity: "severity", Outcome: "outcome", Rule: "rule"}
		got := tpl.Append(nil, &l, func(dst []byte, v string) []byte { return append(append(append(dst, '{'), v...), '}') })
		if string(got) != text {
			t.Errorf("%q reads as %q", text, got)
		}
	})
}
