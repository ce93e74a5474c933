package rules

import (
	"testing"
)

// TestReadings pins how this engine reads each point that the specification leaves open or that implementations
// dispute. The names are those of docs/rules.md.
func TestReadings(t *testing.T) {
	for _, c := range []struct {
		name, detection string
		yes, no         []string
	}{
		{"windash", "{v|windash|contains: ' -n'}", []string{`"x -n"`, `"x /n"`, `"x –n"`, `"x —n"`, `"x ―n"`}, []string{`"x n"`, `"x +n"`}},
		{"windash anywhere", "{v|windash: 'a-b'}", []string{`"a/b"`, `"A-B"`}, []string{`"ab"`}},
		{"kw_wild", "['mi*key']", []string{`"a mimi key b"`}, []string{`"key mi"`}},
		{"kw_num", "[4625, 'true']", []string{`"id 4625"`, `"trueish"`}, []string{`4625`, `true`}},
		{"kw_keys", "[needle]", []string{`{"a":["a needle"]}`}, []string{`{"needle":1}`}},
		{"neq_missing", "{v|neq: x}", []string{`"y"`, `null`, `{"x":"x"}`, `[]`}, []string{``, `"X"`}},
		{"neq_array", "{v|neq: x}", []string{`["a","b"]`}, []string{`["a","x"]`}},
		{"neq_list", "{v|neq: [x, y]}", []string{`"z"`}, []string{`"x"`, `"y"`}},
		{"neq_typed", "{v|re|neq: '^x'}", []string{`"y"`}, []string{`"xy"`, ``}},
		{"all_array", "{v|contains|all: [a, b]}", []string{`"ab"`, `["xa","bx"]`}, []string{`["xa","ax"]`}},
		{"num_eq", "{v: 200}", []string{`200`, `200.0`, `2e2`, `"200"`, `"200.0"`, `"2e2"`, `"+200"`, `"0200"`}, []string{`"200 "`, `"0xc8"`, `true`}},
		{"num_text", "{v: '200'}", []string{`200`, `200.0`, `"200"`}, []string{`"200.0"`, `"2e2"`}},
		{"bigint", "{v: 9007199254740993}", []string{`9007199254740993`}, []string{`9007199254740992`, `"9007199254740992"`}},
		{"float_text", "{v|endswith: '.0'}", []string{`"2.0"`}, []string{`2.0`}},
		{"float_text short", "{v: '0.00001'}", []string{`1e-5`, `0.000010`}, []string{`"1e-5"`}},
		{"bool_words", "{v: true}", []string{`true`, `"TRUE"`}, []string{`"yes"`, `1`}},
		{"empty_list", "{v: []}", nil, []string{``, `null`, `""`, `[]`}},
		{"null_array", "{v: null}", []string{``, `null`}, []string{`[]`, `[null]`, `""`, `{}`}},
		{"exists_null", "{v|exists: true}", []string{`null`, `""`, `[]`}, []string{``}},
		{"cmp_string", "{v|gte: 10}", []string{`10`, `"10"`, `"1e1"`}, []string{`"abc"`, `""`, `9.99`, `true`}},
		{"b64_case", "{v|base64: foo}", []string{`"Zm9v"`, `"zm9v"`}, []string{`"Zm9vYg=="`}},
		{"b64 cased", "{v|base64|cased: foo}", []string{`"Zm9v"`}, []string{`"zm9v"`}},
		{"b64off_implicit", "{v|base64offset: foobar}", []string{`"Zm9vYmFy"`, `"emZvb2Jhcg=="`, `"enpmb29iYXI="`}, []string{`"foobar"`}},
		{"wide_plain", "{v|wide|contains: ab}", []string{`"xa\u0000b\u0000"`}, []string{`"ab"`}},
		{"fold", "{v: 'ΣΊΣΥΦΟΣ straße kelvin'}", []string{`"σίσυφος STRAßE Kelvin"`, `"σίσυφοσ straẞe KELVIN"`}, []string{`"σίσυφος STRASSE kelvin"`}},
		{"fold wildcard", "{v: '*ΦΟΣ straß?'}", []string{`"σίσυφος STRAẞE"`}, nil},
		{"fold dotted i", "{v: istanbul}", []string{`"ISTANBUL"`}, []string{`"İstanbul"`, `"ıstanbul"`}},
		{"re case", "{v|re: '^ab'}", []string{`"abc"`}, []string{`"ABc"`}},
		{"re_dollar", "{v|re: 'end$'}", []string{`"the end"`}, []string{`"the end\n"`}},
		{"re_nonstring", "{v|re: '^(20|tr)'}", []string{`200`, `true`, `"201"`}, []string{`null`, `{"v":200}`}},
		{"star_newline", "{v: 'a*b?c'}", []string{`"a\nb\nc"`}, nil},
		{"swild", "{v|startswith: 'a*c'}", []string{`"abcd"`}, []string{`"xabc"`}},
		{"star_object", "{v: '*'}", []string{`""`, `0`, `false`, `["x"]`}, []string{`{"a":1}`, `[{}]`, `null`, ``}},
		{"cidr_4in6", "{v|cidr: 10.0.0.0/8}", []string{`"10.1.2.3"`}, []string{`"::ffff:10.1.2.3"`, `"10.1.2.3:80"`, `"010.1.2.3"`}},
		{"cidr_zone", "{v|cidr: 'fe80::/10'}", []string{`"fe80::1"`}, []string{`"fe80::1%eth0"`}},
		{"fieldref", "{v|fieldref: w}", []string{`"W1"`, `["a"],"w":["A"]`, `5,"w":"5"`, `5,"w":5.0`, `null,"w":null`}, []string{`["w1"]`, `"x"`, ``, `null`}},
		{"fieldref cased", "{v|fieldref|cased: w}", []string{`"w1"`, `5,"w":5`}, []string{`"W1"`, `5,"w":"5"`, `5,"w":5.0`}},
		{"fieldref part", "{v|fieldref|startswith: w}", []string{`"w1 and more"`, `["x","W12"]`}, []string{`"1"`}},
		{"time_tz", "{v|hour: 21}", []string{`"2026-11-23T23:30:00+02:00"`, `"2026-11-23T21:00:00Z"`}, []string{`"2026-11-23T21:30:00+02:00"`}},
		{"time_loose", "{v|year: 2026}", []string{`"2026-11-23 09:30:00"`, `"2026-11-23T09:30:00"`, `1795424400`, `1795424400000`}, []string{`"2026-11-23"`, `"2026"`, `2026`}},
		{"week_iso", "{v|week: 53}", []string{`"2027-01-01T12:00:00Z"`}, []string{`"2027-01-04T12:00:00Z"`}},
		{"dotkeys", "{v.a.b: x}", []string{`{"a.b":"x"}`}, []string{`{"a":{"c":"x"}}`}},
		{"path array", "{v.k: x}", []string{`[{"k":"y"},[{"k":["x"]}]]`}, []string{`["x"]`}},
	} {
		set := mustCompile(t, oneRule("  s: "+c.detection+"\n  condition: s\n"), nil, Options{})
		for want, values := range map[bool][]string{true: c.yes, false: c.no} {
			for _, v := range values {
				event := `{"t":1}`
				if v != "" {
					event = `{"t":1,"v":` + v + `,"w":"w1"}`
				}
				if got, _ := matchesOne(t, set, event); got != want {
					t.Errorf("%s: %s on %s: expected %v, got %v", c.name, c.detection, event, want, got)
				}
			}
		}
	}
}

