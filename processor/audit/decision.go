package audit

import "strings"

// Outcome says what became of a request.
type Outcome string

// The outcomes; the package comment says what each means.
const (
	Created  Outcome = "created"
	Unknown  Outcome = "unknown"
	Refused  Outcome = "refused"
	Changed  Outcome = "changed"
	Observed Outcome = "observed"
)

// Stages of an audit event. RequestReceived comes before anything is known, ResponseStarted only for long-running
// requests and for those that failed authentication.
const (
	stageStarted  = "ResponseStarted"
	stageComplete = "ResponseComplete"
	stagePanic    = "Panic"
)

// truncatedKey is the annotation by which the API server says that it left both objects out.
const truncatedKey = "audit.k8s.io/truncated"

// timeouts are the words in the message of a 500 after which the object may exist.
func timeouts() [3]string { return [...]string{"deadline exceeded", "context canceled", "timed out"} }

// request holds the raw members that decide what an event is.
type request struct {
	verb, stage, uri, status, object, annotations string
	ref                                           reference
}

// decision is what they decide.
type decision struct {
	outcome Outcome
	// kind is the workload resource that the request is about, nil for everything else.
	kind *kind
	// writes: a create, patch or update of the workload itself or of its ephemeral containers.
	writes    bool
	code      int
	dryRun    bool
	truncated bool
}

// decide is the one place where it is decided what an event is.
func (m *Model) decide(r *request) decision {
	d := decision{
		outcome:   Observed,
		kind:      m.find(&r.ref),
		dryRun:    isDryRun(r.uri),
		truncated: textIs(member(r.annotations, truncatedKey), "true"),
	}
	var code, message string
	for s := membersOf(r.status); s.next(); {
		switch s.name() {
		case "code":
			keep(&code, s.val)
		case "message":
			keep(&message, s.val)
		}
	}
	if n, ok := number(code); ok && n > 0 && n < 1000 {
		d.code = int(n)
	}
	if d.kind == nil {
		return d
	}
	d.writes = writes(d.kind, r.verb, &r.ref)
	if !d.writes || d.dryRun {
		return d
	}
	itself := empty(r.ref.subresource)
	existing := !textIs(r.verb, "create")
	complete := absent(r.stage) || textIs(r.stage, stageComplete)
	switch {
	case d.code == 200 && existing && complete:
		if !itself || d.truncated || touches(d.kind, r.verb, r.object) {
			d.outcome = Changed
		}
	case !itself:
	case d.code == 201 && complete:
		d.outcome = Created
	case d.code < 400 || d.code > 599:
	case (complete || textIs(r.stage, stagePanic)) && mayExist(d.code, message):
		d.outcome = Unknown
	case d.code == 409 && existing:
		// The object is there already, and changed in between.
	case complete || textIs(r.stage, stagePanic) || textIs(r.stage, stageStarted):
		d.outcome = Refused
	}
	return d
}

// writes reports whether a request writes the workload itself, or the ephemeral containers of a Pod.
func writes(k *kind, verb string, ref *reference) bool {
	existing := textIs(verb, "patch") || textIs(verb, "update")
	if empty(ref.subresource) {
		return existing || textIs(verb, "create")
	}
	return k.pod && existing && textIs(ref.subresource, "ephemeralcontainers")
}

// mayExist reports whether the object may exist although the client was told otherwise.
func mayExist(code int, message string) bool {
	if code == 504 {
		return true
	}
	if code == 500 {
		for _, words := range timeouts() {
			if saysAnywhere(message, words) {
				return true
			}
		}
	}
	return false
}

// touches reports whether the body of a patch or update says anything about what the workload runs. Of a Pod only its
// containers count: nothing else that matters can be changed in one that exists. An update holds the whole object, so it
// always does. A JSON patch is a list of operations (RFC 6902).
func touches(k *kind, verb, body string) bool {
	if len(k.template) == 0 {
		return false
	}
	if len(body) > 0 && body[0] == '[' {
		for ops := elementsOf(body); ops.next(); {
			if touchesOp(k, ops.val) {
				return true
			}
		}
		return false
	}
	template := at(body, k.template)
	if template == "" || !k.pod || textIs(verb, "update") {
		return template != ""
	}
	if !isObject(template) {
		return true
	}
	for m := membersOf(template); m.next(); {
		if isContainerList(m.name()) {
			return true
		}
	}
	return false
}

