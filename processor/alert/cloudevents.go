package alert

import (
	"strconv"
	"strings"
	"time"
)

// MaxCloudEvent is the most attributes that [CloudEvent] gives.
const MaxCloudEvent = 11

// CloudEvent appends the context attributes of CloudEvents 1.0 that go with an alert in binary mode: the payload stays
// as it is, the transport puts its prefix before the names ("ce_" on Kafka, "ce-" on NATS and HTTP), except before
// datacontenttype, which is the content type of the message.
//
// Names are lower-case letters and digits. Values are percent-encoded as by [AppendPercent], which the bindings for HTTP
// and NATS ask for; on Kafka, whose binding takes them as they are, they are the same unless they hold a space or a
// character beyond ASCII.
//
//   - id is the alert's. source together with id is unique, as the specification asks.
//   - source is //CLUSTER, a URI reference; // and nothing behind it would be none, so an unknown cluster is //unknown.
//   - type is io.spawnwatch.workload.OUTCOME.v1, or io.spawnwatch.event.observed.v1 where there is no workload.
//   - subject is NAMESPACE/KIND/NAME of the workload, or NAMESPACE/RESOURCE/NAME of what was observed; left out where nothing of it is known.
//   - partitionkey is the subject without its name: one namespace and kind keep their order.
//   - severitytext and severitynumber are those of the severity extension (numbers as in OpenTelemetry logs), recordedtime
//     is when spawnwatch saw the event.
func CloudEvent(dst []Header, a *Alert) []Header {
	var group, name string
	kind := "io.spawnwatch.workload." + string(a.Outcome) + ".v1"
	switch {
	case a.Workload != nil:
		group, name = a.Workload.Namespace+"/"+a.Workload.Kind, a.Workload.Name
	default:
		kind = "io.spawnwatch.event." + string(a.Outcome) + ".v1"
		if o := &a.Request.Object; o.Resource != "" {
			group, name = o.Namespace+"/"+o.Resource, o.Name
		}
	}
	dst = append(
		dst,
		Header{"specversion", "1.0"},
		Header{"id", headerText(a.ID)},
		Header{"source", cloudSource(a.Cluster)},
		Header{"type", headerText(kind)},
		Header{"datacontenttype", "application/json"},
	)
	if a.Outcome == "" { // no type can be made of it
		dst[len(dst)-2].Value = "io.spawnwatch.alert.v1"
	}
	if group != "" {
		dst = append(dst, Header{"subject", headerText(group + "/" + name)}, Header{"partitionkey", headerText(group)})
	}
	if t, ok := cloudTime(a.Time); ok {
		dst = append(dst, Header{"time", t})
	}
	if t, ok := cloudTime(a.DetectedAt); ok {
		dst = append(dst, Header{"recordedtime", t})
	}
	if n := severityNumber(a.Severity); n > 0 {
		dst = append(dst, Header{"severitytext", string(a.Severity)}, Header{"severitynumber", strconv.Itoa(n)})
	}
	return dst
}

// cloudSource makes a URI reference (RFC 3986): what is not allowed in a registered name is percent-encoded. A header's
// own encoding comes on top, so that the receiver, who takes that off, is left with a valid one.
func cloudSource(cluster string) string {
	const upperHex = "0123456789ABCDEF"
	if cluster == "" {
		return "//unknown"
	}
	cluster = cluster[:min(len(cluster), MaxHeaderText)]
	var b strings.Builder
	b.WriteString("//")
	for i := range len(cluster) {
		c := cluster[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteString("%25")
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

func cloudTime(t time.Time) (string, bool) {
	text := string(stamp(nil, "", t))
	return strings.Trim(text, `"`), text != "null"
}

// severityNumber is the severity as a number of the OpenTelemetry log data model: INFO, INFO2, WARN, ERROR, FATAL.
func severityNumber(s Severity) int {
	switch s {
	case Informational:
		return 9
	case Low:
		return 10
	case Medium:
		return 13
	case High:
		return 17
	case Critical:
		return 21
	default:
		return 0
	}
}
