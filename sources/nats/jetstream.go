package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/sources"
)

// The answers to a message (NATS ADR-15).
var (
	ack      = []byte("+ACK")
	nak      = []byte("-NAK")
	progress = []byte("+WPI")
	// nakLater gives a message back whose call was ended: whoever takes it next should not run into the same wall at
	// once. The delay is in nanoseconds: 1 s.
	nakLater = []byte(`-NAK {"delay":1000000000}`)
)

const (
	// burst is how many messages are taken before returned calls are looked at.
	burst = 512
	// sweepTime is how long what is on the wire is waited for at the end, to give it back.
	sweepTime = 2 * time.Second
)

// errDrained is why calls are ended at shutdown.
var errDrained = errors.New("the drain limit has passed")

// reader is one run over a stream. It belongs to the goroutine of that run.
type reader struct {
	source   *Source
	conn     *natsconn.Conn
	consumer *consumer
	desk     *desk
	pull     pull

	sub   *nats.Subscription
	inbox string
	next  string // the subject on which messages are asked for
	msgs  chan *nats.Msg
	// now is the time at which the last event was looked at: a clock for each message would be a waste.
	now time.Time

	// looking: an answer will come on looked.
	looking bool
	looked  chan error

	// stopping: nothing more is handed over. sweeping is closed when nothing more can come, and then nil; drain fires
	// when calls are to be ended.
	stopping bool
	sweeping chan struct{}
	drain    <-chan time.Time
	// asked is when the consumer was last looked up.
	asked time.Time
	// fault is why the run ends, nil if it was told to.
	fault error
}

func (s *Source) runJetStream(ctx context.Context, conn *natsconn.Conn, c *consumer, h sources.Handler) error {
	r := &reader{
		source:   s,
		conn:     conn,
		consumer: c,
		inbox:    conn.NATS.NewInbox(),
		next:     "$JS.API.CONSUMER.MSG.NEXT." + c.stream + "." + c.name,
		// What is asked for always fits, and beside it what a request that was taken for lost may still bring.
		msgs:   make(chan *nats.Msg, 2*s.settings.Messages+256),
		looked: make(chan error, 1),
	}
	defer s.stats.lag.Store(nil) // it would grow old
	r.desk = newDesk(s.settings, h, r.acknowledge)
	var err error
	if r.sub, err = conn.NATS.ChanSubscribe(r.inbox+".*", r.msgs); err != nil {
		return conn.Explain(fmt.Errorf("cannot subscribe for the consumer's messages: %w", err))
	}
	return r.run(ctx)
}

// run is the loop. It ends once everything has been answered.
func (r *reader) run(ctx context.Context) error {
	calls, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	tick := time.NewTicker(r.tick())
	defer tick.Stop()
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	told, closed := ctx.Done(), r.conn.Closed()
	r.now = time.Now()
	for !r.stopping || r.sweeping != nil || len(r.desk.active) > 0 {
		if due := r.proceed(calls); !due.IsZero() {
			wake.Reset(max(due.Sub(r.now), 0))
		}
		select {
		case m := <-r.msgs:
			r.now = time.Now()
			r.take(calls, m)
			r.takeMore(calls, burst)
		case c := <-r.desk.done:
			r.now = time.Now()
			r.finish(c)
		case r.now = <-tick.C:
			r.keepAlive()
			if r.now.Sub(r.asked) >= lagEvery && r.conn.NATS.IsConnected() {
				r.lookUp(calls)
			}
			if r.pull.lost(r.now) && r.conn.NATS.IsConnected() {
				r.pull.end(r.now, 0)
				r.lookUp(calls)
			}
		case r.now = <-wake.C:
		case <-r.conn.Reconnected():
			// Requests do not outlive the connection that they were made over.
			if r.now = time.Now(); r.pull.active && r.pull.life != r.conn.NATS.Stats().Reconnects {
				r.pull.end(r.now, 0)
			}
		case err := <-r.looked:
			if r.looking = false; gone(err) {
				r.stop(r.consumer.errGone(err))
			}
		case <-closed:
			closed = nil
			r.stop(nats.ErrConnectionClosed)
		case <-told:
			told = nil
			r.stop(nil)
		case <-r.sweeping:
			r.sweeping = nil
			r.takeMore(calls, cap(r.msgs))
		case <-r.drain:
			end(errDrained)
		}
	}
	end(nil)
	if r.looking {
		<-r.looked
	}
	return r.fault
}

// tick is how often the clock is looked at: often enough to be in time at half of AckWait.
func (r *reader) tick() time.Duration {
	return min(max(r.consumer.ackWait/8, 10*time.Millisecond), time.Second)
}

