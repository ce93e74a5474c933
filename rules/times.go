package rules

import (
	"strconv"
	"time"
)

// timePart is what a time modifier takes out of a time (Sigma specification 2.1, time modifiers).
type timePart uint8

const (
	partMinute timePart = iota
	partHour
	partDay
	partWeek
	partMonth
	partYear
)

// of is the part of t in UTC. Weeks are ISO 8601 weeks.
func (p timePart) of(t time.Time) int64 {
	t = t.UTC()
	switch p {
	case partMinute:
		return int64(t.Minute())
	case partHour:
		return int64(t.Hour())
	case partDay:
		return int64(t.Day())
	case partWeek:
		_, w := t.ISOWeek()
		return int64(w)
	case partMonth:
		return int64(t.Month())
	default:
		return int64(t.Year())
	}
}

// parseTime reads RFC 3339, the same without a zone (taken as UTC) or with a space instead of the T, and seconds or
// milliseconds since 1970 as a number: from 10^11 on they are milliseconds. A date alone is no time.
func parseTime(v *scalar) (time.Time, bool) {
	s := v.text
	if v.kind == kindNumber {
		const milliseconds = 100_000_000_000
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return time.Time{}, false
		}
		if n >= milliseconds || n <= -milliseconds {
			return time.UnixMilli(n), true
		}
		return time.Unix(n, 0), true
	}
	const shortest, longest = len("2006-01-02T15:04:05"), 64
	if v.kind != kindString || len(s) < shortest || len(s) > longest || s[4] != '-' || s[10] != 'T' && s[10] != ' ' && s[10] != 't' {
		return time.Time{}, false
	}
	var buf [longest]byte
	b := buf[:copy(buf[:], s)]
	b[10] = 'T'
	last := b[len(b)-1]
	if last == 'z' {
		b[len(b)-1] = 'Z'
	}
	zoned := last == 'Z' || last == 'z'
	for i := shortest; i < len(b); i++ {
		zoned = zoned || b[i] == '+' || b[i] == '-'
	}
	layout := "2006-01-02T15:04:05" // a fraction is read without being in the layout
	if zoned {
		layout = time.RFC3339
	}
	t, err := time.Parse(layout, string(b))
	return t, err == nil
}
