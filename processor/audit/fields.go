package audit

import "strconv"

// Adder takes the values of a computed field. A field may have several. Values are lent: valid until the match ends.
type Adder interface {
	Add(field int, value string)
}

// FieldGroup computes a group of fields out of one event.
type FieldGroup struct {
	// Names are the fields, in the order by which Eval counts them.
	Names []string
	// Needs are the top-level keys whose raw JSON text Eval takes, in this order, "" for what is absent.
	Needs []string
	// Eval adds every value that the event gives. It keeps nothing and doesn't allocate, apart from a chunk of memory
	// now and then for texts that hold escapes or are put together. Safe for concurrent use.
	Eval func(raw []string, out Adder)
	// Implies says which raw fields pin down a value: unless all of the pins hold, the field cannot have it. No pins
	// means that nothing is known. May be nil.
	Implies func(name, value string) []Pin
}

// Pin is a condition on a raw field: it must hold one of Values, or a number in [Min, Max] (where Max ≥ Min and Max isn't
// 0), or, where Absent is set, be absent or null.
type Pin struct {
	Path     string
	Values   []string
	Min, Max float64
	Absent   bool
}

// FieldDoc describes a computed field.
type FieldDoc struct {
	Name, Text string
}

// Fields returns the groups of computed fields. Each is worth its cost alone: the first needs bodies only to tell a
// change of a template, the others are asked only by rules that name one of their fields.
func (m *Model) Fields() []FieldGroup { return m.fields }

// FieldDocs describes all computed fields, in the order of the groups.
func FieldDocs() []FieldDoc {
	var all []FieldDoc
	for _, group := range [...][]FieldDoc{decisionDocs(), workloadDocs(), actorDocs(), grantDocs()} {
		all = append(all, group...)
	}
	return all
}

func namesOf(docs []FieldDoc) []string {
	names := make([]string, len(docs))
	for i := range docs {
		names[i] = docs[i].Name
	}
	return names
}

// scratch is the memory of one Eval. The texts in mem are never overwritten.
type scratch struct {
	mem      arena
	actor    Actor
	template PodTemplate
	joined   []string
}

func (m *Model) fieldGroups() []FieldGroup {
	return []FieldGroup{
		{
			Names:   namesOf(decisionDocs()),
			Needs:   []string{"verb", "stage", "requestURI", "objectRef", "responseStatus", "requestObject", "annotations"},
			Eval:    m.evalDecision,
			Implies: m.impliedByDecision,
		},
		{
			Names: namesOf(workloadDocs()),
			Needs: []string{"verb", "objectRef", "user", "impersonatedUser", "requestObject", "responseObject"},
			Eval:  m.evalWorkload,
			Implies: func(string, string) []Pin {
				return m.writePins()
			},
		},
		{
			Names: namesOf(actorDocs()),
			Needs: []string{"user", "impersonatedUser", "sourceIPs", "userAgent"},
			Eval:  m.evalActor,
		},
		{
			Names: namesOf(grantDocs()),
			Needs: []string{"annotations"},
			Eval:  m.evalGrant,
		},
	}
}

// The fields of a decision.
const (
	fieldOutcome = iota
	fieldDryRun
	fieldTruncated
	fieldKind
	fieldGroup
	fieldNamespace
)

func decisionDocs() []FieldDoc {
	return []FieldDoc{
		{"outcome", "what became of the request: created, unknown (a timeout: it may exist), refused, changed, observed (everything else)"},
		{"dry_run", "true where the query asks for a dry run, else false"},
		{"truncated", "true where the API server left the objects out because the event was too large, else false"},
		{"workload.kind", "kind of the workload that a create, patch or update is about: Pod, Deployment … or a configured one"},
		{"workload.group", "API group of that kind: empty for Pod, apps, batch …"},
		{"workload.namespace", "namespace of that workload by the request"},
	}
}

func (m *Model) evalDecision(raw []string, out Adder) {
	if len(raw) < 7 {
		return
	}
	r := request{
		verb: raw[0], stage: raw[1], uri: raw[2], ref: referenceOf(raw[3]), status: raw[4], object: raw[5], annotations: raw[6],
	}
	d := m.decide(&r)
	out.Add(fieldOutcome, string(d.outcome))
	out.Add(fieldDryRun, strconv.FormatBool(d.dryRun))
	out.Add(fieldTruncated, strconv.FormatBool(d.truncated))
	if !d.writes {
		return
	}
	out.Add(fieldKind, d.kind.kind)
	group := d.kind.group
	if d.kind.extensions && textIs(r.ref.group, "extensions") {
		group = "extensions"
	}
	out.Add(fieldGroup, group)
	if !empty(r.ref.namespace) {
		s := m.take()
		out.Add(fieldNamespace, s.mem.text(r.ref.namespace))
		m.scratch.Put(s)
	}
}

