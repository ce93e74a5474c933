package listen

import (
	"sync"
	"time"
)

// Throttle keeps a hostile or broken client from filling the log: at most throttleLines lines per throttleTime. The zero
// value is ready, and may be used by many goroutines.
type Throttle struct {
	mu      sync.Mutex
	since   time.Time
	lines   int
	dropped int
}

const (
	throttleTime  = 10 * time.Second
	throttleLines = 20
)

// Allow says whether a line may be written now, and how many were not since the last one that was.
func (t *Throttle) Allow(now time.Time) (ok bool, dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.since) >= throttleTime {
		t.since, t.lines = now, 0
	}
	if t.lines >= throttleLines {
		t.dropped++
		return false, 0
	}
	t.lines++
	dropped, t.dropped = t.dropped, 0
	return true, dropped
}
