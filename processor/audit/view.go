package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

// View is what one audit event says. The zero value is ready for [Model.Read], which fills it again and again in the
// same memory.
//
// Every text in it is lent: most are parts of the event, the others belong to the View. All are valid until the event's
// bytes change, or the View is filled again, whichever comes first.
type View struct {
	// Event is the whole event.
	Event string

	AuditID, Level, Stage, Verb, RequestURI, UserAgent string
	// StageAbsent: the event names no stage (shortened or rebuilt); it counts as complete.
	StageAbsent bool
	// Code is the HTTP status of the answer, 0 where unknown.
	Code                        int
	StatusMessage, StatusReason string
	// SourceIPs: only the last is the peer's, earlier ones are what headers claim.
	SourceIPs []string
	// Received is requestReceivedTimestamp and Completed stageTimestamp, as written and as times (zero where unreadable).
	ReceivedText, CompletedText string
	Received, Completed         time.Time
	// Annotations are those of the event (not of the object): what authorization and admission wrote.
	Annotations []Label
	Object      ObjectRef

	Outcome Outcome
	// Workload is filled unless the outcome is observed.
	Workload Workload
	Actor    Actor
	Grant    Grant
	// DryRun: the request asked for a dry run.
	DryRun bool
	// Truncated: objects were left out because the event was too large.
	Truncated bool
	// Folds: a child that a controller made for its own object. It raises no alert of its own where children fold.
	// Never set on an unknown outcome and on truncated events.
	// [Model.Folds] says the same before anything else is read; tests hold the two against each other.
	Folds bool
	Notes []Note

	kind                          *kind
	requestObject, responseObject string
	bodies                        bodies
	mem                           arena
	template                      PodTemplate
}

// ObjectRef is what the request was about.
type ObjectRef struct {
	Group, Version, Resource, Subresource, Namespace, Name, UID string
}

// errNoObject is about the caller: events are checked before they are read.
var errNoObject = errors.New("audit: expected an audit event, a JSON object that has been found valid; got something else")

// Read fills v with what event says. The event must have been found valid JSON; its bytes are lent to v. The order of
// keys doesn't matter, the first of duplicate keys wins, escaped text equals plain.
func (m *Model) Read(event []byte, v *View) error {
	text := lend(event)
	start := skipSpace(text, 0)
	if start == len(text) || text[start] != '{' {
		v.reset()
		return errNoObject
	}
	text = text[start:]
	v.reset()
	v.Event = text

	var raw rawEvent
	for e := membersOf(text); e.next(); {
		raw.take(e.name(), e.val)
	}
	m.fill(v, &raw)
	return nil
}

// ReadMembers is [Model.Read] for an event whose top-level members are known already.
func (m *Model) ReadMembers(event []byte, members *Members, v *View) error {
	text := lend(event)
	if len(text) == 0 || text[0] != '{' {
		v.reset()
		return errNoObject
	}
	v.reset()
	v.Event = text
	var raw rawEvent
	raw.takeAll(text, members)
	m.fill(v, &raw)
	return nil
}

// Members are the places of the top-level members of an event. Whoever validates the event comes by them anyway.
type Members struct{ list [][4]int }

// Member adds one member: where the text of its key begins and ends, between the quotes, and where its value does.
func (x *Members) Member(key, keyEnd, value, valueEnd int) {
	x.list = append(x.list, [4]int{key, keyEnd, value, valueEnd})
}

// Reset forgets all members.
func (x *Members) Reset() { x.list = bounded(x.list) }

// Value is the raw value of a member of the event that x was filled from, "" where there is none.
func (x *Members) Value(event []byte, name string) string {
	text := lend(event)
	for _, at := range x.list {
		if key := text[at[0]:at[1]]; key == name || strings.IndexByte(key, '\\') >= 0 && equalEscaped(key, name) {
			return text[at[2]:at[3]]
		}
	}
	return ""
}

// rawEvent holds the raw members of an event.
type rawEvent struct {
	request
	auditID, level, user, impersonated, sourceIPs, agent, received, completed, timestamp, ref, response string
}

// takeAll takes the members of an event.
func (raw *rawEvent) takeAll(event string, members *Members) {
	for _, at := range members.list {
		name := event[at[0]:at[1]]
		if strings.IndexByte(name, '\\') >= 0 {
			name = known(name)
		}
		raw.take(name, event[at[2]:at[3]])
	}
}

func (raw *rawEvent) take(name, val string) {
	switch name {
	case "level":
		keep(&raw.level, val)
	case "auditID":
		keep(&raw.auditID, val)
	case "stage":
		keep(&raw.stage, val)
	case "requestURI":
		keep(&raw.uri, val)
	case "verb":
		keep(&raw.verb, val)
	case "user":
		keep(&raw.user, val)
	case "impersonatedUser":
		keep(&raw.impersonated, val)
	case "sourceIPs":
		keep(&raw.sourceIPs, val)
	case "userAgent":
		keep(&raw.agent, val)
	case "objectRef":
		keep(&raw.ref, val)
	case "responseStatus":
		keep(&raw.status, val)
	case "requestObject":
		keep(&raw.object, val)
	case "responseObject":
		keep(&raw.response, val)
	case "requestReceivedTimestamp":
		keep(&raw.received, val)
	case "stageTimestamp":
		keep(&raw.completed, val)
	case "timestamp": // audit v1alpha1, v1beta1
		keep(&raw.timestamp, val)
	case "annotations":
		keep(&raw.annotations, val)
	}
}

