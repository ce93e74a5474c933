// Package alert holds the alert, the dead letter, and the forms in which they leave the program: native
// ([AppendNative], described by [Schema]), the formats of others ([Format]), and the attributes that travel beside the
// payload ([CloudEvent]).
//
// The package is pure: no clock, log, file or network. Its encoders append to the caller's buffer, allocate nothing
// when that is large enough, and cannot fail: whatever stands in an alert, valid JSON on a single line comes out, and
// no control character reaches a terminal raw.
package alert

import (
	"encoding/json"
	"time"
)

// SchemaName is the value of the field "schema" of every native alert.
const SchemaName = "spawnwatch.alert/v1"

// Alert is what one matched event says, and what is known around it. One alert is raised per object, carrying every
// rule that matched.
//
// Its strings and Event are lent: they may point into the audit event and are read only until the alert has been
// encoded. Nothing is left out of the encoded form: an unknown text is "", an unknown number, flag or time null, an empty
// list []. Where emptiness alone could mean both "none" and "unknown", a field says which ([Workload.Detail],
// [Grant.Known], [Rights.State]).
//
// The json tags are the frozen names of format v1; the encoder is written by hand and a test holds both together.
type Alert struct {
	// ID is the same on every replay of the same event.
	ID string `json:"id"`
	// Time is the event's stageTimestamp, DetectedAt when spawnwatch saw it; zero where unknown.
	Time       time.Time `json:"time"`
	DetectedAt time.Time `json:"detected_at"`
	Outcome    Outcome   `json:"outcome"`
	Severity   Severity  `json:"severity"`
	// Score is 0 to 100: the points of Reasons added up, see [Assess].
	Score   int      `json:"score"`
	Reasons []Reason `json:"reasons"`
	// Title is one line for a person.
	Title   string `json:"title"`
	Cluster string `json:"cluster"`
	// Rules are all rules that matched, the highest level first.
	Rules  []Rule      `json:"rules"`
	Attack []Technique `json:"attack"`
	// Workload is nil when the outcome is observed.
	Workload *Workload `json:"workload"`
	Actor    Actor     `json:"actor"`
	Request  Request   `json:"request"`
	Policy   Policy    `json:"policy"`
	Network  Network   `json:"network"`
	Owners   Owners    `json:"owners"`
	Novelty  Novelty   `json:"novelty"`
	Related  []Related `json:"related"`
	// Investigate answers the steps 1 to 8 of the guide, Respond prepares the steps 1 to 7.
	Investigate []Step     `json:"investigate"`
	Respond     []Response `json:"respond"`
	Approval    Approval   `json:"approval"`
	Origin      Origin     `json:"origin"`
	// Event is the audit event as JSON text that has been found valid, whole or redacted; nil leaves it out (null).
	Event json.RawMessage `json:"event"`
	Notes []Note          `json:"notes"`
}

// Outcome says what became of the request.
type Outcome string

const (
	// Created: the API server stored a new workload.
	Created Outcome = "created"
	// Unknown: the answer was a timeout, so the workload may exist.
	Unknown Outcome = "unknown"
	// Refused: the request was answered with an error.
	Refused Outcome = "refused"
	// Changed: what an existing workload runs was changed.
	Changed Outcome = "changed"
	// Observed: a rule matched on something that is no workload.
	Observed Outcome = "observed"
)

// Outcomes lists all outcomes.
func Outcomes() []string {
	return []string{string(Created), string(Unknown), string(Refused), string(Changed), string(Observed)}
}

// Reason is one part of the score.
type Reason struct {
	// Code is a fixed word, see [Weights].
	Code string `json:"code"`
	// Points may be negative.
	Points int `json:"points"`
	// Text says it in words.
	Text string `json:"text"`
}

// Rule is a rule that matched.
type Rule struct {
	ID    string   `json:"id"`
	Title string   `json:"title"`
	Level Severity `json:"level"`
	Tags  []string `json:"tags"`
	// File is where the rule was read from.
	File string `json:"file"`
}

// Technique is a technique of MITRE ATT&CK together with the tactic it serves here.
type Technique struct {
	// Technique is its id: T1610, T1053.007.
	Technique string `json:"technique"`
	// Name is its name: Deploy Container.
	Name string `json:"technique_name"`
	// Tactic is the name of the tactic as in a Sigma tag: execution, privilege-escalation.
	Tactic string `json:"tactic"`
	// TacticID is its id: TA0002.
	TacticID string `json:"tactic_id"`
}

// Actor is who made the request.
type Actor struct {
	// User is the effective user: the impersonated one where there is one.
	User   string   `json:"user"`
	Groups []string `json:"groups"`
	UID    string   `json:"uid"`
	// ImpersonatedBy is the authenticated user behind an impersonated one, "" where nobody was impersonated.
	ImpersonatedBy string `json:"impersonated_by"`
	// UserAgent is the client's claim about itself.
	UserAgent string `json:"user_agent"`
	// SourceIPs are as in the event: only the last one is the peer's, earlier ones are claims.
	SourceIPs []string  `json:"source_ips"`
	Type      ActorType `json:"type"`
	Grant     Grant     `json:"grant"`
}

