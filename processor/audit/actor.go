package audit

import "strings"

// ActorType is the kind of a user, told from the name alone.
type ActorType string

// The types of actors.
const (
	// User is a person, or a program that authenticates as one.
	User ActorType = "user"
	// ServiceAccount is system:serviceaccount:NAMESPACE:NAME.
	ServiceAccount ActorType = "serviceaccount"
	// Node is a kubelet, system:node:NAME.
	Node ActorType = "node"
	// System is a component of the control plane, system:NAME.
	System ActorType = "system"
	// Anonymous is system:anonymous, or nobody: a request that failed authentication has no user at all.
	Anonymous ActorType = "anonymous"
)

// Identity is a user as Kubernetes knows one.
type Identity struct {
	Name   string
	UID    string
	Groups []string
	// CredentialID names the very certificate (X509SHA256=…) or token (JTI=…) used, "" where unknown.
	CredentialID string
}

// Actor is who made the request.
type Actor struct {
	// Identity is the effective user: the impersonated one where there is one.
	Identity
	Type ActorType
	// Namespace is that of a service account, Account its name; both "" for everybody else.
	Namespace, Account string
	// Impersonated: the authenticated user acted as somebody else. ImpersonatedBy is then who that user is.
	Impersonated   bool
	ImpersonatedBy Identity
}

// read fills the actor from the raw user and impersonatedUser.
func (a *Actor) read(user, impersonated string, mem *arena) {
	groups, byGroups := a.Groups[:0], a.ImpersonatedBy.Groups[:0]
	*a = Actor{}
	a.Groups, a.ImpersonatedBy.Groups = groups, byGroups
	a.Impersonated = !absent(impersonated)
	if a.Impersonated {
		a.ImpersonatedBy.read(user, mem)
		a.Identity.read(impersonated, mem)
		if a.Name == "" {
			a.Name = a.ImpersonatedBy.Name
		}
	} else {
		a.Identity.read(user, mem)
	}
	a.Type, a.Namespace, a.Account = classify(a.Name)
}

func (id *Identity) read(raw string, mem *arena) {
	var name, uid, groups, extra string
	for m := membersOf(raw); m.next(); {
		switch m.name() {
		case "username":
			keep(&name, m.val)
		case "uid":
			keep(&uid, m.val)
		case "groups":
			keep(&groups, m.val)
		case "extra":
			keep(&extra, m.val)
		}
	}
	id.Name, id.UID = mem.text(name), mem.text(uid)
	id.Groups = appendTexts(id.Groups[:0], groups, mem)
	if extra != "" {
		credential := elementsOf(member(extra, "authentication.kubernetes.io/credential-id"))
		if credential.next() {
			id.CredentialID = mem.text(credential.val)
		}
	}
}

// appendTexts appends the strings of a raw list.
func appendTexts(dst []string, raw string, mem *arena) []string {
	for e := elementsOf(raw); e.next(); {
		if isString(e.val) {
			dst = append(dst, mem.text(e.val))
		}
	}
	return dst
}

func classify(name string) (t ActorType, namespace, account string) {
	rest, system := strings.CutPrefix(name, "system:")
	switch {
	case name == "" || rest == "anonymous" && system:
		return Anonymous, "", ""
	case !system:
		return User, "", ""
	}
	if full, ok := strings.CutPrefix(rest, "serviceaccount:"); ok {
		namespace, account, ok = strings.Cut(full, ":")
		if ok && namespace != "" && account != "" {
			return ServiceAccount, namespace, account
		}
		return System, "", ""
	}
	if node, ok := strings.CutPrefix(rest, "node:"); ok && node != "" {
		return Node, "", ""
	}
	return System, "", ""
}
