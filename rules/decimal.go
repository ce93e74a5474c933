package rules

import (
	"cmp"
	"strconv"
)

// decimal is a number as its digits, so that integers of any size and fractions compare exactly: a float64 holds
// neighbours beyond 2^53 to be equal. It refers to the text it was read from and allocates nothing.
type decimal struct {
	neg bool
	// digits holds the significant digits; it may hold one '.', at dot (else dot is -1).
	digits string
	dot    int
	// point is how many digits (without the dot) stand before the decimal point; 0.5 has 0, 0.05 has -1.
	point int
}

// parseDecimal reads [+-]digits[.digits][e[+-]digits]. Anything else is no number: no hex, no infinities, no spaces.
func parseDecimal(s string) (decimal, bool) {
	i := 0
	var d decimal
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		d.neg = s[i] == '-'
		i++
	}
	start, dot, count := i, -1, 0
	for ; i < len(s); i++ {
		if s[i] == '.' && dot < 0 {
			dot = i
		} else if s[i] >= '0' && s[i] <= '9' {
			count++
		} else {
			break
		}
	}
	if count == 0 || dot == start || dot == i-1 {
		return decimal{}, false
	}
	end, exp := i, 0
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		var err error
		const longest = 9 // digits of an exponent: more cannot be a measured value
		if text := s[i+1:]; text == "" || len(text) > longest {
			return decimal{}, false
		} else if exp, err = strconv.Atoi(text); err != nil {
			return decimal{}, false
		}
		i = len(s)
	}
	if i != len(s) {
		return decimal{}, false
	}
	whole := end - start
	if dot >= 0 {
		whole = dot - start
	}
	// Strip leading and trailing zeros, the dot among them.
	first, last := start, end
	for first < last && (s[first] == '0' || s[first] == '.') {
		first++
	}
	for last > first && (s[last-1] == '0' || s[last-1] == '.') {
		last--
	}
	if first == last {
		return decimal{dot: -1}, true
	}
	lead := first - start
	if dot >= 0 && first > dot {
		lead-- // the dot is no digit
	}
	d.digits, d.dot, d.point = s[first:last], -1, whole-lead+exp
	if dot > first && dot < last {
		d.dot = dot - first
	}
	return d, true
}

func (d decimal) size() int {
	if d.dot >= 0 {
		return len(d.digits) - 1
	}
	return len(d.digits)
}

func (d decimal) digit(i int) byte {
	if d.dot >= 0 && i >= d.dot {
		i++
	}
	return d.digits[i]
}

// compare is -1, 0 or 1, exactly.
func (d decimal) compare(o decimal) int {
	if d.digits == "" || o.digits == "" || d.neg != o.neg {
		return cmp.Compare(d.sign(), o.sign())
	}
	c := cmp.Compare(d.point, o.point)
	for i := 0; c == 0 && i < max(d.size(), o.size()); i++ {
		a, b := byte('0'), byte('0')
		if i < d.size() {
			a = d.digit(i)
		}
		if i < o.size() {
			b = o.digit(i)
		}
		c = cmp.Compare(a, b)
	}
	if d.neg {
		return -c
	}
	return c
}

func (d decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.neg:
		return -1
	}
	return 1
}

// appendNumberText appends the text a JSON number is compared by: an integer as written, anything else in its shortest
// decimal form without an exponent (200.0 and 2e2 are 200). A number outside float64 keeps the text as written.
func appendNumberText(dst []byte, raw string) []byte {
	integer := true
	for i := range len(raw) {
		if c := raw[i]; c == '.' || c == 'e' || c == 'E' {
			integer = false
			break
		}
	}
	if integer {
		return append(dst, raw...)
	}
	f, err := strconv.ParseFloat(raw, 64)
	if err != nil {
		return append(dst, raw...)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}
