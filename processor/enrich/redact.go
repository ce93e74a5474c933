package enrich

import (
	"bytes"
	"encoding/json"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// Event appends event, valid JSON, to dst with everything replaced that may be secret:
//
//   - values of environment variables (env[].value), of HTTP headers and of parameters, in objects and in patches of any kind
//   - data, stringData and binaryData of the objects in the event (Secret, ConfigMap)
//   - annotations that hold whole objects, such as kubectl's last-applied-configuration, and the patches of webhooks
//   - members named password, token and the like
//   - the query of the request (see [URI]), what follows a flag such as --password in a list, and values that the API
//     server repeats in its answer (see [Message])
//   - text that looks like a credential, wherever it stands (see [Text])
//
// Names stay, so a reader sees that there is a variable DB_PASSWORD, not what it is. White space outside of strings is
// dropped; everything else is kept byte for byte, so the result is valid JSON. One pass without recursion.
func Event(dst []byte, event string) []byte {
	r := redactor{dst: dst, src: unsafe.Slice(unsafe.StringData(event), len(event))}
	for r.at < len(event) {
		r.step()
	}
	return r.dst
}

// redactor copies src to dst token by token.
type redactor struct {
	dst, src []byte
	at       int
	// stack holds the containers around, the innermost last.
	stack []container
}

// container is what matters of an object or a list that is being copied.
type container struct {
	list bool
	// key is the name under which it stands: in a list, that of the list.
	key string
	// member is the name of the member being copied (objects only), named whether it has been read.
	member string
	named  bool
	// hide: every text and number inside is secret.
	hide bool
	// values: members called "value" are secret, as inside of a list called env.
	values bool
	// object: requestObject or responseObject itself, or an item of a list in it.
	object bool
	// annotations: metadata.annotations of some object.
	annotations bool
	// operation: one of a JSON patch (RFC 6902); its value is a part of an object.
	operation bool
	// next: the element of a command line that follows is the secret of a flag.
	next bool
}

func (r *redactor) step() {
	switch c := r.src[r.at]; c {
	case ' ', '\t', '\r', '\n':
		r.at++
	case '{', '[':
		r.open(c == '[')
	case '}', ']':
		if n := len(r.stack); n > 0 {
			r.stack = r.stack[:n-1]
		}
		r.copyByte()
		r.ended()
	case ':', ',':
		r.copyByte()
	case '"':
		r.text()
	default:
		r.scalar()
	}
}

func (r *redactor) copyByte() {
	r.dst = append(r.dst, r.src[r.at])
	r.at++
}

// ended marks the end of a member's value.
func (r *redactor) ended() {
	if top := r.top(); top != nil && !top.list {
		top.named = false
	}
}

func (r *redactor) top() *container {
	if n := len(r.stack); n > 0 {
		return &r.stack[n-1]
	}
	return nil
}

// open pushes the container that begins here.
func (r *redactor) open(list bool) {
	in := container{list: list}
	if top := r.top(); top != nil {
		in.values = top.values
		in.key = top.key
		if !top.list {
			in.key = top.member
		}
		in.hide = top.hide || r.hidesAll(top, list)
		switch {
		case top.list:
			// An item of requestObject[] is an operation of a patch, one of requestObject.items[] an object.
			in.object = top.object
			in.annotations = top.annotations
			if !list && top.object && r.depth() == 2 {
				in.operation = true
				in.values = secretPatch(r.src[r.at:])
			}
		case r.depth() == 1 && (in.key == "requestObject" || in.key == "responseObject"):
			in.object = true
		case top.operation:
			in.object = in.key == "value"
		case in.key == "items":
			in.object = top.object
		case in.key == "annotations":
			in.annotations = true
		case top.annotations:
			in.annotations = true
		}
		switch in.key {
		case "env", "httpHeaders", "headers", "parameters":
			in.values = true
		case "valueFrom":
			in.values = false
		default:
			// An object below such a name may hold the text one level deeper.
			in.values = in.values || !top.list && !list && isSecretKey(in.key)
		}
	}
	r.stack = append(r.stack, in)
	r.copyByte()
}

func (r *redactor) depth() int { return len(r.stack) }

// hidesAll tells whether all texts inside of the list or object that the current member holds are secret.
func (r *redactor) hidesAll(top *container, list bool) bool {
	if top.list {
		return false
	}
	switch top.member {
	case "data", "stringData", "binaryData":
		return top.object
	case "value":
		return top.values
	}
	// "secret" may be an object that only names one: a volume.
	return list && isSecretKey(top.member)
}

// hides tells whether the text of the current member is secret by its name and place.
func (r *redactor) hides(top *container) bool {
	if top.list {
		return false
	}
	switch top.member {
	case "data", "stringData", "binaryData":
		return top.object
	case "value":
		return top.values
	}
	return isSecretKey(top.member)
}

// secretPatch reports whether the operation that begins here writes a variable's value, data of a Secret or annotations.
// A client may repeat the path: each counts.
func secretPatch(object []byte) (secret bool) {
	gjson.Parse(unsafe.String(unsafe.SliceData(object), len(object))).ForEach(func(key, value gjson.Result) bool {
		if key.String() == "path" {
			path := value.String()
			for part := range strings.SplitSeq(path, "/") {
				switch part {
				case "env", "data", "stringData", "binaryData", "annotations", "httpHeaders", "parameters":
					secret = true
				}
			}
			secret = secret || isSecretKey(path[strings.LastIndexByte(path, '/')+1:])
		}
		return !secret
	})
	return secret
}

// text copies a string: the name of a member, or a value.
func (r *redactor) text() {
	end := stringEnd(r.src, r.at)
	raw := r.src[r.at:end]
	r.at = end
	top := r.top()
	if top != nil && !top.list && !top.named {
		top.member, top.named = decode(raw), true
		r.dst = append(r.dst, raw...)
		return
	}
	r.dst = r.value(raw, top)
	r.ended()
}

// value appends a string value, redacted where need be.
func (r *redactor) value(raw []byte, top *container) []byte {
	if len(raw) == len(`""`) {
		return append(r.dst, raw...)
	}
	if top == nil {
		s := decode(raw)
		if c := Text(s); c != s {
			return appendQuoted(r.dst, c)
		}
		return append(r.dst, raw...)
	}
	if top.hide || r.hides(top) {
		if w := inner(raw); w == "true" || w == "false" {
			return append(r.dst, raw...)
		}
		return appendQuoted(r.dst, Redacted)
	}
	if top.list {
		word := decode(raw)
		secret := top.next && !strings.HasPrefix(word, "-")
		top.next = isSecretFlag(word)
		if secret {
			return appendQuoted(r.dst, Redacted)
		}
	}
	if top.annotations {
		// The event's own are read by people; those of objects often hold the object again.
		if own := r.depth() == 2; own && strings.HasPrefix(top.member, "patch.webhook.") || !own && holdsObject(decode(raw)) {
			return appendQuoted(r.dst, Redacted)
		}
	}
	clean := Text
	if !top.list {
		switch top.member {
		case "message":
			clean = Message
		case "requestURI":
			clean = URI
		case "image", "imageID":
			clean = imageText
		}
	}
	s := decode(raw)
	if c := clean(s); c != s {
		return appendQuoted(r.dst, c)
	}
	return append(r.dst, raw...)
}

// scalar copies a number, true, false or null; where text would be secret, numbers are too.
func (r *redactor) scalar() {
	start := r.at
	for r.at < len(r.src) && !endsScalar(r.src[r.at]) {
		r.at++
	}
	if r.at == start {
		r.at++ // not JSON: copied as it is, one byte at a time
	}
	raw := r.src[start:r.at]
	top := r.top()
	if top != nil && (top.hide || r.hides(top)) && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		r.dst = appendQuoted(r.dst, Redacted)
	} else {
		r.dst = append(r.dst, raw...)
	}
	r.ended()
}

func endsScalar(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}

// holdsObject tells annotations that carry JSON or a YAML document with the values of the object they stand on.
func holdsObject(s string) bool {
	s = strings.TrimLeft(s, " \t\r\n\ufeff")
	return strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") || strings.Contains(s, "apiVersion:")
}

// stringEnd is the index behind the closing quote of the string that opens at start.
func stringEnd(src []byte, start int) int {
	for i := start + 1; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(src)
}

// inner is what stands between the quotes.
func inner(raw []byte) string {
	if len(raw) < 2 {
		return ""
	}
	return unsafe.String(unsafe.SliceData(raw[1:]), len(raw)-2)
}

// decode is the text of a JSON string; without an escape it is a view of raw, valid as long as that is.
func decode(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return inner(raw)
	}
	return gjson.ParseBytes(raw).String()
}

func appendQuoted(dst []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		return append(dst, `"`+Redacted+`"`...)
	}
	return append(dst, quoted...)
}
