package envelope

import "bytes"

// fields are the members of an object that tell what it is: their raw values, nil where absent. The first of
// duplicate keys counts.
type fields struct {
	kind, apiVersion       []byte
	items                  list
	log, message, original value
	kubernetes             []byte // metadata of a shipper, or the parent of an audit event (Elastic)
	clusterName            []byte
	orchestrator           []byte

	schema, payload []byte // Kafka Connect
	members         int    // all members, known or not

	protoPayload, resource, labels, operation, insertID, timestamp []byte // GKE
	messageType, logGroup, logStream                               []byte // EKS
	logEvents                                                      list
	awslogs                                                        []byte
	records                                                        list // AKS, Firehose, Kinesis
	category, properties, resourceID, operationName                []byte
	propertiesLog                                                  value

	hints int // members that are typical of an audit event, though other logs have them too
}

// value is a member that may hold an event as an object or as the text of a string.
type value struct {
	raw  []byte // the raw value
	text []byte // the decoded text where it is a string
}

// list is a member that holds an array: its elements are spans[from:to] of the Reader, or lines[from:to] where each
// carries a line of text.
type list struct {
	from, to int
	is       bool
}

// enoughHints is how many typical members make an audit event out of an object without kind and without any member
// that only audit events have. Access logs of other programs have one or two.
const enoughHints = 3

// object reads the JSON object that begins at b[start], and returns where the next value begins: at the end of b, unless the
// unit is one of several values.
//
// It decides as early as the content allows: an event in the API server's own key order by its first bytes, another
// order at the first key that only audit events have. Everything else is walked, and so validated, to its end; and so is
// each of several values, since an event that is rejected early would hide those behind it.
func (r *Reader) object(b []byte, start int, u unit, v Visitor) (next int) {
	head := b[start:]
	event := len(head) > len(bareHead) && string(head[:len(bareHead)]) == bareHead
	if event && u.place == 0 {
		u.event(head, v)
		return len(b)
	}
	var (
		m members
		f fields
	)
	defer r.release(len(r.spans), len(r.lines))
	m.open(b, start, MaxDepth)
	for !event && m.next() {
		event = r.member(&m, &f)
	}
	end, c := m.i, m.code
	if event {
		if u.place == 0 {
			u.event(head, v)
			return len(b)
		}
		end, c = scan(b, start, MaxDepth)
	}
	next, c = u.end(b, start, end, c)
	switch {
	case c != ok:
		v.Fault(u.broken(b, next, c))
		return len(b)
	case event || isShortened(&f):
		u.event(b[start:end], v)
	default:
		r.classify(&f, &u, v)
	}
	return next
}

// member takes one member into f. It returns true as soon as the object is certain to be an audit event.
func (r *Reader) member(m *members, f *fields) bool {
	f.members++
	var slot *[]byte
	switch string(m.name()) {
	case "auditID", "objectRef", "requestReceivedTimestamp", "stageTimestamp", "impersonatedUser",
		"authenticationMetadata", "requestObject", "responseObject":
		return true
	case "verb", "stage", "requestURI", "responseStatus", "sourceIPs":
		f.hints++
		m.skip()
		return f.hints >= enoughHints
	case "kind":
		slot = &f.kind
	case "apiVersion":
		slot = &f.apiVersion
	case "items":
		return r.list(m, &f.items)
	case "log":
		return r.value(m, &f.log)
	case "message", "MESSAGE":
		return r.value(m, &f.message)
	case "event":
		return r.elastic(m, &f.original)
	case "kubernetes":
		slot = &f.kubernetes
	case "orchestrator":
		slot = &f.orchestrator
	case "cluster_name", "k8s.cluster.name", "orchestrator.cluster.name":
		slot = &f.clusterName
	case "schema":
		slot = &f.schema
	case "payload":
		slot = &f.payload
	case "protoPayload":
		slot = &f.protoPayload
	case "resource":
		slot = &f.resource
	case "labels":
		slot = &f.labels
	case "operation":
		slot = &f.operation
	case "insertId":
		slot = &f.insertID
	case "timestamp":
		slot = &f.timestamp
	case "messageType":
		slot = &f.messageType
	case "logGroup":
		slot = &f.logGroup
	case "logStream":
		slot = &f.logStream
	case "logEvents":
		return r.logEvents(m, &f.logEvents)
	case "awslogs":
		slot = &f.awslogs
	case "records", "Records":
		return r.list(m, &f.records)
	case "category":
		slot = &f.category
	case "properties":
		return r.properties(m, f)
	case "resourceId":
		slot = &f.resourceID
	case "operationName":
		slot = &f.operationName
	}
	raw := m.skip()
	if slot == nil || *slot != nil {
		return false
	}
	*slot = raw
	return (slot == &f.kind || slot == &f.apiVersion) && isAuditEvent(f)
}

// isAuditEvent decides by kind and apiVersion. Core events have kind Event too, in another API group.
func isAuditEvent(f *fields) bool { return isString(f.kind, "Event") && isAuditGroup(f.apiVersion) }

// isShortened decides for events that lack the apiVersion, and so only once all members are known: the kind Event together
// with a typical member.
func isShortened(f *fields) bool {
	return f.apiVersion == nil && f.hints > 0 && isString(f.kind, "Event")
}

