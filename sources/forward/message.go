package forward

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// message is one message of the forward protocol, version 1
// (https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1). Its bytes are those it was read from.
//
// The second element tells the carrier: an array is Forward mode, a str or bin one of the PackedForward modes,
// anything else Message mode. Headers need not be minimal: Fluent Bit writes two elements as array32.
type message struct {
	tag     []byte
	carrier carrier
	// entries are the entries of Forward mode without the header of their array, or the stream of PackedForward mode,
	// possibly compressed.
	entries []byte
	// time and record are those of Message mode.
	time   time.Time
	record []byte
	option option
}

type carrier uint8

const (
	carriesEntries carrier = iota
	carriesStream
	carriesRecord
)

// option is what the last element of a message says. All of it is optional.
type option struct {
	// chunk is the whole value of "chunk", header included: the answer echoes it byte for byte.
	chunk []byte
	// compressed is "", "text" (fluentd's word for plain), "gzip" or "zstd".
	compressed []byte
	// signal is Fluent Bit's kind of telemetry: 0 logs, 1 metrics, 2 traces.
	signal uint64
	// cluster is no part of the protocol: a sender may name its cluster (Fluent Bit: add_option cluster prod-1).
	cluster []byte
}

// signalLogs is the value of fluent_signal for logs.
const signalLogs = 0

// parseMessage reads the message b that f has framed. An error means that the sender does not speak the protocol.
func parseMessage(b []byte, f *frame) (message, error) {
	if f.n > 4 {
		return message{}, errors.New("expected a forward message, got a handshake's PING: the sender has a shared key and this source has none (set shared_key)")
	}
	var m message
	tag, _, ok := readBytes(b[f.elems[0]:])
	if !ok {
		h, _ := readHead(b[f.elems[0]:])
		return message{}, fmt.Errorf("expected the tag as the first element of a message, got %s", h.kind)
	}
	if err := checkTag(tag); err != nil {
		return message{}, err
	}
	m.tag = tag

	second := b[f.elems[1]:f.end(1)]
	h, _ := readHead(second)
	last := 2
	switch {
	case h.kind == kindArray && f.n < 4:
		m.carrier, m.entries = carriesEntries, second[h.size:]
	case h.kind == kindStr || h.kind == kindBin:
		m.carrier, m.entries = carriesStream, second[h.size:]
	default:
		if f.n < 3 {
			return message{}, fmt.Errorf("expected entries as the second element of a message of two, got %s", h.kind)
		}
		m.carrier, m.record = carriesRecord, b[f.elems[2]:f.end(2)]
		m.time, _ = entryTime(second)
		last = 3
	}
	if f.n > last {
		if err := m.option.read(b[f.elems[last]:f.end(last)]); err != nil {
			return message{}, err
		}
	}
	return m, nil
}

// end is where element i of the message ends.
func (f *frame) end(i int) int {
	if i+1 < f.n {
		return f.elems[i+1]
	}
	return f.size
}

func checkTag(tag []byte) error {
	if len(tag) > maxTag {
		return fmt.Errorf("expected a tag of at most %d bytes, got %d: %.60q…", maxTag, len(tag), tag)
	}
	return nil
}

// checkChunk looks at the whole value of an id: nil, which stands for none, or a text that a sender can find again.
func checkChunk(value []byte) error {
	h, _ := readHead(value)
	switch {
	case h.kind != kindNil && h.kind != kindStr && h.kind != kindBin:
		return fmt.Errorf("expected a str or bin as the chunk id, got %s", h.kind)
	case len(value) > maxChunk:
		return fmt.Errorf("expected a chunk id of at most %d bytes, got %d", maxChunk, len(value))
	}
	return nil
}

// read reads the option map, all of whose bytes are there. nil stands for none.
func (o *option) read(b []byte) error {
	h, _ := readHead(b)
	if h.kind == kindNil {
		return nil
	}
	if h.kind != kindMap {
		return fmt.Errorf("expected a map as the option of a message, got %s", h.kind)
	}
	pos := h.size
	for range h.n {
		key, n, isText := readBytes(b[pos:])
		if !isText {
			n, _ = skip(b[pos:])
		}
		pos += n
		size, err := skip(b[pos:])
		if err != nil {
			return err
		}
		value := b[pos : pos+size]
		pos += size
		switch string(key) {
		case "chunk":
			if err := checkChunk(value); err != nil {
				return err
			}
			if o.chunk == nil && value[0] != 0xc0 {
				o.chunk = value
			}
		case "compressed":
			o.compressed, _, _ = readBytes(value)
		case "fluent_signal":
			if v, _ := readHead(value); v.kind == kindUint {
				o.signal = v.n
			}
		case "cluster":
			if o.cluster, _, _ = readBytes(value); len(o.cluster) > maxCluster {
				o.cluster = nil
			}
		}
	}
	return nil
}

