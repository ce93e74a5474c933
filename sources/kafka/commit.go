package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
)

const (
	// commitEvery is how often offsets are committed while there are new ones. What a crash repeats is what was finished
	// since, so that enough records are committed sooner.
	commitEvery = 100 * time.Millisecond
	// commitRecords is how many finished records do not wait for commitEvery.
	commitRecords = 500
	// commitGap is the least time between commits: 50 a second at most, whatever the load.
	commitGap = 20 * time.Millisecond
	// commitSlow is how long a commit may take before no more calls are made: what they publish would be repeated if the
	// coordinator is gone. A broker answers in milliseconds.
	commitSlow = 500 * time.Millisecond
	// commitHold is the longest that calls wait for a commit. It outlasts the election of another coordinator; when
	// offsets cannot be written for longer, alerts that may be repeated are better than none.
	commitHold = 15 * time.Second
	// coordinatorTime is how long the last commit waits for another coordinator when the process goes on. A broker that died
	// is missed after 9 s (broker.session.timeout.ms), and before there is another one nobody can join the group either.
	coordinatorTime = 15 * time.Second
)

// committer commits the finished prefixes of one generation's partitions. All but pauses and finished belongs to one
// goroutine at a time.
type committer struct {
	s     *Source
	gen   *kafka.Generation
	parts []*partition
	soon  chan struct{} // enough is finished for a commit

	records atomic.Int64 // finished since the last commit was begun
	begun   atomic.Int64 // when the commit that is under way, or the first of those that failed, was begun in Unix nanoseconds; 0: none
	failing atomic.Bool  // the last one failed

	coordinator int32 // who was it when the generation began, -1: not known
	broken      bool  // the generation's connection to it
	other       int32 // who is it since then, -1: to be found
	hangs       bool  // hung, or whoever it was where that is -1, has left a commit unanswered
	hung        int32
}

func newCommitter(s *Source, gen *kafka.Generation) *committer {
	return &committer{s: s, gen: gen, soon: make(chan struct{}, 1), coordinator: -1, other: -1}
}

// finished is told how many more records are through.
func (c *committer) finished(records int) {
	if c.records.Add(int64(records)) >= commitRecords {
		notify(c.soon)
	}
}

// pauses says that no calls should be made for now: commits fail, or one hangs.
func (c *committer) pauses() bool {
	begun := c.begun.Load()
	if begun == 0 {
		return false
	}
	age := time.Since(time.Unix(0, begun))
	return (c.failing.Load() || age > commitSlow) && age < commitHold
}

// run commits what is due until ctx ends, or there is no way to do so. It returns true when the group no longer knows this
// generation.
func (c *committer) run(ctx context.Context) (lost bool) {
	c.coordinator = c.s.findCoordinator(ctx)
	ticker := time.NewTicker(commitEvery)
	defer ticker.Stop()
	reported, last := time.Now(), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-c.soon:
			if c.failing.Load() {
				continue // those that fail are repeated every commitEvery only
			}
			if sleep(ctx, commitGap-time.Since(last)) != nil {
				return false
			}
		case now := <-ticker.C:
			if now.Sub(reported) >= lagEvery {
				reported = now
				c.lag()
			}
		}
		if gone(c.commit(ctx)) {
			return true
		}
		if c.hangs {
			return false // the next generation can commit again, which makes the broker refuse what it still has of this one
		}
		last = time.Now()
	}
}

// lag reports how far behind each partition is.
func (c *committer) lag() {
	for _, p := range c.parts {
		if position, _ := p.track.done(); position >= 0 {
			c.s.settings.Meter.Lag(p.topic, p.id, max(0, p.highWater.Load()-position))
		}
	}
}

// last commits for the last time. Where the coordinator is away it is waited for, until the deadline.
func (c *committer) last(ctx context.Context, deadline time.Time) {
	for wait := firstBackoff; ; wait = min(2*wait, maxBackoff) {
		err := c.commit(ctx)
		if err == nil || !moving(err) || time.Until(deadline) < wait || sleep(ctx, wait) != nil {
			return
		}
	}
}

// commit commits what is due.
func (c *committer) commit(ctx context.Context) error {
	c.records.Store(0)
	due := map[string]map[int]int64{}
	for _, p := range c.parts {
		offset, ok := p.track.due()
		if !ok {
			continue
		}
		if due[p.topic] == nil {
			due[p.topic] = map[int]int64{}
		}
		due[p.topic][int(p.id)] = offset
	}
	if len(due) == 0 {
		c.resume()
		return nil
	}
	c.begun.CompareAndSwap(0, time.Now().UnixNano())
	if err := c.write(ctx, due); err != nil {
		c.failing.Store(true)
		c.wake()
		c.s.settings.Meter.Event(CommitFailed, 1)
		c.s.log("offsets could not be committed", "commit", "group", c.gen.GroupID, "generation", c.gen.ID, "over", gone(err), "error", c.s.conn.Explain(err))
		return err
	}
	c.s.settings.Meter.Event(Committed, 1)
	for _, p := range c.parts {
		if offset, ok := due[p.topic][int(p.id)]; ok {
			p.track.wrote(offset)
		}
	}
	c.resume()
	return nil
}

