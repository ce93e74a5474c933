package nats

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
	"github.com/spawnwatch/spawnwatch/sources"
)

// TestServerRestartsInTheMiddle: everything is handled, what was acknowledged before stays so, and the same Run goes on.
func TestServerRestartsInTheMiddle(t *testing.T) {
	t.Parallel()
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	// Acknowledgements may be lost with the old connection: their messages come again after AckWait.
	s.consumer("AUDIT", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Second, MaxDeliver: -1, FilterSubject: "audit.>"})
	s.publish("audit.a", numbered(400)...)
	k := newSink()
	held := make(chan struct{})
	var calls atomic.Int32
	r := run(t, s.config(), Settings{Name: "audit", Bytes: 4 << 10, Drain: 500 * time.Millisecond}, func(ctx context.Context, b *sources.Batch) error {
		if calls.Add(1) == 2 {
			select { // in work across the restart
			case <-held:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return k.handle(ctx, b)
	})
	eventually(t, "the first records", func() bool { return k.distinct() > 0 && calls.Load() > 1 })
	s.restart()
	close(held)
	eventually(t, "the test's own client", s.nc.IsConnected)
	s.publish("audit.a", []byte(`{"n":400}`))
	eventually(t, "all records", func() bool { return k.distinct() == 401 })
	eventually(t, "all acknowledgements", func() bool { return s.unanswered("AUDIT") == 0 })
	r.end()
	t.Logf("%d records handled %d times", k.distinct(), k.all())
}

// proxy passes bytes on until it cuts all its connections.
type proxy struct {
	net.Listener
	to    string
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to, conns: map[net.Conn]struct{}{}}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); p.cut(); all.Wait() })
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns[in], p.conns[out] = struct{}{}, struct{}{}
			p.mu.Unlock()
			pass := func(dst, src net.Conn) {
				buf := make([]byte, 32<<10)
				for {
					n, err := src.Read(buf)
					if n > 0 {
						if _, err := dst.Write(buf[:n]); err != nil {
							break
						}
					}
					if err != nil {
						break
					}
				}
				_ = dst.Close()
				_ = src.Close()
			}
			all.Go(func() { pass(out, in) })
			all.Go(func() { pass(in, out) })
		}
	})
	return p
}

func (p *proxy) cut() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	n = len(p.conns)
	clear(p.conns)
	return n
}

// TestConnectionIsCut again and again, at any moment.
func TestConnectionIsCut(t *testing.T) {
	t.Parallel()
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	s.consumer("AUDIT", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, AckWait: 500 * time.Millisecond, MaxDeliver: -1})
	p := startProxy(t, strings.TrimPrefix(s.URL(), "nats://"))
	const total = 3000
	s.publish("audit.a", numbered(total)...)
	cfg := s.config()
	cfg.URL, cfg.Subjects, cfg.Create = "nats://"+p.Addr().String(), nil, false
	k := newSink()
	var count atomic.Int32
	r := run(t, cfg, Settings{Name: "audit", Messages: 40, Drain: time.Second}, func(ctx context.Context, b *sources.Batch) error {
		if n := count.Add(1); n%12 == 0 && n < 80 {
			p.cut()
		}
		return k.handle(ctx, b)
	})
	eventually(t, "all records", func() bool { return k.distinct() == total })
	eventually(t, "all acknowledgements", func() bool { return s.unanswered("AUDIT") == 0 })
	r.end()
	t.Logf("%d calls, %d records handled %d times, %+v", count.Load(), total, k.all(), r.src.Stats())
}

// TestSlowHandlerIsNotDeliveredAgain: AckWait runs from delivery, and what is in hand, in work or waiting, is kept alive
// far beyond it.
func TestSlowHandlerIsNotDeliveredAgain(t *testing.T) {
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	s.consumer("AUDIT", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, AckWait: 600 * time.Millisecond, MaxDeliver: -1})
	const total = 30
	for i, v := range numbered(total) {
		s.publish(fmt.Sprintf("audit.%d", i), v) // a call for each
	}
	k := newSink()
	cfg := s.config()
	cfg.Subjects, cfg.Create = nil, false
	r := run(t, cfg, Settings{Name: "audit", Calls: 2, Drain: time.Second}, func(ctx context.Context, b *sources.Batch) error {
		select { // 30 messages, 2 at a time, 100 ms each: twice AckWait until the last begins
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return k.handle(ctx, b)
	})
	eventually(t, "all records", func() bool { return k.distinct() == total })
	r.end()
	if k.all() != total || r.src.Stats().Redelivered > 0 {
		t.Errorf("%d records were handled %d times; %+v", total, k.all(), r.src.Stats())
	}
}