// entryTime reads the time of an entry and the length of its value: a time, or Fluent Bit's pair of a time and
// metadata. It is zero for what is neither.
func entryTime(b []byte) (time.Time, int) {
	h, ok := readHead(b)
	if !ok {
		return time.Time{}, 0
	}
	if h.kind == kindArray {
		size, err := skip(b)
		if err != nil || h.n == 0 {
			return time.Time{}, size
		}
		inner := b[h.size:size]
		if h, ok = readHead(inner); !ok || h.kind == kindArray || h.payload() > uint64(len(inner)-h.size) {
			return time.Time{}, size
		}
		return timeOf(h, inner[h.size:h.size+int(h.payload())]), size
	}
	if h.children() > 0 || h.kind == kindInvalid || h.payload() > uint64(len(b)-h.size) {
		size, _ := skip(b)
		return time.Time{}, size
	}
	size := h.size + int(h.payload())
	return timeOf(h, b[h.size:size]), size
}

// logText returns the text of a record that is an unparsed log line holding a JSON object and nothing else of interest
// beside it, and the length of the whole record: {"log": "{…}"} as in_tail without a parser sends it, with docker's or
// CRI's stream, time and _p around it or not. Such a text goes on as it is. A record with more in it, such as
// Fluent Bit's kubernetes, is not one of these: it keeps its form, so that nothing of it is lost.
func logText(b []byte) (text []byte, n int, ok bool) {
	h, ok := readHead(b)
	if !ok || h.kind != kindMap || h.n == 0 || h.n > 5 {
		return nil, 0, false
	}
	pos, found := h.size, false
	for range h.n {
		key, n, ok := readBytes(b[pos:])
		if !ok {
			return nil, 0, false
		}
		pos += n
		value, n, ok := readBytes(b[pos:])
		if !ok {
			return nil, 0, false
		}
		pos += n
		switch string(key) {
		case "log":
			if !found {
				text, found = trimSpace(value), true
			}
		case "stream", "time", "_p", "logtag":
		default:
			return nil, 0, false
		}
	}
	if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' {
		return nil, 0, false
	}
	return text, pos, true
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// jsonMessage is a message in JSON text, as fluentd accepts it on the same port: ["tag", time, {record}],
// ["tag", [[time, {record}], …]], each with an option, or a bare record.
type jsonMessage struct {
	tag     string
	time    time.Time
	entries []json.RawMessage
	single  bool
	chunk   string
	cluster string
}

// parseJSONMessage reads the JSON text b. What is no such message is an error.
func parseJSONMessage(b []byte) (jsonMessage, error) {
	if b[0] == '{' {
		return jsonMessage{single: true, entries: []json.RawMessage{b}}, nil
	}
	var elems []json.RawMessage
	if err := json.Unmarshal(b, &elems); err != nil {
		return jsonMessage{}, err
	}
	if len(elems) < 2 || len(elems) > 4 {
		return jsonMessage{}, fmt.Errorf("expected 2 to 4 elements, got %d", len(elems))
	}
	var m jsonMessage
	if err := json.Unmarshal(elems[0], &m.tag); err != nil {
		return jsonMessage{}, err
	}
	last := 2
	if elems[1][0] == '[' && len(elems) < 4 {
		if err := json.Unmarshal(elems[1], &m.entries); err != nil {
			return jsonMessage{}, err
		}
	} else if len(elems) > 2 {
		m.time = jsonTime(elems[1])
		m.entries, m.single, last = elems[2:3], true, 3
	} else {
		return jsonMessage{}, fmt.Errorf("expected a record or entries after the tag, got %.40s", elems[1])
	}
	if len(elems) > last {
		var o struct {
			Chunk   string `json:"chunk"`
			Cluster string `json:"cluster"`
		}
		if err := json.Unmarshal(elems[last], &o); err != nil {
			return jsonMessage{}, err
		}
		m.chunk, m.cluster = o.Chunk, o.Cluster
	}
	if len(m.cluster) > maxCluster {
		m.cluster = ""
	}
	return m, nil
}

// entry reads one entry of a list: [time, record]. What is no such pair is its own record.
func (m *jsonMessage) entry(raw json.RawMessage) (time.Time, []byte) {
	var pair []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &pair) != nil || len(pair) != 2 {
		return time.Time{}, raw
	}
	return jsonTime(pair[0]), pair[1]
}

func jsonTime(raw json.RawMessage) time.Time {
	var f float64
	if json.Unmarshal(raw, &f) != nil {
		return time.Time{}
	}
	return floatTime(f)
}
