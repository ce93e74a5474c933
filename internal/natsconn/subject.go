package natsconn

import (
	"errors"
	"fmt"
	"strings"
)

// MaxSubject is the longest subject in bytes. The server's limit is that of a protocol line, 4 KiB by default, in
// which a reply subject and numbers stand as well.
const MaxSubject = 2048

// CheckSubject says what is wrong with a subject that may have wildcards.
func CheckSubject(subject string) error {
	switch {
	case subject == "":
		return errors.New("expected a subject such as k8s.audit, got none")
	case len(subject) > MaxSubject:
		return fmt.Errorf("expected a subject of at most %d bytes, got %d", MaxSubject, len(subject))
	case strings.HasPrefix(subject, "$"):
		return fmt.Errorf("expected a subject of your own, got %q: those that begin with $ belong to the server", subject)
	}
	rest, more := subject, true
	for n := 1; more; n++ {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		switch {
		case token == "":
			return fmt.Errorf("expected words with single dots between them, got %q where word %d is empty", subject, n)
		case token == ">" && more:
			return fmt.Errorf("expected the wildcard > at the end only, got %q", subject)
		case len(token) > 1 && strings.ContainsAny(token, "*>"):
			return fmt.Errorf("expected a wildcard to stand for a whole word, got %q in %q", token, subject)
		case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f }):
			return fmt.Errorf("expected a subject without spaces and control characters, got %q", subject)
		}
	}
	return nil
}

// CheckName says what is wrong with the name of a stream, consumer or queue group.
func CheckName(name string) error {
	if strings.ContainsAny(name, ".*>/\\") || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf(`expected a name without spaces and . * > / \, got %q`, name)
	}
	if len(name) > 255 { // names of files at the server
		return fmt.Errorf("expected a name of at most 255 bytes, got %d", len(name))
	}
	return nil
}

// Covers reports whether pattern takes every subject that subject, itself with wildcards perhaps, stands for.
func Covers(pattern, subject string) bool {
	for {
		p, pRest, pMore := strings.Cut(pattern, ".")
		s, sRest, sMore := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return true
		case s == ">":
			return false
		case p != "*" && (p != s || s == "*"):
			return false
		case pMore != sMore:
			return false
		case !pMore:
			return true
		}
		pattern, subject = pRest, sRest
	}
}

// Overlaps reports whether some subject is taken by both.
func Overlaps(a, b string) bool {
	for {
		x, xRest, xMore := strings.Cut(a, ".")
		y, yRest, yMore := strings.Cut(b, ".")
		switch {
		case x == ">" || y == ">":
			return true
		case x != y && x != "*" && y != "*":
			return false
		case xMore != yMore:
			return false
		case !xMore:
			return true
		}
		a, b = xRest, yRest
	}
}
