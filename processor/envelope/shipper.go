package envelope

// shipped reads what log shippers write: the line in a member of its own, as text or parsed, and metadata around it.
func (r *Reader) shipped(f *fields, u *unit, v Visitor) {
	in := *u
	in.level++
	in.wrapper = Shipper
	in.cluster = r.shipperCluster(f, u.cluster)
	if audit := lookup(f.kubernetes, "audit"); isObject(audit) {
		r.read(audit, in, v)
		return
	}
	if text := f.line(); text != nil {
		r.read(text, in, v)
		return
	}
	if isObject(f.message.raw) {
		if data := lookup(f.message.raw, "data"); len(data) > 2 && data[0] == '"' && lookup(f.message.raw, "messageId") != nil {
			in.wrapper = u.wrapper // Pub/Sub push: the wrapper that counts is inside
			r.encoded(data, &in, v)
			return
		}
	}
	// Filebeat's log member is metadata: beside it, the parsed line wins wherever it stands.
	parsed := f.log.raw
	if !isObject(parsed) || isObject(f.message.raw) && !r.holds(parsed) {
		parsed = f.message.raw
	}
	if isObject(parsed) {
		r.read(parsed, in, v)
		return
	}
	v.Fault(u.fault(Foreign, "expected an audit event or a known wrapper of one, found another object"))
}

// line is the first text that can hold an event, nil where none can.
func (f *fields) line() []byte {
	for _, c := range [...]*value{&f.log, &f.message, &f.original} {
		if c.text != nil && looksWrapped(c.text) {
			return c.text
		}
	}
	return nil
}

// holds says whether a validated object is an audit event or a known wrapper of one, by its members alone.
func (r *Reader) holds(object []byte) bool {
	var (
		m     members
		f     fields
		event bool
	)
	items := r.items // they count when they are read
	defer r.release(len(r.spans), len(r.lines))
	m.open(object, 0, MaxDepth)
	for !event && m.next() {
		event = r.member(&m, &f)
	}
	r.items = items
	// With too many elements it is a list: reading it says so.
	return event || m.code != ok || isShortened(&f) || f.shape() != noShape || f.line() != nil || isObject(lookup(f.kubernetes, "audit"))
}

// looksWrapped says whether the text of a log member can hold an event: it begins like an object, an array, or a line
// of a container runtime.
func looksWrapped(text []byte) bool {
	start, end := trim(text)
	if start == end {
		return false
	}
	if text[start] == '{' || text[start] == '[' {
		return true
	}
	_, _, is := criLine(text[start:end])
	return is
}

// shipperCluster finds the cluster's name where shippers and OpenTelemetry's and Elastic's conventions put it.
func (r *Reader) shipperCluster(f *fields, outer string) string {
	for _, raw := range [...][]byte{
		f.clusterName,
		lookup(f.kubernetes, "cluster_name"),
		lookup(f.kubernetes, "cluster"),
		lookup(lookup(f.orchestrator, "cluster"), "name"),
	} {
		if name := r.text(raw); len(name) > 0 {
			return r.name(name)
		}
	}
	return outer
}
