package audit

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unsafe"
)

// The events read here have been found valid before, so this reader only has to find its way: it returns spans of the
// text, decodes nothing that isn't asked for, never recurses and never allocates. Given text that is not JSON it may
// return nonsense, but stays within the text and comes to an end.
//
// gjson would be the choice if it didn't decode every string that it passes: requestURI holds \u0026 in a quarter of
// real events, and each would cost an allocation.

// lend views bytes as a string without a copy: it lives as long as the bytes do.
func lend(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

// Eight bytes at a time: each lane of a word is one byte of text.
const (
	lanes   = 0x0101010101010101
	highs   = lanes * 0x80
	quotes  = lanes * '"'
	slashes = lanes * '\\'
)

// skipString returns the offset behind the string that opens at s[i], and whether it holds an escape.
func skipString(s string, i int) (end int, escaped bool) {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	for i++; i < len(b); {
		if len(b)-i >= 8 {
			w := binary.LittleEndian.Uint64(b[i:])
			q, e := w^quotes, w^slashes
			// A subtraction borrows only into lanes above a marked one, so the lowest mark is exact.
			m := ((q-lanes)&^q | (e-lanes)&^e) & highs
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
		}
		switch b[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			i++
		}
		i++
	}
	return len(s), escaped
}

// skipText is skipString for those who need only the end. Most strings are short; of a long one the rest is left to
// IndexByte, which looks at more bytes at a time.
func skipText(s string, i int) int {
	const near = 4
	for i++; ; {
		b := unsafe.Slice(unsafe.StringData(s), len(s))
		for n := 0; n < near && len(b)-i >= 8; n++ {
			w := binary.LittleEndian.Uint64(b[i:])
			q := w ^ quotes
			m := (q - lanes) &^ q & highs
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				goto quote
			}
			i += 8
		}
		if at := strings.IndexByte(s[i:], '"'); at >= 0 {
			i += at
		} else {
			return len(s)
		}
	quote:
		// The quote is escaped if an odd number of backslashes stands before it.
		slashes := 0
		for i-slashes > 0 && b[i-slashes-1] == '\\' {
			slashes++
		}
		i++
		if slashes&1 == 0 {
			return i
		}
	}
}

// structural marks the bytes at which skipping a container must look.
var structural = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true}

// skipValue returns the offset behind the value that begins at s[i].
func skipValue(s string, i int) int {
	if i >= len(s) {
		return len(s)
	}
	switch s[i] {
	case '"':
		return skipText(s, i)
	case '{', '[':
		depth := 1
		for i++; i < len(s); {
			c := s[i]
			if !structural[c] {
				i++
				continue
			}
			switch c {
			case '"':
				i = skipText(s, i)
				continue
			case '{', '[':
				depth++
			default:
				depth--
			}
			i++
			if depth == 0 {
				return i
			}
		}
		return len(s)
	}
	for i < len(s) && s[i] != ',' && s[i] != '}' && s[i] != ']' && s[i] > ' ' {
		i++
	}
	return i
}

// cursor reads values one behind the other, so that what is inside of a value is read once, however deep it lies. Each
// value must be taken, by skip or by open, before the next is asked for.
type cursor struct {
	s string
	i int
}

// open enters the object or list that begins here; anything else it skips.
func (c *cursor) open(bracket byte) bool {
	if c.i < len(c.s) && c.s[c.i] == bracket {
		c.i++
		return true
	}
	c.skip()
	return false
}

// key moves to the next member of the object around, or out of it.
func (c *cursor) key() (name string, ok bool) {
	key, escaped, ok := c.rawKey()
	if escaped {
		key = known(key)
	}
	return key, ok
}

// rawKey is key with the text between the quotes as it stands.
func (c *cursor) rawKey() (key string, escaped, ok bool) {
	i := skipSpace(c.s, c.i)
	if i < len(c.s) && c.s[i] == ',' {
		i = skipSpace(c.s, i+1)
	}
	if i >= len(c.s) || c.s[i] != '"' {
		c.i = min(i+1, len(c.s))
		if c.i > 0 && c.s[c.i-1] != '}' { // no JSON
			c.i = len(c.s)
		}
		return "", false, false
	}
	end, escaped := skipString(c.s, i)
	if end-i < 2 {
		c.i = len(c.s)
		return "", false, false
	}
	key = c.s[i+1 : end-1]
	i = skipSpace(c.s, end)
	if i < len(c.s) && c.s[i] == ':' {
		i = skipSpace(c.s, i+1)
	}
	c.i = i
	return key, escaped, true
}

