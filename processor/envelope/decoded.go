package envelope

import "bytes"

// encoded reads base64 data, as Pub/Sub, Kinesis, Firehose and Lambda carry messages.
func (r *Reader) encoded(data []byte, u *unit, v Visitor) {
	text := r.unbase64(data)
	if text == nil {
		v.Fault(u.fault(Undecodable, "expected base64 in the wrapper's data, found something else"))
		return
	}
	in := *u
	in.level++
	r.values(text, in, v)
}

// values reads what came out of base64 or gzip: one value, or several one behind the other, as producers of Kinesis and
// Firehose join them. No source splits these. Of several, each is a unit of its own.
func (r *Reader) values(b []byte, u unit, v Visitor) {
	start, stop := trim(b)
	if start == stop || isGzip(b) || u.level > MaxWrappers {
		r.read(b, u, v)
		return
	}
	b = b[:stop]
	for u.place = 1; start < stop; u.place++ {
		if u.place > 1 { // they count as the elements of a list
			if r.items++; r.items > MaxItems {
				u.raw, u.index = b[start:], u.place-1
				v.Fault(u.broken(b, start, tooMany))
				return
			}
		}
		start = r.oneOf(b, start, u, v)
	}
}

// oneOf reads the value that begins at b[start] and returns where the next begins. A line of a container runtime ends
// where the line does; any other text does not end before b.
func (r *Reader) oneOf(b []byte, start int, u unit, v Visitor) (next int) {
	end, c := len(b), ok
	switch b[start] {
	case '{':
		return r.object(b, start, u, v)
	case '[':
		return r.array(b, start, u, v)
	case '"':
		end, c = scan(b, start, MaxDepth)
	default:
		if line, _, more := bytes.Cut(b[start:], []byte("\n")); more {
			if _, _, is := criLine(line); is {
				end = start + len(line)
			}
		}
	}
	if next, c = u.end(b, start, end, c); c != ok {
		v.Fault(u.broken(b, next, c))
		return len(b)
	}
	r.read(b[start:end], u, v)
	return next
}

// end takes note that the unit's value in b ends at end, or is broken there, and returns where the next begins. Of several
// values only the one itself is dead-lettered; what stands behind a broken one goes with it, since nothing says where that
// ends.
func (u *unit) end(b []byte, start, end int, c code) (next int, _ code) {
	next = skipSpace(b, end)
	switch {
	case c != ok:
		next = end
		if u.place > 1 {
			u.raw, u.index = b[start:], u.place-1
		}
	case u.place == 0 && next < len(b):
		c = wantEnd
	case u.place > 1 || next < len(b):
		u.raw, u.index = b[start:end], u.place-1
	}
	u.place = 0 // what it holds stands alone
	return next, c
}
