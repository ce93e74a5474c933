package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

func accept(context.Context, []delivery) error { return nil }

// deliversAllInOrder: everything comes, once, in its order, and is acknowledged by the time Run has returned.
func deliversAllInOrder(b *bench) error {
	b.produce(300, 400)
	r := b.start(b.handler(accept))
	err := b.await("all records", func() bool { return len(b.handled) >= b.total() })
	return errors.Join(err, r.finish(), b.complete(exactlyOnce), b.offsetsInOrder(), b.inputOrder(), b.acked(b.total()))
}

// inputOrder: with Batch.After the calls end in the order of the input, which the suite's handler waits for. Without
// it, several calls may be in hand at once and end in any order.
func (b *bench) inputOrder() error {
	if !b.h.Ends {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	last := map[int]int{}
	for _, d := range b.handled {
		if prev, ok := last[d.partition]; ok && d.n < prev {
			return fmt.Errorf("partition %d: record %d was handled after %d, but an input that ends is handled in its order: Batch.After is missing or closed too soon",
				d.partition, d.n, prev)
		}
		last[d.partition] = d.n
	}
	return nil
}

// lendsUntilReturn: bytes stay as they are while their call lasts, though other calls come and go. The handler of the
// bench compares them; here calls are held until the next one came or the source has no more to give.
func lendsUntilReturn(b *bench) error {
	b.produce(200, 4000)
	var calls atomic.Int64
	r := b.start(b.handler(func(ctx context.Context, _ []delivery) error {
		if calls.Add(1)%2 == 0 {
			return nil
		}
		b.mu.Lock()
		n := len(b.seen)
		b.mu.Unlock()
		select { // a source that waits for this call before it makes the next is right too
		case <-b.changed(func() bool { return len(b.seen) > n }):
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
		return nil
	}))
	err := b.await("all records", func() bool { return len(b.handled) >= b.total() })
	return errors.Join(err, r.finish(), b.complete(atLeastOnce))
}

// changed is closed once cond holds; the goroutine behind it ends with the check.
func (b *bench) changed(cond func() bool) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		if err := b.await("a change", func() bool { return cond() || b.calls == 0 || len(b.seen) >= b.total() }); err != nil {
			return
		}
	}()
	return c
}

// settle is how long nothing may happen before the suite believes that nothing will.
const settle = 250 * time.Millisecond

// blockedHandlerBoundsReading: while no call returns, the source hands over no more than its limit; afterwards it goes
// on with all the rest.
func blockedHandlerBoundsReading(b *bench) error {
	const size = 8 << 10
	b.produce(max(16, 4*b.h.InFlight/size/b.h.Partitions), size)
	open := make(chan struct{})
	r := b.start(b.handler(func(ctx context.Context, _ []delivery) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}))
	err := b.await("the first record", func() bool { return len(b.seen) > 0 })
	for last := -1; err == nil; {
		b.mu.Lock()
		now := b.maxBytes
		b.mu.Unlock()
		if now == last || now > b.h.InFlight {
			break
		}
		last = now
		b.pause(settle)
	}
	b.mu.Lock()
	held := b.maxBytes
	b.mu.Unlock()
	if held > b.h.InFlight {
		err = errors.Join(err, fmt.Errorf("with every call blocked the source handed over %d bytes, its limit is %d", held, b.h.InFlight))
	}
	err = errors.Join(err, b.noneAcked())
	close(open)
	err = errors.Join(err, b.await("all records after the block", func() bool { return len(b.handled) >= b.total() }))
	return errors.Join(err, r.finish(), b.complete(atLeastOnce))
}

func (b *bench) noneAcked() error {
	if b.transport.Acked == nil {
		return nil
	}
	if n := b.transport.Acked(b.t); n > 0 {
		return fmt.Errorf("%d records are acknowledged while no call has returned", n)
	}
	return nil
}

