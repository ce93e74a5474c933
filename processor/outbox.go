package processor

import (
	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// outbox holds what one chunk of a batch gave rise to, until it has been published. It owns all its bytes: alerts may
// come from unwrapped text that the worker overwrites with the next record.
type outbox struct {
	alerts  []pending
	letters []letter
	arena   []byte
	// parts are the outboxes that alerts and letters were gathered from.
	parts []*outbox
	// report is for the meter.
	report Report
}

// pending is an alert that waits to be published.
type pending struct {
	AlertReport
	headers []alert.Header
	// values are its encodings, by index into Processor.formats.
	values [maxFormats][]byte
}

// letter is a dead letter that waits to be published.
type letter struct {
	bad    BadRecord
	record []byte
	over   bool
	sha256 [32]byte
	// cluster is a label for templates.
	cluster string
}

// keepArena is the largest arena that is used again: one huge record must not be held for ever.
const keepArena = 1 << 20

func (o *outbox) reset() {
	clear(o.alerts)
	clear(o.letters)
	clear(o.parts)
	o.report.reset()
	o.alerts, o.letters, o.parts = o.alerts[:0], o.letters[:0], o.parts[:0]
	if cap(o.arena) > keepArena {
		o.arena = nil
	}
	o.arena = o.arena[:0]
}

// Sizes of the arena: a block is left for a new one when less than arenaRoom is free in it. An alert has 20 to 30 kB.
const (
	arenaBlock = 256 << 10
	arenaRoom  = 32 << 10
)

// put lets write append to the arena and returns what it wrote. What was written before stays where it is: an arena that
// moved as it grew would be held twice over for as long as a sink is away.
func (o *outbox) put(write func(dst []byte) []byte) []byte {
	if cap(o.arena)-len(o.arena) < arenaRoom {
		o.arena = make([]byte, 0, arenaBlock)
	}
	free := o.arena[len(o.arena):]
	out := write(free)
	if cap(out) == cap(free) {
		o.arena = o.arena[:len(o.arena)+len(out)]
	} // else it was too long for the block and has memory of its own
	return out[:len(out):len(out)]
}

// keep copies lent bytes.
func (o *outbox) keep(b []byte) []byte {
	return o.put(func(dst []byte) []byte { return append(dst, b...) })
}
