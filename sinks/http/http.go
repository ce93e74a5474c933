// Package http sends messages by POST. A message is durable when the server has answered with a status from 200 to 299.
package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spawnwatch/spawnwatch/sinks"
)

const (
	defaultMaxBody = 1 << 20
	defaultTimeout = 10 * time.Second
	// maxRetryAfter bounds how long a server may make the sink wait, 5 minutes.
	maxRetryAfter = 5 * time.Minute
	// maxAnswer is how many bytes of an answer are read, so that its connection can be used again; shownAnswer of them
	// go into an error.
	maxAnswer   = 64 << 10
	shownAnswer = 200
	// idleConnections is how many connections stay open, idleTime for how long.
	idleConnections = 16
	idleTime        = 90 * time.Second
)

// Sink posts messages to one URL.
type Sink struct {
	cfg       Config
	target    string // the URL for errors, without its query
	client    *http.Client
	transport *http.Transport
	now       func() time.Time
	// closedUntil is when the server wants to be asked again (Retry-After), in Unix nanoseconds.
	closedUntil atomic.Int64
}

// New checks the configuration and reads the files of TLS. It does not connect.
func New(cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	conf, err := cfg.TLS.load()
	if err != nil {
		return nil, err
	}
	if cfg.Body == "" {
		cfg.Body = Lines
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = defaultMaxBody
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	u.RawQuery, u.Fragment = "", "" // a query may hold a secret
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, ForceAttemptHTTP2: true,
		MaxIdleConns: idleConnections, MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: idleTime,
		TLSHandshakeTimeout: cfg.Timeout,
	}
	return &Sink{
		cfg: cfg, target: u.String(), transport: t, now: time.Now,
		client: &http.Client{
			Transport: t, Timeout: cfg.Timeout,
			// A POST that is redirected would go on as a GET without its body.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Publish sends msgs in their order, one request after the other. Once a request has failed for a reason that passes,
// the rest is not tried.
//
// A request with several messages that the server refuses for good is split in halves, down to the message that is to
// blame.
func (s *Sink) Publish(ctx context.Context, msgs []sinks.Message) error {
	p := publishing{s: s, msgs: msgs}
	for from := 0; from < len(msgs); {
		to := s.fit(msgs, from)
		p.send(ctx, from, to)
		from = to
	}
	if len(p.failed) == 0 {
		return nil
	}
	return &sinks.PublishError{Failures: p.failed}
}

// fit gives the end of the messages that go into one request.
func (s *Sink) fit(msgs []sinks.Message, from int) int {
	to, size := from+1, len(msgs[from].Value)+1
	if s.cfg.Body == Single {
		return to
	}
	for to < len(msgs) && size+len(msgs[to].Value)+1 <= s.cfg.MaxBody {
		size += len(msgs[to].Value) + 1
		to++
	}
	return to
}

// publishing is one call of Publish.
type publishing struct {
	s      *Sink
	msgs   []sinks.Message
	failed []sinks.Failure
	// broken is why nothing more is tried.
	broken error
}

// send makes one request of msgs[from:to], or several smaller ones where the server refuses it.
func (p *publishing) send(ctx context.Context, from, to int) {
	if p.broken == nil {
		if err := p.s.open(ctx); err != nil {
			p.broken = err
		}
	}
	if p.broken == nil {
		err := p.s.post(ctx, p.msgs[from:to])
		var refused *refusal
		switch {
		case err == nil:
			return
		case !errors.As(err, &refused) || !refused.permanent():
			p.broken = err
		case to-from > 1:
			middle := from + (to-from)/2
			p.send(ctx, from, middle)
			p.send(ctx, middle, to)
			return
		default:
			p.failed = append(p.failed, sinks.Failure{Index: from, Err: err, Permanent: true})
			return
		}
	}
	for i := from; i < to; i++ {
		p.failed = append(p.failed, sinks.Failure{Index: i, Err: p.broken})
	}
}

// open fails while the context or the server does not want a request.
func (s *Sink) open(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wait := time.Unix(0, s.closedUntil.Load()).Sub(s.now()); wait > 0 {
		return fmt.Errorf("%s: the server has asked not to be sent anything for another %v (Retry-After)", s.target, wait.Round(time.Millisecond))
	}
	return nil
}

// post makes one request. The body is a copy of its own: the transport may read on for a while after a request has ended.
func (s *Sink) post(ctx context.Context, msgs []sinks.Message) error {
	body := body(msgs, s.cfg.Body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", s.target, err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	if s.cfg.Body == Single {
		for _, h := range msgs[0].Headers {
			req.Header.Set(h.Key, h.Value)
		}
	}
	req.Header.Set("User-Agent", "spawnwatch")
	if s.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.cfg.Token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) { // it would repeat the URL with its query
			err = ue.Err
		}
		return fmt.Errorf("%s: %w", s.target, err)
	}
	defer func() { _ = resp.Body.Close() }() // the status is what counts
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return nil // the status is the answer, whatever becomes of the rest
	}
	s.noteRetryAfter(resp)
	r := &refusal{target: s.target, status: resp.StatusCode, answer: string(answer[:min(len(answer), shownAnswer)])}
	if err != nil {
		return errors.Join(r, err)
	}
	return r
}

func body(msgs []sinks.Message, form string) []byte {
	size := len(msgs)
	for i := range msgs {
		size += len(msgs[i].Value)
	}
	b := make([]byte, 0, size)
	for i := range msgs {
		from := len(b)
		b = append(b, msgs[i].Value...)
		if form == Single {
			return b
		}
		// JSON has line feeds between its tokens only.
		for j, c := range b[from:] {
			if c == '\n' {
				b[from+j] = ' '
			}
		}
		b = append(b, '\n')
	}
	return b
}

// noteRetryAfter reads seconds or a date, RFC 9110 section 10.2.3.
func (s *Sink) noteRetryAfter(resp *http.Response) {
	text := resp.Header.Get("Retry-After")
	if text == "" {
		return
	}
	now := s.now()
	var until time.Time
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		until = now.Add(time.Duration(seconds) * time.Second)
	} else if until, err = http.ParseTime(text); err != nil {
		return
	}
	if limit := now.Add(maxRetryAfter); until.After(limit) {
		until = limit
	}
	s.closedUntil.Store(until.UnixNano())
}

// Close closes the idle connections. Nothing is left to send: Publish waits for its answers.
func (s *Sink) Close(context.Context) error {
	s.transport.CloseIdleConnections()
	return nil
}

// refusal is an answer that is no success.
type refusal struct {
	target string
	status int
	answer string
}

func (r *refusal) Error() string {
	if r.answer == "" {
		return fmt.Sprintf("%s: expected a status from 200 to 299, got %d %s", r.target, r.status, http.StatusText(r.status))
	}
	return fmt.Sprintf("%s: expected a status from 200 to 299, got %d %s: %q", r.target, r.status, http.StatusText(r.status), r.answer)
}

// permanent: the server will never take this message. What a 4xx says about us and not about the message (a token that
// has run out, a path that is not there yet) is put right by people, and until then no alert may go astray.
func (r *refusal) permanent() bool {
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return r.status >= 400 && r.status <= 499
}
