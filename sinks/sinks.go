// Package sinks holds the port through which alerts and dead letters leave: a [Sink] makes messages durable and
// reports, message by message, what it could not. It never retries: that is the processor's work alone.
//
// The adapters live in the folders below, one per transport. They know this package and nothing else of ours.
package sinks

import (
	"context"
	"fmt"
)

// Header is one header of a message: a lower-case key and a value of printable ASCII.
type Header struct {
	Key, Value string
}

// Labels are the facts about a message that a topic, subject, key or path template may name in braces. They are as
// the event has them, so a sink must make them safe for its transport. Empty where unknown.
type Labels struct {
	Cluster   string // {cluster}
	Namespace string // {namespace}
	Kind      string // {kind}: kind of the workload
	Name      string // {name}: name of the workload
	Severity  string // {severity}: critical, high, medium, low, informational
	Outcome   string // {outcome}: created, unknown, refused, changed, observed
	Rule      string // {rule}: id of the first rule that matched
}

// Message is one alert or dead letter on its way out. A sink keeps nothing of it after Publish has returned.
type Message struct {
	// ID is the same on every replay of the same event, so that a transport or a consumer can drop repeats.
	ID string
	// Labels fill in the sink's templates.
	Labels Labels
	// Value is the payload; its form is named by the content-type header.
	Value []byte
	// Headers hold at least content-type.
	Headers []Header
}

// Sink makes messages durable.
type Sink interface {
	// Publish returns nil once all of msgs are durable at the peer, otherwise a [*PublishError] that says for each
	// failed message whether it is worth another try; messages it does not list are durable. It keeps nothing of
	// msgs, is safe for concurrent calls, does not retry by itself, and returns soon after ctx has ended (what is
	// not known to be durable by then has failed, and is worth another try).
	Publish(ctx context.Context, msgs []Message) error
	// Close sends what is left to send until ctx ends, and frees everything. Publish must not be called after it.
	Close(ctx context.Context) error
}

// Failure is the fate of one message that was not made durable.
type Failure struct {
	// Index is the message's place in the slice given to Publish.
	Index int
	// Err says what was expected, what came, and where.
	Err error
	// Permanent: the sink will never take this message (too large, refused by the peer): it belongs in the dead
	// letter. Otherwise it is worth another try.
	Permanent bool
}

// PublishError lists what Publish could not make durable, in the order of the messages.
type PublishError struct {
	Failures []Failure
}

// Error names the first failure and counts the rest.
func (e *PublishError) Error() string {
	if len(e.Failures) == 0 {
		return "publish failed without a listed failure"
	}
	first := e.Failures[0]
	if len(e.Failures) == 1 {
		return fmt.Sprintf("message %d was not published: %v", first.Index, first.Err)
	}
	return fmt.Sprintf("%d messages were not published, the first (%d): %v", len(e.Failures), first.Index, first.Err)
}

// Unwrap gives the single errors to errors.Is and errors.As.
func (e *PublishError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f.Err
	}
	return errs
}

// AllFailed reports n messages that failed for one reason, such as a lost connection.
func AllFailed(n int, permanent bool, err error) *PublishError {
	e := &PublishError{Failures: make([]Failure, n)}
	for i := range e.Failures {
		e.Failures[i] = Failure{Index: i, Err: err, Permanent: permanent}
	}
	return e
}
