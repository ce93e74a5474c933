package envelope

import (
	"bytes"
	"strconv"
	"time"
)

// truncatedMark is what CloudWatch Logs writes where EKS cut a message that was too large.
const truncatedMark = "[Truncated...]"

// eks reads a CloudWatch Logs subscription message: messageType, logGroup /aws/eks/<cluster>/cluster, logStream, and
// logEvents, each with id, timestamp in milliseconds and the line as message.
func (r *Reader) eks(f *fields, u *unit, v Visitor) {
	if isString(f.messageType, "CONTROL_MESSAGE") {
		v.Ignored(EKSControlMessage)
		return
	}
	if !isString(f.messageType, "DATA_MESSAGE") {
		v.Fault(u.fault(Foreign, "expected messageType DATA_MESSAGE or CONTROL_MESSAGE in a log subscription, found another"))
		return
	}
	in := *u
	in.level++
	in.wrapper = EKS
	if name := eksCluster(r.text(f.logGroup)); name != nil {
		in.cluster = r.name(name)
		// The control plane's other streams (api server, authenticator, scheduler …) share the group.
		if s := r.text(f.logStream); len(s) > 0 && !bytes.HasPrefix(s, []byte("kube-apiserver-audit")) {
			v.Ignored(EKSOtherLog)
			return
		}
	}
	for i := f.logEvents.from; i < f.logEvents.to; i++ {
		line := r.lines[i]
		e := in
		e.raw, e.index, e.time = line.raw, i-f.logEvents.from, millis(line.time)
		text := line.text
		if text == nil {
			v.Fault(e.fault(Foreign, "expected a log event with a message, found another value"))
			continue
		}
		if start, end := trim(text); bytes.HasSuffix(text[start:end], []byte(truncatedMark)) {
			r.truncated(text[start:end-len(truncatedMark)], &e, v)
			continue
		}
		r.read(text, e, v)
	}
}

// logLine is one element of logEvents.
type logLine struct {
	raw  []byte // the element
	text []byte // its decoded message, nil where it has none
	time []byte // its raw timestamp
}

// logEvents takes the array logEvents. The messages are decoded as the array is walked, which validates them in the
// same pass.
func (r *Reader) logEvents(m *members, l *list) bool {
	if m.i >= len(m.b) || m.b[m.i] != '[' || l.is {
		m.skip()
		return false
	}
	var e elements
	e.open(m.b, m.i, m.room)
	l.is, l.from = true, len(r.lines)
	for e.more() {
		if r.items++; r.items > MaxItems {
			e.code = tooMany
			break
		}
		r.lines = append(r.lines, r.logLine(&e))
	}
	l.to = len(r.lines)
	m.i, m.code = e.i, e.code
	return false
}

// logLine takes one element of logEvents.
func (r *Reader) logLine(e *elements) logLine {
	start := e.i
	if start >= len(e.b) || e.b[start] != '{' {
		return logLine{raw: e.take()}
	}
	var (
		m       members
		message value
		line    logLine
	)
	m.open(e.b, start, e.room)
	for m.next() {
		switch string(m.name()) {
		case "message":
			r.value(&m, &message)
		case "timestamp":
			if t := m.skip(); line.time == nil {
				line.time = t
			}
		default:
			m.skip()
		}
	}
	e.i, e.code = m.i, m.code
	line.raw, line.text = e.b[start:min(e.i, len(e.b))], message.text
	return line
}

// eksCluster takes the name out of /aws/eks/<name>/cluster.
func eksCluster(group []byte) []byte {
	name, found := bytes.CutPrefix(group, []byte("/aws/eks/"))
	if !found {
		return nil
	}
	name, found = bytes.CutSuffix(name, []byte("/cluster"))
	if !found || len(name) == 0 {
		return nil
	}
	return name
}

// millis reads a number of milliseconds since 1970; the zero Time where it is none.
func millis(raw []byte) time.Time {
	if len(raw) == 0 || len(raw) > 15 {
		return time.Time{}
	}
	ms, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// truncated hands out what is left of an event that was cut at an arbitrary byte: the members that came whole. The API
// server writes the deciding ones before the bodies, so the event still says what was done, and to which object:
// hiding behind a large body is a finding, not a way out.
func (r *Reader) truncated(b []byte, u *unit, v Visitor) {
	if len(b) == 0 || b[0] != '{' {
		v.Fault(u.fault(Partial, "the wrapper cut the message before anything of an event could be read"))
		return
	}
	var (
		m     members
		f     fields
		whole int // offset behind the last member that came whole
		audit bool
	)
	defer r.release(len(r.spans), len(r.lines))
	m.open(b, 0, MaxDepth)
	for m.next() {
		at := m.i
		if r.member(&m, &f) {
			audit = true
			if m.i == at { // the key alone decided
				m.skip()
			}
		}
		if m.code != ok {
			break
		}
		whole = m.i
	}
	if !audit && !isShortened(&f) || whole == 0 {
		v.Fault(u.fault(Partial, "the wrapper cut the message before it could be told for an audit event"))
		return
	}
	dst := append(r.scratch.room(whole+1), b[:whole]...)
	dst = r.scratch.keep(append(dst, '}'))
	v.Event(Item{Event: dst, Raw: u.raw, Index: u.index, Cluster: u.cluster, Time: u.time, Wrapper: u.wrapper, Truncated: true})
}

// records reads the batches of Azure, Firehose and Kinesis, which share the member's name: each element by its own
// content.
func (r *Reader) records(f *fields, u *unit, v Visitor) {
	for i := f.records.from; i < f.records.to; i++ {
		e := *u
		e.raw, e.index, e.level = r.spans[i], i-f.records.from, u.level+1
		if data := lookup(lookup(e.raw, "kinesis"), "data"); data != nil {
			r.encoded(data, &e, v)
			continue
		}
		if data := lookup(e.raw, "data"); len(data) > 0 && data[0] == '"' {
			r.encoded(data, &e, v)
			continue
		}
		if e.raw[0] != '{' {
			v.Fault(e.fault(Foreign, "expected a diagnostic or stream record, found another value"))
			continue
		}
		e.wrapper = List
		r.read(e.raw, e, v)
	}
}
