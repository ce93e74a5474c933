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
	line := lookup(f.properties, "log")
	switch {
	case isObject(line):
		r.read(line, in, v)
	case len(line) > 0 && line[0] == '"':
		r.read(r.text(line), in, v)
	default:
		v.Fault(u.fault(Foreign, "expected the audit event as a string in properties.log of a kube-audit record, found none"))
	}
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
