package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/sinks"
)

// publishIsDurableAndInOrder: after a nil the peer holds everything, as it was, in order, where the labels say.
func publishIsDurableAndInOrder(b *bench) error {
	s := b.peer.Sink(b.t)
	var sent []sinks.Message
	for _, n := range []int{1, 40, 7} {
		msgs := b.messages(n, 2000)
		if _, err := b.publish(b.t.Context(), s, msgs); err != nil {
			return errors.Join(err, b.close(s))
		}
		sent = append(sent, msgs...)
	}
	// Read before Close: durable means durable now.
	return errors.Join(b.durable(sent, onceInOrder), b.close(s), b.durable(sent, onceInOrder))
}

// nothingToPublish: no messages are no failure.
func nothingToPublish(b *bench) error {
	s := b.peer.Sink(b.t)
	_, err := b.publish(b.t.Context(), s, nil)
	return errors.Join(err, b.close(s), b.durable(nil, onceEach))
}

// concurrentPublishes: many callers at once, nothing lost, doubled or mixed up.
func concurrentPublishes(b *bench) error {
	const callers, calls, each = 8, 10, 5
	s := b.peer.Sink(b.t)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		sent []sinks.Message
		errs []error
	)
	for range callers {
		wg.Go(func() {
			for range calls {
				msgs := b.messages(each, 600)
				_, err := b.publish(b.t.Context(), s, msgs)
				mu.Lock()
				sent = append(sent, msgs...)
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errors.Join(errs...), b.durable(sent, onceEach), b.close(s))
}

// endedContextFailsAll: with an ended context every message is reported, and worth another try; the sink still works.
func endedContextFailsAll(b *bench) error {
	s := b.peer.Sink(b.t)
	ctx, cancel := context.WithCancel(b.t.Context())
	cancel()
	msgs := b.messages(3, 200)
	failures, _ := b.publish(ctx, s, msgs)
	err := allRetryable(len(msgs), failures)
	return errors.Join(err, b.insist(s, msgs), b.durable(msgs, atLeastOnce), b.close(s))
}

// peerDownThenBack: while the peer is away everything fails for now, nothing for good; afterwards the same sink works.
func peerDownThenBack(b *bench) error {
	s := b.peer.Sink(b.t)
	before := b.messages(3, 200)
	if err := b.insist(s, before); err != nil {
		return errors.Join(err, b.close(s))
	}
	b.peer.Stop(b.t)
	msgs := b.messages(5, 200)
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Second)
	failures, _ := b.publish(ctx, s, msgs)
	cancel()
	err := allRetryable(len(msgs), failures)
	b.peer.Start(b.t)
	err = errors.Join(err, b.insist(s, msgs))
	return errors.Join(err, b.durable(slices.Concat(before, msgs), atLeastOnce), b.close(s))
}

// soon is how long Publish and Close may take once their context has ended.
const soon = 3 * time.Second

// peerDownEndsWithContext: neither Publish nor Close outlives its context when the peer does not answer.
func peerDownEndsWithContext(b *bench) error {
	s := b.peer.Sink(b.t)
	if err := b.insist(s, b.messages(1, 200)); err != nil {
		return errors.Join(err, b.close(s))
	}
	b.peer.Stop(b.t)
	defer b.peer.Start(b.t)
	msgs := b.messages(2, 200)
	ctx, cancel := context.WithCancel(b.t.Context())
	t := time.AfterFunc(100*time.Millisecond, cancel)
	defer t.Stop()
	began := time.Now()
	failures, _ := b.publish(ctx, s, msgs)
	cancel()
	err := allRetryable(len(msgs), failures)
	if took := time.Since(began); took > soon {
		err = errors.Join(err, fmt.Errorf("Publish returned %v after it was called, its context had ended after 100 ms", took))
	}
	ended, end := context.WithCancel(context.Background())
	end()
	began = time.Now()
	// With an ended context Close may say that it could not send everything; it must not wait.
	_ = s.Close(ended)
	if took := time.Since(began); took > soon {
		err = errors.Join(err, fmt.Errorf("Close with an ended context took %v", took))
	}
	return err
}

// neverRetries: a refusal that passes is reported, not hidden by a second try.
func neverRetries(b *bench) error {
	s := b.peer.Sink(b.t)
	b.peer.RefuseOnce(b.t)
	msgs := b.messages(1, 200)
	failures, err := b.publish(b.t.Context(), s, msgs)
	if err == nil {
		return errors.Join(errors.New("the peer refused once, and Publish returned nil: the sink tried again by itself"), b.close(s))
	}
	return errors.Join(allRetryable(1, failures), b.insist(s, msgs), b.durable(msgs, atLeastOnce), b.close(s))
}

// tooLargeIsPermanentAlone: a message above the limit fails for good, and takes no other with it.
func tooLargeIsPermanentAlone(b *bench) error {
	s := b.peer.Sink(b.t)
	msgs := b.messages(5, 200)
	large := b.messages(1, 2*b.h.TooLarge) // lengths vary down to half of the size
	msgs[2] = large[0]
	failures, err := b.publish(b.t.Context(), s, msgs)
	if err == nil {
		return errors.Join(fmt.Errorf("a value of %d bytes was accepted", len(msgs[2].Value)), b.close(s))
	}
	var passing []sinks.Message
	permanent := false
	for _, f := range failures {
		switch {
		case f.Index == 2:
			permanent = f.Permanent
		case f.Permanent:
			b.fault("message %d is small, but failed for good beside one that is too large: %v", f.Index, f.Err)
		default:
			passing = append(passing, msgs[f.Index])
		}
	}
	if !permanent {
		b.fault("the message that is too large is not reported as failed for good: %v", err)
	}
	small := slices.Delete(slices.Clone(msgs), 2, 3)
	return errors.Join(b.insist(s, passing), b.durable(small, atLeastOnce), b.close(s))
}

// closeLeavesNothingBehind: after Close everything is at the peer, and no goroutine of the sink's is left.
func closeLeavesNothingBehind(b *bench) error {
	s := b.peer.Sink(b.t)
	msgs := b.messages(20, 500)
	err := b.insist(s, msgs)
	err = errors.Join(err, b.close(s))
	if leak := goleak.Find(b.gone...); leak != nil {
		err = errors.Join(err, fmt.Errorf("Close left goroutines behind: %w", leak))
	}
	return errors.Join(err, b.durable(msgs, onceInOrder))
}
