package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// conn is one connection of a sender. It works on what has arrived complete, answers it, and only then reads on: what
// we cannot handle fast enough waits at the sender.
type conn struct {
	src *Source
	net net.Conn
	// mu guards stopping, which keeps a later deadline from undoing that of the shutdown.
	mu       sync.Mutex
	stopping bool

	// in holds what was read and is not yet done with, from r on. It is nil while the connection is idle.
	in    *[]byte
	r     int
	held  claim
	frame frame
	group group
	// left is how long the sender may still take over the message that has begun.
	left time.Duration
	out  []byte
}

// errStopped ends a connection because the source ends.
var errStopped = errors.New("the source stops")

// errSilent is the end of a connection between two messages: nothing is wrong.
var errSilent = errors.New("the connection is at its end")

// serve speaks with the sender until the connection ends. It reads while ctx lasts; work is the context of the
// handler's calls. It returns nil when the sender went in peace.
func (c *conn) serve(ctx, work context.Context) error {
	defer c.net.Close()
	stop := context.AfterFunc(ctx, c.stopReading)
	defer stop()
	// An answer that nobody takes must not outlast the drain limit.
	cut := context.AfterFunc(work, func() { _ = c.net.Close() })
	defer cut()
	defer c.drop()
	defer c.group.discard(&c.held)
	c.group.src = c.src
	c.left = messageTime
	err := c.greet(ctx)
	for err == nil {
		if err = c.work(work); err == nil {
			err = c.read(ctx)
		}
	}
	if errors.Is(err, errSilent) || errors.Is(err, errStopped) {
		return nil
	}
	return err
}

// stopReading wakes a read that waits. What is being worked on goes on.
func (c *conn) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	_ = c.net.SetReadDeadline(time.Unix(1, 0))
}

// deadline sets when a read gives up. Its only error is errStopped.
func (c *conn) deadline(after time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return errStopped
	}
	// Where this fails the read after it fails too, and says why.
	_ = c.net.SetReadDeadline(time.Now().Add(after))
	return nil
}

// greet does the TLS handshake and that of the protocol, where they are configured.
func (c *conn) greet(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if t, ok := c.net.(*tls.Conn); ok {
		if err := t.HandshakeContext(limited); err != nil {
			if ctx.Err() != nil {
				return errStopped
			}
			if errors.Is(err, io.EOF) {
				return errSilent // a heartbeat, or a look at the port
			}
			return tlsFault(err)
		}
	}
	if c.src.config.SharedKey == "" {
		return nil
	}
	ask, err := newChallenge(c.src.random, c.src.config.Users)
	if err != nil {
		return err
	}
	if err := c.write(ask.appendHelo(c.out[:0])); err != nil {
		return err
	}
	if err := c.deadline(handshakeTime); err != nil {
		return err
	}
	// A PING is read into memory of its own: who has not proved that he knows the key gets none of the budget.
	buf := make([]byte, 0, 512)
	var f frame
	for {
		done, err := f.advance(buf)
		if err != nil {
			return err
		}
		if done && f.kind != frameIdle {
			break
		}
		if done {
			buf, f = buf[1:], frame{}
			continue
		}
		if len(buf) >= maxPing {
			return errNoPing
		}
		buf = append(buf, 0)[:len(buf)]
		n, err := c.net.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
				return fmt.Errorf("expected a PING within %s of HELO, got %d bytes of one: the sender needs the shared key", handshakeTime, len(buf))
			}
			return c.ended(err, len(buf))
		}
	}
	if f.size > maxPing {
		return errNoPing
	}
	p, err := parsePing(buf[:f.size], &f)
	if err != nil {
		return err
	}
	refused := ask.check(p, &c.src.config)
	if err := c.write(ask.appendPong(c.out[:0], p, c.src.hostname, c.src.config.SharedKey, refused)); err != nil {
		return err
	}
	if refused != nil {
		c.src.stats.refused.Add(1)
		return &refusal{refused, string(p.hostname), string(p.user)}
	}
	// A sender waits for PONG before it goes on, but need not.
	if rest := buf[f.size:]; len(rest) > 0 {
		return c.keep(ctx, rest)
	}
	return nil
}

// tlsFault says what a TLS handshake failed for.
func tlsFault(err error) error {
	var alert *net.OpError
	var plain tls.RecordHeaderError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no TLS handshake came within %s: does the sender speak TLS?", handshakeTime)
	case errors.As(err, &plain):
		return fmt.Errorf("expected a TLS handshake, got something else: turn TLS on at the sender: %w", err)
	case errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error"):
		// Who doesn't trust us says so, or hangs up with keys of his own ("bad record MAC").
		return fmt.Errorf("the TLS handshake failed, perhaps because the sender does not trust tls.cert (Fluent Bit: tls.ca_file): %w", err)
	}
	return fmt.Errorf("the TLS handshake failed: %w", err)
}

