package envelope

import "bytes"

// isAzure recognises an Azure diagnostic record: a category, and properties, the id of an Azure resource, or the name
// of an operation.
func isAzure(f *fields) bool {
	if len(f.category) == 0 || f.category[0] != '"' {
		return false
	}
	return isObject(f.properties) || isQuoted(f.resourceID) || isQuoted(f.operationName)
}

// azure reads a diagnostic record of AKS. Its categories kube-audit and kube-audit-admin carry the API server's line
// as a string in properties.log; the others carry plain text, or are no concern of Kubernetes at all.
func (r *Reader) azure(f *fields, u *unit, v Visitor) {
	category := r.text(f.category)
	if string(category) != "kube-audit" && string(category) != "kube-audit-admin" {
		v.Ignored(AKSOtherCategory)
		return
	}
	in := *u
	in.level++
	in.wrapper = AKS
	if name := aksCluster(r.text(f.resourceID)); name != nil {
		in.cluster = r.name(name)
	}
	switch line := f.propertiesLog; {
	case isObject(line.raw):
		r.read(line.raw, in, v)
	case line.text != nil:
		r.read(line.text, in, v)
	default:
		v.Fault(u.fault(Foreign, "expected the audit event as a string in properties.log of a kube-audit record, found none"))
	}
}

// properties takes the member properties, and with it the line that may be in its log: decoded as it is walked.
func (r *Reader) properties(m *members, f *fields) bool {
	if f.properties != nil || m.i >= len(m.b) || m.b[m.i] != '{' {
		m.skip()
		return false
	}
	var in members
	in.open(m.b, m.i, m.room)
	for in.next() {
		if string(in.name()) == "log" {
			r.value(&in, &f.propertiesLog)
		} else {
			in.skip()
		}
	}
	f.properties = m.b[m.i:min(in.i, len(m.b))]
	m.i, m.code = in.i, in.code
	return false
}

// aksCluster takes the name out of …/providers/Microsoft.ContainerService/managedClusters/<name>[/…]. Azure writes the
// path in upper case as often as not.
func aksCluster(id []byte) []byte {
	const part = "/managedclusters/"
	for i := 0; i+len(part) <= len(id); i++ {
		if id[i] != '/' || !bytes.EqualFold(id[i:i+len(part)], []byte(part)) {
			continue
		}
		name, _, _ := bytes.Cut(id[i+len(part):], []byte("/"))
		if len(name) == 0 {
			return nil
		}
		return name
	}
	return nil
}
