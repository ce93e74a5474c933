package nats

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
	"github.com/spawnwatch/spawnwatch/sinks"
)

const patience = time.Minute

// peer is an embedded one with the test's own client, which never gives up.
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
	s.start(t)
	s.settings.Port = s.Port()
	var err error
	if s.nc, err = nats.Connect(s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.nc.Close()
		s.stop(t)
	})
	return s
}

func (s *peer) start(t testing.TB) {
	t.Helper()
	d, err := natsdemo.Start(s.settings)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = d
}

func (s *peer) stop(t testing.TB) {
	t.Helper()
	if err := s.Server.Close(); err != nil {
		t.Fatal(err)
	}
}

func (s *peer) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *peer) stream(c jetstream.StreamConfig) jetstream.Stream {
	s.t.Helper()
	st, err := s.js.CreateOrUpdateStream(s.ctx(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// stored reads all messages of a stream.
func (s *peer) stored(name string) (all []*jetstream.RawStreamMsg) {
	s.t.Helper()
	st, err := s.js.Stream(s.ctx(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	state := st.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := st.GetMsg(s.ctx(), seq)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func (s *peer) access() natsconn.Access { return natsconn.Access{URL: s.URL()} }

// open makes a sink that is closed at the end of the test.
func open(t testing.TB, cfg Config, settings Settings) *Sink {
	t.Helper()
	if settings.Name == "" {
		settings.Name = "siem"
	}
	k, err := New(cfg, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := k.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return k
}

func message(id, value string) sinks.Message {
	return sinks.Message{
		ID:      id,
		Value:   []byte(value),
		Labels:  sinks.Labels{Severity: "high", Namespace: "shop"},
		Headers: []sinks.Header{{Key: "content-type", Value: "application/json"}},
	}
}
