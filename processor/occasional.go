package processor

import (
	"sync"
	"time"
)

// warnEvery is how often a warning that repeats is logged for one sink.
const warnEvery = 10 * time.Second

// occasional lets one of many warnings pass in each interval.
type occasional struct {
	mu      sync.Mutex
	last    time.Time
	leftOut int
}

// pass reports whether a warning is due, and how many were left out since the last one.
func (o *occasional) pass(now time.Time) (due bool, leftOut int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.last.IsZero() && now.Sub(o.last) < warnEvery {
		o.leftOut++
		return false, 0
	}
	leftOut, o.leftOut, o.last = o.leftOut, 0, now
	return true, leftOut
}
