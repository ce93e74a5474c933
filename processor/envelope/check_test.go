package envelope

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckAccepts(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, ` { } `, "\t[\r\n]\n", `0`, `-0`, `-1.5e+10`, `1E3`, `0.0`, `true`, `false`, `null`, `""`,
		`"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00"`, `"\ud800"`, `"é€😀"`, `"` + strings.Repeat("é", 40) + `"`,
		`{"":{"a":[1,2,{"b":null}],"a":"again"}}`, `[1,[2,[3]],{"a":{}}]`, "\"\x7f\"",
		`{"a" : 1 , "b" : [ true , false ] }`, strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth),
	} {
		if f := Check([]byte(text)); f != nil {
			t.Errorf("%.80q: refused: %v", text, f)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, c := range []struct {
		text   string
		reason Reason
		detail string
	}{
		{``, Malformed, "expected a value at byte 0, found the end"},
		{`   `, Malformed, "expected a value at byte 3, found the end"},
		{`{`, Malformed, "expected a key in quotes or } at byte 1, found the end"},
		{`{"a"`, Malformed, "expected : after a key at byte 4, found the end"},
		{`{"a"=1}`, Malformed, "expected : after a key at byte 4, found '='"},
		{`{"a":}`, Malformed, "expected a value at byte 5, found '}'"},
		{`{"a":1`, Malformed, "expected , or } after a member at byte 6, found the end"},
		{`{"a":1 "b":2}`, Malformed, `expected , or } after a member at byte 7, found '"'`},
		{`{"a":1,}`, Malformed, "expected a key in quotes at byte 7, found '}'"},
		{`{,}`, Malformed, "expected a key in quotes or } at byte 1, found ','"},
		{`{"a":1]`, Malformed, "expected , or } after a member at byte 6, found ']'"},
		{`[1,]`, Malformed, "expected a value at byte 3, found ']'"},
		{`[1}`, Malformed, "expected , or ] after an element at byte 2, found '}'"},
		{`[1`, Malformed, "expected , or ] after an element at byte 2, found the end"},
		{`{} x`, Malformed, "expected the end of the record after the value at byte 3, found 'x'"},
		{`{}{}`, Malformed, "expected the end of the record after the value at byte 2, found '{'"},
		{"{}\x00", Malformed, `expected the end of the record after the value at byte 2, found '\x00'`},
		{`01`, Malformed, "expected the end of the record after the value at byte 1, found '1'"},
		{`-`, Malformed, "expected a digit of a number at byte 1, found the end"},
		{`1.`, Malformed, "expected a digit of a number at byte 2, found the end"},
		{`1e+`, Malformed, "expected a digit of a number at byte 3, found the end"},
		{`+1`, Malformed, "expected a value at byte 0, found '+'"},
		{`tru`, Malformed, "expected true, false or null at byte 0, found 't'"},
		{`nul1`, Malformed, "expected true, false or null at byte 0, found 'n'"},
		{`"abc`, Malformed, "expected the closing quote of a string at byte 4, found the end"},
		{`"abcdefghijklmnop`, Malformed, "expected the closing quote of a string at byte 17, found the end"},
		{`"\x"`, Malformed, `expected one of "\/bfnrtu after a backslash at byte 2, found 'x'`},
		{`"\`, Malformed, `expected one of "\/bfnrtu after a backslash at byte 2, found the end`},
		{`"\u12g4aaaaaaaa"`, Malformed, `expected four hexadecimal digits after \u at byte 5, found 'g'`},
		{`"\u12`, Malformed, `expected four hexadecimal digits after \u at byte 5, found the end`},
		{"\"a\nb\"", Malformed, "control character 0x0a inside a string at byte 2 must be written as an escape"},
		{"\"abcdefgh\x1fijklmnop\"", Malformed, "control character 0x1f inside a string at byte 9 must be written as an escape"},
		{"\"abcdefgh\xffijklmnop\"", InvalidUTF8, "byte 0xff at byte 9 is not UTF-8"},
		{"\"\xc0\xaf\"", InvalidUTF8, "byte 0xc0 at byte 1 is not UTF-8"},             // overlong
		{"\"\xed\xa0\x80aaaaaaaa\"", InvalidUTF8, "byte 0xed at byte 1 is not UTF-8"}, // a surrogate
		{"\"\xe2\x82\"", InvalidUTF8, "byte 0xe2 at byte 1 is not UTF-8"},             // cut
		{"\xef\xbb\xbf{}", Malformed, `expected a value at byte 0, found '\ufeff'`},
		{strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), TooDeep, "nested deeper than 1000 levels at byte 1000"},
		{strings.Repeat(`{"a":`, MaxDepth+1), TooDeep, "nested deeper than 1000 levels at byte 5000"},
		{strings.Repeat("[", 10_000_000), TooDeep, "nested deeper than 1000 levels at byte 1000"},
	} {
		f := Check([]byte(c.text))
		if f == nil {
			t.Errorf("%.60q: accepted", c.text)
			continue
		}
		if f.Reason != c.reason || f.Detail != c.detail {
			t.Errorf("%.60q:\n got %s: %s\nwant %s: %s", c.text, f.Reason, f.Detail, c.reason, c.detail)
		}
		if string(f.Raw) != c.text || f.Index != -1 {
			t.Errorf("%.60q: the fault's Raw or Index is not the text", c.text)
		}
	}
}

// TestCheckKeepsKinds nests objects and arrays in turn across every border of the spilled words, and closes one of
// them wrongly at each depth.
func TestCheckKeepsKinds(t *testing.T) {
	kind := func(level int) bool { return level%3 == 0 || level%7 == 2 }
	build := func(depth, wrongAt int) []byte {
		var b []byte
		for l := range depth {
			if kind(l) {
				b = append(b, `{"k":`...)
			} else {
				b = append(b, '[')
			}
		}
		b = append(b, '1')
		for l := depth - 1; l >= 0; l-- {
			if kind(l) != (l == wrongAt) {
				b = append(b, '}')
			} else {
				b = append(b, ']')
			}
		}
		return b
	}
	for depth := 1; depth <= MaxDepth; depth += 37 {
		if f := Check(build(depth, -1)); f != nil {
			t.Errorf("depth %d: %v", depth, f)
		}
	}
	for wrongAt := range 200 {
		if Check(build(200, wrongAt)) == nil {
			t.Errorf("a wrong bracket at level %d was accepted", wrongAt)
		}
	}
}

// TestCheckEveryPlace puts each special byte at every place of strings of every short length, so that it falls on
// each lane of a word and into the tail, and compares with encoding/json.
func TestCheckEveryPlace(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for _, special := range []string{`"`, `\`, `\"`, `\\`, `\u0041`, "\x00", "\x1f", " ", "\x7f", "\x80", "\xff", "é", "😀", "\xe2\x82"} {
				s := strings.Repeat("a", at) + special + strings.Repeat("b", length-at-1)
				for _, form := range []string{`"%s"`, `{"%s":1}`, `{"k":"%s"}`, `["%s",1]`, "\"%s\"          "} {
					text := []byte(fmt.Sprintf(form, s))
					agree(t, text)
				}
			}
		}
	}
}