// work takes the complete messages that lie in the buffer, waits until they are handled and answers them.
func (c *conn) work(ctx context.Context) error {
	if c.in == nil {
		return nil
	}
	var fault error
	b := *c.in
	for c.r < len(b) && fault == nil {
		var done bool
		if !c.group.stream.active {
			if o, ok := readOpening(b[c.r:]); ok {
				if fault = checkTag(o.tag); fault != nil {
					break
				}
				c.group.stream.begin(o, c.src.answered.sample(o.tag))
				c.frame = frame{}
				c.r += o.size
			}
		}
		if c.group.stream.active {
			var n int
			n, done, fault = c.group.read(ctx, &c.held, b[c.r:])
			c.r += n
			if done {
				c.left = messageTime
				continue
			}
			break
		}
		if done, fault = c.frame.advance(b[c.r:]); !done {
			break
		}
		message := b[c.r : c.r+c.frame.size : c.r+c.frame.size]
		c.r += c.frame.size
		fault = c.group.take(ctx, &c.held, message, &c.frame)
		c.frame = frame{}
		c.left = messageTime
	}
	if err := c.group.finish(ctx, &c.held); err != nil {
		return fmt.Errorf("%w (%w)", errUnanswered, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w (%w)", errUnanswered, err)
	}
	if err := c.answer(); err != nil {
		return err
	}
	if fault != nil {
		return fault
	}
	switch rest := len(b) - c.r; {
	case rest == 0 && !c.group.stream.active:
		c.drop()
	case rest == 0:
		*c.in, c.r = b[:0], 0
	case rest <= smallestBuffer && (cap(b) > 2*smallestBuffer && c.src.budget.pressed() || c.src.budget.starves(&c.held)):
		// Others wait for memory, and this message has only begun. A sender that never pauses would keep them waiting.
		kept := append([]byte(nil), b[c.r:]...)
		c.drop()
		return c.keep(ctx, kept)
	}
	return nil
}

var errUnanswered = errors.New("what was sent could not be handled before the end; it is not answered, so the sender sends it again")

// answer sends what is owed, each answer in one write: Fluent Bit takes half an answer for none.
func (c *conn) answer() error {
	defer func() {
		clear(c.group.answers) // their chunk ids lie in the buffer
		c.group.answers = c.group.answers[:0]
	}()
	for _, a := range c.group.answers {
		if a.json {
			c.out = append(append(append(c.out[:0], `{"ack":`...), a.chunk...), '}')
		} else {
			c.out = appendAck(c.out[:0], a.chunk)
		}
		// It is handled, whether the sender learns of it or not.
		c.src.answered.add(a.key)
		if err := c.write(c.out); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) write(b []byte) error {
	if err := c.net.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	if _, err := c.net.Write(b); err != nil {
		return fmt.Errorf("the answer could not be sent: %w", err)
	}
	return nil
}

// read reads more bytes. Between two messages it needs no buffer: ten thousand idle connections cost little.
func (c *conn) read(ctx context.Context) error {
	if c.in == nil {
		var first [64]byte
		if err := c.deadline(idleTime); err != nil {
			return err
		}
		n, err := c.net.Read(first[:])
		if n == 0 && err != nil {
			return c.ended(err, 0)
		}
		c.left = messageTime
		return c.keep(ctx, first[:n])
	}
	if err := c.makeRoom(ctx); err != nil {
		return err
	}
	b := *c.in
	begun := time.Now()
	if err := c.deadline(min(stallTime, c.left)); err != nil {
		return err
	}
	n, err := c.net.Read(b[len(b):min(cap(b), len(b)+(256<<10))])
	*c.in = b[:len(b)+n]
	if c.left -= time.Since(begun); c.left <= 0 {
		return fmt.Errorf("expected a message within %s, got %d bytes of one", messageTime, c.inHand())
	}
	if n == 0 && err != nil {
		return c.ended(err, c.inHand())
	}
	return nil
}

// inHand is how many bytes of a message were read that is not complete.
func (c *conn) inHand() int {
	n := len(*c.in) - c.r
	if c.group.stream.active {
		n += c.group.stream.size
	}
	return n
}

// ended says what the end of reading means with n bytes of a message in hand.
func (c *conn) ended(err error, n int) error {
	c.mu.Lock()
	stopping := c.stopping
	c.mu.Unlock()
	silent := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case stopping:
		return errStopped
	case n == 0:
		return errSilent // closed, idle for long, or reset: nothing is lost
	case silent:
		return fmt.Errorf("the sender fell silent in the middle of a message, after %d bytes of it", n)
	}
	return fmt.Errorf("the connection ended in the middle of a message, after %d bytes of it: %w", n, err)
}

// keep puts b, the first bytes of a message, into a buffer.
func (c *conn) keep(ctx context.Context, b []byte) error {
	buf, err := c.src.takeBuffer(ctx, &c.held)
	if err != nil {
		return errStopped
	}
	*buf = append(*buf, b...) // a few bytes into at least smallestBuffer of them
	c.in, c.r = buf, 0
	return nil
}

// makeRoom makes room behind what is in the buffer. Nothing points into it any more.
func (c *conn) makeRoom(ctx context.Context) error {
	b := *c.in
	if len(b) < cap(b) && (c.r < cap(b)/2 || len(b)-c.r > smallestBuffer/4) {
		return nil
	}
	if c.r > 0 {
		n := copy(b, b[c.r:])
		*c.in, c.r = b[:n], 0
		return nil
	}
	grown, err := c.src.growBuffer(ctx, &c.held, c.in)
	if err != nil {
		c.in = nil // growBuffer has released it
		return errStopped
	}
	c.in = grown
	return nil
}

// drop gives the buffer back.
func (c *conn) drop() {
	if c.in != nil {
		c.src.giveBuffer(&c.held, c.in)
		c.in, c.r = nil, 0
	}
}
