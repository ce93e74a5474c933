// Package nats publishes messages to NATS: to a JetStream stream, with the stream's answer to each message awaited, or to
// core subjects.
//
// The id of a message becomes its Nats-Msg-Id, so that a stream drops what it has stored already within its window of
// duplicates. Headers keep their keys as given.
package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/sinks"
)

// Settings are what the program, not the user, says about a sink. The zero value of all but Name is their default.
type Settings struct {
	// Name is the configured name of the sink.
	Name string
	// Logger is where the sink logs. Default: nowhere.
	Logger *slog.Logger
	// Unanswered is how many messages may wait for their stream's answer at once, over all calls of Publish: at most the
	// default, 1,024.
	Unanswered int
	// Answer is how long a stream, or in mode core the server, may take to confirm. Default: 10 s.
	Answer time.Duration
}

const (
	// defaultUnanswered stays well below [natsconn.MaxUnanswered], where the client would stall: messages whose call of
	// Publish has ended before their answer came still count there.
	defaultUnanswered = 1024
	// defaultAnswer is [Settings.Answer] unless set.
	defaultAnswer = 10 * time.Second
)

// Sink publishes to one server or cluster. It implements [sinks.Sink].
type Sink struct {
	config   Config
	settings Settings
	subject  sinks.Template

	// turn is held by whoever looks at conn or makes it.
	turn chan struct{}
	conn *natsconn.Conn
	// slots bounds what is unanswered.
	slots chan struct{}
}

// New makes a sink. It connects to nobody yet: the first Publish does.
func New(cfg Config, settings Settings) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sink %q (nats): %w", settings.Name, err)
	}
	subject, err := sinks.ParseTemplate(cfg.Subject)
	if err != nil {
		return nil, fmt.Errorf("sink %q (nats): %w", settings.Name, err)
	}
	if cfg.Mode == "" {
		cfg.Mode = JetStream
	}
	if settings.Logger == nil {
		settings.Logger = slog.New(slog.DiscardHandler)
	}
	if settings.Unanswered <= 0 || settings.Unanswered > defaultUnanswered {
		settings.Unanswered = defaultUnanswered
	}
	if settings.Answer <= 0 {
		settings.Answer = defaultAnswer
	}
	return &Sink{
		config:   cfg,
		settings: settings,
		subject:  subject,
		turn:     make(chan struct{}, 1),
		slots:    make(chan struct{}, settings.Unanswered),
	}, nil
}

// Check says whether the sink could publish now: whether a server lets it in, and whether a stream takes its subjects. It
// changes nothing: what create would make is not missed.
func (s *Sink) Check(ctx context.Context) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("sink %q (nats): %w", s.settings.Name, err)
	}
	defer conn.Close()
	if s.config.Mode == Core {
		return nil
	}
	if err := conn.CheckJetStream(ctx); err != nil {
		return fmt.Errorf("sink %q (nats): %w", s.settings.Name, err)
	}
	if _, err = conn.Stream(ctx, s.wanted()); err != nil && (!s.config.Create || !errors.Is(err, jetstream.ErrStreamNotFound)) {
		return fmt.Errorf("sink %q (nats): %w", s.settings.Name, err)
	}
	return nil
}

func (s *Sink) wanted() natsconn.StreamWanted {
	return natsconn.StreamWanted{Name: s.config.Stream, Subjects: []string{pattern(s.subject)}, SubjectsKey: "subject"}
}

func (s *Sink) connect(ctx context.Context) (*natsconn.Conn, error) {
	return natsconn.Connect(ctx, &s.config.Access, natsconn.Settings{
		Name:   "spawnwatch sink " + s.settings.Name,
		Logger: s.settings.Logger.With("sink", s.settings.Name),
		// A message kept for later would be told as failed, and published twice.
		Buffer: natsconn.Unbuffered,
		Answer: s.settings.Answer,
	})
}

// connection is the one of all calls, made by the first. Those that wait for it give up with their ctx.
func (s *Sink) connection(ctx context.Context) (*natsconn.Conn, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	if s.conn != nil {
		select {
		case <-s.conn.Closed(): // which nothing but a fault of the client library does
		default:
			return s.conn, nil
		}
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	if s.config.Mode == JetStream && s.config.Create {
		if _, err := conn.MakeStream(ctx, s.wanted()); err != nil {
			conn.Close()
			return nil, err
		}
	}
	s.conn = conn
	return conn, nil
}

// Close implements [sinks.Sink]. Publish keeps nothing back, so there is nothing left to send.
func (s *Sink) Close(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
	default:
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("sink %q (nats): a Publish that is still connecting keeps the sink from closing: %w", s.settings.Name, context.Cause(ctx))
		}
	}
	defer func() { <-s.turn }()
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
	return nil
}
