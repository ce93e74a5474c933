// Package sinktest holds the contract that every sink passes: what [sinks.Sink] promises, as one suite that the tests
// of each adapter run against a peer of their own.
package sinktest

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/sinks"
)

// Harness tells the suite how to work with one kind of sink.
type Harness struct {
	// Open makes a peer that is empty and nobody else's. What it starts it also stops, by t.Cleanup.
	Open func(t testing.TB) Peer
	// TooLarge is the length of a Value that the peer's limits refuse for good; 0 where there is none.
	TooLarge int
	// Patience bounds every wait for the peer; default 10 s.
	Patience time.Duration
	// Leaks are goroutines that belong to the peer and not to the sink.
	Leaks []goleak.Option
}

// Peer is what a sink publishes to. What may be nil is left nil where the transport has no such thing; the checks that
// need it are skipped.
type Peer struct {
	// Sink makes a sink. The suite closes it.
	Sink func(t testing.TB) sinks.Sink
	// Read gives everything that is durable at the peer, from the first message on, in order for each Place. It may
	// wait a little until there are n, and must not wait for more.
	Read func(t testing.TB, n int) []Received
	// Place says where a message with these labels belongs (topic, subject, path). May be nil.
	Place func(l sinks.Labels) string
	// Stop makes the peer unreachable and Start reachable again, with everything it had. Both may be nil.
	Stop, Start func(t testing.TB)
	// RefuseOnce makes the peer refuse the next request or message, for a passing reason. A sink that hides the
	// refusal by a try of its own shows. May be nil.
	RefuseOnce func(t testing.TB)
}

// Received is one message as the peer holds it.
type Received struct {
	// Place is the topic, subject or path, "" where there is but one.
	Place string
	// ID is the message's id where the transport carries it, else "".
	ID    string
	Value []byte
	// Headers are nil where the transport has none; it may add some of its own.
	Headers []sinks.Header
}

// Run holds the sink to its contract. Whatever the suite publishes is overwritten as soon as Publish has returned.
func Run(t *testing.T, h Harness) {
	h = h.withDefaults()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, h)
			if c.applies != nil && !c.applies(b) {
				t.Skip("the peer can't do this, as its harness says")
			}
			if err := b.check(c); err != nil {
				t.Error(err)
			}
		})
	}
}

func (h Harness) withDefaults() Harness {
	if h.Patience == 0 {
		h.Patience = 10 * time.Second
	}
	return h
}

// check is one clause of the contract. It returns what is broken, so that the suite itself can be tested.
type check struct {
	name    string
	applies func(*bench) bool
	run     func(*bench) error
}

var checks = []check{
	{name: "PublishIsDurableAndInOrder", run: publishIsDurableAndInOrder},
	{name: "NothingToPublish", run: nothingToPublish},
	{name: "ConcurrentPublishes", run: concurrentPublishes},
	{name: "EndedContextFailsAll", run: endedContextFailsAll},
	{name: "PeerDownThenBack", run: peerDownThenBack, applies: func(b *bench) bool { return b.peer.Stop != nil && b.peer.Start != nil }},
	{name: "PeerDownEndsWithContext", run: peerDownEndsWithContext, applies: func(b *bench) bool { return b.peer.Stop != nil && b.peer.Start != nil }},
	{name: "NeverRetries", run: neverRetries, applies: func(b *bench) bool { return b.peer.RefuseOnce != nil }},
	{name: "TooLargeIsPermanentAlone", run: tooLargeIsPermanentAlone, applies: func(b *bench) bool { return b.h.TooLarge > 0 }},
	{name: "CloseLeavesNothingBehind", run: closeLeavesNothingBehind},
}