// element moves to the next element of the list around, or out of it.
func (c *cursor) element() bool {
	i := skipSpace(c.s, c.i)
	if i < len(c.s) && c.s[i] == ',' {
		i = skipSpace(c.s, i+1)
	}
	if i < len(c.s) && c.s[i] == ']' {
		c.i = i + 1
		return false
	}
	c.i = i
	return i < len(c.s)
}

// skip takes the value that begins here.
func (c *cursor) skip() (raw string) {
	start := c.i
	c.i = skipValue(c.s, start)
	if c.i == start { // no JSON
		c.i = len(c.s)
	}
	return c.s[start:c.i]
}

// members walks the members of an object. The zero value walks nothing.
type members struct {
	s string
	i int
	// key is the text between the quotes, val the raw value: both parts of the object.
	key, val string
	escaped  bool
}

// membersOf begins to walk raw, which may be anything: what is no object has no members.
func membersOf(raw string) members {
	if len(raw) == 0 || raw[0] != '{' {
		return members{}
	}
	return members{s: raw, i: 1}
}

func (m *members) next() (ok bool) {
	c := cursor{m.s, m.i}
	if m.key, m.escaped, ok = c.rawKey(); !ok {
		m.i = len(m.s)
		return false
	}
	m.val = c.skip()
	m.i = c.i
	return true
}

// name is the key as a plain text where it is one of those that mean something to this package, however it is escaped.
func (m *members) name() string {
	if !m.escaped {
		return m.key
	}
	return known(m.key)
}

// known returns that key of this package which an escaped text says, else the text as it stands: no plain key equals it.
func known(escaped string) string {
	for _, key := range knownKeys {
		if equalEscaped(escaped, key) {
			return key
		}
	}
	return escaped
}

// knownKeys are all keys that this package looks for by name.
var knownKeys = [...]string{
	"add", "allowPrivilegeEscalation", "annotations", "apiGroup", "apiVersion", "args", "audit.k8s.io/truncated",
	"auditID", "authorization.k8s.io/decision", "authorization.k8s.io/reason", "automountServiceAccountToken",
	"capabilities", "claimName", "code", "command", "configMap", "configMapRef", "container", "containerPort",
	"containers", "controller", "cpu", "driver", "drop", "env", "envFrom", "ephemeralContainers", "extra", "from",
	"generateName", "groups", "hostIPC", "hostNetwork", "hostPID", "hostPath", "hostPort", "hostUsers", "image",
	"impersonatedUser", "initContainers", "jobTemplate", "kind", "labels", "level", "limits", "medium", "memory",
	"message", "metadata", "name", "namespace", "nodeName", "object", "objectRef", "op", "ownerReferences", "path",
	"persistentVolumeClaim", "ports", "privileged", "procMount", "protocol", "readOnlyRootFilesystem", "reason",
	"replicas", "requestObject", "requestReceivedTimestamp", "requestURI", "requests", "resource", "resourceVersion",
	"resources", "responseObject", "responseStatus", "restartPolicy", "rows", "runAsGroup", "runAsNonRoot",
	"runAsUser", "script", "seccompProfile", "secret", "secretName", "secretRef", "securityContext", "server",
	"source",
	"serviceAccount", "serviceAccountName", "sidecars", "sourceIPs", "sources", "spec", "stage", "stageTimestamp",
	"status", "subresource", "template", "timestamp", "type", "uid", "user", "userAgent", "username", "value", "verb",
	"volumes", "deployment.kubernetes.io/revision", "pod-template-hash",
}

// elements walks the elements of a list.
type elements struct {
	s   string
	i   int
	val string
}

func elementsOf(raw string) elements {
	if len(raw) == 0 || raw[0] != '[' {
		return elements{}
	}
	return elements{s: raw, i: 1}
}

func (e *elements) next() bool {
	c := cursor{e.s, e.i}
	if !c.element() {
		e.i = len(e.s)
		return false
	}
	e.val = c.skip()
	e.i = c.i
	return true
}

// member returns the raw value of one member, "" where there is none.
func member(raw, name string) string {
	for m := membersOf(raw); m.next(); {
		if m.key == name || m.escaped && equalEscaped(m.key, name) {
			return m.val
		}
	}
	return ""
}

// at returns the raw value at a path of members, "" where there is none.
func at(raw string, path []string) string {
	for _, name := range path {
		if raw = member(raw, name); raw == "" {
			return ""
		}
	}
	return raw
}
