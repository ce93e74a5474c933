package envelope

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// unescapeAgrees compares unescape with encoding/json, which replaces invalid UTF-8 where unescape copies it: only
// texts of valid UTF-8 are compared.
func unescapeAgrees(t testing.TB, s *scratch, quoted []byte) {
	t.Helper()
	before := bytes.Clone(quoted)
	text, end, c := s.unescape(quoted, 1)
	if !bytes.Equal(before, quoted) {
		t.Fatalf("%q was changed", before)
	}
	var want string
	err := json.Unmarshal(quoted, &want)
	if err != nil {
		if c == ok && end == len(quoted) && utf8.Valid(quoted) {
			t.Fatalf("%q accepted as %q; encoding/json: %v", quoted, text, err)
		}
		return
	}
	if c != ok {
		t.Fatalf("%q refused with %d; encoding/json reads %q", quoted, c, want)
	}
	if utf8.Valid(quoted) && (string(text) != want || end != len(bytes.TrimRight(quoted, " \n\r\t"))) {
		t.Fatalf("%q: read %q to %d, want %q", quoted, text, end, want)
	}
}

func TestUnescape(t *testing.T) {
	var s scratch
	for _, q := range []string{
		`""`, `"a"`, `"abcdefgh"`, `"abcdefghi"`, `"\"kind\":\"Event\",\"verb\":\"create\""`, `"\u0026\u003c\u003E\/\b\f\n\r\t"`,
		`"\ud83d\ude00"`, `"\ud83dx"`, `"\ud83d"`, `"\ud83d\u0041"`, `"\ude00\ud83d"`, `"\ud83d\ud83d\ude00"`, `"é€😀 \"é\""`, "\"\x7f\\\"\xc3\xa9abcdefg\"",
		`"\u12"`, `"\u12g4"`, `"\ud83d\u12"`, `"\x"`, `"abc`, `"\`, "\"\n\"", "\"abcdefgh\x01\"", "\"é\x01éabcdefgh\"",
	} {
		s.reset()
		unescapeAgrees(t, &s, []byte(q))
	}
}

// TestUnescapeEveryPlace lets each special byte fall on every lane of a word, among ASCII and among other letters.
func TestUnescapeEveryPlace(t *testing.T) {
	var s scratch
	for _, fill := range []string{"a", "é", "€"} {
		for n := range 12 {
			for m := range 12 {
				for _, special := range []string{``, `\"`, `\\`, `\n`, `\u00e9`, `\ud83d\ude00`, "\x00", "\x1f", " ", "\x80", "\xff"} {
					s.reset()
					unescapeAgrees(t, &s, []byte(`"`+strings.Repeat(fill, n)+special+strings.Repeat("b", m)+`"`))
				}
			}
		}
	}
}

func TestScratchLoansStay(t *testing.T) {
	var s scratch
	var loans [][]byte
	for i := range 300 {
		quoted := []byte(`"` + strings.Repeat(string(rune('a'+i%26)), i*7) + `"`)
		text, _, c := s.unescape(quoted, 1)
		if c != ok {
			t.Fatal(c)
		}
		loans = append(loans, text)
		grown := append(s.room(4), bytes.Repeat([]byte{'Z'}, i*3)...) // more than was asked for
		loans = append(loans, s.keep(grown))
	}
	for i := 0; i < len(loans); i += 2 {
		if want := strings.Repeat(string(rune('a'+i/2%26)), i/2*7); string(loans[i]) != want {
			t.Fatalf("loan %d was overwritten", i)
		}
		if want := strings.Repeat("Z", i/2*3); string(loans[i+1]) != want {
			t.Fatalf("loan %d was overwritten", i+1)
		}
	}
}

func TestScratchIsGivenBack(t *testing.T) {
	var s scratch
	s.keep(append(s.room(keepScratch+1), 'x'))
	s.reset()
	if cap(s.buf) > keepScratch {
		t.Errorf("kept %d bytes, more than %d", cap(s.buf), keepScratch)
	}
}

func FuzzUnescape(f *testing.F) {
	for _, q := range []string{`a\"b`, `\ud83d\ude00`, "é\\u0041éééé", `\u12`, `"`} {
		f.Add([]byte(q))
	}
	f.Fuzz(func(t *testing.T, inner []byte) {
		var s scratch
		unescapeAgrees(t, &s, append(append([]byte{'"'}, inner...), '"'))
	})
}
