package nats

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/sources"
)

const (
	// coreMessages and coreBytes are how much the client keeps for each subject while the source has its hands full;
	// what comes on top of it is lost.
	coreMessages = 65_536
	coreBytes    = 64 << 20
	// dropLog is how often lost messages are reported.
	dropLog = 10 * time.Second
)

// subscriber is one run over core subjects. It belongs to the goroutine of that run.
type subscriber struct {
	source *Source
	conn   *natsconn.Conn
	desk   *desk
	subs   []*nats.Subscription
	in     chan *nats.Msg
	// over is closed when nothing is taken from in any more.
	over chan struct{}
	// lost counts what the client dropped, as far as it was reported; told is when.
	lost int64
	told time.Time
}

func (s *Source) runCore(ctx context.Context, conn *natsconn.Conn, h sources.Handler) error {
	r := &subscriber{
		source: s,
		conn:   conn,
		desk:   newDesk(s.settings, h, func(*call) {}),
		in:     make(chan *nats.Msg, 256),
		over:   make(chan struct{}),
	}
	defer close(r.over)
	var open sync.WaitGroup
	for _, subject := range s.config.Subjects {
		sub, err := conn.NATS.QueueSubscribe(subject, s.config.Queue, r.pass)
		if err == nil {
			err = sub.SetPendingLimits(coreMessages, coreBytes)
		}
		if err != nil {
			return conn.Explain(natsconn.NewFault("subjects", "cannot subscribe to %q: %w", subject, err))
		}
		open.Add(1)
		sub.SetClosedHandler(func(string) { open.Done() })
		r.subs = append(r.subs, sub)
	}
	flush, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if err := conn.Flush(flush); err != nil {
		return ended(ctx, conn.Explain(fmt.Errorf("cannot subscribe to %q: %w", s.config.Subjects, err)))
	}
	return r.run(ctx, &open)
}

// pass runs in the client's goroutine of one subscription. While it waits, messages gather at the client.
func (r *subscriber) pass(m *nats.Msg) {
	select {
	case r.in <- m:
	case <-r.over:
	}
}

func (r *subscriber) run(ctx context.Context, open *sync.WaitGroup) error {
	calls, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	var (
		told     = ctx.Done()
		closed   = r.conn.Closed()
		drain    <-chan time.Time
		quiet    chan struct{} // closed when the subscriptions have ended, and then nil
		fault    error
		stopping bool
		late     bool      // the drain limit has passed
		next     *nats.Msg // came, but does not fit yet
	)
	stop := func(err error) {
		if stopping {
			return
		}
		stopping, fault = true, err
		drain = time.After(r.source.settings.Drain)
		r.report(0)
		for _, s := range r.subs {
			_ = s.Drain() // what has arrived is still handed over; without a connection there is nothing to end
		}
		quiet = make(chan struct{})
		go func(quiet chan struct{}) {
			defer close(quiet)
			open.Wait()
		}(quiet)
	}
	for !stopping || !late && (quiet != nil || next != nil || len(r.in) > 0) || len(r.desk.queue)+len(r.desk.active) > 0 {
		for n := 0; !late; n++ {
			if next == nil && n > 0 && n < burst && len(r.in) > 0 {
				next = <-r.in // there is no other reader
			}
			if next == nil || !r.desk.fits(next) {
				break
			}
			r.take(next)
			next = nil
		}
		if due := r.desk.dispatch(calls); !due.IsZero() {
			wake.Reset(max(time.Until(due), 0))
		}
		in := r.in
		if late || next != nil {
			in = nil
		}
		select {
		case next = <-in:
		case c := <-r.desk.done:
			r.desk.finish(c)
		case <-wake.C:
		case <-tick.C:
			r.report(dropLog)
		case <-r.conn.Slow():
			r.report(dropLog)
		case <-closed:
			closed = nil
			stop(nats.ErrConnectionClosed)
		case <-told:
			told = nil
			stop(nil)
		case <-quiet:
			quiet = nil
		case <-drain:
			late = true
			end(errDrained)
			// The rest cannot be given back to anybody.
			r.desk.abandon(func(c *call) { r.source.stats.dropped.Add(int64(len(c.batch.Records))) })
			if next != nil {
				r.source.stats.dropped.Add(1)
			}
		}
	}
	return fault
}

func (r *subscriber) take(m *nats.Msg) {
	r.source.stats.messages.Add(1)
	r.source.stats.bytes.Add(int64(len(m.Data)))
	r.desk.take(m, delivery{})
}

// report tells how many messages the client dropped, at most once in every period.
func (r *subscriber) report(every time.Duration) {
	var lost int64
	for _, s := range r.subs {
		if n, err := s.Dropped(); err == nil {
			lost += int64(n)
		}
	}
	if lost <= r.lost || time.Since(r.told) < every {
		return
	}
	r.source.stats.dropped.Add(lost - r.lost)
	r.source.settings.Logger.Warn("messages were lost because they came faster than they are handled; a JetStream stream would keep them",
		"source", r.source.settings.Name, "lost", lost-r.lost, "lost_in_all", lost)
	r.lost, r.told = lost, time.Now()
}
