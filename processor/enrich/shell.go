package enrich

import "strings"

// quote makes text one word of a POSIX shell (POSIX.1-2024, 2.2): nothing in it is interpreted, whatever it holds.
// Control characters, which a terminal may act upon while the command is pasted, are dropped: no name that the API server
// accepts holds one.
func quote(text string) string {
	if text != "" && plainWord(text) {
		return text
	}
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range text {
		switch {
		case r == '\'':
			b.WriteString(`'\''`)
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || isBidi(r) || r == '\ufffd':
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// plainWord tells text that means itself unquoted. A first word never comes through here, so an equals sign assigns
// nothing; a leading dash means the same quoted and unquoted, and is kept from operands by [named].
func plainWord(text string) bool {
	if text[0] == '=' { // zsh looks such a word up as a command
		return false
	}
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-' || c == '_' || c == '.' || c == '/' || c == ':' || c == '@' || c == ',' || c == '+' || c == '=':
		default:
			return false
		}
	}
	return true
}

// isBidi tells the characters that change the direction of text (Unicode UAX #9): a command must read as it runs.
func isBidi(r rune) bool {
	return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' || r == '\u200e' || r == '\u200f' || r == '\u061c'
}

// command joins words into a command line, each quoted as needed.
func command(words ...string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(quote(w))
	}
	return b.String()
}

// named is a name as an operand: one that begins with a dash could be taken for a flag, so kubectl's TYPE/NAME form is
// used, in which it cannot.
func named(kind, name string) string { return strings.ToLower(kind) + "/" + name }
