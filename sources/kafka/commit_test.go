package kafka

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var errDead = errors.New("the broker is dead")

// coordinator takes over some requests to the group's coordinator, as soon as its field says so.
type coordinator struct {
	c      *cluster
	mu     sync.Mutex
	refuse func(kmsg.Request) (kmsg.Response, error, bool) // nil: none
}

func control(c *cluster, keys ...kmsg.Key) *coordinator {
	o := &coordinator{c: c}
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

func (o *coordinator) set(refuse func(kmsg.Request) (kmsg.Response, error, bool)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuse = refuse
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
	for i, x := range got {
		if x.offset != int64(i) {
			t.Fatalf("record %d has offset %d: something was read twice", i, x.offset)
		}
	}
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
}
