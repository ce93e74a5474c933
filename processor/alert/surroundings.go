package alert

// Policy compares the workload with what is allowed and what is intended.
type Policy struct {
	// PSSLevel is the strictest level of the Pod Security Standards that the workload reaches.
	PSSLevel PSSLevel `json:"pss_level"`
	// EvaluatedVersion is the version of the standards that was used: v1.36, latest; "" where not evaluated.
	EvaluatedVersion string `json:"evaluated_version"`
	// Violations are the checks of the standards that failed.
	Violations []Violation `json:"violations"`
	// Admission is what admission wrote into the event's annotations.
	Admission []Admission `json:"admission"`
	// Findings are our own.
	Findings []Finding `json:"findings"`
	Intended Intended  `json:"intended"`
}

// PSSLevel is a level of the Pod Security Standards. The zero value is written as unknown.
type PSSLevel string

const (
	// PSSPrivileged allows everything: baseline is violated.
	PSSPrivileged PSSLevel = "privileged"
	// PSSBaseline: restricted is violated, baseline is not.
	PSSBaseline PSSLevel = "baseline"
	// PSSRestricted: nothing is violated.
	PSSRestricted PSSLevel = "restricted"
	// PSSUnknown: the pod template is not known.
	PSSUnknown PSSLevel = "unknown"
)

// Violation is a check of the Pod Security Standards that failed.
type Violation struct {
	// Check is its id: hostNamespaces, privileged, runAsNonRoot …
	Check string `json:"check"`
	// Level is the level it violates: baseline or restricted.
	Level  PSSLevel `json:"level"`
	Detail string   `json:"detail"`
}

// Admission is one annotation that admission control left in the event.
type Admission struct {
	Type AdmissionType `json:"type"`
	// Source is the key of the annotation, Detail its value.
	Source string `json:"source"`
	Detail string `json:"detail"`
}

// AdmissionType says what an admission annotation tells.
type AdmissionType string

const (
	// AdmissionViolation: a policy in audit or warn mode would have refused it.
	AdmissionViolation AdmissionType = "violation"
	// AdmissionMutation: a webhook changed the object.
	AdmissionMutation AdmissionType = "mutation"
	// AdmissionFailure: a webhook or policy failed open.
	AdmissionFailure AdmissionType = "failure"
	// AdmissionExempt: the request was exempt from a policy.
	AdmissionExempt AdmissionType = "exempt"
	// AdmissionInfo is every other annotation.
	AdmissionInfo AdmissionType = "info"
)

// Finding is something about the workload that a reviewer would object to.
type Finding struct {
	// Code is a fixed word: latest_tag, no_limits, host_path …
	Code string `json:"code"`
	Text string `json:"text"`
}

// Intended says whether the workload is within the configured allow-lists.
type Intended struct {
	State IntendedState `json:"state"`
	// By is the entry that allows it.
	By string `json:"by"`
	// Deviations say what is outside of the lists, each in words.
	Deviations []string `json:"deviations"`
}

// IntendedState is the verdict of the allow-lists. The zero value is written as unknown.
type IntendedState string

const (
	// IntendedYes: within the lists.
	IntendedYes IntendedState = "intended"
	// IntendedNo: outside of them.
	IntendedNo IntendedState = "deviates"
	// IntendedUnknown: there are no lists, or the event shows too little.
	IntendedUnknown IntendedState = "unknown"
)

// Network is how the workload can be reached, and where the request came from.
type Network struct {
	HostNetwork Bool `json:"host_network"`
	// HostPorts are ports on the node.
	HostPorts []int `json:"host_ports"`
	// Ports are the ports its containers declare.
	Ports     []Port     `json:"ports"`
	SourceIPs []SourceIP `json:"source_ips"`
	// Services are those seen in the stream that select it: "namespace/name".
	Services []string `json:"services"`
}

// SourceIP is one address of the request.
type SourceIP struct {
	IP    string  `json:"ip"`
	Class IPClass `json:"class"`
	// Network is the name of the configured network it belongs to, "" for none.
	Network string `json:"network"`
	// Claimed: it comes from a header that the client can set. Only the last address is the peer's.
	Claimed bool `json:"claimed"`
}

// IPClass is a class of addresses.
type IPClass string

const (
	// IPPublic is reachable from the internet.
	IPPublic IPClass = "public"
	// IPPrivate is RFC 1918, RFC 4193 or RFC 6598.
	IPPrivate IPClass = "private"
	// IPLoopback is the API server's own machine.
	IPLoopback IPClass = "loopback"
	// IPLinkLocal is RFC 3927 or fe80::/10.
	IPLinkLocal IPClass = "link_local"
	// IPInvalid could not be read as an address.
	IPInvalid IPClass = "invalid"
)

// Owners is whom to ask.
type Owners struct {
	Team    string `json:"team"`
	Contact string `json:"contact"`
	Chat    string `json:"chat"`
	Runbook string `json:"runbook"`
	// Application is what the workload belongs to, ManagedBy the tool that deploys it, Repository where it is kept.
	Application string `json:"application"`
	ManagedBy   string `json:"managed_by"`
	Repository  string `json:"repository"`
	// Source says where this was found: a label, an annotation, or the team file; "" where nothing was.
	Source string `json:"source"`
	// Labels are the labels and annotations that were read for this.
	Labels []Label `json:"labels"`
}

// Novelty is what has not been seen before. Reserved: an empty object until spawnwatch remembers across events.
type Novelty struct{}

// Approval says whether the workload was announced.
type Approval struct {
	State ApprovalState `json:"state"`
	// By is the allow-list entry or the person, Ticket the change ticket, Reason the words given with it.
	By     string `json:"by"`
	Ticket string `json:"ticket"`
	Reason string `json:"reason"`
	// Deviations say what keeps it from being approved.
	Deviations []string `json:"deviations"`
}

// ApprovalState is the state of an approval. The zero value is written as unknown.
type ApprovalState string

const (
	// Approved by an allow-list or a change ticket. It still alerts.
	Approved ApprovalState = "approved"
	// Unapproved: nothing approves it.
	Unapproved ApprovalState = "unapproved"
	// ApprovalUnknown: there is nothing to compare with, or the event shows too little.
	ApprovalUnknown ApprovalState = "unknown"
)
