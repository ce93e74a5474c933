package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/spawnwatch/spawnwatch/internal/certtest"
	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
	"github.com/spawnwatch/spawnwatch/sources"
)

var errDead = errors.New("the broker is dead")

// takeover answers some requests in the place of the brokers, as soon as its field says so.
type takeover struct {
	c      *cluster
	mu     sync.Mutex
	refuse func(kmsg.Request) (kmsg.Response, error, bool) // nil: none
}

func control(c *cluster, keys ...kmsg.Key) *takeover {
	o := &takeover{c: c}
	for _, key := range keys {
		c.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.refuse == nil {
				return nil, nil, false
			}
			return o.refuse(req)
		})
	}
	return o
}

func (o *takeover) set(refuse func(kmsg.Request) (kmsg.Response, error, bool)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuse = refuse
}

// inOrder says that nothing was read twice, or left out.
func inOrder(t *testing.T, got []seen) {
	t.Helper()
	for i, x := range got {
		if x.offset != int64(i) {
			t.Fatalf("record %d has offset %d: something was read twice, or left out", i, x.offset)
		}
	}
}

// TestLastCommitFindsTheNewCoordinator: the coordinator dies with work finished and not committed. The generation ends, for
// kafka-go's heartbeats fail, but the group still knows it: what is finished is committed to the next coordinator, and
// nothing is read twice.
func TestLastCommitFindsTheNewCoordinator(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.produce(t, "audit", 0, 0, records(0, 10)...)
	s, m := newSink(), &meter{}
	r := startSource(t, c.config("audit"), Settings{Meter: m}, s.handle)
	s.await(t, "10 records", atLeast(10))
	eventually(t, "the commit", func() bool { return c.committed("spawnwatch") == 10 })

	o := control(c, kmsg.OffsetCommit, kmsg.Heartbeat, kmsg.FindCoordinator, kmsg.JoinGroup)
	var asked atomic.Int32
	old := c.CoordinatorFor("spawnwatch")
	o.set(func(req kmsg.Request) (kmsg.Response, error, bool) {
		if find, ok := req.(*kmsg.FindCoordinatorRequest); ok {
			asked.Add(1)
			res := find.ResponseKind().(*kmsg.FindCoordinatorResponse)
			res.ErrorCode = kerr.CoordinatorNotAvailable.Code
			return res, nil, true
		}
		return nil, errDead, c.CurrentNode() == old
	})
	c.produce(t, "audit", 0, 0, records(10, 20)...)
	s.await(t, "20 records", atLeast(20))
	eventually(t, "questions for the coordinator", func() bool { return asked.Load() >= 5 })
	for c.CoordinatorFor("spawnwatch") == old {
		c.RehashCoordinators()
	}
	o.set(nil)
	eventually(t, "the commit", func() bool { return c.committed("spawnwatch") == 20 })
	eventually(t, "another generation", func() bool { return m.count(Rebalanced) == 2 })
	c.produce(t, "audit", 0, 0, records(20, 30)...)
	got := s.await(t, "30 records", atLeast(30))
	r.finish(t)
	inOrder(t, got)
}

