package rules

import (
	"net/netip"
	"regexp"
)

// op is what a test does with a value of the event.
type op uint8

const (
	opNever        op = iota
	opEqual           // the whole text
	opNumber          // the same number
	opContains        // text within
	opPrefix          //
	opSuffix          //
	opGlob            // wildcards
	opRegex           //
	opCIDR            //
	opLess            //
	opLessEqual       //
	opGreater         //
	opGreaterEqual    //
	opTime            // a part of a time
	opNull            // absent or null
	opPresent         // exists: true
	opAbsent          // exists: false
	opRefEqual        // the value of another field
	opRefContains     //
	opRefPrefix       //
	opRefSuffix       //
)

func (o op) isReference() bool { return o >= opRefEqual }

// onField tells operators that look at the field as a whole instead of at each of its values.
func (o op) onField() bool { return o == opNull || o == opPresent || o == opAbsent || o.isReference() }

// test compares one value. It is immutable.
type test struct {
	op    op
	cased bool
	dash  bool
	part  timePart
	n     int64
	// text is folded unless cased, and has its dashes mapped if dash; for references it is the other field.
	text string
	// shown is how the rule spelled it.
	shown  string
	number decimal
	glob   pieces
	regex  *regexp.Regexp
	// literal must occur in whatever regex matches (folded if literalFold); empty: nothing known.
	literal     string
	literalFold bool
	network     netip.Prefix
}

// matches compares one scalar. v may be asked for its folded text, which it remembers in sc.
func (t *test) matches(v *scalar, sc *scratch) bool {
	switch t.op {
	case opEqual:
		return v.textual() && t.subject(v, sc) == t.text
	case opContains:
		return v.textual() && contains(t.subject(v, sc), t.text)
	case opPrefix:
		return v.textual() && hasPrefix(t.subject(v, sc), t.text)
	case opSuffix:
		return v.textual() && hasSuffix(t.subject(v, sc), t.text)
	case opGlob:
		return v.textual() && t.glob.match(t.subject(v, sc))
	case opNumber:
		d, ok := v.decimal()
		return ok && d.compare(t.number) == 0
	case opLess, opLessEqual, opGreater, opGreaterEqual:
		d, ok := v.decimal()
		if !ok {
			return false
		}
		c := d.compare(t.number)
		switch t.op {
		case opLess:
			return c < 0
		case opLessEqual:
			return c <= 0
		case opGreater:
			return c > 0
		default:
			return c >= 0
		}
	case opRegex:
		if !v.textual() {
			return false
		}
		if t.literal != "" {
			if t.literalFold {
				if !contains(v.foldedText(sc), t.literal) {
					return false
				}
			} else if !contains(v.text, t.literal) {
				return false
			}
		}
		return t.regex.MatchString(v.text)
	case opCIDR:
		if v.kind != kindString {
			return false
		}
		// A zone, a port or leading zeros make it no address. ParseAddr refuses the last two; ::ffff:a.b.c.d stays an
		// IPv6 address and lies in no IPv4 network.
		if len(v.text) > maxAddress {
			return false
		}
		a, err := netip.ParseAddr(v.text)
		return err == nil && a.Zone() == "" && t.network.Contains(a)
	case opTime:
		return v.timePart(t.part) == t.n
	default:
		return false
	}
}

// maxAddress is the longest text of an IPv6 address.
const maxAddress = 45

// subject is the text of v in the form that t compares.
func (t *test) subject(v *scalar, sc *scratch) string {
	s := v.text
	if !t.cased {
		s = v.foldedText(sc)
	}
	if t.dash {
		s = sc.mapped(s, appendDashes)
	}
	return s
}
