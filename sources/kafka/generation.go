package kafka

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/heartbeat"

	"github.com/spawnwatch/spawnwatch/sources"
)

const (
	// commitEvery is how often offsets are committed while there are new ones: what a crash repeats is about as much.
	commitEvery = 200 * time.Millisecond
	// lagEvery is how often the lag is reported.
	lagEvery = time.Second
	// heartbeatEvery is how often the group hears of us, and at most as long we take to hear of a rebalance.
	heartbeatEvery = time.Second
	// sessionTimeout is how long the group waits for a member that vanished.
	sessionTimeout = 10 * time.Second
)

// generation is what one generation of the group gave us to read. Nothing of it survives into the next one: what was
// not committed by its end is fetched again, by whoever has the partition then.
type generation struct {
	s       *Source
	gen     *kafka.Generation
	handler sources.Handler
	parts   []*partition
	route   chan struct{} // wakes the router
	idle    chan struct{} // wakes the drain

	// callCtx is that of the handler calls: it lives until the drain is over.
	callCtx context.Context
	abandon context.CancelFunc

	fetchers map[int32]*fetcher // the router's alone
	running  sync.WaitGroup     // fetchers and works
	// assigned is the number of partitions by topic that the assignment was made from, nil unless we made it.
	assigned map[string]int
}

// newGeneration prepares. ctx is that of Run, stripped of its end.
func (s *Source) newGeneration(ctx context.Context, gen *kafka.Generation, h sources.Handler) *generation {
	g := &generation{
		s: s, gen: gen, handler: h, route: make(chan struct{}, 1), idle: make(chan struct{}, 1),
		fetchers: map[int32]*fetcher{}, assigned: s.balancer.take(),
	}
	g.callCtx, g.abandon = context.WithCancel(context.WithoutCancel(ctx))
	for topic, list := range gen.Assignments {
		for _, a := range list {
			g.parts = append(g.parts, g.newPartition(topic, int32(a.ID), a.Offset))
		}
	}
	slices.SortFunc(g.parts, comparePartitions)
	return g
}

// run works until ctx, the generation's, ends; then it drains, commits for the last time and returns. drain is asked
// at that moment for how long it may take.
func (g *generation) run(ctx context.Context, drain func() time.Duration) {
	defer g.abandon()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var router sync.WaitGroup
	for _, p := range g.parts {
		g.running.Go(func() { p.work(ctx) })
	}
	router.Go(func() {
		defer stop() // ends when the assignment has to be made anew
		g.routes(ctx)
	})
	lost := g.commits(ctx)
	stop()
	router.Wait()
	g.running.Wait()
	if !lost {
		g.drain(drain())
	}
	g.abandon()
	g.last(lost)
	for _, p := range g.parts {
		g.s.settings.Meter.Lag(p.topic, p.id, -1)
	}
}

// commits commits what is due until ctx ends. It returns true when the group no longer knows this generation.
func (g *generation) commits(ctx context.Context) (lost bool) {
	ticker := time.NewTicker(commitEvery)
	defer ticker.Stop()
	reported := time.Now()
	for {
		select {
		case <-ctx.Done():
			return false
		case now := <-ticker.C:
			if g.commit() {
				return true
			}
			if now.Sub(reported) >= lagEvery {
				reported = now
				g.lag()
			}
		}
	}
}

// drain waits until all calls have returned, or the limit has passed. Kafka-go's heartbeats have ended with the
// generation, so it makes its own: otherwise the group would forget us meanwhile, and refuse the last commit.
func (g *generation) drain(limit time.Duration) {
	if g.commit() {
		return // the group has moved on: what is in hand will be repeated in any case
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	coordinator := int32(-1)
	for !g.drained() {
		select {
		case <-g.idle:
		case <-beat.C:
			coordinator = g.heartbeat(coordinator)
			if g.commit() {
				return
			}
		case <-timer.C:
			g.s.settings.Logger.Warn("the drain limit passed before all calls had returned; their records are read again",
				"limit", limit, "generation", g.gen.ID)
			return
		}
	}
}

func (g *generation) drained() bool {
	for _, p := range g.parts {
		p.mu.Lock()
		calls := p.calls
		p.mu.Unlock()
		if calls > 0 {
			return false
		}
	}
	return true
}

// finished is told of each span that is through.
func (g *generation) finished() { notify(g.idle) }

// heartbeat tells the group that we live, by way of the coordinator, which it finds if it is -1.
func (g *generation) heartbeat(coordinator int32) int32 {
	ctx, cancel := context.WithTimeout(g.callCtx, heartbeatEvery)
	defer cancel()
	if coordinator < 0 {
		res, err := g.s.conn.RoundTrip(ctx, -1, &findcoordinator.Request{Key: g.gen.GroupID})
		if err != nil {
			return -1
		}
		found, ok := res.(*findcoordinator.Response)
		if !ok || found.ErrorCode != 0 {
			return -1
		}
		coordinator = found.NodeID
	}
	// The answer is "rebalance in progress", or that we are no member any more, which the commit hears as well.
	if _, err := g.s.conn.RoundTrip(ctx, coordinator, &heartbeat.Request{
		GroupID: g.gen.GroupID, GenerationID: g.gen.ID, MemberID: g.gen.MemberID,
	}); err != nil {
		return -1
	}
	return coordinator
}

// commit commits what is due. It returns true when the group no longer knows this generation.
func (g *generation) commit() (lost bool) {
	var due map[string]map[int]int64
	for _, p := range g.parts {
		offset, ok := p.track.due()
		if !ok {
			continue
		}
		if due == nil {
			due = map[string]map[int]int64{}
		}
		if due[p.topic] == nil {
			due[p.topic] = map[int]int64{}
		}
		due[p.topic][int(p.id)] = offset
	}
	if due == nil {
		return false
	}
	if err := g.gen.CommitOffsets(due); err != nil {
		g.s.settings.Meter.Event(CommitFailed, 1)
		lost = errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) || errors.Is(err, kafka.FencedInstanceID)
		g.s.log("offsets could not be committed", "commit", "group", g.gen.GroupID, "generation", g.gen.ID, "over", lost, "error", g.s.conn.Explain(err))
		return lost
	}
	g.s.settings.Meter.Event(Committed, 1)
	for _, p := range g.parts {
		if offset, ok := due[p.topic][int(p.id)]; ok {
			p.track.wrote(offset)
		}
	}
	return false
}

// last commits for the last time; after it nothing of this generation is.
func (g *generation) last(lost bool) {
	if !lost {
		g.commit()
	}
	for _, p := range g.parts {
		p.track.close()
	}
}

// lag reports how far behind each partition is.
func (g *generation) lag() {
	for _, p := range g.parts {
		if position, _ := p.track.done(); position >= 0 {
			g.s.settings.Meter.Lag(p.topic, p.id, max(0, p.highWater.Load()-position))
		}
	}
}
