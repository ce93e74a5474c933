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

	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/sinks"
)

// Spoiled overwrites the bytes of a message once Publish has returned. It occurs in no JSON text.
const Spoiled = 0xDB

// bench is where one check works: a peer, a sink, and what was published.
type bench struct {
	h    Harness
	t    testing.TB
	peer Peer
	gone []goleak.Option

	mu     sync.Mutex
	next   int
	faults []error
}

func newBench(t testing.TB, h Harness) *bench {
	b := &bench{h: h, t: t, peer: h.Open(t)}
	b.gone = append(slices.Clone(h.Leaks), goleak.IgnoreCurrent())
	return b
}

func (b *bench) check(c check) error {
	err := c.run(b)
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(append(b.faults, err)...)
}

func (b *bench) fault(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.faults) < 10 { // the eleventh tells nothing new
		b.faults = append(b.faults, fmt.Errorf(format, args...))
	}
}

// messages makes n new ones of about size bytes. Each has an id and a value of its own.
func (b *bench) messages(n, size int) []sinks.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	msgs := make([]sinks.Message, n)
	severities := []string{"critical", "high", "medium", "low", "informational"}
	for i := range msgs {
		id := fmt.Sprintf("id-%06d", b.next)
		pad := bytes.Repeat([]byte{'x'}, size-(b.next*7)%(size/2+1))
		msgs[i] = sinks.Message{
			ID: id,
			Labels: sinks.Labels{
				Cluster: "prod", Namespace: "team-a", Kind: "Pod", Name: "web", Severity: severities[b.next%len(severities)], Outcome: "created", Rule: "r1",
			},
			Value:   fmt.Appendf(nil, `{"id":%q,"pad":"%s"}`, id, pad),
			Headers: []sinks.Header{{Key: "content-type", Value: "application/json"}, {Key: "ce-id", Value: id}},
		}
		b.next++
	}
	return msgs
}

// publish lends copies of msgs to the sink, overwrites them when Publish has returned, and checks the form of what it
// reported. The failures are returned, and whether there was any error at all.
func (b *bench) publish(ctx context.Context, s sinks.Sink, msgs []sinks.Message) ([]sinks.Failure, error) {
	lent := make([]sinks.Message, len(msgs))
	for i, m := range msgs {
		m.Value, m.Headers = bytes.Clone(m.Value), slices.Clone(m.Headers)
		lent[i] = m
	}
	err := s.Publish(ctx, lent)
	for i := range lent {
		if !bytes.Equal(lent[i].Value, msgs[i].Value) || !slices.Equal(lent[i].Headers, msgs[i].Headers) {
			b.fault("Publish changed message %d, which is lent to it", i)
		}
		for j := range lent[i].Value {
			lent[i].Value[j] = Spoiled
		}
		clear(lent[i].Headers)
		lent[i] = sinks.Message{}
	}
	if err == nil {
		return nil, nil
	}
	var failed *sinks.PublishError
	if !errors.As(err, &failed) {
		b.fault("Publish returned %T (%v), want a *sinks.PublishError", err, err)
		return sinks.AllFailed(len(msgs), false, err).Failures, err
	}
	last := -1
	for _, f := range failed.Failures {
		switch {
		case f.Index <= last || f.Index >= len(msgs):
			b.fault("Publish of %d messages reported failures out of order or out of range: %d after %d", len(msgs), f.Index, last)
		case f.Err == nil:
			b.fault("the failure of message %d has no error", f.Index)
		}
		last = f.Index
	}
	if len(failed.Failures) == 0 {
		b.fault("Publish returned a PublishError without a failure")
	}
	return failed.Failures, err
}

// durable checks that the peer holds all of msgs unchanged, at their places, and each exactly once where once is asked
// for. order asks for their order within each place as well.
func (b *bench) durable(msgs []sinks.Message, want expectation) error {
	got := b.peer.Read(b.t, len(msgs))
	byID := make(map[string]*sinks.Message, len(msgs))
	for i := range msgs {
		byID[string(msgs[i].Value)] = &msgs[i]
	}
	count := make(map[string]int, len(msgs))
	last := map[string]string{}
	for i := range got {
		r := &got[i]
		m := byID[string(r.Value)]
		if m == nil {
			return fmt.Errorf("the peer holds something that was not to be there: %.80q", r.Value)
		}
		count[m.ID]++
		if r.ID != "" && r.ID != m.ID {
			return fmt.Errorf("message %s arrived under the id %s", m.ID, r.ID)
		}
		if b.peer.Place != nil && r.Place != b.peer.Place(m.Labels) {
			return fmt.Errorf("message %s with %+v arrived at %q, want %q", m.ID, m.Labels, r.Place, b.peer.Place(m.Labels))
		}
		if r.Headers != nil {
			for _, hd := range m.Headers {
				if !slices.Contains(r.Headers, hd) {
					return fmt.Errorf("message %s lost its header %+v: it arrived with %+v", m.ID, hd, r.Headers)
				}
			}
		}
		if want == onceInOrder && m.ID <= last[r.Place] {
			return fmt.Errorf("%q: message %s arrived after %s", r.Place, m.ID, last[r.Place])
		}
		last[r.Place] = m.ID
	}
	for i := range msgs {
		switch c := count[msgs[i].ID]; {
		case c == 0:
			return fmt.Errorf("message %s of %d was reported durable, but the peer does not hold it (it holds %d)", msgs[i].ID, len(msgs), len(got))
		case c > 1 && want != atLeastOnce:
			return fmt.Errorf("message %s was published once without failure, and arrived %d times", msgs[i].ID, c)
		}
	}
	return nil
}

// expectation says how exactly the peer must hold what was published.
type expectation int

const (
	onceInOrder expectation = iota
	onceEach
	atLeastOnce
)

// close closes the sink in good time.
func (b *bench) close(s sinks.Sink) error {
	ctx, cancel := context.WithTimeout(context.Background(), b.h.Patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		return fmt.Errorf("Close: %w", err)
	}
	return nil
}

// insist publishes as the processor does: what failed for a passing reason is tried again until Patience is over.
func (b *bench) insist(s sinks.Sink, msgs []sinks.Message) error {
	deadline := time.Now().Add(b.h.Patience)
	for {
		ctx, cancel := context.WithTimeout(b.t.Context(), b.h.Patience)
		failures, err := b.publish(ctx, s, msgs)
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("publishing does not succeed within %v: %w", b.h.Patience, err)
		}
		again := make([]sinks.Message, 0, len(failures))
		for _, f := range failures {
			if f.Permanent {
				return fmt.Errorf("message %d failed for good: %w", f.Index, f.Err)
			}
			again = append(again, msgs[f.Index])
		}
		msgs = again
		select {
		case <-time.After(20 * time.Millisecond):
		case <-b.t.Context().Done():
		}
	}
}

// allRetryable checks that every one of n messages is reported as worth another try.
func allRetryable(n int, failures []sinks.Failure) error {
	if len(failures) != n {
		return fmt.Errorf("%d of %d messages were reported as failed, want all", len(failures), n)
	}
	for _, f := range failures {
		if f.Permanent {
			return fmt.Errorf("message %d is reported as failed for good, though its reason passes: %w", f.Index, f.Err)
		}
	}
	return nil
}
