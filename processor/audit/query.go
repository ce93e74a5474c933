package audit

import "strings"

// maxParameters is how many parameters Go's URL parser accepts in one query unless told otherwise (net/url, 10,000). A
// server that meets more sees none of them, so a dryRun among them has no effect.
const maxParameters = 10000

// isDryRun reports whether a raw requestURI asks for a dry run, read as the API server reads it, by
// net/url.ParseQuery: parameters are split at &, one that holds a semicolon or a malformed percent escape is dropped
// alone, keys are percent-decoded, and the key is compared by case. The value doesn't matter: everything but All is
// answered with an error.
//
// In the log & is written \u0026, and any other character may be an escape as well, so two codings are undone at once,
// character by character, without memory.
func isDryRun(rawURI string) bool {
	s := inner(rawURI)
	if !mayAskForDryRun(s) {
		return false
	}
	i := 0
	for r := rune(0); r != '?'; {
		if i >= len(s) {
			return false
		}
		r, i = unit(s, i)
	}
	found, parameters := false, 0
	for i <= len(s) {
		var yes bool
		if yes, i = parameter(s, i); yes {
			found = true
		}
		if parameters++; parameters > maxParameters {
			return false
		}
	}
	return found
}

// mayAskForDryRun is quick where it can be: without percent signs, and without escapes other than that of &, a dryRun
// would stand there as it is.
func mayAskForDryRun(s string) bool {
	if strings.Contains(s, "dryRun") || strings.IndexByte(s, '%') >= 0 {
		return true
	}
	return strings.IndexByte(s, '\\') >= 0 && strings.Count(s, `\`) != strings.Count(s, `\u0026`)
}

// parameter reads one parameter that begins at s[i] and reports whether it is a dryRun. next is behind the & that ends
// it, or greater than len(s) at the end.
func parameter(s string, i int) (yes bool, next int) {
	const key = "dryRun"
	matched := 0 // characters of key that fit so far, -1: another key
	inKey, broken := true, false
	for i < len(s) {
		var r rune
		r, i = unit(s, i)
		switch r {
		case '&':
			return !broken && matched == len(key), i
		case ';':
			broken = true
			continue
		case '=':
			if inKey {
				inKey = false
				continue
			}
		case '%':
			var ok bool
			if r, i, ok = percent(s, i); !ok {
				broken = true
				continue
			}
		case '+':
			r = ' '
		}
		if !inKey || matched < 0 {
			continue
		}
		if matched < len(key) && r == rune(key[matched]) {
			matched++
		} else {
			matched = -1
		}
	}
	return !broken && matched == len(key), len(s) + 1
}

// percent reads the two digits behind a percent sign.
func percent(s string, i int) (r rune, next int, ok bool) {
	next = i
	for range 2 {
		if next >= len(s) {
			return 0, i, false
		}
		c, after := unit(s, next)
		d, isHex := hexDigit(c)
		if !isHex {
			return 0, i, false
		}
		r, next = r<<4|d, after
	}
	return r, next, true
}
