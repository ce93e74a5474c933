package audit

// object is what one of the two bodies of an event shows of a workload.
type object struct {
	// whole is the raw object, "" where there is none.
	whole string
	// kind, version and spec are its raw members; more may follow behind the end of spec.
	kind, version, spec string
	metadata            metadata
	// described: it has metadata.
	described bool
}

// objectOf looks into a body. A Status is an answer, no object; of a Table (the client sent Accept: …;as=Table) the
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

// membersOfObject stops at the spec where all else that matters came before, as the API server writes it: of the largest
// part of an event only the beginning is known then, and o.spec runs on behind it.
func membersOfObject(raw string) (o object, rows string) {
	if !isObject(raw) {
		return o, ""
	}
	o.whole = raw
	c := cursor{raw, 1}
	met := false // its metadata, in whatever form
	for name, ok := c.key(); ok; name, ok = c.key() {
		switch {
		case name == "spec" && o.spec == "" && o.kind != "" && o.version != "" && met && c.atObject():
			o.spec = raw[c.i:]
			return o, rows
		case name == "metadata" && !met:
			met, o.described = true, c.atObject()
			o.metadata = c.metadata()
			continue
		}
		val := c.skip()
		switch name {
		case "kind":
			keep(&o.kind, val)
		case "apiVersion":
			keep(&o.version, val)
		case "spec":
			keep(&o.spec, val)
		case "rows":
			keep(&rows, val)
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
	metadata metadata
	// visible: there are metadata.
	visible bool
	// template is the raw pod template or pod spec (or list of such), "" for none; more may follow behind its end.
	template string
	from     From
	replicas string
}

// bodiesOf looks into the answer, and into the request where that leaves something open.
func (m *Model) bodiesOf(k *kind, verb, request, response string) (b bodies) {
	b.response = objectOf(response)
	b.visible, b.metadata = b.response.described, b.response.metadata
	b.template, b.replicas = b.response.template(k)
	b.from = FromResponse
	if b.template != "" && !empty(b.metadata.name) {
		return b
	}
	b.request = objectOf(request)
	asked := &b.request.metadata
	if !b.visible {
		b.visible, b.metadata = b.request.described, *asked
	}
	if empty(b.metadata.name) {
		b.metadata.name = asked.name
	}
	if empty(b.metadata.generateName) {
		b.metadata.generateName = asked.generateName
	}
	if b.template != "" {
		return b
	}
	b.template, b.replicas = b.request.template(k)
	switch {
	case b.template == "":
		b.from = FromNowhere
	case absent(b.request.kind) && textIs(verb, "patch"):
		b.from = FromPatch
	default:
		b.from = FromRequest
	}
	return b
}

// template finds the raw pod template, and the number of replicas beside it.
func (o *object) template(k *kind) (template, replicas string) {
	template = o.whole
	for i, name := range k.template {
		if i == 0 && name == "spec" {
			template = o.spec
			continue
		}
		found := ""
		for m := membersOf(template); m.next(); {
			if found == "" && (m.key == name || m.escaped && equalEscaped(m.key, name)) {
				found = m.val
			} else if i == 1 && m.name() == "replicas" {
				keep(&replicas, m.val)
			}
			if found != "" && (i != 1 || replicas != "") {
				break
			}
		}
		template = found
	}
	if len(k.template) == 0 || !isTemplate(template) {
		return "", replicas
	}
	return template, replicas
}

func isTemplate(raw string) bool { return len(raw) > 2 && (raw[0] == '{' || raw[0] == '[') }

// metadata holds the raw members of an object's metadata.
type metadata struct {
	name, generateName, namespace, uid, version, labels, annotations, owners string
}

// metadata takes the metadata that begin here. What is no object has none.
func (c *cursor) metadata() (o metadata) {
	for ok := c.open('{'); ok; {
		var name string
		if name, ok = c.key(); !ok {
			break
		}
		val := c.skip()
		switch name {
		case "name":
			keep(&o.name, val)
		case "generateName":
			keep(&o.generateName, val)
		case "namespace":
			keep(&o.namespace, val)
		case "uid":
			keep(&o.uid, val)
		case "resourceVersion":
			keep(&o.version, val)
		case "labels":
			keep(&o.labels, val)
		case "annotations":
			keep(&o.annotations, val)
		case "ownerReferences":
			keep(&o.owners, val)
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
	for _, c := range m.controllers[user] {
		if c.Child != "" && c.Child != k.kind {
			continue
		}
		if !b.visible {
			return true
		}
		if o.controller && (textIs(o.kind, c.Owner) || c.Owner == "" && !empty(o.kind)) {
			return true
		}
	}
	return false
}
