package rules

import (
	"fmt"
	"strings"
)

// Limits of a condition.
const (
	// maxConditionDepth is how deep parentheses and nots may nest.
	maxConditionDepth = 100
	// maxConditionTokens bounds one condition.
	maxConditionTokens = 10_000
)

type conditionOp uint8

const (
	conditionName    conditionOp = iota // one selection
	conditionAnd                        //
	conditionOr                         //
	conditionNot                        //
	conditionOneOf                      // 1 of pattern
	conditionAllOf                      // all of pattern
	conditionNothing                    // a pattern that fits no selection: never true
)

// condition is the tree of a condition.
type condition struct {
	op   conditionOp
	kids []*condition
	// name is that of the selection, or the pattern after "of".
	name string
	// found holds the indices of the selections meant.
	found []int
}

type conditionParser struct {
	tokens     []string
	at         int
	depth      int
	selections []*selection
	// nothing collects patterns that fit no selection.
	nothing []string
}

// parseCondition reads a condition. Precedence, weakest first: or, and, not, "x of".
func parseCondition(text string, selections []*selection) (c *condition, nothing []string, err error) {
	p := &conditionParser{tokens: conditionTokens(text), selections: selections}
	if len(p.tokens) == 0 {
		return nil, nil, fmt.Errorf("expected a condition, got an empty text")
	}
	if len(p.tokens) > maxConditionTokens {
		return nil, nil, fmt.Errorf("expected at most %d words in a condition, got %d", maxConditionTokens, len(p.tokens))
	}
	c, err = p.or()
	if err == nil && p.at < len(p.tokens) {
		if t := p.tokens[p.at]; t == "|" {
			err = fmt.Errorf("expected the end of the condition, got %q: aggregations were removed from Sigma; use a correlation document", t)
		} else {
			err = fmt.Errorf("expected and, or, or the end of the condition, got %q", t)
		}
	}
	return c, p.nothing, err
}

func conditionTokens(s string) []string {
	var tokens []string
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case ' ', '\t', '\n', '\r':
			i++
		case '(', ')', '|':
			tokens = append(tokens, s[i:i+1])
			i++
		default:
			end := i
			for end < len(s) && !strings.ContainsRune(" \t\n\r()|", rune(s[end])) {
				end++
			}
			tokens = append(tokens, s[i:end])
			i = end
		}
	}
	return tokens
}

// isWord tells keywords apart from names; they may be written in any case.
func isWord(token, word string) bool { return strings.EqualFold(token, word) }

func (p *conditionParser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

func (p *conditionParser) or() (*condition, error) {
	return p.chain(conditionOr, "or", (*conditionParser).and)
}

func (p *conditionParser) and() (*condition, error) {
	return p.chain(conditionAnd, "and", (*conditionParser).not)
}

func (p *conditionParser) chain(op conditionOp, word string, next func(*conditionParser) (*condition, error)) (*condition, error) {
	first, err := next(p)
	if err != nil || !isWord(p.peek(), word) {
		return first, err
	}
	c := &condition{op: op, kids: []*condition{first}}
	for isWord(p.peek(), word) {
		p.at++
		kid, err := next(p)
		if err != nil {
			return nil, err
		}
		c.kids = append(c.kids, kid)
	}
	return c, nil
}

func (p *conditionParser) not() (*condition, error) {
	if p.depth++; p.depth > maxConditionDepth {
		return nil, fmt.Errorf("expected at most %d levels in a condition, got more", maxConditionDepth)
	}
	defer func() { p.depth-- }()
	if isWord(p.peek(), "not") {
		p.at++
		kid, err := p.not()
		if err != nil {
			return nil, err
		}
		return &condition{op: conditionNot, kids: []*condition{kid}}, nil
	}
	return p.operand()
}

func (p *conditionParser) operand() (*condition, error) {
	t := p.peek()
	switch {
	case t == "":
		return nil, fmt.Errorf("expected the name of a selection, got the end of the condition")
	case t == "(":
		p.at++
		c, err := p.or()
		if err != nil {
			return nil, err
		}
		if p.peek() != ")" {
			return nil, fmt.Errorf("expected ), got %s", orEnd(p.peek()))
		}
		p.at++
		return c, nil
	case t == ")" || t == "|" || isWord(t, "and") || isWord(t, "or") || isWord(t, "of"):
		return nil, fmt.Errorf("expected the name of a selection, got %q", t)
	case p.at+1 < len(p.tokens) && isWord(p.tokens[p.at+1], "of"):
		return p.quantified(t)
	}
	p.at++
	for i, s := range p.selections {
		if s.name == t {
			return &condition{op: conditionName, name: t, found: []int{i}}, nil
		}
	}
	return nil, fmt.Errorf("expected the name of a selection, got %q; %s", t, didYouMean(t, p.names()))
}

func (p *conditionParser) quantified(quantifier string) (*condition, error) {
	c := &condition{}
	switch {
	case quantifier == "1" || isWord(quantifier, "any"):
		c.op = conditionOneOf
	case isWord(quantifier, "all"):
		c.op = conditionAllOf
	default:
		return nil, fmt.Errorf("expected 1 or all before of, got %q", quantifier)
	}
	p.at += 2
	pattern := p.peek()
	if pattern == "" || pattern == "(" || pattern == ")" || pattern == "|" {
		return nil, fmt.Errorf("expected them or a pattern after of, got %s", orEnd(pattern))
	}
	p.at++
	c.name = pattern
	// "them" is every selection but those that begin with _, and a pattern is restricted further ("same as them, but
	// restricted"), unless it begins with _ itself.
	hidden := strings.HasPrefix(pattern, "_")
	if isWord(pattern, "them") {
		pattern = "*"
	}
	glob := parseSelectionPattern(pattern)
	for i, s := range p.selections {
		if (hidden || !strings.HasPrefix(s.name, "_")) && glob.match(s.name) {
			c.found = append(c.found, i)
		}
	}
	if len(c.found) == 0 {
		p.nothing = append(p.nothing, c.name)
		c.op = conditionNothing
	}
	return c, nil
}

// parseSelectionPattern knows * alone: names hold no other wildcard and no escapes.
func parseSelectionPattern(s string) pieces {
	var p pieces
	for i, text := range strings.Split(s, "*") {
		if i > 0 && !p.endsWithStar() {
			p = append(p, piece{wild: '*'})
		}
		if text != "" {
			p = append(p, piece{text: text})
		}
	}
	return p
}

func (p *conditionParser) names() []string {
	names := make([]string, len(p.selections))
	for i, s := range p.selections {
		names[i] = s.name
	}
	return names
}

func orEnd(token string) string {
	if token == "" {
		return "the end of the condition"
	}
	return fmt.Sprintf("%q", token)
}
