package envelope

import (
	"bytes"
	"fmt"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Reader takes messages out of their wrappers. It owns scratch buffers, so it is not safe for concurrent use: one per
// worker. The zero Reader is ready to use.
type Reader struct {
	scratch  scratch
	spans    [][]byte  // elements of the lists being read, outermost first
	lines    []logLine // log events of the subscriptions being read, outermost first
	inflated int       // bytes inflated for the present record
	items    int       // elements of all lists of it so far
	zr       *gzip.Reader
	zsrc     bytes.Reader
	clusters map[string]string
}

// unit is one stretch of bytes on its way inwards, with what the wrappers around it said.
type unit struct {
	raw     []byte // what to dead-letter
	index   int
	level   int // wrappers around it
	cluster string
	time    time.Time
	wrapper Wrapper
	place   int // among values that stand one behind the other, from 1; 0: it is the only one
}

// bareHead begins every line that an API server writes. What begins so needs no walk to be told for an audit event.
const bareHead = `{"kind":"Event","apiVersion":"audit.k8s.io/`

// IsBare reports whether a record is, by its beginning and end, an audit event as the API server writes it, without any
// wrapper.
func IsBare(record []byte) bool {
	return len(record) > len(bareHead) && string(record[:len(bareHead)]) == bareHead && record[len(record)-1] == '}'
}

// Read calls v for everything that record holds, in its order. An empty record, or one of white space, is nothing.
// It never changes the record.
func (r *Reader) Read(record []byte, v Visitor) {
	if IsBare(record) {
		v.Event(Item{Event: record, Raw: record, Index: -1})
		return
	}
	r.scratch.reset()
	r.inflated, r.items = 0, 0
	r.read(record, unit{raw: record, index: -1}, v)
}

// read recognises what b holds by its first byte.
func (r *Reader) read(b []byte, u unit, v Visitor) {
	if u.level > MaxWrappers {
		v.Fault(u.fault(TooDeep, fmt.Sprintf("wrapped in more than %d wrappers", MaxWrappers)))
		return
	}
	if isGzip(b) {
		r.gunzip(b, u, v)
		return
	}
	start, end := trim(b)
	if start == end {
		if u.level > 0 {
			v.Fault(u.fault(Foreign, "expected an audit event inside the wrapper, found nothing"))
		}
		return
	}
	switch b[start] {
	case '{':
		// The frame comes first: it finds most of what was cut without a walk.
		if b[end-1] != '}' {
			v.Fault(u.fault(Malformed, fmt.Sprintf("expected } at the end of the object that begins at byte %d, found %s at byte %d: cut, or followed by something else",
				start, found(b, end-1), end-1)))
			return
		}
		r.object(b[:end], start, u, v)
	case '[':
		r.array(b[:end], start, u, v)
	case '"':
		text, n, c := r.scratch.unescape(b[:end], start+1)
		if c == ok && n != end {
			n, c = skipSpace(b, n), wantEnd
		}
		if c != ok {
			v.Fault(u.broken(b[:end], n, c))
			return
		}
		u.level++
		r.read(text, u, v)
	default:
		r.plainText(b[start:end], u, v)
	}
}

// trim returns the bounds of b without white space around and without a byte order mark in front.
func trim(b []byte) (start, end int) {
	if len(b) >= 3 && b[0] == 0xEF && b[1] == 0xBB && b[2] == 0xBF {
		start = 3
	}
	start = skipSpace(b, start)
	end = len(b)
	for end > start && (b[end-1] == ' ' || b[end-1] == '\n' || b[end-1] == '\r' || b[end-1] == '\t') {
		end--
	}
	return start, end
}

// plainText reads what begins like neither an object, an array nor a string: a line as a container runtime writes it
// (CRI: time, stream, F or P, text), or nothing of ours.
func (r *Reader) plainText(b []byte, u unit, v Visitor) {
	if text, whole, is := criLine(b); is {
		if !whole {
			v.Fault(u.fault(Partial, "a piece of a line that the container runtime split: the shipper must join the pieces (multiline.parser cri)"))
			return
		}
		u.level++
		u.wrapper = Shipper
		r.read(text, u, v)
		return
	}
	if end, c := scan(b, 0, MaxDepth); c == ok && end == len(b) {
		v.Fault(u.fault(Foreign, "expected an audit event, found a bare JSON value"))
		return
	}
	v.Fault(u.fault(Malformed, fmt.Sprintf("expected { or [ at byte 0, found %s", found(b, 0))))
}

// criLine splits a line of the CRI log format, "2026-11-23T01:02:09.000000000Z stdout F text".
func criLine(b []byte) (text []byte, whole, is bool) {
	if len(b) < 20 || b[4] != '-' || b[7] != '-' || b[10] != 'T' {
		return nil, false, false
	}
	stamp, rest, found := bytes.Cut(b[:min(len(b), 64)], []byte(" "))
	if !found {
		return nil, false, false
	}
	stream, _, found := bytes.Cut(rest, []byte(" "))
	if !found || string(stream) != "stdout" && string(stream) != "stderr" {
		return nil, false, false
	}
	rest = b[len(stamp)+1+len(stream)+1:]
	switch {
	case len(rest) >= 2 && rest[0] == 'F' && rest[1] == ' ':
		return rest[2:], true, true
	case len(rest) >= 1 && rest[0] == 'P':
		return nil, false, true
	}
	return nil, false, false
}

// array reads the JSON array that begins at b[start], of anything that read understands, such as the batches of a shipper,
// and returns where the next value begins, as object does. Broken anywhere, it is no list: nothing of it is handed out.
func (r *Reader) array(b []byte, start int, u unit, v Visitor) (next int) {
	var list elements
	list.open(b, start, MaxDepth)
	from := len(r.spans)
	events := false // whether any element may be one
	for e := list.next(); e != nil; e = list.next() {
		if r.items++; r.items > MaxItems {
			list.code = tooMany
			break
		}
		r.spans = append(r.spans, e)
		events = events || e[0] == '{' || e[0] == '"'
	}
	defer r.release(from, len(r.lines))
	if next, list.code = u.end(b, start, list.i, list.code); list.code != ok {
		v.Fault(u.broken(b, next, list.code))
		return len(b)
	}
	to := len(r.spans)
	if to > from && !events {
		v.Fault(u.fault(Foreign, "expected audit events as elements of the array, found none"))
		return next
	}
	for i := from; i < to; i++ {
		e := u
		e.raw, e.index, e.level, e.wrapper = r.spans[i], i-from, u.level+1, List
		switch e.raw[0] {
		case '{', '"':
			r.read(e.raw, e, v)
		default:
			v.Fault(e.fault(Foreign, "expected an audit event as an element of the array, found another value"))
		}
	}
	return next
}

// release forgets the elements of lists that were read, so that the Reader holds on to no record.
func (r *Reader) release(span, line int) {
	clear(r.spans[span:])
	clear(r.lines[line:])
	r.spans, r.lines = r.spans[:span], r.lines[:line]
}

// event hands b out as an audit event.
func (u *unit) event(b []byte, v Visitor) {
	v.Event(Item{Event: b, Raw: u.raw, Index: u.index, Cluster: u.cluster, Time: u.time, Wrapper: u.wrapper})
}

// fault builds a Fault about the unit.
func (u *unit) fault(reason Reason, detail string) Fault {
	return Fault{Reason: reason, Detail: detail, Raw: u.raw, Index: u.index}
}

// broken builds a Fault out of what a scan of b ran into.
func (u *unit) broken(b []byte, at int, c code) Fault {
	f := c.fault(b, at)
	f.Raw, f.Index = u.raw, u.index
	return f
}

// name returns the text of a name as a string that outlives the record. Clusters are few: each is copied once.
func (r *Reader) name(b []byte) string {
	if len(b) == 0 || len(b) > maxClusterName {
		return ""
	}
	if s, known := r.clusters[string(b)]; known {
		return s
	}
	if len(r.clusters) >= maxClusters {
		clear(r.clusters)
	}
	if r.clusters == nil {
		r.clusters = make(map[string]string)
	}
	s := string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
	r.clusters[string(b)] = s
	return s
}

// text returns the decoded text of a JSON string that has been validated, nil for every other value. It lends from the
// record where the string has no escapes.
func (r *Reader) text(value []byte) []byte {
	if len(value) < 2 || value[0] != '"' {
		return nil
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1]
	}
	text, _, c := r.scratch.unescape(value, 1)
	if c != ok {
		return nil
	}
	return text
}
