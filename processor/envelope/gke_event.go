package envelope

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// outcome says whether the request failed, and with which HTTP code; 0 where the entry does not tell.
func (e *gkeEntry) outcome() (failed bool, httpCode int) {
	failed = isString(e.responseStatus, "Failure")
	if failed {
		// The response is the API server's own Status: its code is exact.
		if c := integer(e.responseCode); c >= 100 {
			return true, c
		}
	}
	switch c := integer(e.statusCode); {
	case c >= 400:
		return true, c
	case c >= 100:
		return failed, c
	case c > 0:
		return true, httpOf(c)
	case e.statusCode != nil && !isZero(e.statusCode):
		return true, 0 // a code that is none: certainly not a success
	}
	if failed {
		return true, 0
	}
	if e.denied {
		return true, 403
	}
	switch {
	case string(e.method.verb) == "create" && e.method.resource != nil && e.method.subresource == nil:
		return false, 201
	case string(e.method.verb) == "get", string(e.method.verb) == "list", string(e.method.verb) == "watch":
		return false, 200
	}
	return false, 0
}

// isZero: 0 as a number or as text.
func isZero(raw []byte) bool {
	return string(raw) == "0" || string(raw) == `"0"` || string(raw) == "null"
}

// integer reads a small positive number, also one in quotes; 0 for everything else.
func integer(raw []byte) int {
	raw = bytes.Trim(raw, `"`)
	if len(raw) == 0 || len(raw) > 4 {
		return 0
	}
	n := 0
	for _, c := range raw {
		if c-'0' > 9 {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// httpOf maps a code of google.rpc.Code to the HTTP code that the API server answered it for. CANCELLED and
// DEADLINE_EXCEEDED are its 504: whether the object exists is then unknown. ABORTED is how Cloud Audit writes 409.
func httpOf(grpc int) int {
	switch grpc {
	case 1, 4: // CANCELLED, DEADLINE_EXCEEDED
		return 504
	case 3, 9, 11: // INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE
		return 400
	case 5: // NOT_FOUND
		return 404
	case 6, 10: // ALREADY_EXISTS, ABORTED
		return 409
	case 7: // PERMISSION_DENIED
		return 403
	case 8: // RESOURCE_EXHAUSTED
		return 429
	case 12: // UNIMPLEMENTED
		return 501
	case 14: // UNAVAILABLE
		return 503
	case 16: // UNAUTHENTICATED
		return 401
	}
	return 500 // UNKNOWN, INTERNAL, DATA_LOSS and what is not defined
}

// appendEvent writes the audit event in the API server's own key order, so that it is decided early. LogEntry knows
// one time only: it stands for both.
func (e *gkeEntry) appendEvent(dst, path []byte) []byte {
	level := "Metadata"
	if isObject(e.request) {
		level = "Request"
	}
	if isObject(e.response) {
		level = "RequestResponse"
	}
	dst = append(dst, `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"`...)
	dst = append(dst, level...)
	dst = append(dst, '"')
	dst = appendMember(dst, `,"auditID":`, e.auditID)
	switch {
	case string(e.last) == "true":
		dst = append(dst, `,"stage":"ResponseComplete"`...)
	case string(e.first) == "true":
		dst = append(dst, `,"stage":"ResponseStarted"`...)
	}
	if e.uri != nil {
		dst = appendMember(dst, `,"requestURI":`, e.uri)
	} else if e.method.resource == nil && len(path) > 0 {
		dst = append(dst, `,"requestURI":`...)
		if path[0] == '/' {
			dst = appendText(dst, "", path)
		} else {
			dst = appendText(dst, "/", path)
		}
	}
	dst = append(dst, `,"verb":`...)
	dst = appendText(dst, "", e.method.verb)
	if e.user != nil {
		dst = append(dst, `,"user":{"username":`...)
		dst = append(dst, e.user...)
		dst = append(dst, '}')
	}
	if e.callerIP != nil {
		dst = append(dst, `,"sourceIPs":[`...)
		dst = append(dst, e.callerIP...)
		dst = append(dst, ']')
	}
	dst = appendMember(dst, `,"userAgent":`, e.userAgent)
	if e.method.resource != nil {
		dst = append(dst, `,"objectRef":{"resource":`...)
		dst = appendText(dst, "", e.method.resource)
		dst = appendPart(dst, `,"namespace":`, e.namespace)
		dst = appendPart(dst, `,"name":`, e.name)
		dst = appendPart(dst, `,"apiGroup":`, e.method.group)
		dst = appendPart(dst, `,"apiVersion":`, e.method.version)
		dst = appendPart(dst, `,"subresource":`, e.method.subresource)
		dst = append(dst, '}')
	}
	dst = e.appendStatus(dst)
	if isObject(e.request) {
		dst = appendMember(dst, `,"requestObject":`, e.request)
	}
	if isObject(e.response) {
		dst = appendMember(dst, `,"responseObject":`, e.response)
	}
	dst = appendMember(dst, `,"requestReceivedTimestamp":`, e.at)
	dst = appendMember(dst, `,"stageTimestamp":`, e.at)
	dst = appendMember(dst, `,"annotations":`, e.labelled)
	return append(dst, '}')
}

// appendStatus writes responseStatus as the API server does: status and message only for failures, the code last.
func (e *gkeEntry) appendStatus(dst []byte) []byte {
	failed, code := e.outcome()
	if !failed && code == 0 {
		return dst
	}
	dst = append(dst, `,"responseStatus":{"metadata":{}`...)
	if failed {
		dst = append(dst, `,"status":"Failure"`...)
		message := e.responseMessage
		if message == nil {
			message = e.statusMessage
		}
		dst = appendMember(dst, `,"message":`, message)
		dst = appendMember(dst, `,"reason":`, e.responseReason)
	}
	if code != 0 {
		dst = append(dst, `,"code":`...)
		dst = strconv.AppendInt(dst, int64(code), 10)
	}
	return append(dst, '}')
}

// appendMember appends key and a raw value, nothing where there is no value.
func appendMember(dst []byte, key string, raw []byte) []byte {
	if raw == nil {
		return dst
	}
	return append(append(dst, key...), raw...)
}

// appendPart appends key and text as a string, nothing where the text is empty.
func appendPart(dst []byte, key string, text []byte) []byte {
	if len(text) == 0 {
		return dst
	}
	return appendText(append(dst, key...), "", text)
}

// appendText appends text as a JSON string. What is no UTF-8 stays as it is: Check finds it in a candidate.
func appendText(dst []byte, prefix string, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(append(dst, '"'), prefix...)
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ' || c == utf8.RuneSelf-1:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
