package nats

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// A consumer is asked for messages by requests of our own (NATS ADR-13) on one subscription for the whole run. The
// client library has two ways to do it for us, and neither keeps what we promise: its continuous consumption holds
// messages in a queue where nobody keeps them alive while the handler is slow, and its single fetch abandons what is on
// the wire when it is cancelled, so that it comes again only after AckWait.

const (
	// pullExpires is how long one request waits for messages.
	pullExpires = 20 * time.Second
	// pullHeartbeat is how often the server says that it still knows of the request; twice and a bit without a sign, and
	// it is taken for lost.
	pullHeartbeat = 2 * time.Second
	// pullRetry is the pause after a request that the server could not serve.
	pullRetry = 250 * time.Millisecond
)

// pull is the request that is out, or the last one.
type pull struct {
	active bool
	id     uint64
	// left is how many messages it may still bring, got how many it brought.
	left, got int
	// seen is when the server last gave a sign of it; silence is how long it may give none.
	seen    time.Time
	silence time.Duration
	// life is the connection, counted by reconnects, that it went over.
	life uint64
	// notBefore is when the next one may go out.
	notBefore time.Time
	// tooBig: the next message is larger than what was asked for. It is fetched alone, once nothing else is held.
	tooBig bool
}

// request is what may be asked for now; ok is false if that is too little to be worth it, or nothing.
func (p *pull) request(c *consumer, d *desk) (body []byte, ok bool) {
	messages, bytes := d.settings.Messages-d.messages, d.settings.Bytes-d.bytes
	// Many small requests cost the server more than they bring, so one waits until a quarter is free.
	if d.messages > 0 && (messages < (d.settings.Messages+3)/4 || bytes < (d.settings.Bytes+3)/4 || p.tooBig) {
		return nil, false
	}
	if c.maxBatch > 0 {
		messages = min(messages, c.maxBatch)
	}
	if c.maxBytes > 0 {
		bytes = min(bytes, c.maxBytes)
	}
	expires, heartbeat := pullExpires, pullHeartbeat
	if c.maxExpires > 0 && c.maxExpires < expires {
		// The server compares with its own clock after the request has arrived.
		expires = c.maxExpires
		heartbeat = min(heartbeat, expires/4)
	}
	p.silence = 2*heartbeat + heartbeat/2
	body = make([]byte, 0, 96)
	if p.tooBig {
		messages = 1
		body = append(body, `{"batch":1`...)
	} else {
		body = append(body, `{"batch":`...)
		body = strconv.AppendInt(body, int64(messages), 10)
		body = append(body, `,"max_bytes":`...)
		body = strconv.AppendInt(body, int64(bytes), 10)
	}
	body = append(body, `,"expires":`...)
	body = strconv.AppendInt(body, int64(expires), 10)
	body = append(body, `,"idle_heartbeat":`...)
	body = strconv.AppendInt(body, int64(heartbeat), 10)
	body = append(body, '}')
	p.left, p.got = messages, 0
	return body, true
}

// received notes a message.
func (p *pull) received(now time.Time) {
	p.seen = now
	p.got++
	p.tooBig = false
	if p.left--; p.left <= 0 {
		p.active = false
	}
}

// lost reports that the server gave no sign for too long.
func (p *pull) lost(now time.Time) bool { return p.active && now.Sub(p.seen) > p.silence }

// end lets the next request go out, after a pause if there is one.
func (p *pull) end(now time.Time, pause time.Duration) {
	p.active = false
	p.notBefore = now.Add(pause)
}

// verdict is what follows from a status message.
type verdict int

const (
	// carryOn: nothing does.
	carryOn verdict = iota
	// lookAgain: the consumer may be gone.
	lookAgain
	// giveUp: the consumer is gone or cannot be used.
	giveUp
)

// status reads a message that is no record. The answers to a request that is no longer ours change nothing.
func (p *pull) status(m *nats.Msg, now time.Time) (verdict, error) {
	id := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	if !p.active || id != strconv.FormatUint(p.id, 10) {
		return carryOn, nil
	}
	p.seen = now
	code, text := m.Header.Get("Status"), m.Header.Get("Description")
	is := func(s string) bool { return strings.Contains(strings.ToLower(text), s) }
	switch code {
	case "100": // a heartbeat
		return carryOn, nil
	case "404", "408": // nothing more came in time
		p.end(now, 0)
		return carryOn, nil
	case "409":
		switch {
		case is("consumer deleted"):
			return giveUp, nil
		case is("push based"):
			return giveUp, fmt.Errorf("the server says %q", text)
		case is("maxbytes"), is("batch completed"):
			// The last message did not fit any more; if none did, the next one never will.
			p.tooBig = p.got == 0
			p.end(now, 0)
			return carryOn, nil
		}
		// A leader that moved, a server that ends, a limit: what passes by itself.
		p.end(now, pullRetry)
		return carryOn, nil
	case "503": // nobody serves the consumer: it has no leader for now, or is gone
		p.end(now, pullRetry)
		return lookAgain, nil
	case "400", "412", "423":
		return giveUp, fmt.Errorf("the server refuses to deliver: %s %s", code, text)
	}
	p.end(now, pullRetry)
	return carryOn, nil
}
