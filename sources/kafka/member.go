package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/spawnwatch/spawnwatch/sources"
)

const (
	// joinTime is how long the first join may fail before Run gives up. It is long enough for another coordinator to be
	// elected, members that vanished to be missed and a rebalance to wait for all of the others.
	joinTime = 2 * time.Minute
	// refusedTime is how long a member that was in the group believes in an error that only somebody else can mend: a broker
	// that dies in the middle of a login looks like a wrong password.
	refusedTime = 30 * time.Second
	// coordinatorTime is how long the last commit waits for another coordinator when the process goes on. A broker that died
	// is missed after 9 s (broker.session.timeout.ms), and before there is another one nobody can join the group either.
	coordinatorTime = 15 * time.Second
	// lastTime is how long after its limit the last commit may still come.
	lastTime = time.Second
	// leaveEvery is how often a membership that ends looks whether it is stuck.
	leaveEvery = time.Second
)

// subscribe is a member of the group until ctx ends, or other topics are wanted, which it returns.
func (s *Source) subscribe(ctx context.Context, topics []string, h sources.Handler) ([]string, error) {
	member, again := context.WithCancel(ctx)
	defer again()
	s.mu.Lock()
	s.topics, s.wanted, s.again = topics, nil, again
	s.mu.Unlock()
	s.balancer.take()

	revoke := min(s.settings.Drain, RevokeDrain)
	dialer := *s.conn.Dialer()
	conns := newConnections(dialer.DialFunc, dialer.TLS)
	defer conns.close()
	dialer.DialFunc, dialer.TLS = conns.open, nil
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: s.config.Group, Brokers: s.conn.Addresses(), Dialer: &dialer, Topics: topics,
		GroupBalancers: []kafka.GroupBalancer{&s.balancer}, HeartbeatInterval: heartbeatEvery, SessionTimeout: sessionTimeout,
		// All members have to be back within it, so it must hold the longest drain.
		RebalanceTimeout: revoke + sessionTimeout, Timeout: answerTime, JoinGroupBackoff: 500 * time.Millisecond, StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		return nil, err
	}
	limits := func() (drain, commit time.Duration) {
		if ctx.Err() != nil {
			return s.settings.Drain, s.settings.Drain
		}
		return revoke, max(revoke, coordinatorTime)
	}
	id := "" // the member's, as far as known
	var active atomic.Int32
	leave := func() error {
		_, limit := limits()
		return s.leave(group, conns, &active, id, limit)
	}
	patience := patience{began: time.Now()}
	for {
		gen, err := group.Next(member)
		if err == nil {
			id = gen.MemberID
			patience.succeeded()
			g := s.newGeneration(ctx, gen, h)
			s.current.Store(g)
			s.settings.Meter.Event(Rebalanced, 1)
			s.settings.Logger.Info("a generation of the consumer group begins", "group", gen.GroupID, "generation", gen.ID,
				"member", gen.MemberID, "partitions", len(g.parts))
			active.Add(1)
			gen.Start(func(ctx context.Context) {
				defer active.Add(-1)
				g.run(ctx, limits)
			})
			continue
		}
		if member.Err() != nil {
			return s.next(), leave()
		}
		if patience.over(err) {
			return nil, errors.Join(fmt.Errorf("consumer group %s: %w", s.config.Group, s.conn.Explain(err)), leave())
		}
		s.log("the consumer group cannot be joined; trying again", "join", "group", s.config.Group, "error", s.conn.Explain(err))
	}
}

// leave ends the membership: the generation, if there is one, drains and commits for the last time, which is cut off some
// time after the limit. active counts generations at work. A join is broken off, since it may have to wait for all the
// other members of the group.
func (s *Source) leave(group *kafka.ConsumerGroup, conns *connections, active *atomic.Int32, id string, limit time.Duration) error {
	closed := make(chan error, 1)
	go func() { closed <- group.Close() }()
	ticker := time.NewTicker(leaveEvery)
	defer ticker.Stop()
	late := time.After(limit + lastTime)
	for {
		// Without a generation at work kafka-go dials or joins; or leaves the group, which takes it milliseconds.
		if active.Load() == 0 {
			conns.close()
		}
		select {
		case err := <-closed:
			if id != "" {
				s.leaveGroup(id) // kafka-go may have been kept from it
			}
			return err
		case <-ticker.C:
		case <-late:
			if g := s.current.Load(); g != nil {
				g.cut()
			}
			conns.close()
		}
	}
}

// next returns what to subscribe to next.
func (s *Source) next() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted != nil {
		return s.wanted
	}
	return s.topics
}

// patience says how long errors of joining the group are borne.
type patience struct {
	began   time.Time
	joined  bool      // the member was in the group
	refused time.Time // since when there are only errors that trying again does not help
}

// succeeded notes a generation.
func (p *patience) succeeded() { p.joined, p.refused = true, time.Time{} }

// over notes an error, and says whether it is one too many.
func (p *patience) over(err error) bool {
	switch {
	case !hopeless(err):
		p.refused = time.Time{}
		return !p.joined && time.Since(p.began) > joinTime
	case p.refused.IsZero():
		p.refused = time.Now()
	}
	return !p.joined || time.Since(p.refused) > refusedTime
}
