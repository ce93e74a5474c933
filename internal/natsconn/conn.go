package natsconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// DialTimeout bounds one attempt to reach a server: connection, INFO, TLS handshake and login.
	DialTimeout = 5 * time.Second
	// writeTimeout bounds one write to a peer that does not read.
	writeTimeout = 10 * time.Second
	// pingEvery and pingsLost decide when a silent server counts as gone: after 30 to 40 s.
	pingEvery = 10 * time.Second
	pingsLost = 3
	// reconnectMin and reconnectMax bound the pause before the list of servers is tried again; it doubles in between
	// and is jittered by half, so that many clients do not come back at once. There is no last attempt.
	reconnectMin = 100 * time.Millisecond
	reconnectMax = 5 * time.Second
	// defaultAnswer is [Settings.Answer] unless set.
	defaultAnswer = 10 * time.Second
	// repeatLog is how often one kind of asynchronous error is logged.
	repeatLog = 10 * time.Second
	// heardFor is how long an asynchronous error of the server explains a request that was not answered.
	heardFor = 30 * time.Second
)

// Unbuffered, as [Settings.Buffer], makes publishing fail while there is no connection.
const Unbuffered = -1

// Settings are what the program says about a connection.
type Settings struct {
	// Name is how the server calls the client in its own reports.
	Name string
	// Logger is told of lost connections. Required.
	Logger *slog.Logger
	// Buffer is how many bytes of acknowledgements are kept while there is no connection, or [Unbuffered].
	Buffer int
	// Answer is how long a message waits for the answer of its stream. Default: 10 s.
	Answer time.Duration
}

// Conn is one connection that comes back by itself until it is closed. It is safe for concurrent use.
type Conn struct {
	// NATS is the connection itself.
	NATS *nats.Conn
	// JetStream is the view of it that manages streams and publishes to them.
	JetStream jetstream.JetStream

	access      *Access
	logger      *slog.Logger
	closed      chan struct{}
	reconnected chan struct{}
	slow        chan struct{}

	mu     sync.Mutex
	heard  error // the last asynchronous error
	at     time.Time
	logged map[string]time.Time
	dialed error // why the last dial failed
	// asking are the questions that wait for an answer.
	asking map[*context.CancelCauseFunc]struct{}
}

// Connect reaches one of the servers; it fails if none is there, and says why. Later, a lost connection is made again
// without end. An ended ctx ends the attempt, but not the connection.
func Connect(ctx context.Context, a *Access, s Settings) (*Conn, error) {
	own := *a
	servers, err := own.servers()
	if err != nil {
		return nil, NewFault("url", "%w", err)
	}
	login, err := own.login()
	if err != nil {
		return nil, err
	}
	secure, err := own.secure()
	if err != nil {
		return nil, err
	}
	c := &Conn{
		access:      &own,
		logger:      s.Logger,
		closed:      make(chan struct{}),
		reconnected: make(chan struct{}, 1),
		slow:        make(chan struct{}, 1),
		logged:      map[string]time.Time{},
		asking:      map[*context.CancelCauseFunc]struct{}{},
	}
	if s.Answer <= 0 {
		s.Answer = defaultAnswer
	}
	var (
		connected atomic.Bool
		unhook    []func() bool
	)
	options := nats.GetDefaultOptions()
	options.Servers = servers
	for _, o := range append(append(login, secure...), c.options(s)...) {
		if err := o(&options); err != nil {
			return nil, fmt.Errorf("cannot use the NATS options: %w", err)
		}
	}
	// The client takes no context, but asks us for its sockets: ending these ends the attempt.
	options.CustomDialer = dialFunc(func(network, address string) (net.Conn, error) {
		d := net.Dialer{Timeout: DialTimeout, KeepAlive: 15 * time.Second}
		if connected.Load() {
			return d.Dial(network, address)
		}
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			c.mu.Lock()
			c.dialed = err
			c.mu.Unlock()
			return nil, err
		}
		unhook = append(unhook, context.AfterFunc(ctx, func() { _ = conn.Close() }))
		return conn, nil
	})
	c.NATS, err = options.Connect()
	connected.Store(true)
	for _, stop := range unhook {
		if !stop() && err == nil { // ctx has ended just now, and took the socket along
			c.NATS.Close()
			return nil, context.Cause(ctx)
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, c.Explain(fmt.Errorf("cannot connect to %s: %w", own.hosts(), c.cause(err)))
	}
	if c.JetStream, err = jetstream.New(c.NATS, jetstream.WithPublishAsyncMaxPending(MaxUnanswered), jetstream.WithPublishAsyncTimeout(s.Answer)); err != nil {
		c.NATS.Close()
		return nil, fmt.Errorf("cannot use JetStream: %w", err)
	}
	return c, nil
}

