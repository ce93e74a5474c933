package alert

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// DeadLetterSchemaName is the value of the field "schema" of every dead letter.
const DeadLetterSchemaName = "spawnwatch.deadletter/v1"

// The reasons for which a record, or a single event of a list, is dead-lettered.
const (
	// ReasonMalformed: the bytes are no valid JSON (RFC 8259).
	ReasonMalformed = "malformed"
	// ReasonTooDeep: objects and arrays are nested deeper than 1,000.
	ReasonTooDeep = "too_deep"
	// ReasonTooLarge: the record, or what came out when it was unwrapped, is larger than the limit.
	ReasonTooLarge = "too_large"
	// ReasonInvalidUTF8: the text holds bytes that are no UTF-8.
	ReasonInvalidUTF8 = "invalid_utf8"
	// ReasonForeign: valid, but neither an audit event nor anything known to carry one.
	ReasonForeign = "foreign"
	// ReasonNoVerb: an audit event without a readable verb.
	ReasonNoVerb = "no_verb"
	// ReasonSinkRefused: a sink refused the alert for good; the record is the alert.
	ReasonSinkRefused = "sink_refused"
	// ReasonInternal: a fault of the program, please report it.
	ReasonInternal = "internal"
)

// Reasons lists all reasons.
func Reasons() []string {
	return []string{
		ReasonMalformed, ReasonTooDeep, ReasonTooLarge, ReasonInvalidUTF8, ReasonForeign, ReasonNoVerb,
		ReasonSinkRefused, ReasonInternal,
	}
}

// DeadLetter is a record that could not be used, and why.
type DeadLetter struct {
	// Reason is one of [Reasons], Detail what was expected and what came, with its byte offset.
	Reason, Detail string
	Origin         Origin
	// Size is the length of the whole record in bytes.
	Size int64
	// SHA256 is the digest of the whole record in hex when Record is only its beginning, else "".
	SHA256 string
	// Record is the original bytes. They are lent.
	Record []byte
}

// AppendDeadLetter appends a dead letter as a JSON object on a single line without a line feed at its end: the form for
// files. The fields truncated and sha256 are there only when the record is no longer whole.
func AppendDeadLetter(dst []byte, d *DeadLetter) []byte {
	dst = append(dst, `{"schema":"`+DeadLetterSchemaName+`"`...)
	dst = str(dst, `,"reason":`, d.Reason)
	dst = str(dst, `,"detail":`, d.Detail)
	dst = appendOrigin(append(dst, `,"origin":`...), &d.Origin)
	dst = integer(dst, `,"size":`, d.Size)
	if d.SHA256 != "" {
		dst = str(dst, `,"truncated":true,"sha256":`, d.SHA256)
	}
	dst = append(dst, `,"record_b64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, d.Record)
	return append(dst, `"}`...)
}

// Header is a key and a value that travel beside a payload: both printable ASCII, without spaces.
type Header struct {
	Key, Value string
}

// MaxHeaderText is how many bytes of a text a header carries before it is percent-encoded. A longer one ends in "…".
const MaxHeaderText = 1024

// Headers is what [AppendDeadLetter] says beside the record: the form for brokers, where the record stays the message.
// Values are percent-encoded as by [AppendPercent].
func (d *DeadLetter) Headers() []Header {
	h := make([]Header, 0, 12)
	h = append(
		h,
		Header{"content-type", "application/octet-stream"},
		Header{"spawnwatch-schema", DeadLetterSchemaName},
		Header{"spawnwatch-reason", headerText(d.Reason)},
		Header{"spawnwatch-detail", headerText(d.Detail)},
		Header{"spawnwatch-source", headerText(d.Origin.Source)},
		Header{"spawnwatch-topic", headerText(d.Origin.Topic)},
		Header{"spawnwatch-partition", strconv.FormatInt(int64(d.Origin.Partition), 10)},
		Header{"spawnwatch-offset", strconv.FormatInt(d.Origin.Offset, 10)},
		Header{"spawnwatch-line", strconv.FormatInt(d.Origin.Line, 10)},
		Header{"spawnwatch-size", strconv.FormatInt(d.Size, 10)},
	)
	if d.SHA256 != "" {
		h = append(h, Header{"spawnwatch-truncated", "true"}, Header{"spawnwatch-sha256", headerText(d.SHA256)})
	}
	return h
}

// headerText makes s fit into a header.
func headerText(s string) string {
	cut := s
	if len(s) > MaxHeaderText {
		end := MaxHeaderText
		for end > MaxHeaderText-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		cut = s[:end] + "…"
	}
	if needsPercent(cut) {
		return string(AppendPercent(make([]byte, 0, len(cut)+32), cut))
	}
	return cut
}

// AppendPercent appends s with everything percent-encoded that the HTTP binding of CloudEvents 1.0 (section 3.1.3.2)
// encodes in a header value: spaces, double quotes, percent signs, and all that is not printable ASCII. Bytes that are
// no UTF-8 are encoded as the bytes they are.
func AppendPercent(dst []byte, s string) []byte {
	const upperHex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if percentEncoded(c) {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

func needsPercent(s string) bool {
	for i := range len(s) {
		if percentEncoded(s[i]) {
			return true
		}
	}
	return false
}

func percentEncoded(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }
