package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/sinks"
)

// stallWait is how long the client may hold a message back because too many are unanswered. [Sink.slots] keeps it from
// coming to that, but for those whose call has ended before their answer came.
const stallWait = time.Second

// Publish implements [sinks.Sink].
func (s *Sink) Publish(ctx context.Context, msgs []sinks.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	conn, err := s.connection(ctx)
	if err != nil {
		return sinks.AllFailed(len(msgs), false, fmt.Errorf("sink %q (nats): %w", s.settings.Name, err))
	}
	var failed []sinks.Failure
	if s.config.Mode == Core {
		failed = s.publishCore(ctx, conn, msgs)
	} else {
		failed = s.publishStream(ctx, conn, msgs)
	}
	if len(failed) == 0 {
		return nil
	}
	return &sinks.PublishError{Failures: failed}
}

// message makes what is sent. Its payload is that of m: the client copies it before it returns.
func (s *Sink) message(m *sinks.Message) *nats.Msg {
	h := make(nats.Header, len(m.Headers)+2)
	for i := range m.Headers {
		h[m.Headers[i].Key] = append(h[m.Headers[i].Key], m.Headers[i].Value)
	}
	if m.ID != "" && s.config.Mode == JetStream {
		h[jetstream.MsgIDHeader] = []string{m.ID}
	}
	if s.config.Stream != "" {
		h[jetstream.ExpectedStreamHeader] = []string{s.config.Stream}
	}
	return &nats.Msg{
		Subject: string(s.subject.Append(nil, &m.Labels, cleanToken)),
		Header:  h,
		Data:    m.Value,
	}
}

// waiting is a message whose stream has not answered yet.
type waiting struct {
	index   int
	subject string
	future  jetstream.PubAckFuture
}

// publishStream sends all and collects the answers. It holds at most its share of slots and gives each back before it
// waits for another, so that calls cannot wait for each other.
func (s *Sink) publishStream(ctx context.Context, conn *natsconn.Conn, msgs []sinks.Message) (failed []sinks.Failure) {
	fates := make([]error, len(msgs))
	open := make([]waiting, 0, min(len(msgs), cap(s.slots)))
	first := 0 // open[first:] are unanswered
	collect := func() {
		w := &open[first]
		fates[w.index] = s.answer(ctx, w)
		<-s.slots
		first++
	}
	for i := range msgs {
		took := s.acquire(ctx, first < len(open))
		for !took && first < len(open) {
			collect()
			took = s.acquire(ctx, first < len(open))
		}
		if !took {
			fates[i] = context.Cause(ctx)
			continue
		}
		m := s.message(&msgs[i])
		// No repeats by the client: it would send bytes that are lent to us after this call has ended.
		future, err := conn.JetStream.PublishMsgAsync(m, jetstream.WithRetryAttempts(0), jetstream.WithStallWait(stallWait))
		if err != nil {
			<-s.slots
			fates[i] = fmt.Errorf("to %q: %w", m.Subject, err)
			continue
		}
		open = append(open, waiting{index: i, subject: m.Subject, future: future})
	}
	for first < len(open) {
		collect()
	}
	for i, err := range fates {
		if err != nil {
			failed = append(failed, s.failure(conn, i, err))
		}
	}
	return failed
}

// acquire takes a slot. With messages of its own unanswered a call does not wait for one: it returns false, and one of
// these must be collected first. Once ctx has ended there are none.
func (s *Sink) acquire(ctx context.Context, own bool) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case s.slots <- struct{}{}:
		return true
	default:
	}
	if own {
		return false
	}
	select {
	case s.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// answer waits for that of the stream, at most [Settings.Answer]. One that has come counts, even if ctx has ended.
func (s *Sink) answer(ctx context.Context, w *waiting) error {
	ok, failed := w.future.Ok(), w.future.Err()
	var err error
	select {
	case <-ok:
		return nil
	case err = <-failed:
	case <-ctx.Done():
		select {
		case <-ok:
			return nil
		case err = <-failed:
		default:
			err = context.Cause(ctx)
		}
	}
	return fmt.Errorf("to %q: %w", w.subject, err)
}

// publishCore sends all and waits until the server has read them.
func (s *Sink) publishCore(ctx context.Context, conn *natsconn.Conn, msgs []sinks.Message) (failed []sinks.Failure) {
	life := conn.NATS.Stats().Reconnects
	var sent []int
	for i := range msgs {
		if ctx.Err() != nil {
			failed = append(failed, s.failure(conn, i, context.Cause(ctx)))
			continue
		}
		m := s.message(&msgs[i])
		if err := conn.NATS.PublishMsg(m); err != nil {
			failed = append(failed, s.failure(conn, i, fmt.Errorf("to %q: %w", m.Subject, err)))
			continue
		}
		sent = append(sent, i)
	}
	if len(sent) == 0 {
		return failed
	}
	flush, cancel := context.WithTimeout(ctx, s.settings.Answer)
	defer cancel()
	err := conn.Flush(flush)
	if err == nil && conn.NATS.Stats().Reconnects != life {
		// The server that confirmed may not be the one that was sent to.
		err = nats.ErrDisconnected
	}
	if err == nil {
		return failed
	}
	all := make([]sinks.Failure, 0, len(msgs))
	for i, next := range sent {
		for len(failed) > 0 && failed[0].Index < next {
			all, failed = append(all, failed[0]), failed[1:]
		}
		all = append(all, s.failure(conn, sent[i], fmt.Errorf("the server did not confirm: %w", err)))
	}
	return append(all, failed...)
}

// failure decides what an error means for its message.
func (s *Sink) failure(conn *natsconn.Conn, index int, err error) sinks.Failure {
	permanent := permanent(err)
	var tooLarge string
	if errors.Is(err, nats.ErrMaxPayload) {
		tooLarge = fmt.Sprintf(" (the server's limit is %d bytes, headers included)", conn.NATS.MaxPayload())
	}
	return sinks.Failure{
		Index:     index,
		Permanent: permanent,
		Err:       fmt.Errorf("sink %q (nats): %w%s", s.settings.Name, explain(conn, err), tooLarge),
	}
}

// Codes of the JetStream API that the client library has no names for (errors.json of nats-server).
const (
	codeInsufficientResources jetstream.ErrorCode = 10023
	codeMemoryExceeded        jetstream.ErrorCode = 10028
	codeStorageExceeded       jetstream.ErrorCode = 10047
	codeOtherStream           jetstream.ErrorCode = 10060
	codeStoreFailed           jetstream.ErrorCode = 10077
	codeHeaderTooLarge        jetstream.ErrorCode = 10097
	codeSealed                jetstream.ErrorCode = 10109
)

// permanent is the one place where is decided whether a message can never be published. It is only if the fault lies in
// the message: it then goes to the dead letter. What is wrong with the server, the stream or the configuration (storage
// full, no stream for the subject, another stream than expected, no permission) can be put right without losing anything
// while messages wait.
func permanent(err error) bool {
	switch {
	case errors.Is(err, nats.ErrMaxPayload), // larger than the server takes, or than the stream does:
		errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		return true
	case errors.Is(err, nats.ErrBadSubject): // cannot happen with cleaned labels
		return true
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode == codeHeaderTooLarge
	}
	return false
}

// explain adds what a person can do.
func explain(conn *natsconn.Conn, err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeStoreFailed:
			return &natsconn.Advised{Err: err, Advice: "the stream is full and discards new messages: raise its limits, or let it discard old ones"}
		case codeStorageExceeded, codeMemoryExceeded, codeInsufficientResources:
			return &natsconn.Advised{Err: err, Advice: "JetStream has no room left: give the server or the account more storage, or remove what is not needed"}
		case codeOtherStream:
			return &natsconn.Advised{Err: err, Advice: "another stream than the configured one takes this subject: check stream and subject"}
		case codeSealed:
			return &natsconn.Advised{Err: err, Advice: "the stream is sealed and takes nothing any more: use another"}
		case jetstream.JSErrCodeStreamMessageExceedsMaximum:
			return &natsconn.Advised{Err: err, Advice: "the message is larger than the stream's max_msg_size"}
		}
	}
	return conn.Explain(err)
}
