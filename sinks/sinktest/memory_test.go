package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/sinks"
)

// flaw is one way in which the sink in memory breaks the contract.
type flaw int

const (
	none flaw = iota
	loses
	doubles
	reverses
	keepsBytes
	changesBytes
	misplaces
	losesHeaders
	misnamesID
	ignoresContext
	gaveUp // reports a passing reason as permanent
	forgetsFailures
	plainError
	waitsForever
	retries
	takesAllDown // one message too large fails the others for good
	acceptsAnything
	leaks
	buffers // durable only at Close
	failureOrder
)

const memoryLimit = 4096

var (
	errDown  = errors.New("the peer is down")
	errLarge = fmt.Errorf("value above %d bytes", memoryLimit)
)

// memoryPeer holds what was published.
type memoryPeer struct {
	mu     sync.Mutex
	held   []Received
	down   bool
	refuse bool
}

func place(l sinks.Labels) string { return "alerts." + l.Severity }

func openMemory(f flaw) func(testing.TB) Peer {
	return func(testing.TB) Peer {
		p := &memoryPeer{}
		set := func(down bool) func(testing.TB) {
			return func(testing.TB) { p.mu.Lock(); p.down = down; p.mu.Unlock() }
		}
		return Peer{
			Sink: func(testing.TB) sinks.Sink { return &memorySink{peer: p, flaw: f} },
			Read: func(testing.TB, int) []Received {
				p.mu.Lock()
				defer p.mu.Unlock()
				got := slices.Clone(p.held)
				for i := range got {
					got[i].Value = bytes.Clone(got[i].Value)
				}
				return got
			},
			Place: place, Stop: set(true), Start: set(false),
			RefuseOnce: func(testing.TB) { p.mu.Lock(); p.refuse = true; p.mu.Unlock() },
		}
	}
}

type memorySink struct {
	peer *memoryPeer
	flaw flaw
	kept []Received
}

func (s *memorySink) Publish(ctx context.Context, msgs []sinks.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	if ctx.Err() != nil && s.flaw != ignoresContext {
		return sinks.AllFailed(len(msgs), s.flaw == gaveUp, ctx.Err())
	}
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	switch {
	case s.peer.down && s.flaw == waitsForever:
		s.peer.mu.Unlock()
		<-time.After(soon + time.Second)
		s.peer.mu.Lock()
		return sinks.AllFailed(len(msgs), false, errDown)
	case s.peer.down && s.flaw == forgetsFailures:
		return sinks.AllFailed(1, false, errDown)
	case s.peer.down && s.flaw == plainError:
		return errDown
	case s.peer.down && s.flaw == failureOrder:
		e := sinks.AllFailed(len(msgs), false, errDown)
		slices.Reverse(e.Failures)
		return e
	case s.peer.down:
		return sinks.AllFailed(len(msgs), s.flaw == gaveUp, errDown)
	case s.peer.refuse:
		s.peer.refuse = false
		if s.flaw != retries {
			return sinks.AllFailed(len(msgs), false, errDown)
		}
	}
	var e sinks.PublishError
	for i := range msgs {
		if len(msgs[i].Value) > memoryLimit && s.flaw != acceptsAnything {
			if s.flaw == takesAllDown {
				return sinks.AllFailed(len(msgs), true, errLarge)
			}
			e.Failures = append(e.Failures, sinks.Failure{Index: i, Err: errLarge, Permanent: true})
			continue
		}
		s.take(&msgs[i])
	}
	if s.flaw == leaks {
		go func() { <-time.After(3 * time.Second) }()
	}
	if len(e.Failures) > 0 {
		return &e
	}
	return nil
}

func (s *memorySink) take(m *sinks.Message) {
	r := Received{Place: place(m.Labels), ID: m.ID, Value: bytes.Clone(m.Value), Headers: slices.Clone(m.Headers)}
	held := &s.peer.held
	third := m.ID[len(m.ID)-1] == '3'
	switch {
	case s.flaw == loses && third:
		return
	case s.flaw == doubles && third:
		*held = append(*held, r)
	case s.flaw == keepsBytes:
		r.Value = m.Value
	case s.flaw == changesBytes:
		m.Value[0] = ' '
	case s.flaw == misplaces:
		r.Place = "alerts"
	case s.flaw == losesHeaders:
		r.Headers = r.Headers[:1]
	case s.flaw == misnamesID:
		r.ID = "other"
	case s.flaw == reverses:
		*held = slices.Insert(*held, 0, r)
		return
	case s.flaw == buffers:
		s.kept = append(s.kept, r)
		return
	}
	*held = append(*held, r)
}

func (s *memorySink) Close(context.Context) error {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	s.peer.held = append(s.peer.held, s.kept...)
	s.kept = nil
	return nil
}
