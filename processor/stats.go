package processor

import "sync/atomic"

// Stats counts what a [Processor] has done since it was made. Every event is counted once it has been worked on, every
// alert and dead letter once it has been published.
type Stats struct {
	// Records that came in: messages or lines, blank ones not counted.
	Records uint64
	// Bytes of these records.
	Bytes uint64
	// Events found in them.
	Events uint64
	// Rejected events: a field excluded every rule before the end was reached.
	Rejected uint64
	// Matched events: at least one rule matched. Rules are not evaluated for what folds.
	Matched uint64
	// Created counts matched and folded events that created a workload for certain.
	Created uint64
	// Unknown counts matched events that may have created one (answered 504 or a timeout).
	Unknown uint64
	// Folded counts creations and refused attempts by a controller on behalf of its own object.
	Folded uint64
	// Raised alerts: all that have been made, published or not yet.
	Raised uint64
	// Alerts published, Repeats left out because the same id was published before.
	Alerts, Repeats uint64
	// Bad records (or single events of a list) that were dead-lettered.
	Bad uint64
	// Ignored records: of a kind that is known to be of no interest, or foreign where the source says `foreign: count`.
	Ignored uint64
	// Retries of publishing.
	Retries uint64
}

// counters are the live form of [Stats]: workers add to them once per chunk.
type counters struct {
	raised                                    atomic.Uint64
	records, bytes, events, rejected, matched atomic.Uint64
	created, unknown, folded                  atomic.Uint64
	alerts, repeats, bad, ignored, retries    atomic.Uint64
}

// add takes over what one worker counted.
func (c *counters) add(s *Stats) {
	// Before the records: whoever sees all records counted sees all alerts that they raised.
	c.raised.Add(s.Raised)
	c.records.Add(s.Records)
	c.bytes.Add(s.Bytes)
	c.events.Add(s.Events)
	c.rejected.Add(s.Rejected)
	c.matched.Add(s.Matched)
	c.created.Add(s.Created)
	c.unknown.Add(s.Unknown)
	c.folded.Add(s.Folded)
	c.bad.Add(s.Bad)
	c.ignored.Add(s.Ignored)
}

// add sums up what is known before anything is published.
func (s *Stats) add(o *Stats) {
	s.Records += o.Records
	s.Bytes += o.Bytes
	s.Events += o.Events
	s.Rejected += o.Rejected
	s.Matched += o.Matched
	s.Created += o.Created
	s.Unknown += o.Unknown
	s.Folded += o.Folded
	s.Bad += o.Bad
	s.Ignored += o.Ignored
}

// Workers says how many workers there are, and how many of them compute right now.
func (p *Processor) Workers() (all, busy int) { return cap(p.workers), cap(p.workers) - len(p.workers) }

// Stats returns the counts so far.
func (p *Processor) Stats() Stats {
	c := &p.counters
	return Stats{
		Records: c.records.Load(), Bytes: c.bytes.Load(), Events: c.events.Load(), Rejected: c.rejected.Load(),
		Matched: c.matched.Load(), Created: c.created.Load(), Unknown: c.unknown.Load(), Folded: c.folded.Load(),
		Raised: c.raised.Load(), Alerts: c.alerts.Load(), Repeats: c.repeats.Load(), Bad: c.bad.Load(), Ignored: c.ignored.Load(),
		Retries: c.retries.Load(),
	}
}
