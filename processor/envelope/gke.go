package envelope

import "bytes"

// gkeEntry is what a Cloud Audit LogEntry says about one Kubernetes request. All are raw JSON values of the entry, nil
// where absent, but for the parts of method and resourceName, which are plain text.
type gkeEntry struct {
	method                                  gkeMethod
	namespace, name                         []byte
	user, callerIP, userAgent               []byte
	request, response                       []byte
	statusCode, statusMessage               []byte
	responseStatus                          []byte // response.status where it is a string: Success or Failure
	responseCode, responseReason            []byte
	responseMessage                         []byte
	denied                                  bool // authorizationInfo[].granted is false
	uri, auditID, first, last, at, labelled []byte
}

// gkeMethod is a methodName taken apart: io.k8s.<group>.<version>.<resource>[.<subresource>].<verb>.
type gkeMethod struct {
	group, version, resource, subresource, verb []byte
}

// maxSegments is how many parts a methodName or resourceName is split into at most.
const maxSegments = 16

// gke rebuilds an audit event out of a Cloud Audit LogEntry (google.cloud.audit.AuditLog under protoPayload). What the
// entry does not say stays out: groups, uid, the query of the URI, the exact code of a successful patch.
func (r *Reader) gke(f *fields, u *unit, v Visitor) {
	var (
		e       gkeEntry
		service []byte
		method  []byte
		path    []byte
		m       members
	)
	m.open(f.protoPayload, 0, MaxDepth)
	for m.next() {
		value := m.skip()
		switch string(m.name()) {
		case "serviceName":
			first(&service, r.text(value))
		case "methodName":
			first(&method, r.text(value))
		case "resourceName":
			first(&path, r.text(value))
		case "authenticationInfo":
			if e.user == nil {
				e.user = stringOf(value, "principalEmail")
			}
			if e.user == nil {
				e.user = stringOf(value, "principalSubject")
			}
		case "authorizationInfo":
			e.denied = e.denied || anyDenied(value)
		case "requestMetadata":
			if e.callerIP == nil {
				e.callerIP = stringOf(value, "callerIp")
			}
			if e.callerIP == nil {
				e.callerIP = stringOf(value, "callerIP") // as some pipelines write it
			}
			if e.userAgent == nil {
				e.userAgent = stringOf(value, "callerSuppliedUserAgent")
			}
		case "request":
			first(&e.request, value)
		case "response":
			first(&e.response, value)
		case "requestURI":
			if isQuoted(value) {
				first(&e.uri, value)
			}
		case "status":
			if e.statusCode == nil {
				e.statusCode = lookup(value, "code")
				e.statusMessage = stringOf(value, "message")
			}
		}
	}
	if method == nil {
		v.Fault(u.fault(Foreign, "expected a methodName in the protoPayload of a Cloud Audit LogEntry, found none"))
		return
	}
	rest, kubernetes := bytes.CutPrefix(method, []byte("io.k8s."))
	if service != nil && string(service) != "k8s.io" || service == nil && !kubernetes {
		v.Ignored(GKEOtherService)
		return
	}
	if !e.method.parse(method, rest, kubernetes) {
		v.Ignored(GKENonResource)
		return
	}
	e.locate(path)
	e.surroundings(f)

	out := *u
	out.wrapper = GKE
	if name := r.text(lookup(lookup(f.resource, "labels"), "cluster_name")); len(name) > 0 {
		out.cluster = r.name(name)
	}
	size := 1024 + len(f.protoPayload) + len(f.labels)
	event := r.scratch.keep(e.appendEvent(r.scratch.room(size), path))
	v.Event(Item{Event: event, Raw: out.raw, Index: out.index, Cluster: out.cluster, Wrapper: GKE, Rebuilt: true})
}

// first sets what is not set yet.
func first(dst *[]byte, value []byte) {
	if *dst == nil {
		*dst = value
	}
}

func isQuoted(raw []byte) bool { return len(raw) > 2 && raw[0] == '"' }

// stringOf returns the raw string that a validated object holds under key, nil where it is absent, empty or no string.
func stringOf(object []byte, key string) []byte {
	if value := lookup(object, key); isQuoted(value) {
		return value
	}
	return nil
}

