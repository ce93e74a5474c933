package audit

import "strings"

// Folds reports whether an event whose members are known folds (see [View.Folds]), and what became of the request. It
// reads no more of the event than that takes, which of what no controller did is next to nothing.
func (m *Model) Folds(event []byte, members *Members) (Outcome, bool) {
	var raw rawEvent
	raw.takeAll(lend(event), members)
	if !absent(raw.impersonated) {
		return "", false
	}
	user := member(raw.user, "username")
	if strings.IndexByte(user, '\\') >= 0 {
		s := m.take()
		defer m.scratch.Put(s)
		user = s.mem.text(user)
	} else {
		user = inner(user)
	}
	if m.controllers[user] == nil {
		return "", false
	}
	raw.request.ref = referenceOf(raw.ref)
	d := m.decide(&raw.request)
	if d.outcome == Observed || !mayFold(&d, &raw.request) {
		return d.outcome, false
	}
	b := m.bodiesOf(d.kind, raw.verb, raw.object, raw.response)
	o, _ := ownerOf(b.metadata.owners)
	return d.outcome, m.isChild(d.kind, user, false, &b, &o)
}

// mayFold leaves out what never folds, whoever made it: what may not exist or is not shown, and changes of a part.
func mayFold(d *decision, r *request) bool {
	return d.outcome != Unknown && !d.truncated && empty(r.ref.subresource)
}