// TestCallsPauseWhileCommitsFail: what would be published meanwhile would be repeated.
func TestCallsPauseWhileCommitsFail(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	o := control(c, kmsg.OffsetCommit)
	o.set(func(req kmsg.Request) (kmsg.Response, error, bool) {
		commit := req.(*kmsg.OffsetCommitRequest)
		res := commit.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range commit.Topics {
			rt := kmsg.NewOffsetCommitResponseTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				rp := kmsg.NewOffsetCommitResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.CoordinatorNotAvailable.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
	c.produce(t, "audit", 0, 0, records(0, 5)...)
	s, m := newSink(), &meter{}
	r := startSource(t, c.config("audit"), Settings{Meter: m}, s.handle)
	s.await(t, "5 records", atLeast(5))
	eventually(t, "a commit that fails", func() bool { return m.count(CommitFailed) > 0 })
	c.produce(t, "audit", 0, 0, records(5, 10)...)
	before := m.count(CommitFailed)
	eventually(t, "more of them", func() bool { return m.count(CommitFailed) > before+5 })
	s.mu.Lock()
	n := len(s.got)
	s.mu.Unlock()
	if n != 5 {
		t.Errorf("%d records came while offsets could not be committed, want 5", n)
	}
	o.set(nil)
	s.await(t, "10 records", atLeast(10))
	eventually(t, "the commit", func() bool { return c.committed("spawnwatch") == 10 })
	r.finish(t)
}

// TestUnansweredCommitIsTheLast: a coordinator that has left a commit unanswered may carry it out at any time, so it gets
// no other one of the same generation, which that would undo.
func TestUnansweredCommitIsTheLast(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	o := control(c, kmsg.OffsetCommit)
	hung := map[int32]bool{}
	var late atomic.Int32
	var joins sync.Map // what the members said of themselves
	c.ControlKey(kmsg.JoinGroup.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		joins.Store(string(req.(*kmsg.JoinGroupRequest).Protocols[0].Metadata), true)
		return nil, nil, false
	})
	o.set(func(req kmsg.Request) (kmsg.Response, error, bool) {
		generation := req.(*kmsg.OffsetCommitRequest).Generation
		switch {
		case hung[generation]:
			late.Add(1)
		case len(hung) == 0:
			hung[generation] = true
			return nil, nil, true // no answer
		}
		return nil, nil, false
	})
	c.produce(t, "audit", 0, 0, records(0, 5)...)
	s, m := newSink(), &meter{}
	r := startSource(t, c.config("audit"), Settings{Meter: m}, s.handle)
	eventually(t, "a commit that fails", func() bool { return m.count(CommitFailed) > 0 })
	eventually(t, "another generation", func() bool { return m.count(Rebalanced) == 2 })
	eventually(t, "the commit of the next generation", func() bool { return c.committed("spawnwatch") == 5 })
	r.finish(t)
	if n := late.Load(); n > 0 {
		t.Errorf("%d commits followed one that was left unanswered", n)
	}
	different := 0
	joins.Range(func(any, any) bool { different++; return true })
	if different != 2 {
		t.Errorf("the member joined in %d different ways, want 2: a group gives one that comes back as it was the generation it had", different)
	}
}

// TestBrokenConnectionCostsNoCommit: the connection to the coordinator ends with a call in hand. What that call handled is
// committed on another one, at once and not as if the coordinator were hanging.
func TestBrokenConnectionCostsNoCommit(t *testing.T) {
	ca := certtest.NewAuthority(t)
	for name, secure := range map[string]bool{"plain": false, "tls": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var opts []kfake.Opt
			if secure {
				cert, key, _ := ca.Issue("localhost")
				pair, err := tls.LoadX509KeyPair(cert, key)
				if err != nil {
					t.Fatal(err)
				}
				opts = append(opts, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
			}
			c := newCluster(t, opts...)
			config := c.config("audit")
			if secure {
				config.TLS = &kafkaconn.TLS{CA: ca.File()}
				c.client.Transport.(*kafka.Transport).TLS = &tls.Config{RootCAs: ca.Pool()}
			}
			c.produce(t, "audit", 0, 0, records(0, 10)...)
			s, m := newSink(), &meter{}
			begun, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			r := startSource(t, config, Settings{Meter: m}, func(ctx context.Context, b *sources.Batch) error {
				once.Do(func() { close(begun) })
				select {
				case <-release:
					return s.handle(ctx, b)
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			<-begun
			var beats atomic.Int32
			c.ControlKey(kmsg.Heartbeat.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				switch beats.Add(1) {
				case 1:
					return nil, errDead, true // ends the generation
				case 2:
					close(release) // this one is the drain's
				}
				return nil, nil, false
			})
			eventually(t, "the commit", func() bool { return c.committed("spawnwatch") == 10 })
			eventually(t, "another generation", func() bool { return m.count(Rebalanced) == 2 })
			c.produce(t, "audit", 0, 0, records(10, 20)...)
			got := s.await(t, "20 records", atLeast(20))
			r.finish(t)
			inOrder(t, got)
		})
	}
}

// TestOneRefusedPartitionHoldsUpNoOther: its offset cannot be committed, those of others are, and calls go on.
func TestOneRefusedPartitionHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(1, "deleted"))
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: "deleted", Err: kerr.UnknownTopicOrPartition, Count: -1})
	s, m := newSink(), &meter{}
	r := startSource(t, c.config("audit", "deleted"), Settings{Meter: m}, s.handle)
	c.produce(t, "deleted", 0, 0, records(0, 5)...)
	eventually(t, "a commit that fails", func() bool { return m.count(CommitFailed) > 0 })
	for i := range 5 {
		c.produce(t, "audit", 0, 0, records(5*i, 5*i+5)...)
		eventually(t, "the commit", func() bool { return c.committed("spawnwatch") == 5*i+5 })
	}
	s.await(t, "30 records", atLeast(30))
	r.finish(t)
	if n := m.count(Rebalanced); n != 1 {
		t.Errorf("%d generations, want 1", n)
	}
	if m.count(Committed) == 0 {
		t.Error("what was written with the refused one does not count as committed")
	}
}

