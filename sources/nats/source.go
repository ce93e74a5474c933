// Package nats reads records from NATS: from a JetStream stream through a durable pull consumer, at least once, or from
// core subjects through a queue group, at most once.
//
// JetStream: the source asks for as many messages and bytes as it may hold, and hands them over in batches of one
// subject, several at a time. Each message is acknowledged after its handler call has returned nil. All that is held,
// in work or waiting, is kept alive at half the consumer's AckWait: that runs from delivery, not from the start of the
// work, and a slow sink must not make the server deliver again what is in hand. What was not handled at shutdown is
// given back at once. The server's way to drop a message after some deliveries (MaxDeliver) is not used: what cannot be
// read is dead-lettered by the handler and acknowledged.
//
// The records of a batch ascend in the stream; a message that is delivered again comes in a later batch. A Record's
// Offset is the stream sequence and its Time the time at which the stream stored it; both are zero in mode core. A header
// "cluster" (any case) names the cluster of a message.
//
// A user with narrow permissions needs, in mode jetstream, to subscribe to _INBOX.> and to publish to $JS.API.INFO (for
// Check), $JS.API.STREAM.INFO.<stream>, $JS.API.STREAM.NAMES (where stream is left out), $JS.API.CONSUMER.INFO.<stream>.<durable>,
// $JS.API.CONSUMER.MSG.NEXT.<stream>.<durable> and $JS.ACK.<stream>.<durable>.>; with create also to
// $JS.API.STREAM.CREATE.<stream> and $JS.API.CONSUMER.CREATE.<stream>.>.
package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/sources"
)

// Settings are what the program, not the user, says about a source. The zero value of all but Name is their default.
type Settings struct {
	// Name is the configured name of the source.
	Name string
	// Cluster is the cluster of messages without a header that names one.
	Cluster string
	// Logger is where the source logs. Default: nowhere.
	Logger *slog.Logger
	// MaxRecord is the largest message in bytes that is passed on whole. Default: [sources.DefaultMaxRecord].
	MaxRecord int
	// Drain is how long calls of the handler may go on when the source is to end. Default: 20 s.
	Drain time.Duration
	// Messages is how many messages the source holds at most. Default: 2,000.
	Messages int
	// Bytes is how much of messages the source holds at most, with subjects and headers; a single message may exceed it.
	// Default: 16 MiB. In mode core the client's own queue comes on top: 65,536 messages or 64 MiB for each subject,
	// behind which messages are lost.
	Bytes int
	// Calls is how many calls of the handler are in flight at once. Default: 64.
	Calls int
}

func (s Settings) withDefaults() Settings {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.MaxRecord <= 0 {
		s.MaxRecord = sources.DefaultMaxRecord
	}
	if s.Drain <= 0 {
		s.Drain = 20 * time.Second
	}
	if s.Messages <= 0 {
		s.Messages = 2000
	}
	if s.Bytes <= 0 {
		s.Bytes = 16 << 20
	}
	if s.Calls <= 0 {
		s.Calls = 64
	}
	return s
}

// flushTime is how long the last acknowledgements may take to leave, the time to connect again included.
const flushTime = 3 * time.Second

// Source reads a stream or subjects. It implements [sources.Source].
type Source struct {
	config   Config
	settings Settings
	stats    counters
}

// counters are what [Stats] is made of.
type counters struct {
	messages, bytes, redelivered, returned, dropped atomic.Int64
	lag                                             atomic.Pointer[Lag]
}

// lagEvery is how often the server is asked how much waits, 10 s.
const lagEvery = 10 * time.Second

// Lag is how much waits for the durable consumer, whichever instance takes it.
type Lag struct {
	Stream string
	// Messages that were not delivered yet, or not acknowledged.
	Messages int64
}

// Stats are totals since the source was made.
type Stats struct {
	// Messages and Bytes (of payload) that were received.
	Messages, Bytes int64
	// Redelivered counts the messages among them that the server had delivered before.
	Redelivered int64
	// Returned counts the messages that were given back to the server unhandled.
	Returned int64
	// Dropped counts the messages that were lost because they came faster than they were handled (mode core).
	Dropped int64
	// Lag is as old as ten seconds, nil before it was asked for the first time and in mode core.
	Lag *Lag
}

// Stats may be asked at any time.
func (s *Source) Stats() Stats {
	return Stats{
		Messages:    s.stats.messages.Load(),
		Bytes:       s.stats.bytes.Load(),
		Redelivered: s.stats.redelivered.Load(),
		Returned:    s.stats.returned.Load(),
		Dropped:     s.stats.dropped.Load(),
		Lag:         s.stats.lag.Load(),
	}
}

// New makes a source. It connects to nobody yet.
func New(cfg Config, settings Settings) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("source %q (nats): %w", settings.Name, err)
	}
	return &Source{config: cfg.withDefaults(), settings: settings.withDefaults()}, nil
}

func (s *Source) connect(ctx context.Context) (*natsconn.Conn, error) {
	return natsconn.Connect(ctx, &s.config.Access, natsconn.Settings{
		Name:   "spawnwatch source " + s.settings.Name,
		Logger: s.settings.Logger.With("source", s.settings.Name),
		Buffer: 8 << 20, // acknowledgements given while there is no connection
	})
}

// Check says whether the source could start now: whether a server lets it in, and whether stream and consumer are there
// and fit. It changes nothing: what create would make is not missed.
func (s *Source) Check(ctx context.Context) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("source %q (nats): %w", s.settings.Name, err)
	}
	defer conn.Close()
	if s.config.Mode == JetStream {
		if err := s.checkConsumer(ctx, conn); err != nil {
			return fmt.Errorf("source %q (nats): %w", s.settings.Name, err)
		}
	}
	return nil
}

// Run reads until ctx ends. It implements [sources.Source].
func (s *Source) Run(ctx context.Context, h sources.Handler) error {
	if ctx.Err() != nil {
		return nil
	}
	err := s.run(ctx, h)
	if err != nil && !errors.Is(err, errEnded) {
		return fmt.Errorf("source %q (nats): %w", s.settings.Name, err)
	}
	return nil
}

// errEnded is for what was given up because the source is to end.
var errEnded = errors.New("the source is to end")

// ended puts [errEnded] in the place of an error that came of ctx's end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errEnded
	}
	return err
}

func (s *Source) run(ctx context.Context, h sources.Handler) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return ended(ctx, err)
	}
	defer conn.Close()
	if s.config.Mode == Core {
		return s.runCore(ctx, conn, h)
	}
	c, err := s.openConsumer(ctx, conn)
	if err != nil {
		return ended(ctx, err)
	}
	if err := s.runJetStream(ctx, conn, c, h); err != nil {
		return err
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	if err := conn.Flush(flush); err != nil {
		s.settings.Logger.WarnContext(ctx, "the last acknowledgements may not have reached the server, which will deliver their messages again",
			"source", s.settings.Name, "error", conn.Explain(err))
	}
	return nil
}