// TestUnhandledIsGivenBack: what the drain limit ended comes again soon, long before AckWait; what was only held, at once.
func TestUnhandledIsGivenBack(t *testing.T) {
	t.Parallel()
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	for i, v := range numbered(20) {
		s.publish(fmt.Sprintf("audit.%d", i), v)
	}
	began := make(chan struct{}, 20)
	first := run(t, s.config(), Settings{Name: "audit", Calls: 3, Drain: 50 * time.Millisecond}, func(ctx context.Context, _ *sources.Batch) error {
		began <- struct{}{}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	for range 3 {
		<-began
	}
	eventually(t, "all to be fetched", func() bool { return first.src.Stats().Messages == 20 })
	k := newSink()
	second := run(t, s.config(), quick("second"), k.handle)
	first.end()
	if n := first.src.Stats().Returned; n != 20 {
		t.Errorf("%d messages were given back, want 20", n)
	}
	eventually(t, "all records", func() bool { return k.distinct() == 20 }) // patience is half of AckWait
	second.end()
}

// TestTwoShareAndTakeOver: two instances on one durable share the work, and when one is gone without a word the other
// gets what it held.
func TestTwoShareAndTakeOver(t *testing.T) {
	t.Parallel()
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	s.consumer("AUDIT", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, AckWait: 500 * time.Millisecond, MaxDeliver: -1})
	cfg := s.config()
	cfg.Subjects, cfg.Create = nil, false
	p := startProxy(t, strings.TrimPrefix(s.URL(), "nats://"))
	behind := cfg
	behind.URL = "nats://" + p.Addr().String()
	share := Settings{Name: "audit", Messages: 50, Drain: 100 * time.Millisecond}
	one, two := newSink(), newSink()
	var stuck atomic.Bool
	a := run(t, behind, share, func(ctx context.Context, b *sources.Batch) error {
		if stuck.Load() {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return one.handle(ctx, b)
	})
	b := run(t, cfg, share, two.handle)
	values := numbered(3000)
	s.publish("audit.a", values[:1500]...)
	eventually(t, "the first half", func() bool { return one.all()+two.all() >= 1500 })
	if one.all() < 150 || two.all() < 150 {
		t.Errorf("the load is not shared: %d and %d", one.all(), two.all())
	}
	stuck.Store(true)
	s.publish("audit.a", values[1500:2000]...)
	eventually(t, "one to hold something", func() bool { return a.src.Stats().Messages > int64(one.all()) })
	_ = p.Close() // gone, and it cannot come back
	p.cut()
	s.publish("audit.a", values[2000:]...)
	union := func() int {
		one.mu.Lock()
		defer one.mu.Unlock()
		two.mu.Lock()
		defer two.mu.Unlock()
		n := len(two.count)
		for i := range one.count {
			if two.count[i] == 0 {
				n++
			}
		}
		return n
	}
	eventually(t, "everything", func() bool { return union() == 3000 })
	b.end()
	a.end()
}

// TestOrderInsideABatch: whatever comes again, the records of a batch ascend in the stream.
func TestOrderInsideABatch(t *testing.T) {
	d := newDesk(quick("x").withDefaults(), nil, nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	n := 0
	for range 2000 {
		m := &nats.Msg{Subject: fmt.Sprintf("audit.%d", rnd.IntN(3)), Data: []byte("{}"), Reply: "r"}
		if rnd.IntN(5) == 0 {
			m.Header = nats.Header{"Cluster": {fmt.Sprint("c", rnd.IntN(2))}}
		}
		d.take(m, delivery{sequence: 1 + rnd.Int64N(500), count: 1})
		n++
	}
	total := 0
	for _, c := range d.queue {
		for i, r := range c.batch.Records {
			if i > 0 && r.Offset <= c.batch.Records[i-1].Offset {
				t.Fatalf("%d comes after %d", r.Offset, c.batch.Records[i-1].Offset)
			}
			if !d.holds(r.Offset) {
				t.Fatalf("%d is held, but holds says no", r.Offset)
			}
		}
		total += len(c.batch.Records)
		if len(c.replies) != len(c.batch.Records) {
			t.Fatalf("%d replies for %d records", len(c.replies), len(c.batch.Records))
		}
	}
	if total != n || d.messages != n || d.holds(501) {
		t.Errorf("%d of %d are in batches, %d are counted", total, n, d.messages)
	}
	d.abandon(func(*call) {})
	if d.messages != 0 || d.bytes != 0 || len(d.open) != 0 || d.recent != nil {
		t.Errorf("after all was given up the desk still counts %d messages, %d bytes, %d open", d.messages, d.bytes, len(d.open))
	}
}

func TestRecord(t *testing.T) {
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	large := strings.Repeat("y", sources.OversizedKeep+1000)
	for _, m := range []*nats.Msg{
		{Subject: "audit.a", Data: []byte(`{"n":1}`)},
		{Subject: "audit.b", Data: []byte(`{"n":2}`), Header: nats.Header{"Cluster": {"edge"}, "traceparent": {"00-1"}}},
		{Subject: "audit.c", Header: nats.Header{"only": {"header"}}},
		{Subject: "audit.d", Data: []byte(large)},
	} {
		if _, err := s.js.PublishMsg(s.ctx(), m); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	got := map[string]sources.Batch{}
	headers := map[string]string{}
	r := run(t, s.config(), Settings{Name: "audit", Cluster: "prod", MaxRecord: sources.OversizedKeep}, func(_ context.Context, b *sources.Batch) error {
		mu.Lock()
		defer mu.Unlock()
		kept := *b
		kept.Records = append([]sources.Record(nil), b.Records...)
		got[b.Origin.Topic] = kept
		for _, h := range b.Records[0].Headers {
			headers[b.Origin.Topic+" "+string(h.Key)] = string(h.Value)
		}
		return nil
	})
	eventually(t, "four records", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 4 })
	r.end()
	a := got["audit.a"]
	if a.Origin != (sources.Origin{Source: "audit", Topic: "audit.a", Partition: -1, Cluster: "prod"}) {
		t.Errorf("origin %+v", a.Origin)
	}
	if rec := a.Records[0]; rec.Offset != 1 || time.Since(rec.Time) > time.Minute || rec.Line != 0 || rec.Key != nil || rec.Headers != nil || rec.Oversized != nil {
		t.Errorf("record %+v", rec)
	}
	if got["audit.b"].Origin.Cluster != "edge" || headers["audit.b Cluster"] != "edge" || headers["audit.b traceparent"] != "00-1" {
		t.Errorf("headers %v, origin %+v", headers, got["audit.b"].Origin)
	}
	if rec := got["audit.c"].Records[0]; len(rec.Value) != 0 || rec.Offset != 3 {
		t.Errorf("an empty message became %+v", rec)
	}
	o := got["audit.d"].Records[0]
	if o.Oversized == nil || o.Oversized.Size != int64(len(large)) || o.Oversized.SHA256 != sha256.Sum256([]byte(large)) || len(o.Value) != sources.OversizedKeep {
		t.Errorf("the large message became %d bytes, %+v", len(o.Value), o.Oversized)
	}
}

// TestMessageLargerThanTheBudget: one that is larger than all that may be held is fetched alone, and those around it too.
func TestMessageLargerThanTheBudget(t *testing.T) {
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	s.publish("audit.a", []byte(`{"n":1}`), []byte(`{"n":2,"pad":"`+strings.Repeat("x", 50<<10)+`"}`), []byte(`{"n":3}`),
		[]byte(`{"n":4,"pad":"`+strings.Repeat("x", 60<<10)+`"}`), []byte(`{"n":5,"pad":"`+strings.Repeat("x", 70<<10)+`"}`), []byte(`{"n":6}`))
	k := newSink()
	r := run(t, s.config(), Settings{Name: "audit", Bytes: 8 << 10}, k.handle)
	eventually(t, "all six", func() bool { return k.distinct() == 6 })
	r.end()
}

// TestLimitsOfTheConsumer: requests stay within what an existing consumer allows.
func TestLimitsOfTheConsumer(t *testing.T) {
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	s.consumer("AUDIT", jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckExplicitPolicy, MaxRequestBatch: 7, MaxRequestExpires: 2 * time.Second, MaxRequestMaxBytes: 5000, MaxWaiting: 1,
	})
	s.publish("audit.a", numbered(300)...)
	cfg := s.config()
	cfg.Subjects, cfg.Create = nil, false
	k := newSink()
	r := run(t, cfg, quick("audit"), k.handle)
	eventually(t, "all records", func() bool { return k.distinct() == 300 })
	r.end()
}

// TestConsumerIsDeleted: the run ends and says so; started again with create, it makes a new one.
func TestConsumerIsDeleted(t *testing.T) {
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	k := newSink()
	r := run(t, s.config(), quick("audit"), k.handle)
	s.publish("audit.a", numbered(3)...)
	eventually(t, "all records", func() bool { return k.distinct() == 3 })
	if err := s.js.DeleteConsumer(s.ctx(), "AUDIT", DefaultDurable); err != nil {
		t.Fatal(err)
	}
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), `consumer "spawnwatch" of stream "AUDIT" is no longer there`) {
		t.Fatalf("Run returned %v", err)
	}
	s.publish("audit.a", []byte(`{"n":3}`))
	again := run(t, s.config(), quick("audit"), k.handle)
	eventually(t, "the record after it", func() bool { return k.distinct() == 4 })
	again.end()
}

