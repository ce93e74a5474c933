package envelope

import (
	"fmt"
	"unicode/utf8"
)

// code is what a scan ran into.
type code uint8

const (
	ok code = iota
	wantValue
	wantKey
	wantFirstKey
	wantColon
	wantMember
	wantElement
	wantEnd
	badLiteral
	badNumber
	badEscape
	badHex
	rawControl
	notUTF8
	openString
	deep
	tooMany
)

// fault puts a code into words. at is the offset of the byte that broke the scan, len(b) at the end of the input.
func (c code) fault(b []byte, at int) Fault {
	f := Fault{Reason: Malformed, Index: -1}
	var want string
	switch c {
	case wantValue:
		want = "a value"
	case wantKey:
		want = "a key in quotes"
	case wantFirstKey:
		want = "a key in quotes or }"
	case wantColon:
		want = ": after a key"
	case wantMember:
		want = ", or } after a member"
	case wantElement:
		want = ", or ] after an element"
	case wantEnd:
		want = "the end of the record after the value"
	case badLiteral:
		want = "true, false or null"
	case badNumber:
		want = "a digit of a number"
	case badEscape:
		want = `one of "\/bfnrtu after a backslash`
	case badHex:
		want = `four hexadecimal digits after \u`
	case openString:
		want = "the closing quote of a string"
	case rawControl:
		f.Detail = fmt.Sprintf("control character %#02x inside a string at byte %d must be written as an escape", b[at], at)
		return f
	case notUTF8:
		f.Reason = InvalidUTF8
		f.Detail = fmt.Sprintf("byte %#02x at byte %d is not UTF-8", b[at], at)
		return f
	case deep:
		f.Reason = TooDeep
		f.Detail = fmt.Sprintf("nested deeper than %d levels at byte %d", MaxDepth, at)
		return f
	case tooMany:
		f.Reason = TooLarge
		f.Detail = fmt.Sprintf("more than %d elements in the lists of the record at byte %d", MaxItems, at)
		return f
	}
	f.Detail = fmt.Sprintf("expected %s at byte %d, found %s", want, at, found(b, at))
	return f
}

// found shows the character at an offset without letting anything unprintable through.
func found(b []byte, at int) string {
	if at >= len(b) {
		return "the end"
	}
	r, n := utf8.DecodeRune(b[at:])
	if r == utf8.RuneError && n <= 1 {
		return fmt.Sprintf("byte %#02x", b[at])
	}
	return fmt.Sprintf("%+q", r)
}