// Conditions: precedence, quantifiers, hidden names, patterns.
func TestConditions(t *testing.T) {
	const selections = "  a: {x: 1}\n  b: {y: 1}\n  c1: {z: 1}\n  c2: {w: 1}\n  _h: {h: 1}\n"
	for condition, events := range map[string]map[string]bool{
		"a or b and c1":       {`{"x":1}`: true, `{"y":1}`: false, `{"y":1,"z":1}`: true},
		"(a or b) and c1":     {`{"x":1}`: false, `{"x":1,"z":1}`: true},
		"not a and b":         {`{"y":1}`: true, `{"x":1,"y":1}`: false},
		"not (a and b)":       {`{"y":1}`: true, `{"x":1,"y":1}`: false, `{}`: true},
		"NOT a OR b":          {`{}`: true, `{"x":1}`: false, `{"x":1,"y":1}`: true},
		"1 of c*":             {`{"w":1}`: true, `{"x":1}`: false},
		"any of c*":           {`{"w":1}`: true, `{"x":1}`: false},
		"all of c*":           {`{"w":1}`: false, `{"w":1,"z":1}`: true},
		"all of them":         {`{"x":1,"y":1,"z":1,"w":1}`: true, `{"x":1,"y":1,"z":1}`: false},
		"1 of them":           {`{"h":1}`: false, `{"x":1}`: true},
		"1 of *":              {`{"h":1}`: false, `{"x":1}`: true},
		"1 of _*":             {`{"h":1}`: true, `{"x":1}`: false},
		"_h":                  {`{"h":1}`: true},
		"not 1 of c* and a":   {`{"x":1}`: true, `{"x":1,"z":1}`: false},
		"1 of nosuch* or a":   {`{"x":1}`: true, `{}`: false},
		"all of nosuch*":      {`{}`: false, `{"x":1}`: false},
		"not all of nosuch*":  {`{}`: true},
		"1 of *1":             {`{"z":1}`: true, `{"w":1}`: false},
		"[a and b, c1 or c2]": {`{"x":1,"y":1}`: true, `{"w":1}`: true, `{"x":1}`: false},
	} {
		set := mustCompile(t, oneRule(selections+"  condition: "+condition+"\n"), nil, Options{})
		for event, want := range events {
			if got, _ := matchesOne(t, set, event); got != want {
				t.Errorf("%s on %s: expected %v, got %v", condition, event, want, got)
			}
		}
	}
}

func TestDecimals(t *testing.T) {
	// In ascending order; equal ones on one line.
	ordered := [][]string{
		{"-1e400"},
		{"-10.5", "-105e-1"},
		{"-2"},
		{"-0.001"},
		{"0", "-0", "0.000", "0e5", "+0"},
		{"1e-400"},
		{"0.001", "1e-3", "10e-4"},
		{"0.0100"},
		{"1", "1.0", "01", "0.1e1", "+1"},
		{"1.5", "15e-1"},
		{"9.99"},
		{"10", "1e1", "1E+1"},
		{"100.5"},
		{"9007199254740992"},
		{"9007199254740993", "9007199254740993.0"},
		{"1e20", "100000000000000000000"},
		{"1e400"},
	}
	for i, a := range ordered {
		for j, b := range ordered {
			for _, x := range a {
				for _, y := range b {
					d, ok := parseDecimal(x)
					e, ok2 := parseDecimal(y)
					want := 0
					if i != j {
						want = map[bool]int{true: -1, false: 1}[i < j]
					}
					if got := d.compare(e); !ok || !ok2 || got != want {
						t.Errorf("%s against %s: expected %d, got %d", x, y, want, got)
					}
				}
			}
		}
	}
	for _, s := range []string{"", "-", ".", "1.", ".5", "e5", "1e", "1e+", "0x10", "1_000", " 1", "1 ", "inf", "NaN", "1e1234567890", "1.2.3", "--1", "１"} {
		if _, ok := parseDecimal(s); ok {
			t.Errorf("expected %q to be no number", s)
		}
	}
}
