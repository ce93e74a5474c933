package alert

import (
	"net/netip"
	"strings"
)

// peer is the address the request came from: the last one, the earlier ones are claims.
func (a *Alert) peer() string {
	if n := len(a.Actor.SourceIPs); n > 0 {
		return a.Actor.SourceIPs[n-1]
	}
	return ""
}

// isAddress reports whether s is an address as ip_t of OCSF and the type ip of ECS take it.
func isAddress(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Zone() == ""
}

func appendOCSFEvidences(dst []byte, a *Alert) []byte {
	dst = appendOCSFUser(append(dst, `[{"name":"request","actor":{"user":`...), &a.Actor)
	if g := &a.Actor.Grant; g.Known {
		dst = str(dst, `,"authorizations":[{"decision":"allow","policy":{"type":"RBAC","name":`, g.Role)
		dst = str(dst, `,"uid":`, g.Binding)
		dst = str(dst, `,"desc":`, g.Reason)
		dst = append(dst, `}}]`...)
	}
	r := &a.Request
	dst = str(dst, `},"api":{"operation":`, r.Verb)
	dst = str(dst, `,"version":`, r.Object.Version)
	if r.Object.Group != "" {
		dst = str(dst, `,"group":{"name":`, r.Object.Group)
		dst = append(dst, '}')
	}
	dst = str(dst, `,"service":{"name":"kube-apiserver"},"request":{"uid":`, r.AuditID)
	dst = str(dst, `},"response":{"message":`, r.Message)
	if r.Code.Known {
		dst = integer(dst, `,"code":`, r.Code.N)
	}
	dst = append(dst, `}}`...)
	if ip := a.peer(); ip != "" {
		dst = appendOCSFEndpoint(append(dst, `,"src_endpoint":`...), a, ip)
	}
	path, query, _ := strings.Cut(r.URI, "?")
	dst = str(dst, `,"http_request":{"user_agent":`, a.Actor.UserAgent)
	if m := httpMethod(r.Verb); m != "" {
		dst = str(dst, `,"http_method":`, m)
	}
	dst = str(dst, `,"url":{"path":`, path)
	dst = str(dst, `,"query_string":`, query)
	dst = append(dst, `},"x_forwarded_for":[`...)
	n := 0
	for _, ip := range a.Actor.SourceIPs[:max(0, len(a.Actor.SourceIPs)-1)] {
		if isAddress(ip) {
			if n++; n > 1 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, ip)
		}
	}
	dst = append(dst, `]}`...)
	if len(a.Event) > 0 {
		dst = appendRaw(append(dst, `,"data":`...), a.Event)
	}
	dst = append(dst, '}')
	if a.Workload != nil {
		for i := range a.Workload.Containers {
			dst = appendOCSFContainer(append(dst, ','), &a.Workload.Containers[i])
		}
	}
	return append(dst, ']')
}

func appendOCSFUser(dst []byte, a *Actor) []byte {
	dst = str(dst, `{"name":`, a.User)
	if a.UID != "" {
		dst = str(dst, `,"uid":`, a.UID)
	}
	t := ocsfUserType(a.Type)
	dst = integer(dst, `,"type_id":`, t.id)
	dst = str(dst, `,"type":`, t.caption)
	dst = array(dst, `,"groups":`, a.Groups, func(dst []byte, g *string) []byte {
		dst = str(dst, `{"name":`, *g)
		return append(dst, '}')
	})
	return append(dst, '}')
}

func ocsfUserType(t ActorType) caption {
	switch t {
	case User:
		return caption{1, "User"}
	case Node, System:
		return caption{3, "System"}
	case ServiceAccount:
		return caption{4, "Service"}
	default: // an anonymous request has no user behind it that one could know
		return caption{0, "Unknown"}
	}
}

func appendOCSFEndpoint(dst []byte, a *Alert, ip string) []byte {
	if !isAddress(ip) {
		dst = str(dst, `{"name":`, ip)
		return append(dst, '}')
	}
	dst = str(dst, `{"ip":`, ip)
	for i := range a.Network.SourceIPs {
		s := &a.Network.SourceIPs[i]
		if s.Claimed || s.IP != ip {
			continue
		}
		switch s.Class {
		case IPPrivate, IPLoopback, IPLinkLocal:
			dst = append(dst, `,"network_scope_id":1,"network_scope":"Internal"`...)
		case IPPublic:
			dst = append(dst, `,"network_scope_id":2,"network_scope":"External"`...)
		case IPInvalid:
		}
		break
	}
	return append(dst, '}')
}

