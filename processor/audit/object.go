package audit

// object is what one of the two bodies of an event shows of a workload.
type object struct {
	// whole is the raw object, "" where there is none.
	whole string
	// kind, version and metadata are its raw members.
	kind, version, metadata string
	// patch: it is a patch of an unknown object, no object itself.
	patch bool
}

// objectOf looks into a body. A Status is an answer, no object; of a Table (RFC: the client sent Accept …;as=Table) the
// first row holds it, of PartialObjectMetadata only metadata are left. A JSON patch shows no object.
func objectOf(raw string) (o object) {
	o, rows := membersOfObject(raw)
	if textIs(o.kind, "Status") {
		return object{}
	}
	if textIs(o.kind, "Table") {
		first := elementsOf(rows)
		if !first.next() {
			return object{}
		}
		o, _ = membersOfObject(member(first.val, "object"))
	}
	if textIs(o.kind, "PartialObjectMetadata") {
		o.kind, o.version = "", "" // of the form, not of the object
	}
	return o
}

func membersOfObject(raw string) (o object, rows string) {
	if !isObject(raw) {
		return o, ""
	}
	o.whole = raw
	for m := membersOf(raw); m.next(); {
		switch m.name() {
		case "kind":
			keep(&o.kind, m.val)
		case "apiVersion":
			keep(&o.version, m.val)
		case "metadata":
			keep(&o.metadata, m.val)
		case "rows":
			keep(&rows, m.val)
		}
	}
	return o, rows
}

// From says where a pod template was found.
type From uint8

// The places of a pod template.
const (
	// FromNowhere: the event shows none.
	FromNowhere From = iota
	// FromResponse: it is what the server stored.
	FromResponse
	// FromRequest: it is what the client sent, defaults filled in, before admission.
	FromRequest
	// FromPatch: it is the part that a patch speaks of.
	FromPatch
)

// bodies is what both bodies together show.
type bodies struct {
	response, request object
	// metadata is the best one shown, "" for none; of a patch only where nothing else is there.
	metadata string
	// template is the raw pod template or pod spec (or list of such), "" for none.
	template string
	from     From
}

func (m *Model) bodiesOf(k *kind, verb, request, response string) (b bodies) {
	b.response, b.request = objectOf(response), objectOf(request)
	b.request.patch = absent(b.request.kind) && textIs(verb, "patch")
	switch {
	case isObject(b.response.metadata):
		b.metadata = b.response.metadata
	case isObject(b.request.metadata):
		b.metadata = b.request.metadata
	}
	if len(k.template) == 0 {
		return b
	}
	if t := at(b.response.whole, k.template); isTemplate(t) {
		b.template, b.from = t, FromResponse
	} else if t := at(b.request.whole, k.template); isTemplate(t) {
		b.template, b.from = t, FromRequest
		if b.request.patch {
			b.from = FromPatch
		}
	}
	return b
}

func isTemplate(raw string) bool { return len(raw) > 2 && (raw[0] == '{' || raw[0] == '[') }

// metadata holds the raw members of an object's metadata.
type metadata struct {
	name, generateName, namespace, uid, version, labels, annotations, owners string
}

func metadataOf(raw string) (o metadata) {
	for m := membersOf(raw); m.next(); {
		switch m.name() {
		case "name":
			keep(&o.name, m.val)
		case "generateName":
			keep(&o.generateName, m.val)
		case "namespace":
			keep(&o.namespace, m.val)
		case "uid":
			keep(&o.uid, m.val)
		case "resourceVersion":
			keep(&o.version, m.val)
		case "labels":
			keep(&o.labels, m.val)
		case "annotations":
			keep(&o.annotations, m.val)
		case "ownerReferences":
			keep(&o.owners, m.val)
		}
	}
	return o
}

// owner holds the raw members of one ownerReference.
type owner struct {
	kind, version, name, uid string
	controller               bool
}

// ownerOf returns the controlling owner, else the first one. An object has at most one that controls.
func ownerOf(references string) (o owner, ok bool) {
	for e := elementsOf(references); e.next(); {
		var one owner
		var controller string
		for m := membersOf(e.val); m.next(); {
			switch m.name() {
			case "kind":
				keep(&one.kind, m.val)
			case "apiVersion":
				keep(&one.version, m.val)
			case "name":
				keep(&one.name, m.val)
			case "uid":
				keep(&one.uid, m.val)
			case "controller":
				keep(&controller, m.val)
			}
		}
		one.controller = controller == "true"
		if one.controller {
			return one, true
		}
		if !ok {
			o, ok = one, true
		}
	}
	return o, ok
}

// isChild reports whether user, unimpersonated, is a controller that makes children of kind k, and, where the event
// shows the object, whether its controlling owner is of the kind that this controller works for. ownerReferences alone
// prove nothing: everybody can write them.
func (m *Model) isChild(k *kind, user string, impersonated bool, b *bodies, o *owner) bool {
	if impersonated {
		return false
	}
	visible := b.metadata != ""
	for _, c := range m.controllers[user] {
		if c.Child != "" && c.Child != k.kind {
			continue
		}
		if !visible {
			return true
		}
		if o.controller && (textIs(o.kind, c.Owner) || c.Owner == "" && !empty(o.kind)) {
			return true
		}
	}
	return false
}
