package audit

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// The events read here have been found valid before, so this reader only has to find its way: it returns spans of the
// text, decodes nothing that isn't asked for, never recurses and never allocates. Given text that is not JSON it may
// return nonsense, but stays within the text and comes to an end.
//
// gjson would be the choice if it didn't decode every string that it passes: requestURI holds \u0026 in a quarter of
// real events, and each would cost an allocation.

// lend views bytes as a string without a copy: it lives as long as the bytes do. This is the only such place here.
func lend(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

// skipString returns the offset behind the string that opens at s[i].
func skipString(s string, i int) int {
	for at := i + 1; ; {
		n := strings.IndexByte(s[at:], '"')
		if n < 0 {
			return len(s)
		}
		quote := at + n
		back := quote
		for back > at && s[back-1] == '\\' {
			back--
		}
		if (quote-back)&1 == 0 {
			return quote + 1
		}
		at = quote + 1
	}
}

// skipValue returns the offset behind the value that begins at s[i].
func skipValue(s string, i int) int {
	if i >= len(s) {
		return len(s)
	}
	switch s[i] {
	case '"':
		return skipString(s, i)
	case '{', '[':
		for depth := 0; i < len(s); {
			switch s[i] {
			case '"':
				i = skipString(s, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
				if depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return len(s)
	}
	for i < len(s) && s[i] != ',' && s[i] != '}' && s[i] != ']' && s[i] > ' ' {
		i++
	}
	return i
}

// members walks the members of an object. The zero value walks nothing.
type members struct {
	s string
	i int
	// key is the text between the quotes, val the raw value: both parts of the object.
	key, val string
}

// membersOf begins to walk raw, which may be anything: what is no object has no members.
func membersOf(raw string) members {
	if len(raw) == 0 || raw[0] != '{' {
		return members{}
	}
	return members{s: raw, i: 1}
}

func (m *members) next() bool {
	i := m.i
	for i < len(m.s) && m.s[i] != '"' {
		if m.s[i] == '}' {
			m.i = len(m.s)
			return false
		}
		i++
	}
	if i >= len(m.s) {
		m.i = len(m.s)
		return false
	}
	end := skipString(m.s, i)
	if end-i < 2 {
		m.i = len(m.s)
		return false
	}
	m.key = m.s[i+1 : end-1]
	i = skipSpace(m.s, end)
	if i < len(m.s) && m.s[i] == ':' {
		i++
	}
	i = skipSpace(m.s, i)
	end = skipValue(m.s, i)
	m.val = m.s[i:end]
	m.i = end
	return true
}

// name is the key as a plain text where it is one of those that mean something to this package, however it is escaped.
func (m *members) name() string {
	if strings.IndexByte(m.key, '\\') < 0 {
		return m.key
	}
	for _, known := range knownKeys {
		if equalEscaped(m.key, known) {
			return known
		}
	}
	return m.key
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
	i := skipSpace(e.s, e.i)
	if i < len(e.s) && e.s[i] == ',' {
		i = skipSpace(e.s, i+1)
	}
	if i >= len(e.s) || e.s[i] == ']' {
		e.i = len(e.s)
		return false
	}
	end := skipValue(e.s, i)
	if end == i { // no JSON
		e.i = len(e.s)
		return false
	}
	e.val, e.i = e.s[i:end], end
	return true
}

// member returns the raw value of one member, "" where there is none.
func member(raw, name string) string {
	for m := membersOf(raw); m.next(); {
		if keyIs(m.key, name) {
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

func keyIs(key, name string) bool {
	return key == name || len(key) > len(name) && strings.IndexByte(key, '\\') >= 0 && equalEscaped(key, name)
}

// absent: not there, or null. Rebuilt events write null for what is not there.
func absent(raw string) bool { return raw == "" || raw == "null" }

func isObject(raw string) bool { return len(raw) > 1 && raw[0] == '{' }

func isString(raw string) bool { return len(raw) > 1 && raw[0] == '"' && raw[len(raw)-1] == '"' }

// empty: absent or the empty string.
func empty(raw string) bool { return absent(raw) || raw == `""` }

// inner is the text between the quotes of a raw string, "" for everything else.
func inner(raw string) string {
	if !isString(raw) {
		return ""
	}
	return raw[1 : len(raw)-1]
}

// textIs reports whether raw is a string that says want.
func textIs(raw, want string) bool {
	if !isString(raw) {
		return false
	}
	s := raw[1 : len(raw)-1]
	return s == want || len(s) > len(want) && strings.IndexByte(s, '\\') >= 0 && equalEscaped(s, want)
}

// unit decodes the character at s[i] of an escaped text and returns the offset behind it. A lone surrogate, and what is
// no legal escape, is U+FFFD.
func unit(s string, i int) (r rune, next int) {
	c := s[i]
	if c != '\\' {
		if c < utf8.RuneSelf {
			return rune(c), i + 1
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		return r, i + n
	}
	if i+1 >= len(s) {
		return utf8.RuneError, len(s)
	}
	switch s[i+1] {
	case '"', '\\', '/':
		return rune(s[i+1]), i + 2
	case 'b':
		return '\b', i + 2
	case 'f':
		return '\f', i + 2
	case 'n':
		return '\n', i + 2
	case 'r':
		return '\r', i + 2
	case 't':
		return '\t', i + 2
	case 'u':
		r, ok := hex4(s, i+2)
		if !ok {
			return utf8.RuneError, i + 2
		}
		if !utf16.IsSurrogate(r) {
			return r, i + 6
		}
		if i+7 < len(s) && s[i+6] == '\\' && s[i+7] == 'u' {
			if low, ok := hex4(s, i+8); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					return pair, i + 12
				}
			}
		}
		return utf8.RuneError, i + 6
	}
	return utf8.RuneError, i + 2
}

func hex4(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		d, ok := hexDigit(rune(c))
		if !ok {
			return 0, false
		}
		r = r<<4 | d
	}
	return r, true
}

func hexDigit(c rune) (rune, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// equalEscaped compares a text that holds escapes with a plain one.
func equalEscaped(escaped, want string) bool {
	end, ok := prefixEscaped(escaped, 0, want)
	return ok && end == len(escaped)
}

// prefixEscaped reports whether the escaped text says want from offset i on, and where that ends.
func prefixEscaped(escaped string, i int, want string) (end int, ok bool) {
	for _, w := range want {
		if i >= len(escaped) {
			return i, false
		}
		var r rune
		if r, i = unit(escaped, i); r != w {
			return i, false
		}
	}
	return i, true
}

// saysAnywhere reports whether a raw string contains want, which is ASCII.
func saysAnywhere(raw, want string) bool {
	s := inner(raw)
	if strings.IndexByte(s, '\\') < 0 {
		return strings.Contains(s, want)
	}
	for i := 0; i < len(s); {
		if _, ok := prefixEscaped(s, i, want); ok {
			return true
		}
		_, i = unit(s, i)
	}
	return false
}

// number reads a raw integer, also one that a shipper made a string ("201") or a float (201.0) of; ok is false for
// everything else.
func number(raw string) (n int64, ok bool) {
	s, text := raw, isString(raw)
	if text {
		s = inner(raw)
	}
	i, negative := 0, false
	if s != "" && s[0] == '-' {
		i, negative = 1, true
	}
	digits := 0
	for i < len(s) {
		r, next := unit(s, i)
		if r < '0' || r > '9' {
			break
		}
		if digits++; digits > 18 {
			return 0, false
		}
		n, i = n*10+int64(r-'0'), next
	}
	if digits == 0 {
		return 0, false
	}
	if i < len(s) {
		if text || s[i] != '.' || i+1 == len(s) {
			return 0, false
		}
		for i++; i < len(s); i++ {
			if s[i] != '0' {
				return 0, false
			}
		}
	}
	if negative {
		n = -n
	}
	return n, true
}
