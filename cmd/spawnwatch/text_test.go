package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "kube-system/web-7d8 (alice)", "kube-system/web-7d8 (alice)"},
		{"letters of the world", "Jürgen 田中 Ελένη مريم", "Jürgen 田中 Ελένη مريم"},
		{"composed by a mark", "e\u0301", "e\u0301"},
		{"escape sequence", "a\x1b[2Jb", `a\x1b[2Jb`},
		{"C1 control sequence introducer", "a\u009b2Jb", `a\u009b2Jb`},
		{"raw byte of C1", "a\x9b2Jb", `a\x9b2Jb`},
		{"operating system command", "\x1b]52;c;aGk=\x07", `\x1b]52;c;aGk=\x07`},
		{"new line and return", "one\ntwo\rthree", `one\x0atwo\x0dthree`},
		{"delete", "a\x7f", `a\x7f`},
		{"right-to-left override", "nginx\u202egnp.exe", `nginx\u202egnp.exe`},
		{"isolates", "\u2066x\u2069", `\u2066x\u2069`},
		{"zero width", "ali\u200bce", `ali\u200bce`},
		{"byte order mark", "\ufeffx", `\ufeffx`},
		{"soft hyphen", "a\u00adb", `a\u00adb`},
		{"line separator", "a\u2028b", `a\u2028b`},
		{"no-break space", "a\u00a0b", `a\u00a0b`},
		{"Hangul filler", "a\u3164b", `a\u3164b`},
		{"empty braille", "a\u2800b", `a\u2800b`},
		{"tags", "a\U000e0041b", `a\U000e0041b`},
		{"variation selector", "a\ufe0fb", `a\ufe0fb`},
		{"private use", "a\ue000b", `a\ue000b`},
		{"no UTF-8", "a\xff\xc3b", `a\xff\xc3b`},
		{"replacement character", "a\ufffdb", "a\ufffdb"},
		{"a mark on nothing", "\u0301a", `\u0301a`},
		{"a mark on a space", "a \u0301b", "a " + `\u0301b`},
		{"marks that smear", "a\u0301\u0302\u0303\u0304b", "a\u0301\u0302" + `\u0303\u0304` + "b"},
		{"marks after a hidden one", "\u0301\u0302a", `\u0301\u0302a`},
	} {
		if got := printable(c.in); got != c.want {
			t.Errorf("%s: printable(%q) = %q, want %q", c.name, c.in, got, c.want)
		}
	}
}

// hostile makes a text out of what terminals mind, in any order.
func hostile(r *rand.Rand, n int) string {
	parts := []string{
		"a", "Z", " ", "'", `\`, "田", "é", "e\u0301", "\u0301", "\u0489", "م", "😀", "🇩🇪", "👨\u200d👩", "\x1b", "\x1b[31m", "\x1b]0;x\x07", "\x9b", "\u009b", "\u0085",
		"\x00", "\n", "\r", "\t", "\b", "\x7f", "\u202e", "\u2066", "\u200f", "\u061c", "\u2028", "\ufeff", "\u3164", "\ufe0f", "\U000e0020", "\ud7ff", "\ue000",
		"\xff", "\xc2", "\xed\xa0\x80", "\U0010ffff", "\u00a0", "\u3000", "ﷺ", "Ａ",
	}
	var b strings.Builder
	for range n {
		if r.IntN(8) == 0 {
			b.WriteRune(rune(r.IntN(0x110000)))
			continue
		}
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return b.String()
}

// mustBeSafe holds what a terminal may be sent: valid UTF-8 of visible characters, and no stack of marks.
func mustBeSafe(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Fatalf("%q is no UTF-8", text)
	}
	marks := 0
	for i, r := range text {
		switch {
		case unicode.Is(unicode.C, r), unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			t.Fatalf("%q holds %U at %d", text, r, i)
		case unicode.Is(unicode.Zs, r) && r != ' ':
			t.Fatalf("%q holds the space %U at %d", text, r, i)
		case unicode.In(r, unicode.Mn, unicode.Me):
			if marks++; marks > maxMarks || i == 0 {
				t.Fatalf("%q holds too many marks at %d", text, i)
			}
		default:
			marks = 0
		}
	}
}

func TestPrintableOfAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 6_000 {
		in := hostile(r, r.IntN(12))
		out := printable(in)
		mustBeSafe(t, out)
		if again := printable(out); again != out {
			t.Fatalf("%q becomes %q and then %q", in, out, again)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[31m\u202e\u0301\xff")
	f.Fuzz(func(t *testing.T, in string) {
		out := printable(in)
		mustBeSafe(t, out)
		for _, line := range wrap(out, 40, 3) {
			if columns(line) > 40 {
				t.Errorf("%q takes %d columns of 40", line, columns(line))
			}
		}
	})
}

func TestColumns(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "田中": 4, "e\u0301": 1, "Ａ": 2, "😀": 2, "…": 1, "é": 1} {
		if got := columns(text); got != want {
			t.Errorf("columns(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestCutAndPad(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abcde…"},
		{"田中田中", 8, "田中田中"},
		{"田中田中", 7, "田中田…"},
		{"田中田中", 6, "田中…"}, // half a wide character does not fit
		{"ae\u0301b", 2, "a…"},
	} {
		got := cut(c.in, c.limit)
		if got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
		if padded := pad(got, 9); columns(padded) != 9 {
			t.Errorf("pad(%q, 9) takes %d columns", got, columns(padded))
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		name, in string
		limit    int
		most     int
		want     []string
	}{
		{"fits", "one two", 10, 3, []string{"one two"}},
		{"at spaces", "one two three four", 9, 3, []string{"one two", "three", "four"}},
		{"inside of a long word", "abcdefghijklmnopqrst", 8, 3, []string{"abcdefgh", "ijklmnop", "qrst"}},
		{"no more lines", "one two three four five six seven", 20, 1, []string{"one two t… (24 more)"}},
		{"nothing", "", 10, 3, nil},
		{"only spaces", "     ", 10, 3, []string{""}},
		{"wide", "田中田中田中", 8, 3, []string{"田中田中", "田中"}},
	} {
		got := wrap(c.in, c.limit, c.most)
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: wrap(%q, %d, %d) = %q, want %q", c.name, c.in, c.limit, c.most, got, c.want)
		}
	}
	// Whatever is cut off is counted.
	got := wrap(strings.Repeat("x", 100_000), 60, 3)
	if last := got[len(got)-1]; len(got) != 3 || !strings.HasSuffix(last, " more)") || columns(last) > 60 {
		t.Errorf("wrap of a long text ends with %q", last)
	}
}
