package rules

import "regexp/syntax"

// requiredLiteral finds a text that occurs in whatever re matches, the longest it can see, so that most values never
// reach the regular expression. folded says that the text is case-folded and must be sought in folded text.
func requiredLiteral(re *syntax.Regexp) (text string, folded bool) {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return fold(string(re.Rune)), true
		}
		return string(re.Rune), false
	case syntax.OpCapture, syntax.OpPlus:
		return requiredLiteral(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return requiredLiteral(re.Sub[0])
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if t, f := requiredLiteral(sub); len(t) > len(text) {
				text, folded = t, f
			}
		}
	default:
	}
	return text, folded
}
