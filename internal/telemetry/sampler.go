package telemetry

import (
	"sync"
	"time"
)

// How many traces of its own the program starts in a second, unless OTEL_TRACES_SAMPLER is set: at full rate there are
// thousands of batches a second, of which nearly all hold nothing of interest. What comes with a trace keeps the decision
// of its producer.
const (
	// quietTraces are those of batches without an alert, alertTraces those of batches with one.
	quietTraces = 20
	alertTraces = 100
)

// budget is how much may be taken in each second. A nil budget has no end.
type budget struct {
	limit int

	mu     sync.Mutex
	second int64
	taken  int
}

func (b *budget) take(now time.Time) bool {
	if b == nil {
		return true
	}
	second := now.Unix()
	b.mu.Lock()
	defer b.mu.Unlock()
	if second > b.second { // times come a little out of order
		b.second, b.taken = second, 0
	}
	b.taken++
	return b.taken <= b.limit
}
