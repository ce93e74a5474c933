package nats

import (
	"strings"
	"time"
)

// delivery is what the reply subject of a JetStream message says about it.
type delivery struct {
	// sequence is the place of the message in its stream.
	sequence int64
	// count is how often it was delivered, this time included.
	count int64
	// stored is when the stream took it.
	stored time.Time
}

// parseDelivery reads a reply subject in either of its forms (NATS ADR-15):
//
//	$JS.ACK.<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<time>.<pending>
//	$JS.ACK.<domain>.<account hash>.<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<time>.<pending>[.<more>…]
//
// ok is false for anything else.
func parseDelivery(reply string) (d delivery, ok bool) {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	if !ok {
		return d, false
	}
	skip := 2 // stream, consumer
	switch n := strings.Count(rest, ".") + 1; {
	case n == 7:
	case n >= 9:
		skip = 4
	default:
		return d, false
	}
	for range skip {
		_, rest, _ = strings.Cut(rest, ".")
	}
	var nanos int64
	for _, field := range []*int64{&d.count, &d.sequence, nil, &nanos} {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		n, valid := parseDigits(token)
		if !valid {
			return delivery{}, false
		}
		if field != nil {
			*field = n
		}
	}
	d.stored = time.Unix(0, nanos)
	return d, true
}

// parseDigits reads a decimal number of at most 18 digits, or 19 that fit.
func parseDigits(s string) (n int64, ok bool) {
	if s == "" || len(s) > 19 {
		return 0, false
	}
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int64(d)
		if n < 0 {
			return 0, false
		}
	}
	return n, true
}