// httpMethod is the method behind a verb of an audit event, "" for a verb that is none of Kubernetes' own.
func httpMethod(verb string) string {
	switch verb {
	case "create":
		return "POST"
	case "update":
		return "PUT"
	case "patch":
		return "PATCH"
	case "delete", "deletecollection":
		return "DELETE"
	case "get", "list", "watch":
		return "GET"
	default:
		return ""
	}
}

func appendOCSFContainer(dst []byte, c *Container) []byte {
	dst = str(dst, `{"name":"container","container":{"name":`, c.Name)
	uid, name := c.Image.Digest, c.Image.Repository
	if uid == "" {
		uid = c.Image.Raw
	}
	dst = str(dst, `,"image":{"uid":`, uid)
	if name == "" {
		dst = str(dst, `,"name":`, c.Image.Raw)
	} else {
		dst = str(dst, `,"name":`, c.Image.Registry)
		dst = append(dst[:len(dst)-1], '/')
		dst = appendEscaped(dst, name)
		dst = append(dst, '"')
	}
	if c.Image.Tag != "" {
		dst = str(dst, `,"tags":[{"name":"tag","value":`, c.Image.Tag)
		dst = append(dst, `}]`...)
	}
	dst = appendContainer(append(dst, `}},"data":`...), c)
	return append(dst, '}')
}

func appendOCSFResources(dst []byte, a *Alert) []byte {
	w, o := a.Workload, &a.Request.Object
	if w == nil {
		dst = str(dst, `[{"role_id":1,"role":"Target","type":`, o.Resource)
		dst = str(dst, `,"name":`, o.Name)
		dst = str(dst, `,"namespace":`, o.Namespace)
		dst = str(dst, `,"version":`, o.Version)
		dst = str(dst, `,"data":{"subresource":`, o.Subresource)
		dst = append(dst, `}}`...)
	} else {
		dst = str(dst, `[{"role_id":1,"role":"Target","type":`, w.Kind)
		dst = str(dst, `,"name":`, w.Name)
		dst = str(dst, `,"namespace":`, w.Namespace)
		dst = str(dst, `,"version":`, w.APIVersion)
		if w.UID != "" {
			dst = str(dst, `,"uid":`, w.UID)
		}
		dst = array(dst, `,"labels":`, w.Labels, func(dst []byte, l *Label) []byte {
			dst = append(dst, '"')
			dst = appendEscaped(dst, l.Key)
			dst = append(dst, '=')
			dst = appendEscaped(dst, l.Value)
			return append(dst, '"')
		})
		if a.Owners.Team != "" {
			dst = str(dst, `,"owner":{"name":`, a.Owners.Team)
			dst = append(dst, '}')
		}
		dst = appendWorkloadFacts(append(dst, `,"data":`...), w)
		dst = str(dst, `,"resource":`, o.Resource)
		dst = str(dst, `,"subresource":`, o.Subresource)
		dst = append(dst, `}}`...)
	}
	if a.Cluster != "" {
		dst = str(dst, `,{"role_id":4,"role":"Related","type":"Cluster","name":`, a.Cluster)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendOCSFObservables(dst []byte, a *Alert) []byte {
	dst = str(dst, `[{"name":"evidences.actor.user.name","type_id":4,"type":"User Name","value":`, a.Actor.User)
	dst = append(dst, '}')
	if ip := a.peer(); isAddress(ip) {
		dst = str(dst, `,{"name":"evidences.src_endpoint.ip","type_id":2,"type":"IP Address","value":`, ip)
		dst = append(dst, '}')
	}
	if a.Actor.UserAgent != "" {
		dst = str(dst, `,{"name":"evidences.http_request.user_agent","type_id":16,"type":"HTTP User-Agent","value":`, a.Actor.UserAgent)
		dst = append(dst, '}')
	}
	if w := a.Workload; w != nil {
		dst = str(dst, `,{"name":"resources.name","type_id":38,"type":"Resource Details Object: name","value":`, w.Name)
		dst = append(dst, '}')
		if w.UID != "" {
			dst = str(dst, `,{"name":"resources.uid","type_id":10,"type":"Resource UID","value":`, w.UID)
			dst = append(dst, '}')
		}
		for i := range w.Containers {
			dst = str(dst, `,{"name":"evidences.container","type_id":27,"type":"Container","value":`, w.Containers[i].Image.Raw)
			dst = append(dst, '}')
		}
	}
	return append(dst, ']')
}
