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

// keep copies lent bytes into the arena. Slices made before stay valid when the arena moves.
func (o *outbox) keep(b []byte) []byte {
	start := len(o.arena)
	o.arena = append(o.arena, b...)
	return o.arena[start:len(o.arena):len(o.arena)]
}
