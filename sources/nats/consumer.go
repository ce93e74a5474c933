package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
)

const (
	// ackWait is how long a consumer that we make waits before it delivers again what a killed instance held.
	ackWait = 30 * time.Second
	// maxAckPending is how many messages a consumer that we make has out at once, over all instances: ten of them with
	// their hands full.
	maxAckPending = 20_000
)

// consumer is what the source must know of its consumer.
type consumer struct {
	stream, name string
	// ackWait is the shortest time after which the server may deliver again.
	ackWait time.Duration
	// The limits of one pull request; 0 where the consumer has none.
	maxBatch, maxBytes int
	maxExpires         time.Duration
}

func (s *Source) wanted() natsconn.StreamWanted {
	return natsconn.StreamWanted{Name: s.config.Stream, Subjects: s.config.Subjects, SubjectsKey: "subjects"}
}

// checkConsumer finds stream and consumer without making them.
func (s *Source) checkConsumer(ctx context.Context, conn *natsconn.Conn) error {
	if err := conn.CheckJetStream(ctx); err != nil {
		return err
	}
	stream, err := conn.Stream(ctx, s.wanted())
	if err != nil {
		if s.config.Create && errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		return err
	}
	info, err := s.findConsumer(ctx, conn, stream.Config.Name)
	if err != nil {
		if s.config.Create && errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil
		}
		return err
	}
	if !s.config.Create {
		if err := s.sameSubjects(info); err != nil {
			return err
		}
	}
	return fits(info)
}

// openConsumer finds stream and consumer, and makes them where it may.
func (s *Source) openConsumer(ctx context.Context, conn *natsconn.Conn) (*consumer, error) {
	find := conn.Stream
	if s.config.Create {
		find = conn.MakeStream
	}
	stream, err := find(ctx, s.wanted())
	if err != nil {
		return nil, err
	}
	info, err := s.findConsumer(ctx, conn, stream.Config.Name)
	switch {
	case err == nil && s.config.Create && s.sameSubjects(info) != nil:
		changed := info.Config
		setSubjects(&changed, s.config.Subjects)
		info, err = s.putConsumer(ctx, conn, stream.Config.Name, changed)
	case errors.Is(err, jetstream.ErrConsumerNotFound) && s.config.Create:
		made := jetstream.ConsumerConfig{
			Durable:       s.config.Durable,
			Description:   "made by spawnwatch",
			DeliverPolicy: jetstream.DeliverAllPolicy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       ackWait,
			MaxDeliver:    -1,
			MaxAckPending: maxAckPending,
		}
		setSubjects(&made, s.config.Subjects)
		info, err = s.putConsumer(ctx, conn, stream.Config.Name, made)
	case err == nil:
		err = s.sameSubjects(info)
	}
	if err != nil {
		return nil, err
	}
	if err := fits(info); err != nil {
		return nil, err
	}
	if n := info.Config.MaxDeliver; n > 0 {
		s.settings.Logger.WarnContext(ctx, "the consumer gives a message up after some deliveries: set its MaxDeliver to -1, or messages may be lost",
			"source", s.settings.Name, "consumer", info.Name, "max_deliver", n)
	}
	c := &consumer{
		stream:     info.Stream,
		name:       info.Name,
		ackWait:    info.Config.AckWait,
		maxBatch:   info.Config.MaxRequestBatch,
		maxBytes:   info.Config.MaxRequestMaxBytes,
		maxExpires: info.Config.MaxRequestExpires,
	}
	if len(info.Config.BackOff) > 0 { // these are used in the place of AckWait
		c.ackWait = slices.Min(info.Config.BackOff)
	}
	if c.ackWait <= 0 {
		c.ackWait = ackWait
	}
	return c, nil
}

