package audit

import "strings"

// Detail says how much of a workload the event shows.
type Detail string

// The details.
const (
	// DetailFull: the pod template is there.
	DetailFull Detail = "full"
	// DetailMetadata: only the metadata of the object.
	DetailMetadata Detail = "metadata"
	// DetailNone: no object at all, because of the audit level or because the event was truncated.
	DetailNone Detail = "none"
)

// Label is a key with its value.
type Label struct {
	Key, Value string
}

// Owner is an ownerReference.
type Owner struct {
	Kind, APIVersion, Name, UID string
	// Controller: it is the one that controls the object.
	Controller bool
}

// Root is the topmost owner.
type Root struct {
	Kind, Name string
}

// Int is a number that may be unset or unknown.
type Int struct {
	N     int64
	Known bool
}

// Bool is a flag that may be unset or unknown.
type Bool uint8

// The values of a Bool.
const (
	Unset Bool = iota
	False
	True
)

// Workload is what was created or changed, or would have been.
type Workload struct {
	Kind, APIVersion, Group, Resource string
	Namespace                         string
	// Name is "" where the event does not tell it; NameUnknown then is set.
	Name        string
	NameUnknown bool
	// GenerateName is the prefix that the client asked for.
	GenerateName    string
	UID             string
	ResourceVersion string
	Labels          []Label
	// Annotations leave out the value of kubectl's last-applied-configuration, which is a whole object.
	Annotations []Label
	// Owner is the controlling owner, else the first one; all "" where there is none.
	Owner Owner
	// Root is the topmost owner as far as this one event tells; all "" where there is none.
	Root Root
	// Controlled: it was made by the controller of its owner. Where the event shows no object, by who made it alone.
	Controlled bool
	Replicas   Int
	// Revision is the Deployment controller's own counter of changes.
	Revision Int
	Detail   Detail
	// TemplateFrom says where the pod template was found, see [View.PodTemplate].
	TemplateFrom From
}

const (
	lastApplied  = "kubectl.kubernetes.io/last-applied-configuration"
	revisionKey  = "deployment.kubernetes.io/revision"
	templateHash = "pod-template-hash"
)

// read fills the workload. User and impersonated are the effective user.
func (w *Workload) read(m *Model, v *View, r *request, d *decision) {
	labels, annotations := w.Labels[:0], w.Annotations[:0]
	k, mem := d.kind, &v.mem
	b := &v.bodies
	*b = m.bodiesOf(k, r.verb, v.requestObject, v.responseObject)
	meta := &b.metadata
	*w = Workload{
		Kind: k.kind, Group: k.group, Resource: k.resource,
		Namespace:       v.Object.Namespace,
		Name:            v.Object.Name,
		GenerateName:    mem.text(meta.generateName),
		ResourceVersion: mem.text(meta.version),
		TemplateFrom:    b.from,
		Detail:          DetailNone,
	}
	w.APIVersion = w.apiVersion(b, &v.Object, mem)
	if v.Object.Group != "" {
		w.Group = v.Object.Group
	}
	if w.Namespace == "" {
		w.Namespace = mem.text(meta.namespace)
	}
	if w.Name == "" {
		w.Name = mem.text(meta.name)
	}
	w.NameUnknown = w.Name == ""
	// What a client sends as uid is its own idea, but on something that exists it must be the right one.
	if b.response.described || v.Outcome == Changed {
		w.UID = mem.text(meta.uid)
	}
	if w.UID == "" {
		w.UID = v.Object.UID
	}
	w.Labels = appendLabels(labels, meta.labels, mem)
	w.Annotations = appendLabels(annotations, meta.annotations, mem)
	switch {
	case b.template != "":
		w.Detail = DetailFull
	case b.visible:
		w.Detail = DetailMetadata
	}
	w.Replicas = intOf(b.replicas)
	w.Revision = intOf(member(meta.annotations, revisionKey))

	o, owned := ownerOf(meta.owners)
	if owned {
		w.Owner = Owner{
			Kind: mem.text(o.kind), APIVersion: mem.text(o.version), Name: mem.text(o.name), UID: mem.text(o.uid),
			Controller: o.controller,
		}
		w.Root = w.root(meta.labels, mem)
	}
	w.Controlled = m.isChild(k, v.Actor.Name, v.Actor.Impersonated, b, &o)
}

// apiVersion is that of the object where it shows one, else that of the request.
func (w *Workload) apiVersion(b *bodies, o *ObjectRef, mem *arena) string {
	for _, raw := range []string{b.response.version, b.request.version} {
		if version := mem.text(raw); version != "" {
			return version
		}
	}
	if o.Group == "" || o.Version == "" {
		return o.Version
	}
	return mem.join("/", o.Group, o.Version)
}

// root follows the chain of owners as far as one event tells: a ReplicaSet named after a Deployment and the hash of its
// template belongs to that Deployment.
func (w *Workload) root(labels string, mem *arena) Root {
	r := Root{Kind: w.Owner.Kind, Name: w.Owner.Name}
	if r.Kind == "ReplicaSet" && w.Kind == "Pod" {
		if name, ok := trimHash(r.Name, mem.text(member(labels, templateHash))); ok {
			return Root{Kind: "Deployment", Name: name}
		}
	}
	return r
}

func trimHash(name, hash string) (owner string, ok bool) {
	if hash == "" {
		return "", false
	}
	if owner, ok = strings.CutSuffix(name, hash); !ok {
		return "", false
	}
	owner, ok = strings.CutSuffix(owner, "-")
	return owner, ok && owner != ""
}

func intOf(raw string) Int {
	n, ok := number(raw)
	if !ok {
		return Int{}
	}
	return Int{N: n, Known: true}
}

func boolOf(raw string) Bool {
	switch raw {
	case "true":
		return True
	case "false":
		return False
	}
	return Unset
}

// appendLabels appends the members of a raw map of strings. Of duplicate keys the first stays.
func appendLabels(dst []Label, raw string, mem *arena) []Label {
	for m := membersOf(raw); m.next(); {
		if !isString(m.val) {
			continue
		}
		key, value := mem.plain(m.key), ""
		if key != lastApplied {
			value = mem.text(m.val)
		}
		if len(dst) < maxUnique && hasLabel(dst, key) {
			continue
		}
		dst = append(dst, Label{key, value})
	}
	return dst
}

// maxUnique bounds the search for duplicate keys: in larger maps, which no real object has, duplicates stay.
const maxUnique = 256

func hasLabel(list []Label, key string) bool {
	for i := range list {
		if list[i].Key == key {
			return true
		}
	}
	return false
}