func (m *Model) take() *scratch { return m.scratch.Get().(*scratch) }

func (m *Model) impliedByDecision(name, value string) []Pin {
	switch name {
	case "outcome":
		return m.outcomePins(outcomeOf(value))
	case "workload.kind":
		return m.kindPins(value)
	case "workload.group", "workload.namespace":
		return m.writePins()
	}
	return nil
}

// The fields of an actor.
const (
	fieldUser = iota
	fieldGroups
	fieldUID
	fieldType
	fieldActorNamespace
	fieldAccount
	fieldImpersonated
	fieldImpersonatedBy
	fieldSourceIP
	fieldUserAgent
)

func actorDocs() []FieldDoc {
	return []FieldDoc{
		{"actor.user", "name of the effective user: the impersonated one where there is one"},
		{"actor.groups", "groups of the effective user, one value each"},
		{"actor.uid", "uid of the effective user"},
		{"actor.type", "user, serviceaccount, node, system or anonymous"},
		{"actor.namespace", "namespace of a service account"},
		{"actor.account", "name of a service account, without its namespace"},
		{"actor.impersonated", "true where somebody acts as somebody else, else false"},
		{"actor.impersonated_by", "name of the authenticated user behind an impersonated one"},
		{"actor.source_ip", "address of the peer: the last of sourceIPs, the only one that a client cannot choose"},
		{"actor.user_agent", "what the client says it is"},
	}
}

func (m *Model) evalActor(raw []string, out Adder) {
	if len(raw) < 4 {
		return
	}
	s := m.take()
	defer m.scratch.Put(s)
	a := &s.actor
	a.Groups, a.ImpersonatedBy.Groups = bounded(a.Groups), bounded(a.ImpersonatedBy.Groups)
	a.read(raw[0], raw[1], &s.mem)
	out.Add(fieldUser, a.Name)
	for _, g := range a.Groups {
		out.Add(fieldGroups, g)
	}
	add(out, fieldUID, a.UID)
	out.Add(fieldType, string(a.Type))
	add(out, fieldActorNamespace, a.Namespace)
	add(out, fieldAccount, a.Account)
	out.Add(fieldImpersonated, strconv.FormatBool(a.Impersonated))
	if a.Impersonated {
		out.Add(fieldImpersonatedBy, a.ImpersonatedBy.Name)
	}
	last := ""
	for e := elementsOf(raw[2]); e.next(); {
		last = e.val
	}
	add(out, fieldSourceIP, s.mem.text(last))
	add(out, fieldUserAgent, s.mem.text(raw[3]))
}

// add adds what is there.
func add(out Adder, field int, value string) {
	if value != "" {
		out.Add(field, value)
	}
}

// The fields of a grant.
const (
	fieldDecision = iota
	fieldBinding
	fieldBindingKind
	fieldBindingNamespace
	fieldRole
	fieldRoleKind
	fieldSubject
	fieldSubjectKind
	fieldScope
)

func grantDocs() []FieldDoc {
	return []FieldDoc{
		{"grant.decision", "allow or forbid, by authorization (admission may still have refused)"},
		{"grant.binding", "name of the binding that allowed it; absent for members of system:masters and for what was refused"},
		{"grant.binding_kind", "RoleBinding or ClusterRoleBinding"},
		{"grant.binding_namespace", "namespace of that RoleBinding"},
		{"grant.role", "name of the role that the binding gives"},
		{"grant.role_kind", "Role or ClusterRole"},
		{"grant.subject", "user, group or service account (namespace/name) that the binding names"},
		{"grant.subject_kind", "User, Group or ServiceAccount"},
		{"grant.scope", "cluster, or the name of the one namespace"},
	}
}

func (m *Model) evalGrant(raw []string, out Adder) {
	if len(raw) < 1 || raw[0] == "" {
		return
	}
	s := m.take()
	defer m.scratch.Put(s)
	var g Grant
	g.read(raw[0], &s.mem)
	add(out, fieldDecision, g.Decision)
	if !g.Known {
		return
	}
	out.Add(fieldBinding, g.Binding)
	out.Add(fieldBindingKind, g.BindingKind)
	add(out, fieldBindingNamespace, g.BindingNamespace)
	out.Add(fieldRole, g.Role)
	out.Add(fieldRoleKind, g.RoleKind)
	out.Add(fieldSubject, g.Subject)
	out.Add(fieldSubjectKind, g.SubjectKind)
	add(out, fieldScope, g.Scope)
}