// agree compares Check with encoding/json, unicode/utf8 and a depth counter of its own.
func agree(t testing.TB, text []byte) {
	t.Helper()
	before := bytes.Clone(text)
	f := Check(text)
	if !bytes.Equal(before, text) {
		t.Fatalf("%q was changed", before)
	}
	depth := depthOf(text)
	// encoding/json allows 10,000 levels; a text that is too deep is refused for that or for what comes before.
	want := json.Valid(text) && utf8.Valid(text) && depth <= MaxDepth
	if got := f == nil; got != want {
		t.Fatalf("Check(%q) = %v; json.Valid %v, utf8.Valid %v, depth %d", text, f, json.Valid(text), utf8.Valid(text), depth)
	}
	if f == nil {
		return
	}
	switch f.Reason {
	case TooDeep:
		if depth <= MaxDepth {
			t.Fatalf("%q: too deep at depth %d", text, depth)
		}
	case InvalidUTF8:
		if utf8.Valid(text) {
			t.Fatalf("%q: %v, but it is UTF-8", text, f)
		}
	case Malformed:
		if json.Valid(text) {
			t.Fatalf("%q: %v, but it is JSON", text, f)
		}
	default:
		t.Fatalf("%q: reason %s", text, f.Reason)
	}
	if !utf8.ValidString(f.Detail) || len(f.Detail) > 200 || f.Detail == "" {
		t.Fatalf("%q: detail %q", text, f.Detail)
	}
}

// depthOf counts how deep brackets nest outside of strings.
func depthOf(text []byte) (deepest int) {
	depth, inside := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inside && c == '\\':
			i++
		case c == '"':
			inside = !inside
		case inside:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

func TestCheckRealEvents(t *testing.T) {
	for _, name := range []string{"rr.jsonl.gz", "request.jsonl.gz"} {
		for i, line := range corpusLines(t, name) {
			if f := Check(line); f != nil {
				t.Fatalf("%s line %d: %v", name, i+1, f)
			}
		}
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	text := []byte(`{"a":[1,-2.5e3,true,null,{"b":"\u0041é😀","c":{}}],"long":"` + strings.Repeat("x", 100) + `"}`)
	if n := testing.AllocsPerRun(100, func() {
		if Check(text) != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-2.5e3,true,null,{"b":"\u0041é😀"}]}`, `"\ud800\udc00"`, "\"\xed\xa0\x80\"", `[[[[]]]]`, `{"a":1,}`,
		"{\"k\":\"abcdefg\x01\"}", `-0.0E-0`, ` [ ] `, strings.Repeat("[", 1001), strings.Repeat(`{"":[`, 501) + "1",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) { agree(t, text) })
}

// TestCheckMutants damages real events in small ways, which reaches deeper than random text.
func TestCheckMutants(t *testing.T) {
	lines := corpusLines(t, "rr.jsonl.gz")
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := []byte("\"\\{}[]:,0123456789-+.eEtrufalsn \n\t\x00\x1f\x80\xc3\xff")
	valid := 0
	for n := range 20_000 {
		line := lines[rng.IntN(len(lines))]
		if len(line) > 8<<10 {
			continue
		}
		text := bytes.Clone(line)
		for range 1 + rng.IntN(2) {
			at := rng.IntN(len(text))
			c := alphabet[rng.IntN(len(alphabet))]
			switch rng.IntN(4) {
			case 0:
				text[at] = c
			case 1:
				text = slices.Delete(text, at, at+1)
			case 2:
				text = slices.Insert(text, at, c)
			case 3:
				text = text[:max(at, 1)]
			}
		}
		agree(t, text)
		if n%50 == 0 {
			readAll(text) // must not panic
		}
		if Check(text) == nil {
			valid++
		}
	}
	if valid == 0 {
		t.Error("no mutant is valid: the mutations are too coarse to tell anything")
	}
}
