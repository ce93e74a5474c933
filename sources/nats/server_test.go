package nats

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
	"github.com/spawnwatch/spawnwatch/sources"
)

const patience = time.Minute

// peer is an embedded one with the test's own client.
type peer struct {
	*natsdemo.Server
	t        testing.TB
	settings natsdemo.Settings
	nc       *nats.Conn
	js       jetstream.JetStream
}

func startServer(t testing.TB, settings natsdemo.Settings) *peer {
	t.Helper()
	if settings.Dir == "" {
		settings.Dir = t.TempDir()
	}
	s := &peer{t: t, settings: settings}
	s.start()
	t.Cleanup(func() {
		if s.nc != nil {
			s.nc.Close()
		}
		if err := s.Server.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *peer) start() {
	s.t.Helper()
	d, err := natsdemo.Start(s.settings)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Server = d
}

// restart ends the server and starts it again over the same files, at the same port.
func (s *peer) restart() {
	s.t.Helper()
	s.settings.Port = s.Port()
	if err := s.Server.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

// connect makes the test's client.
func (s *peer) connect(options ...nats.Option) *peer {
	s.t.Helper()
	var err error
	options = append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond)}, options...)
	if s.nc, err = nats.Connect(s.URL(), options...); err != nil {
		s.t.Fatal(err)
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		s.t.Fatal(err)
	}
	return s
}

func (s *peer) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *peer) stream(name string, subjects ...string) jetstream.Stream {
	s.t.Helper()
	st, err := s.js.CreateOrUpdateStream(s.ctx(), jetstream.StreamConfig{Name: name, Subjects: subjects})
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

func (s *peer) consumer(stream string, c jetstream.ConsumerConfig) {
	s.t.Helper()
	if c.Durable == "" {
		c.Durable = DefaultDurable
	}
	if _, err := s.js.CreateOrUpdateConsumer(s.ctx(), stream, c); err != nil {
		s.t.Fatal(err)
	}
}

// publish stores the values and waits for each answer.
// A message that went to a server which was just stopped gets no answer, so each is tried again.
func (s *peer) publish(subject string, values ...[]byte) {
	s.t.Helper()
	for _, v := range values {
		deadline := time.Now().Add(patience)
		for {
			ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
			_, err := s.js.Publish(ctx, subject, v)
			cancel()
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				s.t.Fatal(err)
			}
		}
	}
}

// numbered are n small JSON objects.
func numbered(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = fmt.Appendf(nil, `{"n":%d,"pad":%q}`, i, strings.Repeat("x", i%50))
	}
	return all
}

// unanswered is how many messages of the stream the consumer has not acknowledged.
func (s *peer) unanswered(stream string) int {
	s.t.Helper()
	c, err := s.js.Consumer(s.ctx(), stream, DefaultDurable)
	if err != nil {
		s.t.Fatal(err)
	}
	i := c.CachedInfo()
	return int(i.NumPending) + i.NumAckPending
}

// eventually polls the server, which cannot be waited for.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the test has ended")
		}
	}
}

// sink collects what a source hands over.
type sink struct {
	mu    sync.Mutex
	count map[int]int
	batch []sources.Batch // with copies of the records' values
}

func newSink() *sink { return &sink{count: map[int]int{}} }

func (k *sink) handle(_ context.Context, b *sources.Batch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := *b
	kept.Records = nil
	for _, r := range b.Records {
		var v struct{ N int }
		if err := json.Unmarshal(r.Value, &v); err == nil {
			k.count[v.N]++
		}
		r.Value = append([]byte(nil), r.Value...)
		kept.Records = append(kept.Records, r)
	}
	k.batch = append(k.batch, kept)
	return nil
}

// distinct is how many different records were handled, all how many in total.
func (k *sink) distinct() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.count)
}

func (k *sink) all() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.count {
		n += c
	}
	return n
}

// config is one for the stream AUDIT with what it needs made.
func (s *peer) config() Config {
	return Config{Access: natsconn.Access{URL: s.URL()}, Stream: "AUDIT", Subjects: []string{"audit.>"}, Create: true}
}

func quick(name string) Settings {
	return Settings{Name: name, Drain: 500 * time.Millisecond}
}

// running is a source at work.
type running struct {
	t    testing.TB
	src  *Source
	stop context.CancelFunc
	done chan error
	once sync.Once
	err  error
}

func run(t testing.TB, cfg Config, settings Settings, h sources.Handler) *running {
	t.Helper()
	src, err := New(cfg, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{t: t, src: src, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- src.Run(ctx, h) }()
	t.Cleanup(func() { stop(); _ = r.wait() })
	return r
}

func (r *running) wait() error {
	r.once.Do(func() {
		select {
		case r.err = <-r.done:
		case <-time.After(patience):
			r.err = fmt.Errorf("Run did not return within %v", patience)
		}
	})
	return r.err
}

func (r *running) end() {
	r.t.Helper()
	r.stop()
	if err := r.wait(); err != nil {
		r.t.Error(err)
	}
}

// logs is a logger that remembers.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logs) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}
