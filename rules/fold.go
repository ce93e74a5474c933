package rules

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sigma compares without case. Here that is Unicode simple case folding (as in a regular expression with the flag i):
// it depends on no neighbouring character and no locale, so that a value means the same with a wildcard and without.
// The folded form of a letter is ASCII lower case where its orbit has ASCII, else the smallest member of the orbit.

// foldRune gives the representative of r's orbit under simple case folding.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	least := r
	for n := unicode.SimpleFold(r); n != r; n = unicode.SimpleFold(n) {
		least = min(least, n)
	}
	if least < utf8.RuneSelf {
		return foldRune(least)
	}
	return least
}

// isFolded tells whether folding would change nothing, looking at ASCII only: text with other bytes says no.
func isFolded(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || ('A' <= c && c <= 'Z') {
			return false
		}
	}
	return true
}

// fold is the folded form of s.
func fold(s string) string {
	if isFolded(s) {
		return s
	}
	return string(appendFold(nil, s))
}

// appendFold appends the folded form of s. Bytes that are not UTF-8 stay as they are.
func appendFold(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, c)
		} else {
			dst = utf8.AppendRune(dst, foldRune(r))
		}
		i += size
	}
	return dst
}

// The characters that |windash exchanges for each other: hyphen, slash, en dash, em dash, horizontal bar.
const dashes = "-/\u2013\u2014\u2015"

// appendDashes appends s with each of the dashes turned into a hyphen.
func appendDashes(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c == '/' {
				c = '-'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r != utf8.RuneError && strings.ContainsRune(dashes, r) {
			dst = append(dst, '-')
		} else {
			dst = append(dst, s[i:i+size]...)
		}
		i += size
	}
	return dst
}