// anyDenied looks for an explicit "granted": false. An absent one says nothing: protobuf leaves out what is false, and
// pipelines leave out what is true.
func anyDenied(raw []byte) bool {
	if len(raw) == 0 || raw[0] != '[' {
		return false
	}
	var list elements
	list.open(raw, 0, MaxDepth)
	for e := list.next(); e != nil; e = list.next() {
		if string(lookup(e, "granted")) == "false" {
			return true
		}
	}
	return false
}

// parse takes a methodName apart; rest is what follows io.k8s. in it. Custom resources have their own group, reversed,
// in place of io.k8s: io.argoproj.v1alpha1.rollouts.create. It returns false for what names no resource.
func (m *gkeMethod) parse(method, rest []byte, kubernetes bool) bool {
	if !kubernetes {
		rest = method
	}
	var segs [maxSegments][]byte
	n := split(segs[:], rest, '.')
	at := 0 // offset of segs[i]
	for i := 1; i+2 < n; i++ {
		at += len(segs[i-1]) + 1
		if !isVersion(segs[i]) {
			continue
		}
		m.version, m.resource, m.verb = segs[i], segs[i+1], segs[n-1]
		if i+3 < n {
			m.subresource = segs[i+2]
		}
		m.group = rest[:at-1]
		return len(m.resource) > 0 && len(m.verb) > 0
	}
	// io.k8s.get: a path such as /healthz, named by resourceName.
	if kubernetes && n == 1 {
		switch string(rest) {
		case "get", "head", "post", "put", "patch", "delete", "options":
			m.verb = rest
			return true
		}
	}
	return false
}

// isVersion matches v1, v2beta1, v1alpha3.
func isVersion(s []byte) bool {
	if len(s) < 2 || s[0] != 'v' || s[1]-'0' > 9 {
		return false
	}
	s = bytes.TrimLeft(s[1:], "0123456789")
	if len(s) == 0 {
		return true
	}
	rest, found := bytes.CutPrefix(s, []byte("alpha"))
	if !found {
		rest, found = bytes.CutPrefix(s, []byte("beta"))
	}
	return found && len(rest) > 0 && len(bytes.TrimLeft(rest, "0123456789")) == 0
}

// split cuts s at sep into at most len(segs) parts and returns their number, 0 when there are more.
func split(segs [][]byte, s []byte, sep byte) int {
	for n := range segs {
		i := bytes.IndexByte(s, sep)
		if i < 0 {
			segs[n] = s
			return n + 1
		}
		segs[n], s = s[:i], s[i+1:]
	}
	return 0
}

// locate reads namespace, name and group from a resourceName such as apps/v1/namespaces/shop/deployments/web. The
// group there is written as Kubernetes writes it; a methodName has it reversed and without .k8s.io.
func (e *gkeEntry) locate(path []byte) {
	m := &e.method
	var segs [maxSegments][]byte
	n := split(segs[:], path, '/')
	if m.resource == nil || n < 3 || !bytes.Equal(segs[1], m.version) {
		m.group = groupOf(m.group)
		return
	}
	m.group = segs[0]
	if string(m.group) == "core" {
		m.group = nil
	}
	at := 2
	if n >= 5 && string(segs[2]) == "namespaces" && bytes.Equal(segs[4], m.resource) {
		e.namespace = segs[3]
		at = 4
	}
	if bytes.Equal(segs[at], m.resource) && at+1 < n {
		e.name = segs[at+1]
	}
}

// groupOf is the group by the methodName alone: core is the empty one, apps and batch are as they are. One with dots
// stays reversed as it is there: it is never taken for a built-in one.
func groupOf(reversed []byte) []byte {
	if string(reversed) == "core" {
		return nil
	}
	return reversed
}

// surroundings takes what the LogEntry says outside of its protoPayload, and what the response says about the outcome.
func (e *gkeEntry) surroundings(f *fields) {
	e.auditID = stringOf(f.operation, "id")
	if e.auditID == nil && isQuoted(f.insertID) {
		e.auditID = f.insertID
	}
	e.first, e.last = lookup(f.operation, "first"), lookup(f.operation, "last")
	if isQuoted(f.timestamp) {
		e.at = f.timestamp
	}
	if isObject(f.labels) {
		e.labelled = f.labels
	}
	e.responseStatus = stringOf(e.response, "status")
	if e.responseStatus != nil {
		e.responseCode = lookup(e.response, "code")
		e.responseReason = stringOf(e.response, "reason")
		e.responseMessage = stringOf(e.response, "message")
	}
}