// shutdownLetsCallsFinish: when Run's context ends, calls in hand keep a living one, are waited for, and what they
// handled is acknowledged.
func shutdownLetsCallsFinish(b *bench) error {
	b.produce(20, 200)
	open := make(chan struct{})
	r := b.start(b.handler(func(ctx context.Context, _ []delivery) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}))
	err := b.await("the first record", func() bool { return len(b.seen) > 0 })
	r.stop()
	select {
	case runErr := <-r.done:
		r.done <- runErr
		err = errors.Join(err, errors.New("Run returned at once instead of waiting for the calls in hand"))
	case <-time.After(b.h.Drain / 4):
	}
	b.mu.Lock()
	ended := len(b.handled) == 0 && b.calls == 0
	b.mu.Unlock()
	if ended {
		err = errors.Join(err, errors.New("the context of the calls in hand ended together with Run's"))
	}
	close(open)
	err = errors.Join(err, r.wait())
	b.mu.Lock()
	handled, seen := len(b.handled), len(b.seen)
	b.mu.Unlock()
	if handled != seen {
		err = errors.Join(err, fmt.Errorf("%d records were handed over, but only %d calls could finish within the drain limit", seen, handled))
	}
	return errors.Join(err, b.acked(handled))
}

// drainLimitEndsCalls: calls that do not finish are ended when the drain limit has passed, not sooner and not much
// later, and nothing of theirs is acknowledged.
func drainLimitEndsCalls(b *bench) error {
	b.produce(20, 200)
	r := b.start(b.handler(func(ctx context.Context, _ []delivery) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}))
	err := b.await("the first record", func() bool { return len(b.seen) > 0 })
	began := time.Now()
	err = errors.Join(err, r.cancel())
	if took := time.Since(began); took < b.h.Drain*8/10 {
		err = errors.Join(err, fmt.Errorf("the calls in hand were ended after %v, the drain limit is %v", took, b.h.Drain))
	}
	return errors.Join(err, b.noneAcked())
}

// unhandledComesAgain: what one run did not handle, the next one delivers.
func unhandledComesAgain(b *bench) error {
	b.produce(60, 2000)
	var first atomic.Int64
	r := b.start(b.handler(func(ctx context.Context, _ []delivery) error {
		if first.Add(1) == 1 { // the first call never succeeds: nothing after it in its partition may count
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return nil
	}))
	err := b.await("the first record", func() bool { return len(b.seen) > 0 })
	b.pause(settle) // for what the source can deliver past the first call
	err = errors.Join(err, r.cancel())
	b.mu.Lock()
	handled := len(b.handled)
	b.mu.Unlock()
	if b.transport.Acked != nil {
		if n := b.transport.Acked(b.t); n > handled {
			err = errors.Join(err, fmt.Errorf("%d records are acknowledged, but only %d were handled", n, handled))
		}
	}
	again := b.start(b.handler(accept))
	err = errors.Join(err, b.await("every record", func() bool { return b.distinct() == b.total() }))
	err = errors.Join(err, b.acked(b.total())) // what was handled in the first run may still be on its way a second time
	return errors.Join(err, again.finish(), b.complete(atLeastOnce))
}

// distinct counts the records handled at least once; b.mu is held.
func (b *bench) distinct() int {
	set := make(map[[2]int]struct{}, len(b.handled))
	for _, d := range b.handled {
		set[[2]int{d.partition, d.n}] = struct{}{}
	}
	return len(set)
}

// endedContextReadsNothing: a Run that begins with an ended context returns nil and leaves everything to the next one.
func endedContextReadsNothing(b *bench) error {
	b.produce(5, 100)
	ended, end := context.WithCancel(context.Background())
	end()
	done := make(chan error, 1)
	s := b.transport.Source(b.t)
	go func() { done <- s.Run(ended, b.handler(accept)) }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("Run with an ended context returned %w, want nil", err)
		}
	case <-time.After(b.h.Patience):
		return fmt.Errorf("Run with an ended context did not return within %v", b.h.Patience)
	}
	if b.h.OnceOnly {
		return nil
	}
	r := b.start(b.handler(accept))
	err := b.await("all records", func() bool { return b.distinct() == b.total() })
	return errors.Join(err, r.finish(), b.complete(atLeastOnce))
}
