package enrich

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxCommand is the longest command line that is made, in bytes: 32 KiB, a quarter of what Linux takes as one argument.
// No command is better than half of one.
const maxCommand = 32 << 10

// quote makes text one word of a POSIX shell (POSIX.1-2024, 2.2): nothing in it is interpreted, whatever it holds.
// Control and invisible characters, which a terminal may act upon while the command is pasted, are dropped: no name that
// the API server accepts holds one.
func quote(text string) string {
	if text != "" && plainWord(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + 8)
	b.WriteByte('\'')
	for len(text) > 0 {
		// Most of a command is plain.
		n := 0
		for n < len(text) && text[n] >= 0x20 && text[n] < 0x7f && text[n] != '\'' {
			n++
		}
		b.WriteString(text[:n])
		if text = text[n:]; text == "" {
			break
		}
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		switch {
		case r == '\'':
			b.WriteString(`'\''`)
		case r == utf8.RuneError || invisible(r):
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// plainWord tells text that means itself unquoted. A leading dash or tilde, an equals sign that may assign, or anything
// beyond the listed characters is quoted; a flag with a plain value is not.
func plainWord(text string) bool {
	if text[0] == '~' {
		return false
	}
	flag := strings.HasPrefix(text, "--")
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-' || c == '_' || c == '.' || c == '/' || c == ':' || c == '@' || c == ',' || c == '+':
		case c == '=' && flag:
		default:
			return false
		}
	}
	return true
}

// invisible tells characters that are not seen, that end a line, or that change the direction of text (Unicode UAX #9): a
// command must read as it runs.
func invisible(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0, r == 0xad, r == 0x61c, r == 0xfeff:
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}

// command joins words into a command line, each quoted as needed; "" for one that would be too long.
func command(words ...string) string {
	var b strings.Builder
	size := 0
	for _, w := range words {
		size += len(w) + 3
	}
	if size > maxCommand {
		return ""
	}
	b.Grow(size)
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(quote(w))
	}
	if b.Len() > maxCommand {
		return ""
	}
	return b.String()
}

// pipe joins commands; "" where one of them could not be made.
func pipe(commands ...string) string {
	for _, c := range commands {
		if c == "" {
			return ""
		}
	}
	return strings.Join(commands, " | ")
}

// line is value as JSON on one line, with every character that [quote] would drop escaped: what is read back is the same.
func line(value any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return "", err
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if plainASCII(text) {
		return text, nil
	}
	var safe strings.Builder
	for _, r := range text {
		switch {
		case r > 0xffff && invisible(r):
			fmt.Fprintf(&safe, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		case r == utf8.RuneError || invisible(r):
			fmt.Fprintf(&safe, `\u%04x`, r)
		default:
			safe.WriteRune(r)
		}
	}
	return safe.String(), nil
}

func plainASCII(text string) bool {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] >= 0x7f {
			return false
		}
	}
	return true
}
