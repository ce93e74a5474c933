package rules

// modifier is one |name behind a field.
type modifier uint8

const (
	modContains modifier = iota
	modStartsWith
	modEndsWith
	modAll
	modRegex
	modIgnoreCase
	modMultiline
	modDotAll
	modCIDR
	modExists
	modCased
	modNeq
	modLess
	modLessEqual
	modGreater
	modGreaterEqual
	modBase64
	modBase64Offset
	modWide
	modUTF16LE
	modUTF16BE
	modUTF16
	modWinDash
	modExpand
	modFieldRef
	modMinute
	modHour
	modDay
	modWeek
	modMonth
	modYear
)

// modifierNames are the modifiers of Sigma 2.1, by their number.
var modifierNames = [...]string{
	"contains", "startswith", "endswith", "all", "re", "i", "m", "s", "cidr", "exists", "cased", "neq", "lt", "lte", "gt",
	"gte", "base64", "base64offset", "wide", "utf16le", "utf16be", "utf16", "windash", "expand", "fieldref", "minute",
	"hour", "day", "week", "month", "year",
}

func (m modifier) String() string { return modifierNames[m] }

func parseModifier(name string) (modifier, bool) {
	for i, n := range modifierNames {
		if n == name {
			return modifier(i), true
		}
	}
	return 0, false
}

// family groups modifiers that decide how a value is compared. An item has at most one of them.
type family uint8

const (
	familyNone   family = iota
	familyText          // contains, startswith, endswith
	familyRegex         //
	familyCIDR          //
	familyExists        //
	familyOrder         // lt, lte, gt, gte
	familyRef           //
	familyTime          //
)

func (m modifier) family() family {
	switch m {
	case modContains, modStartsWith, modEndsWith:
		return familyText
	case modRegex:
		return familyRegex
	case modCIDR:
		return familyCIDR
	case modExists:
		return familyExists
	case modLess, modLessEqual, modGreater, modGreaterEqual:
		return familyOrder
	case modFieldRef:
		return familyRef
	case modMinute, modHour, modDay, modWeek, modMonth, modYear:
		return familyTime
	default:
		return familyNone
	}
}

func (m modifier) isEncoding() bool { return m >= modBase64 && m <= modUTF16 }

func (m modifier) isFlag() bool { return m == modIgnoreCase || m == modMultiline || m == modDotAll }

// chain is a checked list of modifiers.
type chain struct {
	family family
	// by is the modifier of the family; for a reference the text modifier beside it, else modFieldRef.
	by                            modifier
	all, neq, cased, dash         bool
	expand                        bool
	ignoreCase, multiline, dotAll bool
	encodings                     []modifier
}

// checkChain tells what a list of modifiers means, or why it means nothing.
func checkChain(mods []modifier) (c chain, msg, hint string) {
	seen := map[modifier]bool{}
	for i, m := range mods {
		if seen[m] {
			return c, "expected each modifier once, got |" + m.String() + " twice", ""
		}
		seen[m] = true
		switch m {
		case modAll:
			c.all = true
		case modNeq:
			c.neq = true
		case modCased:
			c.cased = true
		case modWinDash:
			c.dash = true
		case modExpand:
			c.expand = true
		case modIgnoreCase, modMultiline, modDotAll:
			if i == 0 || mods[i-1] != modRegex && !mods[i-1].isFlag() {
				return c, "expected |" + m.String() + " right behind |re, got it elsewhere", "it is a flag of regular expressions: |re|" + m.String()
			}
			c.ignoreCase = c.ignoreCase || m == modIgnoreCase
			c.multiline = c.multiline || m == modMultiline
			c.dotAll = c.dotAll || m == modDotAll
		default:
		}
		if m.isEncoding() {
			if c.family != familyNone {
				return c, "expected |" + m.String() + " before |" + c.by.String() + ", got it behind", "a value is encoded first and searched then"
			}
			c.encodings = append(c.encodings, m)
		}
		f := m.family()
		switch {
		case f == familyNone:
		case c.family == familyNone:
			c.family, c.by = f, m
		case c.family == familyRef && f == familyText && c.by == modFieldRef:
			c.by = m
		default:
			return c, "expected one way to compare, got |" + c.by.String() + " and |" + m.String(), "write two lines for the field, or two selections"
		}
	}
	only := func(allowed ...modifier) (string, bool) {
	next:
		for _, m := range mods {
			if m.family() == c.family {
				continue
			}
			for _, a := range allowed {
				if m == a {
					continue next
				}
			}
			return "expected |" + c.by.String() + " without |" + m.String() + ", got both", false
		}
		return "", true
	}
	ok := true
	switch c.family {
	case familyRegex:
		msg, ok = only(modIgnoreCase, modMultiline, modDotAll, modAll, modNeq, modExpand)
	case familyCIDR, familyOrder:
		msg, ok = only(modAll, modNeq, modExpand)
	case familyExists:
		msg, ok = only()
	case familyTime:
		msg, ok = only(modNeq)
	case familyRef:
		msg, ok = only(modContains, modStartsWith, modEndsWith, modCased, modNeq, modAll)
	default:
	}
	if ok && c.family == familyOrder && c.expand {
		msg = "expected |" + c.by.String() + " without |expand, got both"
	}
	last := modifier(255)
	for _, m := range c.encodings {
		if last == modBase64 || last == modBase64Offset {
			return c, "expected nothing but a comparison behind |" + last.String() + ", got |" + m.String(), "|wide and |utf16… come before |base64"
		}
		last = m
	}
	return c, msg, ""
}
