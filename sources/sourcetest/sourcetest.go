// Package sourcetest holds the contract that every source passes: what [sources.Source] and [sources.Handler] promise,
// as one suite that the tests of each adapter run over a transport of their own.
package sourcetest

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/sources"
)

// Harness tells the suite how to work with one kind of source, and what its transport can't do.
type Harness struct {
	// Open makes a transport that is empty and nobody else's. What it starts it also stops, by t.Cleanup.
	Open func(t testing.TB) Transport
	// Name is the Origin.Source of the sources that Open's transports make.
	Name string
	// Drain is the drain limit they are made with. Some checks wait it out: 200 ms to 1 s is right.
	Drain time.Duration
	// Partitions is how many partitions, subjects or connections Produce knows; default 1.
	Partitions int
	// InFlight is the documented limit, in bytes of Value, of what the source has handed to calls that have not
	// returned. The check of back-pressure produces four times as much. 0 where there is no such limit in bytes: the
	// check is left out.
	InFlight int
	// Ends: Run returns nil by itself at the end of the input (files).
	Ends bool
	// OffsetsGrow: the offsets of one topic and partition grow in the order of production (brokers, files). Where they
	// are only places inside a request or a chunk, the order is checked inside each batch alone.
	OffsetsGrow bool
	// OnceOnly: the transport cannot deliver again what was not acknowledged (core NATS).
	OnceOnly bool
	// SharedBytes: the lent bytes are not the source's alone, so the suite must not overwrite them.
	SharedBytes bool
	// Patience bounds every wait for the transport; default 10 s.
	Patience time.Duration
	// Leaks are goroutines that belong to the transport and not to the source.
	Leaks []goleak.Option
}

// Transport is one opened transport.
type Transport struct {
	// Source makes a source that reads it: a new one for each Run, with the same identity (group, durable), so that it
	// goes on where the last one stopped.
	Source func(t testing.TB) sources.Source
	// Produce puts JSON objects into one partition (0-based), in order. It is called before the source runs: where the
	// source is the listening side, Produce sends in the background, again and again until it is acknowledged.
	Produce func(t testing.TB, partition int, values [][]byte)
	// Acked counts the records that the transport takes for acknowledged. nil where nobody knows.
	Acked func(t testing.TB) int
}

// Run holds the source to its contract. Every handler of the suite runs under [Lend].
func Run(t *testing.T, h Harness) {
	h = h.withDefaults()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			if c.applies != nil && !c.applies(&h) {
				t.Skip("the transport can't do this, as its harness says")
			}
			if err := newBench(t, h).check(c); err != nil {
				t.Error(err)
			}
		})
	}
}

func (h Harness) withDefaults() Harness {
	h.Partitions = max(h.Partitions, 1)
	if h.Patience == 0 {
		h.Patience = 10 * time.Second
	}
	return h
}

// check is one clause of the contract. It returns what is broken, so that the suite itself can be tested.
type check struct {
	name    string
	applies func(*Harness) bool
	run     func(*bench) error
}

var checks = []check{
	{name: "DeliversAllInOrder", run: deliversAllInOrder},
	{name: "LendsUntilReturn", run: lendsUntilReturn},
	{name: "BlockedHandlerBoundsReading", run: blockedHandlerBoundsReading, applies: func(h *Harness) bool { return h.InFlight > 0 }},
	{name: "ShutdownLetsCallsFinish", run: shutdownLetsCallsFinish},
	{name: "DrainLimitEndsCalls", run: drainLimitEndsCalls},
	{name: "UnhandledComesAgain", run: unhandledComesAgain, applies: func(h *Harness) bool { return !h.OnceOnly }},
	{name: "EndedContextReadsNothing", run: endedContextReadsNothing},
}
