package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
)

// answerTime is how long the coordinator may take to answer. A broker itself gives its replicas 5 s to store a commit
// (offsets.commit.timeout.ms), and answers then.
const answerTime = 7 * time.Second

// coordinator is the broker, or one after the other the brokers, that one generation's offsets are committed to. It
// implements [offsetStore].
//
// A broker that has left a commit unanswered may still carry it out, after a later one that came on another connection,
// and so move the offset back. Such a broker gets no more commits of the generation, and the next generation is made to
// have another number, by which the broker tells it from this one. A broker that was replaced cannot do that.
type coordinator struct {
	s    *Source
	gen  *kafka.Generation
	life context.Context // of what is sent to it

	first      int32   // who was it when the generation began, -1: not known
	own        bool    // on connections of our own, since the generation's has failed: it keeps one as long as it lives
	id         int32   // who is it since then, -1: to be found
	unanswered []int32 // who left a commit unanswered, -1: whoever it was
}

// errUnanswered ends a generation: its coordinator has left a commit unanswered, and there is no other one.
var errUnanswered = errors.New("the coordinator has left a commit unanswered, and there is no other one")

// errBack is errUnanswered, of a coordinator that answers again: no other one will come.
var errBack = fmt.Errorf("%w: it answers again, and the next generation can commit", errUnanswered)

func newCoordinator(life context.Context, s *Source, gen *kafka.Generation) *coordinator {
	return &coordinator{s: s, gen: gen, life: life, first: -1, id: -1}
}

// commit commits through the generation and, once that has failed, to whoever is the coordinator then: the generation is
// good as long as the group knows it, and its last commit is what saves its records from being repeated.
func (c *coordinator) commit(due map[string]map[int]int64) error {
	if !c.own {
		err := c.gen.CommitOffsets(due)
		if err == nil {
			return nil
		}
		if gone(err) {
			clear(due)
			return err
		}
		c.own = true
		c.doubt(err, c.first)
	}
	ctx, cancel := context.WithTimeout(c.life, answerTime)
	defer cancel()
	if err := c.locate(ctx); err != nil {
		clear(due)
		return err
	}
	err := c.write(ctx, due)
	if moving(err) {
		c.doubt(err, c.id)
		c.id = -1
	}
	return err
}

// doubt notes who may still carry out a commit that failed.
func (c *coordinator) doubt(err error, id int32) {
	if !settled(err) {
		c.unanswered = append(c.unanswered, id)
		c.s.balancer.renew()
	}
}

// locate finds the coordinator, if it may be committed to.
func (c *coordinator) locate(ctx context.Context) error {
	if c.id < 0 {
		c.id = c.s.findCoordinator(ctx)
	}
	switch {
	case c.id < 0:
		return fmt.Errorf("no broker knows the coordinator: %w", kafka.GroupCoordinatorNotAvailable)
	case !slices.Contains(c.unanswered, c.id) && !slices.Contains(c.unanswered, -1):
		return nil
	case c.beat():
		return errBack
	}
	c.id = -1
	return errUnanswered
}

// write commits on a connection of our own.
func (c *coordinator) write(ctx context.Context, due map[string]map[int]int64) error {
	req := &offsetcommit.Request{GroupID: c.gen.GroupID, GenerationID: c.gen.ID, MemberID: c.gen.MemberID, RetentionTimeMs: -1}
	for topic, offsets := range due {
		t := offsetcommit.RequestTopic{Name: topic}
		for id, offset := range offsets {
			t.Partitions = append(t.Partitions, offsetcommit.RequestPartition{PartitionIndex: int32(id), CommittedOffset: offset, CommittedLeaderEpoch: -1})
		}
		req.Topics = append(req.Topics, t)
	}
	res, err := c.s.conn.RoundTrip(ctx, c.id, req)
	if err != nil {
		clear(due)
		return err
	}
	answer, ok := res.(*offsetcommit.Response)
	if !ok {
		clear(due)
		return fmt.Errorf("expected an answer to an offset commit, got %T", res)
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				delete(due[t.Name], int(p.PartitionIndex))
				err = worse(err, kafka.Error(p.ErrorCode))
			}
		}
	}
	return err
}

// worse picks of the errors of two partitions the one that says more of the whole group.
func worse(a, b error) error {
	if rank(b) > rank(a) {
		return b
	}
	return a
}

func rank(err error) int {
	switch {
	case err == nil:
		return 0
	case gone(err):
		return 3
	case moving(err):
		return 2
	}
	return 1
}

// beat tells the group that we live, when kafka-go's heartbeats have ended, and says whether the coordinator has answered.
// What it answers, that there is a rebalance or that we are no member any more, shows in the next commit as well.
func (c *coordinator) beat() bool {
	ctx, cancel := context.WithTimeout(c.life, heartbeatEvery)
	defer cancel()
	if c.id < 0 {
		c.id = c.s.findCoordinator(ctx)
	}
	if c.id < 0 {
		return false
	}
	res, err := c.s.conn.RoundTrip(ctx, c.id, &heartbeat.Request{GroupID: c.gen.GroupID, GenerationID: c.gen.ID, MemberID: c.gen.MemberID})
	if answer, ok := res.(*heartbeat.Response); err != nil || !ok || moving(kafka.Error(answer.ErrorCode)) {
		c.id = -1
		return false
	}
	return true
}

// findCoordinator returns the broker that coordinates the group, -1 where there is none.
func (s *Source) findCoordinator(ctx context.Context) int32 {
	ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	res, err := s.conn.RoundTrip(ctx, kafkaconn.AnyBroker, &findcoordinator.Request{Key: s.config.Group})
	if err != nil {
		return -1
	}
	found, ok := res.(*findcoordinator.Response)
	if !ok || found.ErrorCode != 0 {
		return -1
	}
	return found.NodeID
}

// leaveGroup tells the group that a member has left, or is not told: then the group misses it after the session timeout.
func (s *Source) leaveGroup(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), heartbeatEvery)
	defer cancel()
	if coordinator := s.findCoordinator(ctx); coordinator >= 0 {
		_, _ = s.conn.RoundTrip(ctx, coordinator, &leavegroup.Request{
			GroupID: s.config.Group, Members: []leavegroup.RequestMember{{MemberID: id}},
		})
	}
}

// gone says that the group no longer knows the generation.
func gone(err error) bool {
	return errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) || errors.Is(err, kafka.FencedInstanceID)
}

// moving says that the coordinator did not answer as one: it is away, or another broker is, or will be.
func moving(err error) bool {
	if err == nil || errors.Is(err, errBack) {
		return false
	}
	var code kafka.Error
	if !errors.As(err, &code) {
		return true
	}
	switch code {
	case kafka.GroupLoadInProgress, kafka.GroupCoordinatorNotAvailable, kafka.NotCoordinatorForGroup, kafka.BrokerNotAvailable, kafka.RequestTimedOut, kafka.NetworkException:
		return true
	}
	return false
}

// settled says that the peer is not at work on the request that failed: it has answered, or closed the connection, or was
// never there, or has not got all of the request. (A proxy in between may close a connection for itself; the broker behind
// it then has the request for milliseconds, and the next commit takes longer to get there.)
func settled(err error) bool {
	var code kafka.Error
	var op *net.OpError
	if errors.As(err, &code) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return true
	}
	if errors.As(err, &op) {
		return op.Op == "write" || op.Op == "dial"
	}
	return errors.Is(err, net.ErrClosed) // of a TLS connection that was closed before the write
}