func TestWorseError(t *testing.T) {
	order := []error{nil, kafka.UnknownTopicOrPartition, kafka.NotCoordinatorForGroup, kafka.IllegalGeneration}
	for i, a := range order {
		for j, b := range order {
			if got, want := worse(a, b), order[max(i, j)]; !errors.Is(got, want) || got == nil && want != nil {
				t.Errorf("of %v and %v %v is said to be worse, want %v", a, b, got, want)
			}
		}
	}
}

// written is an [offsetStore] that does as it is told.
type written struct {
	mu     sync.Mutex
	calls  int
	answer func() error
}

func (w *written) commit(due map[string]map[int]int64) error {
	w.mu.Lock()
	w.calls++
	answer := w.answer
	w.mu.Unlock()
	if answer == nil {
		return nil
	}
	err := answer()
	if err != nil {
		clear(due)
	}
	return err
}

func (w *written) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls
}

func (w *written) set(answer func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

// committing starts a committer with one partition of which spans of one record each are finished by what it returns.
func committing(t *testing.T, w *written) (c *committer, p *partition, finish func(records int)) {
	p = &partition{topic: "audit", wake: make(chan struct{}, 1)}
	c = newCommitter(w, []*partition{p}, noMeter{}, func(error) {})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	end := int64(0)
	return c, p, func(records int) {
		for range records {
			end++
			p.track.finish(p.track.begin(end), nil)
		}
		c.finished(records)
	}
}

// TestCommitsFollowTheLoad: few records wait for the next tick, many for the gap.
func TestCommitsFollowTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &written{}
		_, _, finish := committing(t, w)
		began := time.Now()
		finish(commitRecords - 1)
		time.Sleep(commitEvery - time.Millisecond)
		if w.count() != 0 {
			t.Errorf("%d commits before the first tick, want none", w.count())
		}
		finish(1)
		synctest.Wait()
		if w.count() != 1 {
			t.Fatalf("%d commits after %d records, want 1", w.count(), commitRecords)
		}
		for range 100 {
			finish(commitRecords)
			time.Sleep(time.Millisecond)
		}
		if n, most := w.count(), 1+int(time.Since(began)/commitGap)+int(time.Since(began)/commitEvery); n < 4 || n > most {
			t.Errorf("%d commits in %v under load, want 4 to %d", n, time.Since(began), most)
		}
	})
}

// TestCallsGoOnAfterACommit that hung, or failed, for however long: whoever was told to pause is woken.
func TestCallsGoOnAfterACommit(t *testing.T) {
	for name, pause := range map[string]time.Duration{"at once": time.Second, "at the limit": commitHold + commitEvery, "late": 2 * commitHold} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &written{}
				back := time.Now().Add(pause)
				w.set(func() error {
					if time.Now().Before(back) {
						return kafka.NotCoordinatorForGroup
					}
					return nil
				})
				c, p, finish := committing(t, w)
				finish(1)
				time.Sleep(commitEvery + time.Millisecond)
				if !c.pauses() {
					t.Fatal("calls go on though a commit has failed")
				}
				for limit := time.After(commitHold); c.pauses(); {
					select {
					case <-p.wake:
					case <-limit:
						t.Fatal("calls pause for longer than they may")
					}
				}
			})
		})
	}
	t.Run("slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &written{}
			w.set(func() error { time.Sleep(time.Second); return nil })
			c, p, finish := committing(t, w)
			finish(1)
			time.Sleep(commitEvery + commitSlow - time.Millisecond)
			if c.pauses() {
				t.Error("calls pause while a commit takes no longer than usual")
			}
			time.Sleep(2 * time.Millisecond)
			if !c.pauses() {
				t.Error("calls go on while a commit hangs")
			}
			for c.pauses() {
				<-p.wake
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &written{}
			w.set(func() error { return kafka.UnknownTopicOrPartition })
			c, _, finish := committing(t, w)
			finish(1)
			time.Sleep(10 * commitEvery)
			if c.pauses() || w.count() < 5 {
				t.Errorf("pauses: %v after %d commits that waiting does not help", c.pauses(), w.count())
			}
		})
	})
}