// isAuditGroup: "audit.k8s.io/v1", /v1beta1, /v1alpha1. An escaped slash is possible and rare.
func isAuditGroup(raw []byte) bool {
	return bytes.HasPrefix(raw, []byte(`"audit.k8s.io/`)) || bytes.HasPrefix(raw, []byte(`"audit.k8s.io\/`))
}

// isString compares a raw JSON string without allocating.
func isString(raw []byte, want string) bool {
	return len(raw) == len(want)+2 && raw[0] == '"' && string(raw[1:len(raw)-1]) == want
}

// list takes an array and remembers where its elements are.
func (r *Reader) list(m *members, l *list) bool {
	if m.i >= len(m.b) || m.b[m.i] != '[' || l.is {
		m.skip()
		return false
	}
	var e elements
	e.open(m.b, m.i, m.room)
	l.is, l.from = true, len(r.spans)
	for span := e.next(); span != nil; span = e.next() {
		if r.items++; r.items > MaxItems {
			e.code = tooMany
			break
		}
		r.spans = append(r.spans, span)
	}
	l.to = len(r.spans)
	m.i, m.code = e.i, e.code
	return false
}

// value takes a member that may hold an event. A string is decoded at once: that validates it in the same pass.
func (r *Reader) value(m *members, x *value) bool {
	if x.raw != nil || m.i >= len(m.b) || m.b[m.i] != '"' {
		raw := m.skip()
		if x.raw == nil {
			x.raw = raw
		}
		return false
	}
	start := m.i
	text, end, c := r.scratch.unescape(m.b, start+1)
	m.i, m.code = end, c
	if c == ok {
		x.raw, x.text = m.b[start:end], text
	}
	return false
}

// elastic takes event.original, the untouched line that Elastic's shippers keep.
func (r *Reader) elastic(m *members, x *value) bool {
	raw := m.skip()
	if x.raw != nil || len(raw) == 0 || raw[0] != '{' {
		return false
	}
	if original := lookup(raw, "original"); len(original) > 0 && original[0] == '"' {
		x.raw, x.text = original, r.text(original)
	}
	return false
}

// lookup returns the raw value of the first member named key in a validated object, nil for everything else.
func lookup(object []byte, key string) []byte {
	if len(object) == 0 || object[0] != '{' {
		return nil
	}
	var m members
	m.open(object, 0, MaxDepth)
	for m.next() {
		hit := string(m.name()) == key
		if v := m.skip(); hit {
			return v
		}
	}
	return nil
}

// shape is a wrapper that its members tell from all others.
type shape uint8

const (
	noShape shape = iota // at best a log or message member, which is common
	shapeEventList
	shapeGKE
	shapeEKS
	shapeLambda
	shapeRecords
	shapeAzure
	shapeConnect
)

// shape decides what an object is that is no bare event. The order is from the certain to the general: what a cloud
// writes has members that nothing else has.
func (f *fields) shape() shape {
	switch {
	case isString(f.kind, "EventList") && f.items.is && (f.apiVersion == nil || isAuditGroup(f.apiVersion)):
		return shapeEventList
	case isObject(f.protoPayload):
		return shapeGKE
	case f.messageType != nil && (f.logEvents.is || isString(f.messageType, "CONTROL_MESSAGE")):
		return shapeEKS
	case isObject(f.awslogs):
		return shapeLambda
	case f.records.is:
		return shapeRecords
	case isAzure(f):
		return shapeAzure
	case f.payload != nil && f.schema != nil && f.members == 2:
		return shapeConnect
	}
	return noShape
}

// classify reads an object that is no bare event.
func (r *Reader) classify(f *fields, u *unit, v Visitor) {
	switch f.shape() {
	case shapeEventList:
		r.eventList(f, u, v)
	case shapeGKE:
		r.gke(f, u, v)
	case shapeEKS:
		r.eks(f, u, v)
	case shapeLambda:
		r.encoded(lookup(f.awslogs, "data"), u, v)
	case shapeRecords:
		r.records(f, u, v)
	case shapeAzure:
		r.azure(f, u, v)
	case shapeConnect:
		r.connect(f, u, v)
	default:
		r.shipped(f, u, v)
	}
}

func isObject(raw []byte) bool { return len(raw) > 0 && raw[0] == '{' }

// eventList hands out the items of an EventList: audit events by their type, whether they repeat their kind or not.
func (r *Reader) eventList(f *fields, u *unit, v Visitor) {
	for i := f.items.from; i < f.items.to; i++ {
		e := *u
		e.raw, e.index, e.wrapper = r.spans[i], i-f.items.from, List
		if e.raw[0] != '{' {
			v.Fault(e.fault(Foreign, "expected an audit event as an item of the EventList, found another value"))
			continue
		}
		e.event(e.raw, v)
	}
}

// connect reads Kafka Connect's JsonConverter form: the value with its schema beside it.
func (r *Reader) connect(f *fields, u *unit, v Visitor) {
	u.level++
	u.wrapper = KafkaConnect
	r.read(f.payload, *u, v)
}