func isContainerList(name string) bool {
	return name == "containers" || name == "initContainers" || name == "ephemeralContainers"
}

// touchesOp reports whether one operation of a JSON patch writes into the template, or into something around it.
func touchesOp(k *kind, op string) bool {
	var verb, path, from string
	for m := membersOf(op); m.next(); {
		switch m.name() {
		case "op":
			keep(&verb, m.val)
		case "path":
			keep(&path, m.val)
		case "from":
			keep(&from, m.val)
		}
	}
	if textIs(verb, "test") {
		return false
	}
	return isString(path) && overlaps(k, inner(path)) || textIs(verb, "move") && isString(from) && overlaps(k, inner(from))
}

// overlaps reports whether a JSON pointer leads into the template or to something around it.
func overlaps(k *kind, pointer string) bool {
	i := 0
	for _, part := range k.template {
		next, in := step(pointer, i, part)
		if !in {
			return i >= len(pointer)
		}
		i = next
	}
	if !k.pod || i >= len(pointer) {
		return true
	}
	for _, list := range []string{"containers", "initContainers", "ephemeralContainers"} {
		if _, in := step(pointer, i, list); in {
			return true
		}
	}
	return false
}

// step follows one part of an escaped JSON pointer from offset i on.
func step(pointer string, i int, part string) (next int, ok bool) {
	if i >= len(pointer) {
		return i, false
	}
	r, next := unit(pointer, i)
	if r != '/' {
		return i, false
	}
	if next, ok = prefixEscaped(pointer, next, part); !ok {
		return i, false
	}
	if next < len(pointer) {
		if r, _ := unit(pointer, next); r != '/' {
			return i, false
		}
	}
	return next, true
}

// outcomePins are the raw fields without which an outcome is impossible.
func (m *Model) outcomePins(o Outcome) []Pin {
	pins := []Pin{m.resourcePin()}
	verbs := []string{"create", "patch", "update"}
	itself := Pin{Path: "objectRef.subresource", Values: []string{""}, Absent: true}
	stages := []string{stageComplete}
	var code Pin
	switch o {
	case Created:
		code = codePin(201, 201)
	case Unknown:
		code = codePin(500, 504)
		stages = append(stages, stagePanic)
	case Refused:
		code = codePin(400, 599)
		stages = append(stages, stagePanic, stageStarted)
	case Changed:
		code = codePin(200, 200)
		verbs = verbs[1:]
		itself.Values = append(itself.Values, "ephemeralcontainers")
	default:
		return nil
	}
	return append(pins,
		Pin{Path: "verb", Values: verbs},
		code,
		itself,
		Pin{Path: "stage", Values: stages, Absent: true},
	)
}

// codePin takes numbers, and strings that hold one.
func codePin(from, to float64) Pin {
	p := Pin{Path: "responseStatus.code", Min: from, Max: to}
	for n := int(from); n <= int(to); n++ {
		p.Values = append(p.Values, string([]byte{'0' + byte(n/100), '0' + byte(n/10%10), '0' + byte(n%10)}))
	}
	return p
}

// resourcePin takes the resources of all workloads.
func (m *Model) resourcePin() Pin {
	p := Pin{Path: "objectRef.resource"}
	for i := range m.kinds {
		p.Values = append(p.Values, m.kinds[i].resource)
	}
	return p
}

// writePins are what the fields of a workload need.
func (m *Model) writePins() []Pin {
	return []Pin{
		m.resourcePin(),
		{Path: "verb", Values: []string{"create", "patch", "update"}},
		{Path: "objectRef.subresource", Values: []string{"", "ephemeralcontainers"}, Absent: true},
	}
}

// outcomeOf finds the outcome that a rule spells in its own case.
func outcomeOf(value string) Outcome {
	for _, o := range []Outcome{Created, Unknown, Refused, Changed, Observed} {
		if strings.EqualFold(string(o), value) {
			return o
		}
	}
	return ""
}
