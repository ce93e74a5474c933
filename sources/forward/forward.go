// Package forward receives records over the Fluentd forward protocol, as Fluent Bit, fluentd and their client libraries
// speak it: versions 1 and 1.5 of the specification in all its modes, TCP, TLS, mutual TLS and unix sockets.
//
// A chunk is answered after its last record was handled, and never before. When the handler is slow the answer is
// held and nothing more is read; a connection is not closed for that, because a sender with default settings gives a
// chunk up after one failed attempt.
//
// A record is the JSON text of what was sent (see appendJSON), or the text of an unparsed log line where that is all
// there is (see logText). Its Offset is the index inside the chunk, its Time the entry's, its Origin.Topic the tag. The
// metadata that Fluent Bit may put beside the time is not part of it. What cannot be read is handed on as it came, so
// that it is dead-lettered: a chunk refused would be sent again for ever. Metrics and traces of Fluent Bit are answered,
// counted and dropped.
//
// A sender that does not ask for answers is served as well, but loses what is on its way when either side ends.
package forward

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/listen"
	"github.com/spawnwatch/spawnwatch/sources"
)

// Settings are what the program, not the user, says about a source. The zero value of all but Name is their default.
type Settings struct {
	// Name is the configured name of the source.
	Name string
	// Cluster is the cluster of records whose sender does not name one.
	Cluster string
	// Logger is where the source logs, and names the source already. Default: nowhere.
	Logger *slog.Logger
	// MaxRecord is the largest record in bytes of JSON text. Default: [sources.DefaultMaxRecord].
	MaxRecord int
	// Drain is how long calls of the handler may go on when the source is to end. Default: 20 s.
	Drain time.Duration
	// Skim is asked about parsed records before they are written as JSON text. Default: all are written.
	Skim sources.Skim
	// Memory bounds the bytes of messages in hand over all connections, as read, decompressed, or written as JSON text
	// while the message is not complete; one message may exceed it. The JSON text of batches that are being made while
	// others are handled comes on top (Calls bounds it), as do about 10 kB per connection. Default: 128 MiB.
	Memory int64
	// Connections is how many connections are served at once; more wait to be accepted. Default: 16384.
	Connections int
	// Calls is how many calls of the handler, each with a batch of about 256 KiB, are in flight at once, and what they gave rise to waits for the sinks. Default: 64.
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
	if s.Memory <= 0 {
		s.Memory = 128 << 20
	}
	if s.Connections <= 0 {
		s.Connections = 16384
	}
	if s.Calls <= 0 {
		s.Calls = 64
	}
	return s
}

// Source is a listener for senders of the forward protocol. It implements [sources.Source].
type Source struct {
	config   Config
	settings Settings
	hostname string
	identity *listen.Identity
	// random is where nonces and salts come from.
	random io.Reader

	budget   *budget
	answered *answered
	decoders decompressors
	buffers  sync.Pool
	jobs     sync.Pool
	slots    chan struct{}
	throttle listen.Throttle
	stats    counters

	handler   sources.Handler
	addr      atomic.Pointer[net.Addr]
	listening chan struct{}
	once      sync.Once
}

// New makes a source. It reads the files of cfg.TLS, but does not listen yet.
func New(cfg Config, settings Settings) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("source %q (forward): %w", settings.Name, err)
	}
	settings = settings.withDefaults()
	s := &Source{
		config:    cfg,
		settings:  settings,
		hostname:  cfg.Hostname,
		random:    randomText{rand.Reader},
		budget:    newBudget(settings.Memory),
		answered:  newAnswered(answeredChunks),
		slots:     make(chan struct{}, settings.Calls),
		listening: make(chan struct{}),
	}
	if s.hostname == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("source %q (forward): the name of this machine is unknown, set hostname: %w", settings.Name, err)
		}
		s.hostname = name[:min(len(name), maxHostname)]
	}
	if cfg.TLS != nil {
		id, err := listen.NewIdentity(*cfg.TLS, func(err error) { s.warn(err.Error()) })
		if err != nil {
			return nil, fmt.Errorf("source %q (forward): %w", settings.Name, err)
		}
		s.identity = id
	}
	return s, nil
}

