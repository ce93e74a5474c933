package rules

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestFaultsSayWhere(t *testing.T) {
	const head = "title: T\nlogsource: {product: kubernetes}\ndetection:\n"
	for _, c := range []struct{ text, want string }{
		{head + "  s:\n    verb|contain: x\n  condition: s\n", `r.yml:5:5: rule T: expected a modifier behind verb|, got "contain" (did you mean "contains"?)`},
		{head + "  s:\n    verb|re: '(a'\n  condition: s\n", "r.yml:5:14: rule T: verb|re: expected a regular expression, got one that does not compile: missing closing ): `(a` (RE2 syntax: no look-around, no back-references)"},
		{head + "  selection:\n    verb: x\n  condition: selektion and x\n", `r.yml:6:14: rule T: condition "selektion and x": expected the name of a selection, got "selektion"; did you mean "selection"?`},
		{head + "  s:\n    verb|i: x\n  condition: s\n", `r.yml:5:5: rule T: verb|i: expected |i right behind |re, got it elsewhere (it is a flag of regular expressions: |re|i)`},
		{head + "  s:\n    ip|cidr: 10.0.0.0\n  condition: s\n", `r.yml:5:14: rule T: ip|cidr: expected a network for |cidr, got "10.0.0.0" (write it as 10.0.0.0/8 or 2001:db8::/32)`},
		{head + "  s:\n    n|gt: '10'\n  condition: s\n", `r.yml:5:11: rule T: n|gt: expected a number for |gt, got a text (numbers are written without quotes)`},
		{head + "  s:\n    objectRef:\n      resource: pods\n  condition: s\n", `r.yml:6:7: rule T: objectRef: expected a single value, got a mapping (name nested fields by their path, as in a.b)`},
		{head + "  s: {a: b}\n  condition: s | count() > 5\n", `r.yml:5:14: rule T: condition "s | count() > 5": expected the end of the condition, got "|": aggregations were removed from Sigma; use a correlation document`},
		{"title: T\nlevel: hihg\nlogsource: {product: k}\ndetection: {s: {a: b}, condition: s}\n", `r.yml:2:8: rule T: expected a level, got "hihg" (did you mean "high"?)`},
		{"title: T\nlogsource: {product: k}\ndetection: {s: {a: b}, condition: s}\n---\ntitle: U\n- x\n", "r.yml:6:1: expected YAML, got a syntax error: "},
		{"title: T\nlogsource: {product: k}\ncorrelation: {type: event_count, rules: [a], timespan: 5x, condition: {gte: 3}}\n", "r.yml:3:56: rule T: expected a timespan, got \"5x\" (a number and s, m, h or d)\nr.yml:1:1: rule T: expected a rule or a filter, got a correlation: correlations are not evaluated (the rules it refers to work on their own)"},
		{"action: global\ntitle: T\n", `r.yml:1:1: rule T: expected a rule, got a document with an action (Sigma 2 dropped rule collections: write each rule out)`},
		{head + "  s: {a: b, <<: {c: d}}\n  condition: s\n", `r.yml:4:13: rule T: expected a key, got a YAML merge (<<) (write the keys out)`},
		{"a\x00b", "r.yml:1:1: expected YAML in UTF-8, got binary data"},
	} {
		_, err := Parse("r.yml", []byte(c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("expected\n%s\ngot\n%v", c.want, err)
		}
	}
}

// Every fault is reported, and what has none is still there.
func TestFaultsAreCollected(t *testing.T) {
	text := "title: Bad\nlogsource: {}\nlevel: x\ndetection:\n  s: {a|foo: b, c|lt: d}\n  condition: s\n---\n" +
		oneRule("  s: {a: b}\n  condition: s\n") + "---\n\t- x\n---\ntitle: Good too\nlogsource: {product: x}\ndetection: {s: {a: b}, condition: s}\n"
	docs, err := Parse("r.yml", []byte(text))
	if len(docs.Rules) != 2 || docs.Rules[0].Title != "One" || docs.Rules[1].Title != "Good too" {
		t.Errorf("expected the two good rules, got %v", docs.Rules)
	}
	var lines []int
	for _, f := range faultsOf(err) {
		lines = append(lines, f.Line)
	}
	if fmt.Sprint(lines) != "[2 3 5 5 15]" {
		t.Errorf("expected faults in the lines 2 3 5 5 15, got %v\n%v", lines, err)
	}
	if r := docs.Rules[1]; r.Line != 17 || r.Col != 1 {
		t.Errorf("expected the rule at 17:1, got %d:%d", r.Line, r.Col)
	}
}

func TestRuleAttributes(t *testing.T) {
	docs, err := Parse("r.yml", []byte(`
title: All of it
id: 57642EBE-6603-4dfd-85ad-81e1a8ad22b5
name: all_of_it
related:
  - {id: 8df248c7-aeae-46f2-9c50-92762f1b0129, type: derived}
status: test
description: What it is.
license: DRL-1.1
author: me
date: 2026/11/23
modified: 2026-11-24
references: [https://example.com, 7]
tags: [attack.execution, attack.t1610]
level: high
fields: [user.username]
falsepositives: [none]
logsource: {category: c, product: p, service: s, definition: how}
owner: team-a
runbook: {steps: [1, 2]}
detection:
  s: {a: b}
  unused: {c: d}
  timeframe: 5m
  condition: s or 1 of nosuch_*
`))
	if err != nil {
		t.Fatal(err)
	}
	r := docs.Rules[0]
	if r.ID != "57642ebe-6603-4dfd-85ad-81e1a8ad22b5" || r.Name != "all_of_it" || r.Status != "test" || r.Level != "high" || r.Date != "2026-11-23" ||
		r.Modified != "2026-11-24" || fmt.Sprint(r.References, r.Tags, r.Fields, r.FalsePositives) != "[https://example.com 7] [attack.execution attack.t1610] [user.username] [none]" ||
		r.LogSource != (LogSource{"c", "p", "s", "how"}) || r.License != "DRL-1.1" || r.Author != "me" || r.Description != "What it is." {
		t.Errorf("got %+v", r)
	}
	if len(r.Custom) != 2 || r.Custom[0] != (Custom{"owner", "team-a"}) || !strings.Contains(r.Custom[1].Value, "steps") {
		t.Errorf("expected the two custom attributes, got %v", r.Custom)
	}
	var warnings []string
	for _, w := range r.Warnings {
		warnings = append(warnings, w.Error())
	}
	want := []string{
		"r.yml:24:3: rule 57642ebe-6603-4dfd-85ad-81e1a8ad22b5: a timeframe means something only in a correlation; it is ignored here",
		"r.yml:25:14: rule 57642ebe-6603-4dfd-85ad-81e1a8ad22b5: the pattern nosuch_* in the condition fits no selection: that part never matches",
		"r.yml:23:3: rule 57642ebe-6603-4dfd-85ad-81e1a8ad22b5: the condition does not use the selection unused",
	}
	if strings.Join(warnings, "\n") != strings.Join(want, "\n") {
		t.Errorf("expected\n%s\ngot\n%s", strings.Join(want, "\n"), strings.Join(warnings, "\n"))
	}
}

// Files made to hurt: refused in bounded time and memory, and what stands beside them is still read.
func TestHostileFiles(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	regex := func(re string) string {
		return "title: T\nlogsource: {product: x}\ndetection: {s: {a|re: '" + re + "'}, condition: s}\n"
	}
	condition := func(c string) string {
		return "title: T\nlogsource: {product: x}\ndetection: {s: {a: b}, condition: '" + c + "'}\n"
	}
	for name, text := range map[string]string{
		"bomb":             bomb,
		"self":             "a: &a [*a, *a]\n",
		"nested lists":     strings.Repeat("[", 10<<20),
		"nested 4 MiB":     strings.Repeat("[", MaxFile),
		"nested maps":      strings.Repeat("{a: ", 1900) + strings.Repeat("}", 1900),
		"nested by indent": strings.Repeat("- ", MaxFile/2),
		"deep":             "a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"wide":             "a:\n" + strings.Repeat("- x\n", 100_000),
		"documents":        strings.Repeat("---\n", MaxDocuments+5),
		"open quote":       "a: '" + strings.Repeat("x\n", 100_000),
		"anchors":          strings.Repeat("&a ", 50_000),
		"tags":             strings.Repeat("!a ", 50_000),
		"binary":           "\x7fELF\x02\x01\x01\x00" + strings.Repeat("\x00\xff", 100_000),
		"not UTF-8":        "title: \xff\xfe\n",
		"huge regex":       regex(strings.Repeat("(a|b)*", 10_000)),
		"repeats":          regex("((a{100}){100}){100}"),
		"parentheses":      condition(strings.Repeat("(", 100_000) + "s"),
		"nots":             condition(strings.Repeat("not ", 5_000) + "s"),
		"words":            condition("s" + strings.Repeat(" and s", 100_000)),
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			docs, err := Parse("r.yml", []byte(text))
			runtime.ReadMemStats(&after)
			if err == nil || len(docs.Rules) > 0 {
				t.Errorf("expected a fault, got %v and %d rules", err, len(docs.Rules))
			} else if n := len(err.Error()); n > 4000 {
				t.Errorf("expected a short error, got %d bytes", n)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<30 {
				t.Errorf("allocated %d MiB", used>>20)
			}
		})
	}
	// A catastrophic expression elsewhere; here it is linear.
	set := mustCompile(t, regex("^(a+)+$"), nil, Options{})
	begin := time.Now()
	if got, _ := matchesOne(t, set, `{"a":"`+strings.Repeat("a", 100_000)+`b"}`); got || time.Since(begin) > 5*time.Second {
		t.Errorf("expected no match soon, got %v after %v", got, time.Since(begin))
	}
	docs, err := Parse("r.yml", []byte(oneRule("  s: {a: b}\n  condition: s\n")+"---\n"+bomb+"---\n"+regex("(")))
	if len(docs.Rules) != 1 || len(faultsOf(err)) != 2 {
		t.Errorf("expected one rule and two faults, got %d and %v", len(docs.Rules), err)
	}
}