// TestConsumerIsDeletedWhileAway: nobody tells, and the source finds out by itself.
func TestConsumerIsDeletedWhileAway(t *testing.T) {
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	p := startProxy(t, strings.TrimPrefix(s.URL(), "nats://"))
	cfg := s.config()
	cfg.URL = "nats://" + p.Addr().String()
	k := newSink()
	var once sync.Once
	r := run(t, cfg, quick("audit"), func(ctx context.Context, b *sources.Batch) error {
		once.Do(func() {
			p.cut()
			if err := s.js.DeleteConsumer(s.ctx(), "AUDIT", DefaultDurable); err != nil {
				t.Error(err)
			}
		})
		return k.handle(ctx, b)
	})
	s.publish("audit.a", numbered(1)...)
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "is no longer there") {
		t.Fatalf("Run returned %v", err)
	}
}

// TestSlowCoreSubscriberIsTold: what the client had to drop is counted and logged.
func TestSlowCoreSubscriberIsTold(t *testing.T) {
	t.Parallel()
	s := startServer(t, natsdemo.Settings{}).connect()
	var said logs
	settings := Settings{Name: "audit", Bytes: 1 << 10, Drain: 50 * time.Millisecond, Logger: said.logger()}
	cfg := s.config()
	cfg.Mode, cfg.Stream, cfg.Create = Core, "", false
	open := make(chan struct{})
	r := run(t, cfg, settings, func(ctx context.Context, _ *sources.Batch) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	eventually(t, "the subscription", func() bool { return s.listeners("audit.a") > 0 })
	value := []byte(`{"pad":"` + strings.Repeat("x", 1000) + `"}`)
	const sent = coreMessages + 2000
	for range sent {
		if err := s.nc.Publish("audit.a", value); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss to be counted", func() bool { return r.src.Stats().Dropped > 0 })
	eventually(t, "the loss to be told", func() bool { return said.has("messages were lost because they came faster") })
	close(open)
	eventually(t, "the rest", func() bool { return r.src.Stats().Messages > coreMessages/2 })
	r.end()
}

// TestCoreQueueGroupShares: each message goes to one of the group.
func TestCoreQueueGroupShares(t *testing.T) {
	s := startServer(t, natsdemo.Settings{}).connect()
	cfg := s.config()
	cfg.Mode, cfg.Stream, cfg.Create = Core, "", false
	one, two := newSink(), newSink()
	a := run(t, cfg, quick("a"), one.handle)
	b := run(t, cfg, quick("b"), two.handle)
	eventually(t, "both subscriptions", func() bool { return s.listeners("audit.a") == 2 })
	for _, v := range numbered(500) {
		if err := s.nc.Publish("audit.a", v); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all records", func() bool { return one.all()+two.all() == 500 })
	if one.all() == 0 || two.all() == 0 {
		t.Errorf("the load is not shared: %d and %d", one.all(), two.all())
	}
	a.end()
	b.end()
}