func (s *Source) findConsumer(ctx context.Context, conn *natsconn.Conn, stream string) (*jetstream.ConsumerInfo, error) {
	var c jetstream.Consumer
	err := conn.Ask(ctx, func(ctx context.Context) (err error) {
		c, err = conn.JetStream.Consumer(ctx, stream, s.config.Durable)
		return err
	})
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, &natsconn.Advised{
			Err:    natsconn.NewFault("durable", "stream %q has no consumer %q: %w", stream, s.config.Durable, err),
			Advice: "create it, check durable, or set create: true",
		}
	case errors.Is(err, jetstream.ErrNotPullConsumer):
		return nil, notPull(stream, s.config.Durable)
	case err != nil:
		return nil, conn.Explain(natsconn.NewFault("durable", "cannot look up consumer %q of stream %q: %w", s.config.Durable, stream, err))
	}
	return c.CachedInfo(), nil
}

func (s *Source) putConsumer(ctx context.Context, conn *natsconn.Conn, stream string, cfg jetstream.ConsumerConfig) (*jetstream.ConsumerInfo, error) {
	var c jetstream.Consumer
	err := conn.Ask(ctx, func(ctx context.Context) (err error) {
		c, err = conn.JetStream.CreateOrUpdateConsumer(ctx, stream, cfg)
		return err
	})
	if err != nil {
		return nil, conn.Explain(natsconn.NewFault("durable", "cannot create or change consumer %q of stream %q: %w", s.config.Durable, stream, err))
	}
	return c.CachedInfo(), nil
}

// setSubjects makes a consumer deliver these subjects only; none means all of the stream.
func setSubjects(c *jetstream.ConsumerConfig, subjects []string) {
	c.FilterSubject, c.FilterSubjects = "", nil
	if len(subjects) == 1 {
		c.FilterSubject = subjects[0]
	} else {
		c.FilterSubjects = subjects
	}
}

func subjectsOf(c *jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

// sameSubjects holds an existing consumer to the configured subjects, where there are any.
func (s *Source) sameSubjects(info *jetstream.ConsumerInfo) error {
	has, want := slices.Sorted(slices.Values(subjectsOf(&info.Config))), slices.Sorted(slices.Values(s.config.Subjects))
	if len(want) == 0 || slices.Equal(has, want) {
		return nil
	}
	delivers := "all subjects of the stream"
	if len(has) > 0 {
		delivers = strings.Join(has, ", ")
	}
	return &natsconn.Advised{
		Err:    natsconn.NewFault("subjects", "consumer %q of stream %q delivers %s, not %s", info.Name, info.Stream, delivers, strings.Join(want, ", ")),
		Advice: "change subjects, use another durable, or let create: true change the consumer",
	}
}

// fits says why an existing consumer cannot be used.
func fits(info *jetstream.ConsumerInfo) error {
	switch {
	case info.Config.DeliverSubject != "":
		return notPull(info.Stream, info.Name)
	case info.Config.AckPolicy != jetstream.AckExplicitPolicy:
		return &natsconn.Advised{
			Err:    natsconn.NewFault("durable", "expected consumer %q of stream %q to want an acknowledgement for each message (AckExplicit), got %s", info.Name, info.Stream, info.Config.AckPolicy),
			Advice: "delete it and set create: true, or use another durable",
		}
	case len(info.Config.PriorityGroups) > 0:
		return natsconn.NewFault("durable", "expected consumer %q of stream %q to have no priority groups, got %s: use another durable",
			info.Name, info.Stream, strings.Join(info.Config.PriorityGroups, ", "))
	}
	return nil
}

func notPull(stream, name string) error {
	return &natsconn.Advised{
		Err:    natsconn.NewFault("durable", "expected consumer %q of stream %q to be a pull consumer, but it pushes", name, stream),
		Advice: "delete it and set create: true, or use another durable",
	}
}

// gone reports that an error means that stream or consumer are no longer there.
func gone(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
}

// errGone is what a source that lost its consumer ends with; started again it may make a new one.
func (c *consumer) errGone(err error) error {
	return fmt.Errorf("consumer %q of stream %q is no longer there: %w", c.name, c.stream, err)
}