func TestExpandLimits(t *testing.T) {
	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	docs, err := Parse("r.yml", []byte(oneRule("  s: {a|expand: '%many%-%many%-%many%'}\n  condition: s\n")))
	if err != nil {
		t.Fatal(err)
	}
	set, err := Compile(docs, nil, Options{Placeholders: map[string][]string{"many": many}})
	if err == nil || !strings.Contains(err.Error(), "expected at most 10000 values out of one") || len(set.Rules()) != 0 {
		t.Errorf("expected a fault, got %v", err)
	}
}

func TestDocumentsApart(t *testing.T) {
	text := "# a comment\n--- # first\ntitle: A\nlogsource: {product: x}\ndetection: {s: {a: |\n   x\n   ---\n   y\n }, condition: s}\n"
	text = strings.ReplaceAll(text, "{s: {a: |\n   x\n   ---\n   y\n }, condition: s}", "\n  s:\n    a: |\n      x\n      ---\n      y\n  condition: s")
	text += "...\n---\ntitle: B\nlogsource: {product: x}\ndetection: {s: {a: '---'}, condition: s}\n---\n---\n# nothing\n"
	docs, err := Parse("r.yml", []byte("\xef\xbb\xbf"+text))
	if err != nil || len(docs.Rules) != 2 {
		t.Fatalf("expected two rules, got %d, %v", len(docs.Rules), err)
	}
	set, err := Compile(docs, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := matchesOne(t, set, `{"a":"x\n---\ny\n"}`); !got {
		t.Error("expected the block to hold its line of hyphens")
	}
}
