package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/spawnwatch/spawnwatch/sinks"
)

// item is one message on its way through a lane. The message is the caller's until the item is done or was taken back.
type item struct {
	msg  *sinks.Message
	key  []byte
	size int
	call *call
	at   int // index in the call

	done bool // under the lane's lock
}

// call is one Publish.
type call struct {
	left     atomic.Int32
	finished chan struct{}
	mu       sync.Mutex
	failures []sinks.Failure
}

// settle notes the fate of one message.
func (c *call) settle(at int, permanent bool, err error) {
	if err != nil {
		c.mu.Lock()
		c.failures = append(c.failures, sinks.Failure{Index: at, Err: err, Permanent: permanent})
		c.mu.Unlock()
	}
	if c.left.Add(-1) == 0 {
		close(c.finished)
	}
}

// lane is one partition that we write to. One batch at a time is under way; what comes meanwhile goes into the next, so
// that batches grow with the load and an alert that is alone never waits for others.
type lane struct {
	s     *Sink
	topic string
	id    int32

	mu     sync.Mutex
	queue  []*item
	busy   bool               // a goroutine is at work
	flight []*item            // what it has in hand
	cancel context.CancelFunc // ends what is under way, when nobody waits for it any more

	// The goroutine's alone.
	session *session
	next    int32
	encoder encoder
}

// add queues items and sees that somebody is at work.
func (l *lane) add(items []*item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, items...)
	if !l.busy {
		l.busy = true
		l.s.lanesBusy.Add(1)
		go l.work()
	}
}

// withdraw settles the items of a call that gave up. Afterwards the lane touches none of its messages.
func (l *lane) withdraw(c *call, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.queue[:0]
	for _, it := range l.queue {
		if it.call == c {
			it.done = true
			c.settle(it.at, false, err)
		} else {
			kept = append(kept, it)
		}
	}
	clear(l.queue[len(kept):])
	l.queue = kept
	waiting := false
	for _, it := range l.flight {
		if it.call == c && !it.done {
			it.done = true
			c.settle(it.at, false, err)
		}
		waiting = waiting || !it.done
	}
	if !waiting && l.cancel != nil {
		l.cancel()
	}
}

func (l *lane) work() {
	defer l.s.lanesBusy.Done()
	for {
		ctx, batch, ok := l.take()
		if !ok {
			return
		}
		l.write(ctx, batch)
		l.mu.Lock()
		l.cancel()
		l.cancel, l.flight = nil, nil
		l.mu.Unlock()
	}
}

// take moves the next batch from the queue into flight.
func (l *lane) take() (context.Context, []*item, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.busy = false
		return nil, nil, false
	}
	n, size := 0, 0
	for n < len(l.queue) && n < batchRecords && (n == 0 || size+l.queue[n].size <= batchBytes) {
		size += l.queue[n].size
		n++
	}
	l.flight = append([]*item(nil), l.queue[:n]...)
	l.queue = append(l.queue[:0], l.queue[n:]...)
	var ctx context.Context
	ctx, l.cancel = context.WithTimeout(l.s.life, settleTime)
	return ctx, l.flight, true
}

// write writes a batch, or the halves of one that is rejected as a whole: one bad message must not take others with it.
func (l *lane) write(ctx context.Context, batch []*item) {
	batch, v, err := l.deliver(ctx, batch)
	if v == rejected && len(batch) > 1 {
		half := len(batch) / 2
		l.write(ctx, batch[:half])
		l.write(ctx, batch[half:])
		return
	}
	if err != nil {
		err = l.s.conn.Explain(fmt.Errorf("topic %s, partition %d: %w", l.topic, l.id, err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range batch {
		if !it.done {
			it.done = true
			it.call.settle(it.at, v == rejected, err)
		}
	}
}

// deliver sends one batch. It is sent again only where the answer was lost, with the same sequence number: that
// does not try a failed write once more, it finds out what became of the first.
// It returns the messages that it sent: those that were withdrawn before are left out.
func (l *lane) deliver(ctx context.Context, batch []*item) ([]*item, verdict, error) {
	session, err := l.s.session(ctx)
	if err != nil {
		return batch, refused, err
	}
	if session != l.session {
		l.session, l.next = session, 0
	}
	seq := sequence{producer: session.producer, epoch: session.epoch, first: l.next}
	batch, data, err := l.encode(batch, seq)
	if err != nil || len(batch) == 0 {
		return batch, refused, err
	}
	v, err := l.send(ctx, session, data)
	if v == written {
		l.next = seq.after(len(batch))
	}
	return batch, v, err
}

// send sends the bytes of a batch until it is known what became of it.
func (l *lane) send(ctx context.Context, session *session, data []byte) (verdict, error) {
	var doubt error // why it is not known whether an earlier attempt was written
	for wait := firstBackoff; ; wait = min(2*wait, maxBackoff) {
		v, err := l.attempt(ctx, data)
		switch v {
		case written, rejected:
			return v, err
		case lost:
			l.s.forget(session)
			return refused, err
		case refused:
			if doubt == nil {
				return refused, err
			}
		case unknown:
			doubt = err
			if session == anonymous {
				return refused, fmt.Errorf("not known whether it was written: %w", err)
			}
		}
		if sleep(ctx, wait) != nil {
			// Whatever comes next must not have a number that the broker may have seen.
			l.s.forget(session)
			return refused, fmt.Errorf("not known whether it was written: %w", doubt)
		}
	}
}

// encode makes the bytes of those messages that were not withdrawn: the others may not be read any more.
func (l *lane) encode(batch []*item, seq sequence) ([]*item, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	live := make([]*item, 0, len(batch))
	for _, it := range batch {
		if !it.done {
			live = append(live, it)
		}
	}
	if len(live) == 0 {
		return nil, nil, nil
	}
	data, err := l.encoder.encode(live, seq, time.Now())
	return live, data, err
}

// attempt sends a batch to the leader once.
func (l *lane) attempt(ctx context.Context, data []byte) (verdict, error) {
	leader, err := l.s.topics.leader(ctx, l.topic, l.id)
	if err != nil {
		return refused, err
	}
	req := &produceRequest{topic: l.topic, partition: l.id, batch: data}
	try, cancel := context.WithTimeout(ctx, requestTime)
	err = l.s.conn.Exchange(try, leader, req)
	cancel()
	v, err := judge(req, err)
	switch {
	case v == written:
	case errors.Is(err, kafka.MessageSizeTooLarge), errors.Is(err, kafka.RecordListTooLarge):
	default:
		l.s.topics.forget(l.topic) // it may have another leader, or none, or be gone
	}
	return v, err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
