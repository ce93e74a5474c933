// Package webhook receives audit events from the API server's webhook backend
// (https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/#webhook-backend), in its batch and blocking modes, over
// HTTP, HTTPS and mutual TLS.
//
// Each POST is one record: the body as it came, decompressed, an EventList as a rule. A body of several lines that are
// objects, as log shippers post them, is a record a line. It is answered 200 after the handler has returned, and never
// before. Every other answer makes the API server send the batch again, five times with growing pauses, and then drop it:
//
//	401  no or a wrong bearer token          404  another path            405  no POST
//	413  larger than max_record              415  an encoding other than gzip
//	400  the encoding is broken              408  the body did not arrive in time (Retry-After)
//	429  too much is in hand (Retry-After)   503  not handled within 25 s, or shutting down (Retry-After)
//
// A body that is no JSON is none of these: it is handed on, dead-lettered and answered 200, because it would be no
// better the next time. Its Content-Type doesn't matter.
package webhook

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
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
	// Cluster is the cluster whose API server sends.
	Cluster string
	// Logger is where the source logs, and names the source already. Default: nowhere.
	Logger *slog.Logger
	// MaxRecord is the largest body in bytes, before and after decompression. Default: [sources.DefaultMaxRecord].
	MaxRecord int
	// Drain is how long calls of the handler may go on when the source is to end. Default: 20 s.
	Drain time.Duration
	// Memory bounds the bytes of bodies in hand over all requests. Default: 256 MiB, at least one largest body.
	Memory int64
	// Connections is how many connections are served at once; more wait to be accepted. Default: 1024.
	Connections int
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
		s.Memory = 256 << 20
	}
	// A body that grows to the limit is copied once more on its way.
	s.Memory = max(s.Memory, 2*int64(s.MaxRecord)+smallestBody)
	if s.Connections <= 0 {
		s.Connections = 1024
	}
	return s
}

// Source is a listener for the API server. It implements [sources.Source].
type Source struct {
	config   Config
	settings Settings
	token    [sha256.Size]byte
	identity *listen.Identity
	bodies   bodies
	throttle listen.Throttle

	addr      atomic.Pointer[net.Addr]
	listening chan struct{}
	once      sync.Once
}

// New makes a source. It reads the files of cfg.TLS, but does not listen yet.
func New(cfg Config, settings Settings) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("source %q (webhook): %w", settings.Name, err)
	}
	settings = settings.withDefaults()
	if cfg.Path == "" {
		cfg.Path = "/"
	}
	s := &Source{
		config:    cfg,
		settings:  settings,
		token:     sha256.Sum256([]byte(cfg.Token)),
		bodies:    bodies{memory: memory{limit: settings.Memory}, limit: settings.MaxRecord},
		listening: make(chan struct{}),
	}
	if cfg.TLS != nil {
		id, err := listen.NewIdentity(*cfg.TLS, func(err error) { s.warn(err.Error()) })
		if err != nil {
			return nil, fmt.Errorf("source %q (webhook): %w", settings.Name, err)
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

// Run implements [sources.Source].
func (s *Source) Run(ctx context.Context, h sources.Handler) error {
	l, err := s.listen(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	addr := l.Addr()
	s.addr.Store(&addr)
	s.once.Do(func() { close(s.listening) })

	// work is the context of the handler's calls: it outlives ctx by the drain limit.
	work, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	var calls gate
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			s.answer(w, req, func(b *body, begun time.Time) error { return s.handOn(work, h, &calls, req, b, begun) })
		}),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       bodyTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(warner{s}, "", 0),
		// One request at a time on a connection bounds what a connection can cost.
		Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	l = &limited{Listener: l, places: make(chan struct{}, s.settings.Connections), closed: make(chan struct{})}
	failed := make(chan error, 1)
	go func() { failed <- s.serve(server, l) }()
	select {
	case err = <-failed:
		err = fmt.Errorf("source %q (webhook): the listener ended: %w", s.settings.Name, err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.settings.Drain)
	defer cancel()
	if server.Shutdown(limit) != nil {
		cutOff() // what is still being handled is answered 503 now
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		if server.Shutdown(last) != nil {
			_ = server.Close()
		}
	}
	cutOff()
	calls.shut()
	if err == nil {
		<-failed // http.ErrServerClosed
	}
	return err
}

func (s *Source) serve(server *http.Server, l net.Listener) error {
	if s.identity == nil {
		return server.Serve(l)
	}
	server.TLSConfig = s.identity.Config()
	return server.ServeTLS(l, "", "")
}

// gate counts calls of the handler, and lets no more begin once it is shut.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

// enter begins a call, unless the gate is shut.
func (g *gate) enter(call func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.inside.Go(call)
	}
	return !g.closed
}

// shut waits until all calls have returned.
func (g *gate) shut() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}