// ActorType is the kind of a user.
type ActorType string

const (
	// User is a person or a program that authenticates as one.
	User ActorType = "user"
	// ServiceAccount is system:serviceaccount:NAMESPACE:NAME.
	ServiceAccount ActorType = "serviceaccount"
	// Node is a kubelet, system:node:NAME.
	Node ActorType = "node"
	// System is a component of the control plane, system:NAME.
	System ActorType = "system"
	// Anonymous is an unauthenticated request.
	Anonymous ActorType = "anonymous"
)

// Grant is why the request was allowed, from the annotation authorization.k8s.io/reason.
type Grant struct {
	// Known: the event names the grant. It does not for members of system:masters, for refused requests and where
	// another authorizer than RBAC decided.
	Known bool `json:"known"`
	// Binding is the name of the binding, BindingKind RoleBinding or ClusterRoleBinding.
	Binding          string `json:"binding"`
	BindingKind      string `json:"binding_kind"`
	BindingNamespace string `json:"binding_namespace"`
	// Role is the name of the role, RoleKind Role or ClusterRole.
	Role     string `json:"role"`
	RoleKind string `json:"role_kind"`
	// Subject is the user, group or service account (namespace/name) the binding names.
	Subject     string `json:"subject"`
	SubjectKind string `json:"subject_kind"`
	// Scope is how far the grant reaches: "cluster" or the name of one namespace, "" where unknown.
	Scope string `json:"scope"`
	// Reason is the annotation as it stands.
	Reason string `json:"reason"`
}

// Request is the call to the API server.
type Request struct {
	AuditID string `json:"audit_id"`
	Verb    string `json:"verb"`
	URI     string `json:"uri"`
	Stage   string `json:"stage"`
	// Code is the HTTP status of the answer.
	Code Int `json:"code"`
	// Message is the status message of the answer, "" for most successes.
	Message string `json:"message"`
	// Level is the audit level: Metadata, Request, RequestResponse.
	Level string `json:"level"`
	// ReceivedAt is requestReceivedTimestamp, CompletedAt stageTimestamp; zero where unknown.
	ReceivedAt  time.Time `json:"received_at"`
	CompletedAt time.Time `json:"completed_at"`
	Object      Object    `json:"object"`
}

// Object is what the request was about (objectRef).
type Object struct {
	Group       string `json:"group"`
	Version     string `json:"version"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
}

// Related is another event that belongs to the picture. Reserved: nothing fills it yet.
type Related struct {
	Time    time.Time `json:"time"`
	AuditID string    `json:"audit_id"`
	Actor   string    `json:"actor"`
	// Summary is one line for a person.
	Summary string `json:"summary"`
}

// Step answers one step of the investigation.
type Step struct {
	// Step is 1 to 8.
	Step     int    `json:"step"`
	Question string `json:"question"`
	// Answer is what the alert knows, or "unknown, because …".
	Answer string `json:"answer"`
	// Command finds out more; it is safe to paste into a shell. "" where there is none.
	Command string `json:"command"`
}

// Response prepares one step of the resolution.
type Response struct {
	// Step is 1 to 7.
	Step  int    `json:"step"`
	Title string `json:"title"`
	// Command is safe to paste into a shell. "" where there is none.
	Command string `json:"command"`
}

// Origin is where the record came from.
type Origin struct {
	// Source is the configured name of the source.
	Source string `json:"source"`
	// Topic is the Kafka topic, NATS subject, forward tag, request path or file path.
	Topic string `json:"topic"`
	// Partition is Kafka's, -1 where there is none.
	Partition int32 `json:"partition"`
	// Offset is the position in the origin (of a file: in bytes), -1 where there is none.
	Offset int64 `json:"offset"`
	// Line is the 1-based line of a file, 0 for every other transport.
	Line int64 `json:"line"`
}

// Note is something a reader must know about how this alert came about.
type Note struct {
	// Code is a fixed word.
	Code string `json:"code"`
	Text string `json:"text"`
}

// Reset empties the alert for the next event. It keeps the memory of the lists, and holds on to nothing they contained.
func (a *Alert) Reset() {
	reasons, rules, attack, related := emptied(a.Reasons), emptied(a.Rules), emptied(a.Attack), emptied(a.Related)
	investigate, respond, notes := emptied(a.Investigate), emptied(a.Respond), emptied(a.Notes)
	*a = Alert{
		Reasons: reasons, Rules: rules, Attack: attack, Related: related,
		Investigate: investigate, Respond: respond, Notes: notes,
	}
}

func emptied[T any](list []T) []T {
	clear(list)
	return list[:0]
}
