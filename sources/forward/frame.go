package forward

import (
	"errors"
	"fmt"
)

// frame finds the end of one message of the stream, which arrives in pieces: a MessagePack array, a nil (the
// heartbeat of the specification), or JSON text when the first byte is { or [. The zero frame is ready.
type frame struct {
	kind frameKind
	// size is the length of the message in bytes, once it is complete.
	size int
	// elems are the positions of the elements of a MessagePack message, n of them.
	elems [maxElems]int
	n     int

	left int
	scan scanner
	json jsonFrame
}

type frameKind uint8

const (
	frameUnknown frameKind = iota
	// frameIdle is a heartbeat or white space between JSON messages.
	frameIdle
	frameMessagePack
	frameJSON
)

// maxElems is the most elements that a message can have: those of a PING.
const maxElems = 6

// advance goes on in b, which begins where the message begins and holds more bytes with every call. It returns true
// when the message is complete in b[:f.size], and an error when what comes can be no message.
func (f *frame) advance(b []byte) (bool, error) {
	if f.kind == frameUnknown {
		if ok, err := f.begin(b); !ok || err != nil {
			return false, err
		}
	}
	switch f.kind {
	case frameIdle:
		f.size = 1
		return true, nil
	case frameJSON:
		done, err := f.json.advance(b)
		f.size = f.json.pos
		return done, err
	}
	for {
		done, err := f.scan.advance(b, maxMessage)
		if err != nil || !done {
			return false, sized(err)
		}
		f.left--
		if f.left == 0 {
			f.size = int(f.scan.pos)
			return true, nil
		}
		f.elems[f.n] = int(f.scan.pos)
		f.n++
		f.scan.pending = 1
	}
}

// begin reads the header of the message. It returns false when b is too short for it.
func (f *frame) begin(b []byte) (bool, error) {
	if len(b) == 0 {
		return false, nil
	}
	switch b[0] {
	case 0xc0, ' ', '\t', '\r', '\n':
		f.kind = frameIdle
		return true, nil
	case '{', '[':
		f.kind = frameJSON
		return true, nil
	}
	h, ok := readHead(b)
	if !ok {
		return false, nil
	}
	if h.kind != kindArray {
		return false, errNoMessage(b, h)
	}
	if h.n < 2 || h.n > maxElems {
		return false, fmt.Errorf("expected a forward message (an array of 2 to 4 elements), got an array of %d elements", h.n)
	}
	f.kind = frameMessagePack
	f.left = int(h.n)
	f.elems[0] = h.size
	f.n = 1
	f.scan = scanner{pos: uint64(h.size), pending: 1}
	return true, nil
}

// errNoMessage says what a first byte that begins no message probably is.
func errNoMessage(b []byte, h head) error {
	hint := "is the sender's output plugin forward?"
	switch {
	case b[0] == 0x16:
		hint = "this looks like a TLS handshake: set tls here, or turn it off at the sender"
	case b[0] >= 'A' && b[0] <= 'Z':
		hint = "this looks like HTTP: the sender's output plugin must be forward"
	}
	return fmt.Errorf("expected a forward message (an array), got %s (first byte 0x%02x): %s", h.kind, b[0], hint)
}

// sized says what the limit was where a message is too large.
func sized(err error) error {
	if errors.Is(err, errTooLarge) {
		return fmt.Errorf("expected a message of at most %d bytes, got a larger one: make the sender's chunks smaller (fluentd: chunk_limit_size)", maxMessage)
	}
	return err
}

// jsonFrame finds the end of a JSON array or object in bytes that arrive in pieces. It balances brackets outside of
// strings and looks at nothing else.
type jsonFrame struct {
	pos     int
	depth   int
	quoted  bool
	escaped bool
}

func (f *jsonFrame) advance(b []byte) (bool, error) {
	for ; f.pos < len(b); f.pos++ {
		c := b[f.pos]
		switch {
		case f.escaped:
			f.escaped = false
		case f.quoted:
			f.escaped = c == '\\'
			f.quoted = c != '"'
		case c == '"':
			f.quoted = true
		case c == '{' || c == '[':
			f.depth++
		case c == '}' || c == ']':
			if f.depth--; f.depth == 0 {
				f.pos++
				return true, nil
			}
		}
		if f.pos >= maxMessage {
			return false, sized(errTooLarge)
		}
	}
	return false, nil
}
