package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/spawnwatch/spawnwatch/sources"
)

const (
	// joinTime is how long the first join may fail before Run gives up. It is long enough for another coordinator to be
	// elected, members that vanished to be missed and a rebalance to wait for all of the others.
	joinTime = 2 * time.Minute
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
	conns := newConnections(s.conn.Dialer().DialFunc)
	defer conns.close()
	dialer := *s.conn.Dialer()
	dialer.DialFunc = conns.open
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
	var active atomic.Bool // a generation is at work
	id := ""               // the member's, as far as known
	leave := func() error { return s.leave(group, conns, &active, id) }
	began := time.Now()
	for {
		gen, err := group.Next(member)
		if err == nil {
			id = gen.MemberID
			g := s.newGeneration(ctx, gen, h)
			s.current.Store(g)
			s.settings.Meter.Event(Rebalanced, 1)
			s.settings.Logger.Info("a generation of the consumer group begins", "group", gen.GroupID, "generation", gen.ID,
				"member", gen.MemberID, "partitions", len(g.parts))
			active.Store(true)
			gen.Start(func(ctx context.Context) {
				defer active.Store(false)
				g.run(ctx, limits)
			})
			continue
		}
		if member.Err() != nil {
			return s.next(), leave()
		}
		if hopeless(err) || id == "" && time.Since(began) > joinTime {
			return nil, errors.Join(fmt.Errorf("consumer group %s: %w", s.config.Group, s.conn.Explain(err)), leave())
		}
		s.log("the consumer group cannot be joined; trying again", "join", "group", s.config.Group, "error", s.conn.Explain(err))
	}
}

// leave ends the membership: the generation, if there is one, drains and commits for the last time. A join that waits for
// the other members of the group is broken off, since kafka-go would wait with it.
func (s *Source) leave(group *kafka.ConsumerGroup, conns *connections, active *atomic.Bool, id string) error {
	closed := make(chan error, 1)
	go func() { closed <- group.Close() }()
	ticker := time.NewTicker(leaveEvery)
	defer ticker.Stop()
	for {
		// Without a generation at work kafka-go dials, joins, or leaves, which takes milliseconds.
		if !active.Load() {
			conns.close()
		}
		select {
		case err := <-closed:
			if id != "" {
				s.leaveGroup(id) // kafka-go may have been kept from it
			}
			return err
		case <-ticker.C:
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

// connections are those that kafka-go has opened for a membership.
type connections struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	live map[*connection]struct{}
	life context.Context // of the dials
	end  context.CancelFunc
}

type connection struct {
	net.Conn
	of *connections
}

func newConnections(dial func(ctx context.Context, network, address string) (net.Conn, error)) *connections {
	c := &connections{dial: dial, live: map[*connection]struct{}{}}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

func (c *connections) open(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	life := c.life
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	made := &connection{Conn: conn, of: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live[made] = struct{}{}
	return made, nil
}

// Read implements [net.Conn]. What cannot be read from any more is closed: kafka-go leaves that to the garbage collector
// where a TLS handshake fails.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.Close()
	}
	return n, err
}

// Close implements [net.Conn].
func (c *connection) Close() error {
	c.of.mu.Lock()
	delete(c.of.live, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// close breaks off whatever is dialled, or waits for an answer.
func (c *connections) close() {
	c.mu.Lock()
	live := c.live
	c.live = map[*connection]struct{}{}
	c.end()
	c.life, c.end = context.WithCancel(context.Background())
	c.mu.Unlock()
	for conn := range live {
		_ = conn.Conn.Close()
	}
}
