package rules

import (
	"strings"
	"unicode/utf8"
)

// piece is a run of literal text, or a wildcard.
type piece struct {
	text string
	// wild is 0 for text, '*' or '?'.
	wild byte
}

// pieces is a Sigma string after its escapes were read.
type pieces []piece

// parsePieces reads wildcards and escapes (Sigma specification 2.1, String Wildcard): * and ? are wildcards; a
// backslash before *, ? or a backslash takes that character as it is; before anything else it is a plain backslash.
func parsePieces(s string) pieces {
	var p pieces
	var text []byte
	flush := func() {
		if len(text) > 0 {
			p = append(p, piece{text: string(text)})
			text = text[:0]
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && (s[i+1] == '*' || s[i+1] == '?' || s[i+1] == '\\'):
			i++
			text = append(text, s[i])
		case c == '*' || c == '?':
			flush()
			if c == '*' && len(p) > 0 && p[len(p)-1].wild == '*' {
				continue // ** is *
			}
			p = append(p, piece{wild: c})
		default:
			text = append(text, c)
		}
	}
	flush()
	return p
}

// literal is the text of p if it has no wildcard.
func (p pieces) literal() (string, bool) {
	switch {
	case len(p) == 0:
		return "", true
	case len(p) == 1 && p[0].wild == 0:
		return p[0].text, true
	}
	return "", false
}

// mapText is p with f applied to its text, wildcards kept.
func (p pieces) mapText(f func(string) string) pieces {
	out := make(pieces, len(p))
	for i, x := range p {
		if x.wild == 0 {
			x.text = f(x.text)
		}
		out[i] = x
	}
	return out
}

func (p pieces) startsWithStar() bool { return len(p) > 0 && p[0].wild == '*' }
func (p pieces) endsWithStar() bool   { return len(p) > 0 && p[len(p)-1].wild == '*' }

// match tells whether p covers the whole of s. * is any text, line breaks too; ? is one code point (or one byte that
// is not UTF-8). It takes at most len(p) × len(s) steps and no memory.
func (p pieces) match(s string) bool {
	i, j := 0, 0 // piece, byte
	star, mark := -1, 0
	for {
		switch {
		case i < len(p) && p[i].wild == '*':
			star, mark = i, j
			i++
			if i == len(p) {
				return true
			}
			// Jump to where the text behind the star can begin.
			if p[i].wild == 0 {
				at := strings.Index(s[j:], p[i].text)
				if at < 0 {
					return false
				}
				j, mark = j+at, j+at
			}
			continue
		case i < len(p) && p[i].wild == '?' && j < len(s):
			_, size := utf8.DecodeRuneInString(s[j:])
			i, j = i+1, j+size
			continue
		case i < len(p) && p[i].wild == 0 && strings.HasPrefix(s[j:], p[i].text):
			j += len(p[i].text)
			i++
			continue
		case i == len(p) && j == len(s):
			return true
		}
		if star < 0 || mark >= len(s) {
			return false
		}
		// What followed the star does not fit here: let the star take one character more.
		_, size := utf8.DecodeRuneInString(s[mark:])
		mark += size
		i, j = star+1, mark
		if p[i].wild == 0 {
			at := strings.Index(s[j:], p[i].text)
			if at < 0 {
				return false
			}
			j, mark = j+at, j+at
		}
	}
}
