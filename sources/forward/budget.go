package forward

import (
	"context"
	"sync"
)

// budget bounds the bytes of messages that are read and worked on over all connections. Who cannot have more waits and
// does not read on, so that TCP slows the sender down.
//
// Waiting alone would stop for good as soon as the budget is full of half-read messages. So one claim at a time may
// overdraw: its message gets finished, and its bytes come back. The most that is ever held is the budget and what one
// message needs, which maxMessage bounds.
type budget struct {
	mu   sync.Mutex
	free int64
	// overdrawn is the claim that may exceed the budget until it is released.
	overdrawn *claim
	waiting   []*waiter
}

// claim is what one connection holds of the budget.
type claim struct {
	held int64
}

type waiter struct {
	c       *claim
	n       int64
	granted chan struct{}
}

func newBudget(n int64) *budget { return &budget{free: n} }

// acquire adds n bytes to c. It waits until they are there, and returns ctx's error if that ends first.
func (b *budget) acquire(ctx context.Context, c *claim, n int64) error {
	b.mu.Lock()
	if b.overdrawn == c || (len(b.waiting) == 0 && b.fits(c, n)) {
		b.free -= n
		c.held += n
		b.mu.Unlock()
		return nil
	}
	w := &waiter{c, n, make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.mu.Unlock()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.waiting {
		if other == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			b.grant() // whoever stood behind may fit
			return ctx.Err()
		}
	}
	return nil // granted at the same moment: the claim holds it
}

// fits says whether c may take n bytes now, making it the one that overdraws if it must. The caller holds mu.
func (b *budget) fits(c *claim, n int64) bool {
	if n <= b.free {
		return true
	}
	if b.overdrawn != nil {
		return false
	}
	b.overdrawn = c
	return true
}

// release gives n bytes of c back. As soon as the budget is whole again, or c holds nothing more, nobody overdraws.
func (b *budget) release(c *claim, n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	c.held -= n
	if b.free >= 0 || (c.held == 0 && b.overdrawn == c) {
		b.overdrawn = nil
	}
	b.grant()
}

// grant serves those who wait, in order. The caller holds mu.
func (b *budget) grant() {
	for len(b.waiting) > 0 {
		w := b.waiting[0]
		if b.overdrawn != w.c && !b.fits(w.c, w.n) {
			return
		}
		b.free -= w.n
		w.c.held += w.n
		b.waiting[0] = nil
		b.waiting = b.waiting[1:]
		close(w.granted)
	}
}

// pressed says whether anybody waits.
func (b *budget) pressed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) > 0
}

// starves says whether others wait for c, the claim that exceeds the budget.
func (b *budget) starves(c *claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) > 0 && b.overdrawn == c
}
