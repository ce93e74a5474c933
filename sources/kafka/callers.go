package kafka

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// callers are the goroutines that make a generation's handler calls. Some of them are kept for the next call, with the
// stack that they have grown: that of a call is deep, and growing it again each time was 3 % of the whole program's cost.
type callers struct {
	running *sync.WaitGroup // counts all of them
	done    <-chan struct{} // ends those that wait
	calls   chan call       // to one that waits
	waiting atomic.Int32
	keep    int32 // how many may wait
}

// call is one group of a span, to be handled.
type call struct {
	p      *partition
	sp     *span
	gr     *group
	number uint64
}

func newCallers(running *sync.WaitGroup, done <-chan struct{}) *callers {
	return &callers{running: running, done: done, calls: make(chan call), keep: int32(4 * runtime.GOMAXPROCS(0))}
}

// start has a call made, by a goroutine that waits or else by a new one.
func (c *callers) start(call call) {
	select {
	case c.calls <- call:
	default:
		c.running.Go(func() { c.work(call) })
	}
}

func (c *callers) work(call call) {
	for {
		call.p.handle(call.sp, call.gr, call.number)
		if c.waiting.Add(1) > c.keep {
			c.waiting.Add(-1)
			return
		}
		select {
		case call = <-c.calls:
			c.waiting.Add(-1)
		case <-c.done:
			return
		}
	}
}
