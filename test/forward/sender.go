package forward

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Sender sends the chunks of a log, round after round, as Fluent Bit does with Require_ack_response and
// Retry_Limit no_limits: a chunk that is not answered goes again over a new connection, under the same id.
type Sender struct {
	Address string
	// Chunks make up a round.
	Chunks []Chunk
	// Quiet, where not nil, take the place of Chunks in all but one of every Every rounds (0: in all but the first).
	Quiet []Chunk
	Every int
	Mode  Mode
	// Ack asks for answers.
	Ack bool
	// Connections is how many chunks are on their way at once, each over a connection of its own.
	Connections int
	// AnswerTime is how long an answer may take (Fluent Bit: net.io_timeout), RetryTime how long it takes until a chunk
	// is sent again. Default: ten minutes, and 100 ms.
	AnswerTime, RetryTime time.Duration

	// What became of it so far.
	Records, Text, Sent, Answered, Resent, Dials atomic.Int64
}

// delivery is a chunk as of a round.
type delivery struct {
	chunk *Chunk
	round uint32
	n     int
}

// Run sends rounds, each with audit ids of its own, and returns when all of it is answered or, without answers, when the
// receiver has closed every connection after its end. Without answers nothing is sent twice: an error ends it.
func (s *Sender) Run(ctx context.Context, rounds int) error {
	if s.AnswerTime == 0 {
		s.AnswerTime = 10 * time.Minute
	}
	if s.RetryTime == 0 {
		s.RetryTime = 100 * time.Millisecond
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := make(chan delivery)
	errs := make([]error, s.Connections)
	var all sync.WaitGroup
	for i := range s.Connections {
		all.Go(func() {
			l := link{sender: s}
			defer l.close()
			for d := range work {
				if errs[i] = l.deliver(ctx, d); errs[i] != nil {
					cancel()
					return
				}
			}
			errs[i] = l.end()
		})
	}
	s.hand(ctx, rounds, work)
	close(work)
	all.Wait()
	return errors.Join(errs...)
}

// hand hands out all there is to send.
func (s *Sender) hand(ctx context.Context, rounds int, work chan<- delivery) {
	n := 0
	for round := range rounds {
		chunks := s.Chunks
		if s.Quiet != nil && round > 0 && (s.Every == 0 || round%s.Every != 0) {
			chunks = s.Quiet
		}
		for i := range chunks {
			select {
			case work <- delivery{&chunks[i], uint32(round), n}:
			case <-ctx.Done():
				return
			}
			n++
		}
	}
}

// link is one connection after the other.
type link struct {
	sender  *Sender
	conn    net.Conn
	message []byte
}

func (l *link) close() {
	if l.conn != nil {
		_ = l.conn.Close() // whatever happened to it was told
		l.conn = nil
	}
}

// deliver sends a chunk until it is answered.
func (l *link) deliver(ctx context.Context, d delivery) error {
	id := ""
	if l.sender.Ack {
		// Base64 of 16 bytes, as since Fluent Bit 5.0.9.
		id = base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(make([]byte, 8), uint64(d.n)))
	}
	var err error
	if l.message, err = d.chunk.Message(l.message[:0], l.sender.Mode, d.round, id); err != nil {
		return err
	}
	for {
		err := l.try(ctx, id)
		if err == nil {
			break
		}
		l.close()
		if !l.sender.Ack {
			return err
		}
		l.sender.Resent.Add(1)
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(l.sender.RetryTime):
		}
	}
	l.sender.Records.Add(int64(d.chunk.Records))
	l.sender.Text.Add(int64(d.chunk.Text))
	return nil
}

func (l *link) try(ctx context.Context, id string) error {
	if l.conn == nil {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", l.sender.Address)
		if err != nil {
			return err
		}
		l.sender.Dials.Add(1)
		l.conn = c
	}
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	n, err := l.conn.Write(l.message)
	l.sender.Sent.Add(int64(n))
	if err != nil || id == "" {
		return err
	}
	if err := l.conn.SetReadDeadline(time.Now().Add(l.sender.AnswerTime)); err != nil {
		return err
	}
	want := appendText(appendText([]byte{0x81}, "ack"), id)
	// One read, as in Fluent Bit: an answer in two pieces is none.
	got := make([]byte, 512)
	n, err = l.conn.Read(got)
	if err != nil {
		return err
	}
	if !bytes.Equal(got[:n], want) {
		return fmt.Errorf("expected the answer %q, got %q", want, got[:n])
	}
	l.sender.Answered.Add(1)
	return nil
}

// end says that nothing more comes, and waits until the receiver has read all of it.
func (l *link) end() error {
	tcp, ok := l.conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	if err := tcp.CloseWrite(); err != nil {
		return err
	}
	if err := tcp.SetReadDeadline(time.Now().Add(l.sender.AnswerTime)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, tcp); err != nil {
		return fmt.Errorf("waiting for the receiver to close: %w", err)
	}
	return nil
}