// MaxUnanswered is how many messages of a connection may wait for the answer of a stream at once.
const MaxUnanswered = 4096

// dialFunc is a function as [nats.CustomDialer].
type dialFunc func(network, address string) (net.Conn, error)

// Dial calls f.
func (f dialFunc) Dial(network, address string) (net.Conn, error) { return f(network, address) }

func (c *Conn) options(s Settings) []nats.Option {
	return []nats.Option{
		nats.Name(s.Name),
		nats.Timeout(DialTimeout),
		nats.FlusherTimeout(writeTimeout),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(pingsLost),
		nats.MaxReconnects(-1),
		// Without it the client closes itself for good after the second refusal of its credentials, such as while a
		// server is restarted with a new configuration.
		nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ReconnectBufSize(s.Buffer),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			select {
			case <-c.closed:
				return
			default:
			}
			if err == nil {
				return // closed by ourselves
			}
			c.logger.Warn("the connection to NATS is lost and will be made again", "error", err)
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.logger.Info("the connection to NATS is back", "server", nc.ConnectedUrlRedacted())
			signal(c.reconnected)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.hear(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.hear(err) }),
	}
}

// reconnectDelay is the pause after the whole list of servers was tried so many times.
func reconnectDelay(attempts int) time.Duration {
	d := reconnectMax
	if attempts < 8 { // 2^7 × 100 ms is over the limit
		d = min(d, reconnectMin<<max(attempts-1, 0))
	}
	return d/2 + rand.N(d/2)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// hear takes the errors that belong to no call.
func (c *Conn) hear(err error) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		signal(c.slow) // who owns the subscription knows how many were lost
		return
	}
	now := time.Now()
	c.mu.Lock()
	c.heard, c.at = err, now
	if isDenied(err) {
		for end := range c.asking {
			(*end)(err)
		}
	}
	tell := now.Sub(c.logged[err.Error()]) >= repeatLog
	if tell {
		if len(c.logged) >= 64 { // texts may name subjects without end
			clear(c.logged)
		}
		c.logged[err.Error()] = now
	}
	c.mu.Unlock()
	if tell {
		c.logger.Warn("NATS reports an error", "error", c.Explain(err))
	}
}

// Ask runs a question to JetStream, bounded by [RequestTimeout]. A server that does not allow the question leaves it
// unanswered and says so on the side; the question then ends at once, with that for its error.
func (c *Conn) Ask(ctx context.Context, question func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	c.mu.Lock()
	c.asking[&end] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.asking, &end)
	}()
	err := question(ctx)
	if cause := context.Cause(ctx); err != nil && isDenied(cause) {
		return cause
	}
	return err
}

// lastHeard is what the server said of late.
func (c *Conn) lastHeard() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard == nil || time.Since(c.at) > heardFor {
		return nil
	}
	return c.heard
}

// Closed is closed once the connection has ended for good.
func (c *Conn) Closed() <-chan struct{} { return c.closed }

// Reconnected has a value after the connection was made again. There may be one reader.
func (c *Conn) Reconnected() <-chan struct{} { return c.reconnected }

// Slow has a value after the client dropped messages because they were not read in time. There may be one reader.
func (c *Conn) Slow() <-chan struct{} { return c.slow }

// Flush returns once the server has taken all that was published before. ctx must have a deadline.
func (c *Conn) Flush(ctx context.Context) error { return c.NATS.FlushWithContext(ctx) }

// Close ends the connection, waiting for nothing but its goroutines.
func (c *Conn) Close() {
	c.NATS.Close()
	<-c.closed
}