// proceed hands over batches and asks for more. It returns when there is more to do, zero if only an event can tell.
func (r *reader) proceed(calls context.Context) (due time.Time) {
	if r.stopping {
		return time.Time{}
	}
	due = r.desk.dispatch(calls)
	if r.pull.active {
		return due
	}
	if r.now.Before(r.pull.notBefore) {
		if due.IsZero() || r.pull.notBefore.Before(due) {
			due = r.pull.notBefore
		}
		return due
	}
	// Without a connection the request would be kept, and asked again when the connection is back.
	if !r.conn.NATS.IsConnected() {
		return due
	}
	body, ok := r.pull.request(r.consumer, r.desk)
	if !ok {
		return due
	}
	r.pull.id++
	r.pull.life = r.conn.NATS.Stats().Reconnects
	r.pull.seen = r.now
	r.pull.active = true
	if err := r.conn.NATS.PublishRequest(r.next, r.inbox+"."+strconv.FormatUint(r.pull.id, 10), body); err != nil {
		r.pull.end(r.now, pullRetry) // the connection is about to be made again
	}
	return due
}

// takeMore takes up to limit messages that have arrived besides.
func (r *reader) takeMore(calls context.Context, limit int) {
	for range limit {
		select {
		case m := <-r.msgs:
			r.take(calls, m)
		default:
			return
		}
	}
}

func (r *reader) take(calls context.Context, m *nats.Msg) {
	v, ok := parseDelivery(m.Reply)
	if !ok {
		r.status(calls, m)
		return
	}
	stats := &r.source.stats
	r.pull.received(r.now)
	stats.messages.Add(1)
	stats.bytes.Add(int64(len(m.Data)))
	if v.count > 1 {
		stats.redelivered.Add(1)
	}
	if r.stopping {
		r.answer(m.Reply, nak)
		stats.returned.Add(1)
		return
	}
	// What is in hand already is answered by its first copy.
	if v.count > 1 && r.desk.holds(v.sequence) {
		return
	}
	r.desk.take(m, v)
}

func (r *reader) status(calls context.Context, m *nats.Msg) {
	v, err := r.pull.status(m, r.now)
	switch {
	case v == lookAgain:
		r.lookUp(calls)
	case v == giveUp && err == nil:
		r.stop(r.consumer.errGone(errors.New("it was deleted")))
	case v == giveUp:
		r.stop(fmt.Errorf("consumer %q of stream %q cannot be used: %w", r.consumer.name, r.consumer.stream, err))
	}
}

// lookUp asks whether the consumer is still there, and how much waits for it.
func (r *reader) lookUp(ctx context.Context) {
	if r.looking || r.stopping {
		return
	}
	r.looking, r.asked = true, r.now
	go func() {
		r.looked <- r.conn.Ask(ctx, func(ctx context.Context) error {
			c, err := r.conn.JetStream.Consumer(ctx, r.consumer.stream, r.consumer.name)
			if err == nil {
				info := c.CachedInfo() // it has just been asked for
				r.source.stats.lag.Store(&Lag{Stream: info.Stream, Messages: int64(info.NumPending) + int64(info.NumAckPending)})
			}
			return err
		})
	}()
}

// acknowledge runs in the goroutine of the call. What cannot be sent is delivered again.
func (r *reader) acknowledge(c *call) {
	for _, reply := range c.replies {
		r.answer(reply, ack)
	}
}

// answer sends an answer; it is kept while there is no connection. An answer that is lost means that the message is
// delivered again, so that there is nothing to do about an error.
func (r *reader) answer(reply string, text []byte) {
	_ = r.conn.NATS.Publish(reply, text)
}

func (r *reader) finish(c *call) {
	if c.err != nil {
		r.giveBack(c, nakLater)
	}
	r.desk.finish(c)
}

func (r *reader) giveBack(c *call, text []byte) {
	for _, reply := range c.replies {
		r.answer(reply, text)
	}
	r.source.stats.returned.Add(int64(len(c.replies)))
}

// keepAlive tells the server what is in hand, in work or not, at half of AckWait.
func (r *reader) keepAlive() {
	limit := r.consumer.ackWait/2 - r.tick()/2
	for _, list := range [2][]*call{r.desk.active, r.desk.queue} {
		for _, c := range list {
			if r.now.Sub(c.touched) < limit {
				continue
			}
			c.touched = r.now
			for _, reply := range c.replies {
				r.answer(reply, progress)
			}
		}
	}
}

// stop begins the end: nothing more is handed over, and what waits or is on the wire is given back at once.
func (r *reader) stop(fault error) {
	if r.stopping {
		return
	}
	r.stopping, r.fault = true, fault
	r.drain = time.After(r.source.settings.Drain)
	r.desk.abandon(func(c *call) { r.giveBack(c, nak) })
	swept := make(chan struct{})
	r.sweeping = swept
	go func() {
		defer close(swept)
		// It takes messages until the server has confirmed its end. Without a connection nothing is on the wire.
		if r.sub.Drain() != nil || !r.conn.NATS.IsConnected() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), sweepTime)
		defer cancel()
		_ = r.conn.Flush(ctx) // those that come later are delivered again after AckWait
	}()
}
