package kafka

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/spawnwatch/spawnwatch/sources"
)

const (
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
	// commitCtx is that of the commits: it lives until nobody waits for them any more.
	commitCtx context.Context
	cut       context.CancelFunc

	callers     *callers
	coordinator *coordinator
	commits     *committer
	fetchers    map[int32]*fetcher // the router's alone
	running     sync.WaitGroup     // fetchers and works
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
	g.commitCtx, g.cut = context.WithCancel(context.WithoutCancel(ctx))
	g.callers = newCallers(&s.calls, g.callCtx.Done())
	g.coordinator = newCoordinator(g.commitCtx, s, gen)
	for topic, list := range gen.Assignments {
		for _, a := range list {
			g.parts = append(g.parts, g.newPartition(topic, int32(a.ID), a.Offset))
		}
	}
	slices.SortFunc(g.parts, comparePartitions)
	g.commits = newCommitter(g.coordinator, g.parts, s.settings.Meter, g.commitFailed)
	return g
}

// run works until ctx, the generation's, ends; then it drains, commits for the last time and returns. limits says then for
// how long the calls in hand may take, and all with the last commit.
func (g *generation) run(ctx context.Context, limits func() (drain, commit time.Duration)) {
	defer g.cut()
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
	g.coordinator.first = g.s.findCoordinator(ctx)
	lost := g.commits.run(ctx)
	stop()
	router.Wait()
	g.running.Wait()
	drain, commit := limits()
	deadline := time.Now().Add(commit)
	if !lost {
		lost = g.drain(drain)
	}
	g.abandon()
	if !lost {
		g.commits.last(g.commitCtx, deadline)
	}
	for _, p := range g.parts {
		p.track.close() // after it nothing of this generation is committed
		g.s.settings.Meter.Lag(p.topic, p.id, -1)
	}
}

// commitFailed logs it.
func (g *generation) commitFailed(err error) {
	g.s.log("offsets could not be committed", "commit", "group", g.gen.GroupID, "generation", g.gen.ID, "over", gone(err), "error", g.s.conn.Explain(err))
}

// drain waits until all calls have returned, or the limit has passed. Kafka-go's heartbeats have ended with the
// generation, so it makes its own: otherwise the group would forget us meanwhile, and refuse the last commit. It returns
// true when the group has moved on: what is in hand will be repeated in any case.
func (g *generation) drain(limit time.Duration) (lost bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	if gone(g.commits.commit()) {
		return true
	}
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	for !g.drained() {
		select {
		case <-g.idle:
		case <-beat.C:
			g.coordinator.beat()
			if gone(g.commits.commit()) {
				return true
			}
		case <-timer.C:
			g.s.settings.Logger.Warn("the drain limit passed before all calls had returned; their records are read again",
				"limit", limit, "generation", g.gen.ID)
			return false
		}
	}
	return false
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

// finished is told of each span that is through, with how many records.
func (g *generation) finished(records int) {
	g.commits.finished(records)
	notify(g.idle)
}