// fill reads what the raw members say.
func (m *Model) fill(v *View, raw *rawEvent) {
	raw.request.ref = referenceOf(raw.ref)
	v.requestObject, v.responseObject = raw.object, raw.response
	mem := &v.mem

	v.AuditID, v.Level, v.Stage, v.Verb = mem.text(raw.auditID), mem.text(raw.level), mem.text(raw.stage), mem.text(raw.verb)
	v.RequestURI, v.UserAgent = mem.text(raw.uri), mem.text(raw.agent)
	v.StageAbsent = absent(raw.stage)
	v.StatusMessage, v.StatusReason = mem.text(member(raw.status, "message")), mem.text(member(raw.status, "reason"))
	v.SourceIPs = appendTexts(v.SourceIPs, raw.sourceIPs, mem)
	if raw.received == "" {
		raw.received = raw.timestamp
	}
	if raw.completed == "" {
		raw.completed = raw.timestamp
	}
	v.ReceivedText, v.Received = timeOf(raw.received, mem)
	v.CompletedText, v.Completed = timeOf(raw.completed, mem)
	v.Annotations = appendLabels(v.Annotations, raw.annotations, mem)
	ref := &raw.request.ref
	v.Object = ObjectRef{
		Group: mem.text(ref.group), Version: mem.text(ref.version),
		Resource: mem.text(ref.resource), Subresource: mem.text(ref.subresource),
		Namespace: mem.text(ref.namespace), Name: mem.text(ref.name), UID: mem.text(ref.uid),
	}
	v.Actor.read(raw.user, raw.impersonated, mem)
	v.Grant.read(raw.annotations, mem)

	d := m.decide(&raw.request)
	v.Outcome, v.Code, v.DryRun, v.Truncated, v.kind = d.outcome, d.code, d.dryRun, d.truncated, d.kind
	if v.Outcome != Observed {
		v.Workload.read(m, v, &raw.request, &d)
		v.Folds = v.Workload.Controlled && mayFold(&d, &raw.request)
	}
	v.takeNotes()
}

// MarkTruncated says that the event was cut on its way here, which the event itself can't know.
func (v *View) MarkTruncated() {
	if v.Truncated {
		return
	}
	v.Truncated, v.Folds = true, false
	v.noteTruncated()
}

// RequestObject and ResponseObject are the raw bodies, "" where the event has none.
func (v *View) RequestObject() string { return v.requestObject }

// ResponseObject is the raw answer, see [View.RequestObject].
func (v *View) ResponseObject() string { return v.responseObject }

// reset empties the view and keeps its memory, but not that of an event with monstrous lists.
func (v *View) reset() {
	w := &v.Workload
	kept := View{
		SourceIPs: bounded(v.SourceIPs), Annotations: bounded(v.Annotations), Notes: bounded(v.Notes),
		mem: v.mem, template: v.template,
		Workload: Workload{Labels: bounded(w.Labels), Annotations: bounded(w.Annotations)},
	}
	kept.Actor.Groups, kept.Actor.ImpersonatedBy.Groups = bounded(v.Actor.Groups), bounded(v.Actor.ImpersonatedBy.Groups)
	kept.mem.reuse()
	kept.template.reset()
	*v = kept
}

// maxKept is the longest list whose memory is kept for the next event.
const maxKept = 1024

// bounded empties a list and forgets what it held.
func bounded[T any](list []T) []T {
	if cap(list) > maxKept {
		return nil
	}
	clear(list)
	return list[:0]
}

func timeOf(raw string, mem *arena) (string, time.Time) {
	text := mem.text(raw)
	if text == "" {
		return "", time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return text, time.Time{}
	}
	return text, t.UTC()
}

// ID names the alert about this event: a hash of the cluster, the auditID, requestReceivedTimestamp, resource,
// namespace, and the uid or else the name of the object. It is the same on every replay, and for all stages of one
// request: ResponseStarted and ResponseComplete both come only for what writes no workload, where the name of the request
// alone counts. The auditID alone is chosen by the client and would not do; neither would a
// weak hash, since who could make two events collide could hide one of them. Where neither uid nor name is known (level
// Metadata with generateName), the time of completion stands in.
func (v *View) ID(cluster string) string {
	var stack [512]byte
	b := stack[:0]
	last := v.Object.Name
	switch v.Outcome {
	case Refused, Observed:
	case Created, Unknown, Changed:
		switch w := &v.Workload; {
		case w.UID != "":
			last = w.UID
		case w.Name != "":
			last = w.Name
		default:
			last = v.CompletedText
		}
	}
	for _, s := range [...]string{cluster, v.AuditID, v.ReceivedText, v.Object.Resource, v.Object.Namespace, last} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	var out [32]byte
	hex.Encode(out[:], sum[:16])
	return string(out[:])
}