// resume lets calls be made again.
func (c *committer) resume() {
	paused := c.pauses()
	c.begun.Store(0)
	c.failing.Store(false)
	if paused {
		c.wake()
	}
}

// wake has the partitions ask again whether calls pause.
func (c *committer) wake() {
	for _, p := range c.parts {
		notify(p.wake)
	}
}

// write commits through the generation, and once its connection is broken, to whoever is the coordinator then: the
// generation is good as long as the group knows it, and its last commit is what saves its records from being repeated.
func (c *committer) write(ctx context.Context, due map[string]map[int]int64) error {
	if !c.broken {
		err := c.gen.CommitOffsets(due)
		if err == nil || !moving(err) {
			return err
		}
		c.broken = true
		if !closed(err) {
			c.hangs, c.hung = true, c.coordinator
		}
		c.s.settings.Logger.Debug("the connection to the coordinator is given up", "group", c.gen.GroupID, "error", err)
	}
	// Not ended with the generation: what was sent is waited for, so that no commit overtakes another.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	if err := c.locate(ctx); err != nil {
		return err
	}
	err := c.writeOther(ctx, due)
	if err != nil {
		if !closed(err) {
			c.hangs, c.hung = true, c.other
		}
		c.other = -1
	}
	return err
}

// locate finds the coordinator. A broker that left a commit unanswered may still carry it out, after a later one that
// comes on another connection, and so move the offset back: it gets no more of this generation. One that was replaced cannot.
func (c *committer) locate(ctx context.Context) error {
	if c.other < 0 {
		c.other = c.s.findCoordinator(ctx)
	}
	if c.other < 0 {
		return fmt.Errorf("no broker knows the coordinator: %w", kafka.GroupCoordinatorNotAvailable)
	}
	if c.hangs && (c.hung < 0 || c.hung == c.other) {
		c.other = -1
		return fmt.Errorf("the coordinator has left a commit unanswered, and there is no other: %w", kafka.RequestTimedOut)
	}
	return nil
}

// writeOther commits on a connection of our own.
func (c *committer) writeOther(ctx context.Context, due map[string]map[int]int64) error {
	req := &offsetcommit.Request{GroupID: c.gen.GroupID, GenerationID: c.gen.ID, MemberID: c.gen.MemberID, RetentionTimeMs: -1}
	for topic, offsets := range due {
		t := offsetcommit.RequestTopic{Name: topic}
		for id, offset := range offsets {
			t.Partitions = append(t.Partitions, offsetcommit.RequestPartition{PartitionIndex: int32(id), CommittedOffset: offset, CommittedLeaderEpoch: -1})
		}
		req.Topics = append(req.Topics, t)
	}
	res, err := c.s.conn.RoundTrip(ctx, c.other, req)
	if err != nil {
		return err
	}
	answer, ok := res.(*offsetcommit.Response)
	if !ok {
		return fmt.Errorf("expected an answer to an offset commit, got %T", res)
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return kafka.Error(p.ErrorCode)
			}
		}
	}
	return nil
}

// beat tells the group that we live, when kafka-go's heartbeats have ended.
func (c *committer) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	if c.other < 0 {
		c.other = c.s.findCoordinator(ctx)
	}
	if c.other < 0 {
		return
	}
	// The answer is "rebalance in progress", or that we are no member any more, which the commit hears as well.
	res, err := c.s.conn.RoundTrip(ctx, c.other, &heartbeat.Request{GroupID: c.gen.GroupID, GenerationID: c.gen.ID, MemberID: c.gen.MemberID})
	if answer, ok := res.(*heartbeat.Response); err != nil || ok && moving(kafka.Error(answer.ErrorCode)) {
		c.other = -1
	}
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

// gone says that the group no longer knows the generation.
func gone(err error) bool {
	return errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) || errors.Is(err, kafka.FencedInstanceID)
}

// moving says that the coordinator did not answer as one: it is away, or another broker is, or will be.
func moving(err error) bool {
	var code kafka.Error
	if !errors.As(err, &code) {
		return err != nil
	}
	switch code {
	case kafka.GroupLoadInProgress, kafka.GroupCoordinatorNotAvailable, kafka.NotCoordinatorForGroup, kafka.BrokerNotAvailable, kafka.RequestTimedOut, kafka.NetworkException:
		return true
	}
	return false
}

// closed says that the peer has answered, or closed the connection, or was never there: it is not at work on the request.
func closed(err error) bool {
	var code kafka.Error
	return errors.As(err, &code) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNREFUSED)
}