// lastWords is how long the answers to what the drain limit ended may take.
const lastWords = time.Second

// answer answers one request, out of what handOn says about its body.
func (s *Source) answer(w http.ResponseWriter, req *http.Request, handOn func(b *body, begun time.Time) error) {
	begun := time.Now()
	// An answer that nobody takes must not keep the connection's place.
	_ = http.NewResponseController(w).SetWriteDeadline(begun.Add(answerTime + writeTime))
	err := s.admit(req)
	if err == nil {
		err = s.read(w, req, begun, handOn)
	}
	if err == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	var no *refusal
	if !errors.As(err, &no) {
		// The client went away, or its body did not arrive.
		no = refuse(http.StatusBadRequest, "the body could not be read: %v", err)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			no.status = http.StatusRequestTimeout
		}
	}
	switch no.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="spawnwatch"`)
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusRequestTimeout:
		w.Header().Set("Retry-After", retryAfter)
	}
	s.warn("a request is refused", "status", no.status, "reason", no.reason, "peer", req.RemoteAddr)
	http.Error(w, no.reason, no.status)
}

// admit says whether the request is one for us, without looking at its body.
func (s *Source) admit(req *http.Request) error {
	if p := s.config.Path; p != "/" && strings.TrimSuffix(req.URL.Path, "/") != strings.TrimSuffix(p, "/") {
		return refuse(http.StatusNotFound, "expected the path %s, got %.100q", p, req.URL.Path)
	}
	if s.config.Token != "" {
		scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(token))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], s.token[:]) != 1 {
			return refuse(http.StatusUnauthorized, "expected the bearer token of this source")
		}
	}
	if req.Method != http.MethodPost {
		return refuse(http.StatusMethodNotAllowed, "expected POST, got %.20q", req.Method)
	}
	return nil
}

// read reads the body and hands it on.
func (s *Source) read(w http.ResponseWriter, req *http.Request, begun time.Time, handOn func(b *body, begun time.Time) error) error {
	// ReadTimeout began with the first byte of the head; the body has its own time, and then there is none to keep.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(begun.Add(bodyTime))
	b, err := s.bodies.read(req)
	if err != nil {
		return err
	}
	_ = control.SetReadDeadline(time.Time{})
	return handOn(b, begun)
}

// traceHeaders are those of W3C Trace Context, which an API server that traces sends; nil where there are none. What else
// a client sends is not passed on: it may hold secrets.
func traceHeaders(h http.Header) (headers []sources.Header) {
	for _, key := range []string{"Traceparent", "Tracestate"} {
		if v := h.Get(key); v != "" {
			headers = append(headers, sources.Header{Key: []byte(key), Value: []byte(v)})
		}
	}
	return headers
}

// handOn gives a body to the handler. It returns nil when that is done, and an error after answerTime at the latest,
// whatever the handler does. The body is given back when the handler has returned, which may be later.
func (s *Source) handOn(work context.Context, h sources.Handler, calls *gate, req *http.Request, b *body, begun time.Time) error {
	batch := &sources.Batch{
		Origin:  sources.Origin{Source: s.settings.Name, Topic: req.URL.Path, Partition: -1, Cluster: s.settings.Cluster},
		Records: records(b.bytes, traceHeaders(req.Header)),
	}
	done := make(chan error, 1)
	entered := calls.enter(func() {
		ctx, cancel := context.WithDeadline(work, begun.Add(handleTime))
		defer cancel()
		err := h(ctx, batch)
		s.bodies.give(b)
		done <- err
	})
	if !entered {
		s.bodies.give(b)
		return refuse(http.StatusServiceUnavailable, "the source is shutting down, send the events again")
	}
	late := time.NewTimer(time.Until(begun.Add(answerTime)))
	defer late.Stop()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
		return refuse(http.StatusServiceUnavailable, "the events could not be handled in time, send them again: %v", err)
	case <-late.C:
		return refuse(http.StatusServiceUnavailable, "the events were not handled within %s, send them again", answerTime)
	}
}

// warn logs what a client caused, as far as the throttle allows.
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

// warner takes what net/http logs: failed TLS handshakes, mostly.
type warner struct{ s *Source }

func (w warner) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.HasPrefix(text, "http: TLS handshake error") && strings.HasSuffix(text, ": EOF") {
		return len(line), nil // a look at the port
	}
	w.s.warn(text)
	return len(line), nil
}

var _ sources.Source = (*Source)(nil)
