package audit

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Annotations that the API server's authorizers write.
const (
	decisionKey = "authorization.k8s.io/decision"
	reasonKey   = "authorization.k8s.io/reason"
)

// Grant is why the request was allowed, from the annotation authorization.k8s.io/reason. All is "" where the event does
// not tell: for members of system:masters, for what was refused, and where another authorizer than RBAC decided.
type Grant struct {
	// Known: the reason names a binding.
	Known bool
	// Decision is allow or forbid. A request that admission refused was still allowed.
	Decision string
	// Binding is the name of the binding, BindingKind RoleBinding or ClusterRoleBinding, BindingNamespace that of a
	// RoleBinding.
	Binding, BindingKind, BindingNamespace string
	// Role is the name of the role, RoleKind Role or ClusterRole.
	Role, RoleKind string
	// Subject is the user, group or service account that the binding names, SubjectKind User, Group or ServiceAccount.
	// A service account is written namespace/name (in the event it stands the other way round).
	Subject, SubjectKind string
	// Scope is "cluster", or the name of the one namespace.
	Scope string
	// Reason is the annotation as it stands.
	Reason string
}

// read takes the grant from the raw annotations of the event.
func (g *Grant) read(annotations string, mem *arena) {
	*g = Grant{}
	var decision, reason string
	for m := membersOf(annotations); m.next(); {
		switch m.name() {
		case decisionKey:
			keep(&decision, m.val)
		case reasonKey:
			keep(&reason, m.val)
		}
	}
	g.Decision, g.Reason = mem.text(decision), mem.text(reason)
	g.parse(g.Reason, mem)
}

// parse reads the sentence of the RBAC authorizer:
//
//	RBAC: allowed by RoleBinding "devs/team-a" of ClusterRole "edit" to User "alice"
//
// Names are quoted as Go does it. A cloud's own authorizer may put other words before "allowed by".
func (g *Grant) parse(reason string, mem *arena) {
	_, rest, ok := strings.Cut(reason, "allowed by ")
	if !ok {
		return
	}
	var p Grant
	if p.BindingKind, p.Binding, rest, ok = kindAndName(rest, mem); !ok {
		return
	}
	if rest, ok = strings.CutPrefix(rest, " of "); !ok {
		return
	}
	if p.RoleKind, p.Role, rest, ok = kindAndName(rest, mem); !ok {
		return
	}
	if rest, ok = strings.CutPrefix(rest, " to "); !ok {
		return
	}
	if p.SubjectKind, p.Subject, _, ok = kindAndName(rest, mem); !ok {
		return
	}
	switch p.BindingKind {
	case "RoleBinding":
		// Neither part can hold a slash.
		if i := strings.LastIndexByte(p.Binding, '/'); i >= 0 {
			p.Binding, p.BindingNamespace = p.Binding[:i], p.Binding[i+1:]
		}
		p.Scope = p.BindingNamespace
	case "ClusterRoleBinding":
		p.Scope = "cluster"
	default:
		return
	}
	if p.SubjectKind == "ServiceAccount" {
		if i := strings.LastIndexByte(p.Subject, '/'); i >= 0 {
			p.Subject = mem.join("/", p.Subject[i+1:], p.Subject[:i])
		}
	}
	p.Known, p.Decision, p.Reason = true, g.Decision, g.Reason
	*g = p
}

// kindAndName reads a kind and a quoted name.
func kindAndName(s string, mem *arena) (kind, name, rest string, ok bool) {
	kind, s, ok = strings.Cut(s, " ")
	if !ok {
		return "", "", "", false
	}
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil || quoted[0] != '"' {
		return "", "", "", false
	}
	rest = s[len(quoted):]
	name = quoted[1 : len(quoted)-1]
	if strings.IndexByte(name, '\\') < 0 {
		return kind, name, rest, true
	}
	// What Go escapes is rare in a name, and never longer than what stands for it.
	mem.room(len(name))
	start := len(mem.buf)
	for name != "" {
		r, multibyte, tail, err := strconv.UnquoteChar(name, '"')
		if err != nil {
			return "", "", "", false
		}
		if r < 0x80 || !multibyte {
			mem.buf = append(mem.buf, byte(r))
		} else {
			mem.buf = utf8.AppendRune(mem.buf, r)
		}
		name = tail
	}
	return kind, lend(mem.buf[start:len(mem.buf):len(mem.buf)]), rest, true
}