// Listening is closed once the source listens, so that [Source.Addr] is known.
func (s *Source) Listening() <-chan struct{} { return s.listening }

// Addr is where the source listens, nil before it does.
func (s *Source) Addr() net.Addr {
	if a := s.addr.Load(); a != nil {
		return *a
	}
	return nil
}

// Check says whether the source could listen now.
func (s *Source) Check(ctx context.Context) error {
	l, err := s.listen(ctx)
	if err != nil {
		return err
	}
	return l.Close()
}

// Run implements [sources.Source]. It is called once at a time.
func (s *Source) Run(ctx context.Context, h sources.Handler) error {
	l, err := s.listen(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.handler = h
	addr := l.stream.Addr()
	s.addr.Store(&addr)
	s.once.Do(func() { close(s.listening) })

	// reading ends with ctx, or when the listener fails. work is the context of the handler's calls: it outlives
	// reading by the drain limit.
	reading, stopReading := context.WithCancel(ctx)
	work, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	var ending sync.WaitGroup
	ending.Go(func() {
		<-reading.Done()
		_ = l.Close()
		limit := time.NewTimer(s.settings.Drain)
		defer limit.Stop()
		select {
		case <-limit.C:
			cutOff()
		case <-work.Done():
		}
	})
	var connections sync.WaitGroup
	err = s.accept(reading, work, l, &connections)
	stopReading()
	connections.Wait()
	cutOff()
	ending.Wait()
	return err
}

// takeJob takes an empty job. A slot is needed before it is handed to the handler.
func (s *Source) takeJob() *job {
	j, _ := s.jobs.Get().(*job)
	if j == nil {
		j = &job{}
	}
	return j
}

// giveJob gives a job and its slot back.
func (s *Source) giveJob(j *job) {
	s.recycle(j)
	<-s.slots
}

// recycle gives a job back that has no slot.
func (s *Source) recycle(j *job) {
	clear(j.batch.Records)
	j.batch = sources.Batch{Records: j.batch.Records[:0]}
	j.text, j.bytes, j.claimed = j.text[:0], 0, 0
	if cap(j.text) <= 4*batchBytes {
		s.jobs.Put(j)
	}
}

// warn logs what a sender caused, as far as the throttle allows.
func (s *Source) warn(message string, args ...any) {
	ok, dropped := s.throttle.Allow(time.Now())
	if !ok {
		return
	}
	if dropped > 0 {
		args = append(args, "lines_left_out", dropped)
	}
	s.settings.Logger.Warn(message, args...)
}

// Stats are counts since the source was made.
type Stats struct {
	// Connections are those accepted, Open those that are open.
	Connections, Open int64
	// Records were handled.
	Records int64
	// Unreadable of them had no JSON text and were handed on as they came.
	Unreadable int64
	// Repeated chunks were answered before, and not handled again.
	Repeated int64
	// Signals are chunks of metrics or traces that were dropped.
	Signals int64
	// Markers are the beginnings and ends of groups among the entries.
	Markers int64
	// Refused handshakes had a wrong key, user or password.
	Refused int64
}

type counters struct {
	connections, open, records, unreadable, repeated, signals, markers, refused atomic.Int64
}

// Stats returns the counts so far.
func (s *Source) Stats() Stats {
	return Stats{
		Connections: s.stats.connections.Load(), Open: s.stats.open.Load(), Records: s.stats.records.Load(),
		Unreadable: s.stats.unreadable.Load(), Repeated: s.stats.repeated.Load(), Signals: s.stats.signals.Load(),
		Markers: s.stats.markers.Load(), Refused: s.stats.refused.Load(),
	}
}

var _ sources.Source = (*Source)(nil)

var errNotListening = errors.New("the listener ended")
