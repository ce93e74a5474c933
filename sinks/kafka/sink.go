// Package kafka publishes alerts and dead letters to Apache Kafka.
//
// Every message is acknowledged by all in-sync replicas (acks=all). Of each partition one batch is under way at a time
// (a [lane]); what comes meanwhile makes up the next one, so there is no time to wait for a batch to fill. Batches carry a
// producer id and sequence numbers. When the answer to one is lost, the same batch is sent again under the same number
// until the broker says what became of it, so that a lost answer makes no repeat; what a broker refuses is reported
// and never tried again here.
package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
	"github.com/spawnwatch/spawnwatch/sinks"
)

// Sink implements [sinks.Sink].
type Sink struct {
	config   Config
	settings Settings
	topic    sinks.Template
	key      sinks.Template
	codec    int8
	conn     *kafkaconn.Conn
	topics   topics

	life      context.Context // of what is under way; ends with Close
	end       context.CancelFunc
	lanesBusy sync.WaitGroup

	mu    sync.Mutex
	lanes map[laneID]*lane

	sessionMu sync.Mutex
	current   *session
}

type laneID struct {
	topic string
	id    int32
}

// New prepares a sink; it connects to nobody.
func New(config Config, settings Settings) (*Sink, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	conn, err := kafkaconn.New(kafkaconn.Options{Brokers: config.Brokers, TLS: config.TLS, SASL: config.SASL})
	if err != nil {
		return nil, err
	}
	s := &Sink{config: config, settings: settings.withDefaults(), conn: conn, lanes: map[laneID]*lane{}}
	if s.topic, err = sinks.ParseTemplate(config.Topic); err != nil {
		return nil, err
	}
	if s.key, err = sinks.ParseTemplate(config.Key); err != nil {
		return nil, err
	}
	if s.codec, err = codecOf(config.Compression); err != nil {
		return nil, err
	}
	s.topics = topics{conn: conn, create: config.Create, known: map[string]layout{}}
	s.life, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Check reaches the brokers, and looks up the topic where it has a fixed name and is not created on demand. Its error
// says for each broker, topic and credential what is wrong and what to do.
func (s *Sink) Check(ctx context.Context) error {
	names := []string{}
	if s.topic.Fixed() && !s.config.Create {
		names = append(names, s.topic.String())
	}
	found, err := s.conn.Check(ctx, names)
	errs := []error{err}
	for _, t := range found {
		if t.Err != nil {
			errs = append(errs, fmt.Errorf("topic %s: %w", t.Name, t.Err))
		}
	}
	return errors.Join(errs...)
}

// Publish implements [sinks.Sink].
func (s *Sink) Publish(ctx context.Context, msgs []sinks.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	c := &call{finished: make(chan struct{})}
	c.left.Store(int32(len(msgs)))
	used := s.submit(ctx, c, msgs)
	select {
	case <-c.finished:
	case <-ctx.Done():
		for _, l := range used {
			l.withdraw(c, fmt.Errorf("not confirmed in time: %w", context.Cause(ctx)))
		}
		<-c.finished // every message is settled now
	}
	if len(c.failures) == 0 {
		return nil
	}
	slices.SortFunc(c.failures, func(a, b sinks.Failure) int { return cmp.Compare(a.Index, b.Index) })
	return &sinks.PublishError{Failures: c.failures}
}

// submit hands every message to its lane, or settles it where it has none. It returns the lanes.
func (s *Sink) submit(ctx context.Context, c *call, msgs []sinks.Message) []*lane {
	var used []*lane
	var lists [][]*item
	items := make([]item, len(msgs))
	faults := map[string]error{} // topics that were asked for in vain, so that each is asked for once
	var name []byte
	for i := range msgs {
		m := &msgs[i]
		it := &items[i]
		*it = item{msg: m, call: c, at: i, key: []byte(m.ID)}
		if s.config.Key != "" {
			it.key = s.key.Append(nil, &m.Labels, cleanKey)
		}
		if it.size = sizeOf(it.key, m); it.size > MaxMessage {
			c.settle(i, true, fmt.Errorf("expected a message of at most %d bytes, got %d", MaxMessage, it.size))
			continue
		}
		name = s.topic.Append(name[:0], &m.Labels, cleanTopic)
		topic := string(name[:min(len(name), maxTopic)])
		err := faults[topic]
		var l layout
		if err == nil {
			l, err = s.topics.layout(ctx, topic)
		}
		if err != nil {
			faults[topic] = err
			c.settle(i, false, s.conn.Explain(err))
			continue
		}
		ln := s.lane(topic, partitionOf(it.key, len(l.leaders)))
		at := slices.Index(used, ln)
		if at < 0 {
			at = len(used)
			used, lists = append(used, ln), append(lists, nil)
		}
		lists[at] = append(lists[at], it)
	}
	for i, l := range used {
		l.add(lists[i])
	}
	return used
}

// lane returns the one of a partition.
func (s *Sink) lane(topic string, id int32) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := laneID{topic, id}
	l := s.lanes[key]
	if l == nil {
		l = &lane{s: s, topic: topic, id: id, encoder: encoder{codec: s.codec}}
		s.lanes[key] = l
	}
	return l
}

// Close implements [sinks.Sink]. Every Publish has returned, so at most batches are under way for which nobody waits.
func (s *Sink) Close(ctx context.Context) error {
	idle := make(chan struct{})
	go func() {
		s.lanesBusy.Wait()
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("kafka sink %s: closed with batches under way: %w", s.settings.Name, context.Cause(ctx))
	}
	s.end()
	<-idle
	s.conn.Close()
	return err
}

var _ sinks.Sink = (*Sink)(nil)
