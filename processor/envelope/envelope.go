// Package envelope turns one message of any transport into the Kubernetes audit events inside it.
//
// Audit events arrive bare, as an EventList or an array, as a line that a log shipper put into a field of its own,
// or wrapped by a cloud. A [Reader] recognises each of these shapes by its content, never by configuration, and never
// guesses: what is none of them is a [Fault] with reason [Foreign].
//
// The package is pure: no clock, log, file or network.
package envelope

import "time"

// Limits. They bound what one message can cost, whatever it holds.
const (
	// MaxDepth is the deepest nesting of arrays and objects that counts as JSON here: 1,000 levels. Real events stay
	// below 30.
	MaxDepth = 1000
	// MaxWrappers is how many wrappers may lie around an event: 6 (text in Kafka Connect's form around a batch of Firehose
	// around compressed data of EKS are six). An array or list counts as one, and so do base64 and compression.
	MaxWrappers = 6
	// MaxInflated is how many bytes the compressed parts of one message may inflate to, together: 64 MiB.
	MaxInflated = 64 << 20
	// MaxItems is how many elements the lists of one message may have, together: 65,536. The API server's webhook sends
	// 400 at most. It bounds both memory and the number of dead letters that one message can cause.
	MaxItems = 1 << 16
	// keepScratch is the largest scratch buffer, in bytes, that a Reader keeps from one message to the next: 4 MiB.
	keepScratch = 4 << 20
	// maxClusters is how many cluster names a Reader remembers before it starts anew.
	maxClusters = 1024
	// maxClusterName is the longest cluster name in bytes; what is longer is none. The clouds allow 100 at most.
	maxClusterName = 256
)

// Reason names why bytes were not read as an audit event. The list is fixed and documented: dead letters carry it.
type Reason string

// The reasons.
const (
	// Malformed: not JSON as RFC 8259 has it, or cut.
	Malformed Reason = "malformed"
	// TooDeep: nested deeper than [MaxDepth], or wrapped more often than [MaxWrappers].
	TooDeep Reason = "too_deep"
	// TooLarge: inflates to more than [MaxInflated], or lists more than [MaxItems].
	TooLarge Reason = "too_large"
	// InvalidUTF8: JSON but for bytes that are not UTF-8.
	InvalidUTF8 Reason = "invalid_utf8"
	// Undecodable: base64 or gzip, by the form of the wrapper, that cannot be decoded.
	Undecodable Reason = "undecodable"
	// Partial: a piece of a line that a container runtime split, or an event that a wrapper cut so early that nothing
	// of it can be read.
	Partial Reason = "partial"
	// Foreign: no audit event, and no known wrapper of one.
	Foreign Reason = "foreign"
	// NoVerb: an audit event without a readable verb. The Reader never reports it, since it does not read events: who
	// reads them does.
	NoVerb Reason = "no_verb"
)

// Fault reports bytes that could not be read.
type Fault struct {
	// Reason is the class of the fault.
	Reason Reason
	// Detail says what was expected, what came, and at which byte. It is short and holds no raw input beyond one
	// quoted character.
	Detail string
	// Raw is what to dead-letter: the whole record, or one element of a list. Lent like [Item.Raw].
	Raw []byte
	// Index is the element's place in its list, -1 when Raw is the whole record.
	Index int
}

// Error makes a Fault an error.
func (f *Fault) Error() string { return string(f.Reason) + ": " + f.Detail }

// Wrapper names what lay directly around an event, for counting and for the notes of an alert.
type Wrapper string

// The wrappers.
const (
	Bare         Wrapper = ""              // nothing: the record is the event
	List         Wrapper = "list"          // EventList or array
	Shipper      Wrapper = "shipper"       // Fluent Bit, fluentd, Vector, Filebeat, Logstash, container runtimes
	KafkaConnect Wrapper = "kafka_connect" // {"schema":…,"payload":…}
	GKE          Wrapper = "gke"           // Cloud Audit LogEntry; the event was rebuilt
	EKS          Wrapper = "eks"           // CloudWatch Logs subscription
	AKS          Wrapper = "aks"           // Azure diagnostic record
)

// Kinds of messages that are known and carry no audit event by their nature: counted, nothing else.
const (
	EKSControlMessage = "eks_control_message" // CloudWatch probing its destination
	EKSOtherLog       = "eks_other_log"       // a log stream of the control plane other than the audit log
	AKSOtherCategory  = "aks_other_category"  // a diagnostic category other than kube-audit and kube-audit-admin
	GKEOtherService   = "gke_other_service"   // a Cloud Audit entry of a service other than Kubernetes
	GKENonResource    = "gke_non_resource"    // a Kubernetes request that names neither a resource nor a known verb
)

// Item is one audit event as it lay in its wrapper.
type Item struct {
	// Event is the event's JSON without surrounding white space: it starts with { and ends with }. What lies between is
	// checked only as far as the wrapper had to be walked, so a candidate goes through [Check].
	// Lent: a part of the record or of the Reader's scratch, read-only, valid until the next call of Read, and no
	// longer than the record itself.
	Event []byte
	// Raw is what to dead-letter when the event turns out bad: the whole record, or the list element. Lent like Event.
	Raw []byte
	// Index is the element's place in its list, -1 when Raw is the whole record.
	Index int
	// Cluster is the cluster's name by the wrapper, "" where it says nothing.
	Cluster string
	// Time is when the wrapper took the event, the zero Time where it does not say. Only of use where a truncated
	// event lost its own times.
	Time time.Time
	// Wrapper is what lay directly around the event.
	Wrapper Wrapper
	// Truncated: the wrapper cut the event. Event holds the members that came whole.
	Truncated bool
	// Rebuilt: the event was assembled from a form that does not say everything (no query of the URI, so no dry run; no
	// exact code of a successful patch).
	Rebuilt bool
}

// Visitor takes what a Reader finds, in the order of the record.
type Visitor interface {
	// Event takes one audit event.
	Event(Item)
	// Fault takes bytes that are no readable audit event. What else the record holds still follows.
	Fault(Fault)
	// Ignored counts a message that is known to carry no audit event; kind is one of the listed constants.
	Ignored(kind string)
}
