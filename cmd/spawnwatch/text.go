package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Texts of an event are chosen by whoever made the request: user names, agents, images, arguments. On a terminal they
// could move the cursor, recolour or hide lines, set the clipboard, or turn the reading order around. So nothing of them
// gets there raw: whatever isn't plainly visible comes out as an escape that is itself plain ASCII.

// maxMarks is how many combining marks one character may carry; more are there to smear over neighbouring lines.
const maxMarks = 2

// printable makes text safe for a terminal: control characters (C0, C1), line separators, bidirectional and other
// invisible format characters, odd spaces, private and unassigned characters come out as escapes (\x1b, \u202e), bytes
// that are no UTF-8 as \xff. Letters of scripts that run from right to left stay: they are names.
func printable(text string) string {
	at := firstHidden(text)
	if at == len(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + 16)
	b.WriteString(text[:at])
	// What was found may be one mark too many: count again from the start of its run.
	marks := marksBefore(text[:at])
	for i := at; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, text[i])
			marks = maxMarks
			i++
			continue
		}
		switch mark := isMark(r); {
		case !visible(r), mark && marks >= maxMarks:
			escapeRune(&b, r)
		case mark:
			b.WriteRune(r)
			marks++
		default:
			b.WriteRune(r)
			marks = marksOf(r)
		}
		i += size
	}
	return b.String()
}

// firstHidden is where text stops being safe as it is, its length if it is.
func firstHidden(text string) int {
	marks := maxMarks // a mark without a character before it is not taken
	for i, r := range text {
		switch {
		case r >= 0x20 && r < 0x7f:
			marks = marksOf(r)
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"), !visible(r):
			return i
		case isMark(r):
			if marks++; marks > maxMarks {
				return i
			}
		default:
			marks = 0
		}
	}
	return len(text)
}

// marksOf is what the count of marks begins with after r: a space carries none, since lines are broken there.
func marksOf(r rune) int {
	if r == ' ' {
		return maxMarks
	}
	return 0
}

// marksBefore counts the marks at the end of text; an empty text counts as full.
func marksBefore(text string) int {
	n := 0
	for text != "" {
		r, size := utf8.DecodeLastRuneInString(text)
		if !isMark(r) {
			return n + marksOf(r)
		}
		n++
		text = text[:len(text)-size]
	}
	return maxMarks
}

func isMark(r rune) bool { return unicode.In(r, unicode.Mn, unicode.Me) }

// visible reports whether r may reach a terminal: letters, marks, numbers, punctuation, symbols and the plain space, as
// far as they can be seen.
func visible(r rune) bool {
	if !unicode.IsPrint(r) {
		return false // Cc, Cf, Co, Cs, Cn, Zl, Zp, and Zs other than U+0020
	}
	return !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) && r != '\u2800'
}

func escapeRune(b *strings.Builder, r rune) {
	switch {
	case r < 0x80:
		fmt.Fprintf(b, `\x%02x`, r)
	case r <= 0xffff:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}

// runeColumns is how many columns of a terminal a visible character takes (UAX #11; ambiguous ones count as narrow).
func runeColumns(r rune) int {
	if r < 0x7f {
		return 1
	}
	if isMark(r) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

// columns is how many columns of a terminal text takes that has passed [printable].
func columns(text string) (n int) {
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

// cut shortens text to at most limit columns; what was cut shows as "…".
func cut(text string, limit int) string {
	if columns(text) <= limit {
		return text
	}
	head, _ := splitAt(text, limit-1)
	return head + "…"
}

// splitAt is the longest head of text that takes at most limit columns, and the rest. Marks stay with their character.
func splitAt(text string, limit int) (head, rest string) {
	n := 0
	for i, r := range text {
		if n += runeColumns(r); n > limit {
			return text[:i], text[i:]
		}
	}
	return text, ""
}

// pad fills text up to at least limit columns.
func pad(text string, limit int) string {
	return text + strings.Repeat(" ", max(limit-columns(text), 0))
}

// wrap breaks text into at most most lines of at most limit columns, at spaces where that is possible. What does not fit
// is counted at the end of the last line.
func wrap(text string, limit, most int) []string {
	limit = max(limit, 8)
	var lines []string
	for text != "" && len(lines) < most {
		head, rest := splitAt(text, limit)
		if rest != "" && rest[0] != ' ' {
			// A word moves to the next line if it fits there, or if that leaves little empty.
			at := strings.LastIndexByte(head, ' ')
			word, _, _ := strings.Cut(text[at+1:], " ")
			if at > len(head)/2 || at > 0 && len(word) <= limit {
				head, rest = head[:at], text[at:]
			}
		}
		if head == "" {
			break
		}
		lines = append(lines, strings.TrimRight(head, " "))
		text = strings.TrimLeft(rest, " ")
	}
	if text != "" && len(lines) > 0 {
		last := &lines[len(lines)-1]
		*last = shorten(*last+" "+text, limit)
	}
	return lines
}

// shorten cuts text to limit columns and says how many characters are missing: an attacker may have hidden something
// behind a long beginning.
func shorten(text string, limit int) string {
	if columns(text) <= limit {
		return text
	}
	total := utf8.RuneCountInString(text)
	note := fmt.Sprintf("… (%s more)", grouped(uint64(total)))
	head, _ := splitAt(text, max(limit-columns(note), 0))
	missing := total - utf8.RuneCountInString(head)
	return head + fmt.Sprintf("… (%s more)", grouped(uint64(missing)))
}
