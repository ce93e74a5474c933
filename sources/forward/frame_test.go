package forward

import (
	"bytes"
	"strings"
	"testing"
)

func TestFrameInPieces(t *testing.T) {
	for _, c := range []struct {
		name    string
		message []byte
		kind    frameKind
		n       int
	}{
		{"forward", array(str("t"), array(entry(logRecord("{}"))), chunkOption("c")), frameMessagePack, 3},
		{"packed in bin", array(str("t"), bin(entry(logRecord("{}")))), frameMessagePack, 2},
		{"packed in str", array(str("t"), str(string(entry(logRecord("{}")))), object()), frameMessagePack, 3},
		{"message", array(str("t"), integer(5), logRecord("{}"), object()), frameMessagePack, 4},
		{"ping", array(str("PING"), str("h"), str("s"), str("d"), str("u"), str("p")), frameMessagePack, 6},
		{"heartbeat", []byte{0xc0}, frameIdle, 0},
		{"line feed", []byte("\n"), frameIdle, 0},
		{"JSON array", []byte(`["t",[[1,{"a":"]}\"\\"}]]]`), frameJSON, 0},
		{"JSON object", []byte(`{"a":{"b":"\\\"}"}}`), frameJSON, 0},
	} {
		stream := append(bytes.Clone(c.message), "the next message"...)
		var f frame
		for have := range len(c.message) {
			if done, err := f.advance(stream[:have:have]); done || err != nil {
				t.Fatalf("%s: after %d of %d bytes: done %v, error %v", c.name, have, len(c.message), done, err)
			}
		}
		done, err := f.advance(stream)
		if !done || err != nil || f.size != len(c.message) || f.kind != c.kind || f.n != c.n {
			t.Errorf("%s: done %v, error %v, got %+v, want %d bytes and %d elements", c.name, done, err, f, len(c.message), c.n)
		}
		var whole frame
		if done, err := whole.advance(stream); !done || err != nil || whole.size != f.size || whole.elems != f.elems {
			t.Errorf("%s: at once: done %v, error %v, got %+v, want %+v", c.name, done, err, whole, f)
		}
	}
}

func TestFrameRefuses(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
	}{
		{"a declared length of 4 GB", "\x92\xa1t\xc6\xff\xff\xff\xff", "at most 67108864 bytes"},
		{"64 MiB and a byte", "\x92\xa1t\xc6\x04\x00\x00\x00", "at most"},
		{"4 G elements", "\x92\xa1t\xdd\xff\xff\xff\xff", "at most"},
		{"4 G pairs inside", "\x92\xa1t\x91\xdf\xff\xff\xff\xff", "at most"},
		{"counts that would overflow", "\x92\xa1t" + strings.Repeat("\xdf\xff\xff\xff\xff", 100), "at most"},
		{"a long outer array", "\xdd\xff\xff\xff\xff", "2 to 4 elements"},
		{"one element", "\x91\xa1t", "2 to 4 elements"},
		{"the unused byte", "\x92\xa1t\x91\xc1", "0xc1"},
		{"a map", "\x81\xa1a\x01", "expected a forward message"},
		{"TLS", "\x16\x03\x01", "set tls here"},
		{"HTTP", "POST / HTTP/1.1", "looks like HTTP"},
	} {
		var f frame
		done, err := f.advance([]byte(c.in))
		if done || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: done %v, error %v, want one that says %q", c.name, done, err, c.want)
		}
	}
}

// TestFrameDepth shows that nesting costs neither stack nor memory before the limit of the transcoder sees it.
func TestFrameDepth(t *testing.T) {
	stream := append([]byte{0x92, 0xa1, 't'}, bytes.Repeat([]byte{0x91}, 10_000_000)...)
	stream = append(stream, 0xc0)
	var f frame
	if done, err := f.advance(stream); !done || err != nil || f.size != len(stream) {
		t.Errorf("done %v, error %v, %d of %d bytes", done, err, f.size, len(stream))
	}
	if n := testing.AllocsPerRun(1, func() { f = frame{}; _, _ = f.advance(stream) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseMessageRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"a ping", array(str("PING"), str("h"), str("s"), str("d"), str("u"), str("p")), "set shared_key"},
		{"a number for the tag", array(integer(1), array()), "the tag"},
		{"a number for entries", array(str("t"), integer(1)), "expected entries"},
		{"a str for the option", array(str("t"), array(), str("x")), "a map as the option"},
	} {
		var f frame
		if done, err := f.advance(c.in); !done || err != nil {
			t.Fatalf("%s: done %v, error %v", c.name, done, err)
		}
		if _, err := parseMessage(c.in, &f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want one that says %q", c.name, err, c.want)
		}
	}
}

func TestParseOption(t *testing.T) {
	// Keys of other types and unknown ones are passed over; nil is no option.
	in := array(str("t"), array(), object(
		integer(5), array(integer(1)), str("size"), integer(2), str("chunk"), str("id\n"), str("compressed"), bin([]byte("gzip")),
		str("fluent_signal"), integer(1), str("cluster"), str("prod"), str("chunk"), str("second")))
	var f frame
	if done, err := f.advance(in); !done || err != nil {
		t.Fatalf("done %v, error %v", done, err)
	}
	m, err := parseMessage(in, &f)
	if err != nil || string(m.option.chunk) != "\xa3id\n" || string(m.option.compressed) != "gzip" || m.option.signal != 1 || string(m.option.cluster) != "prod" {
		t.Errorf("got %+v and %v", m.option, err)
	}
	in = array(str("t"), array(), []byte{0xc0})
	f = frame{}
	if done, err := f.advance(in); !done || err != nil {
		t.Fatalf("done %v, error %v", done, err)
	}
	if m, err = parseMessage(in, &f); err != nil || m.option.chunk != nil {
		t.Errorf("got %+v and %v", m.option, err)
	}
}

func TestLogText(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want string // empty: the record keeps its form
	}{
		{"in_tail without a parser", logRecord(`{"a":1}`), `{"a":1}`},
		{"a line feed at the end", logRecord(" {\"a\":1}\r\n"), `{"a":1}`},
		{"bin", object(str("log"), bin([]byte(`{"a":1}`))), `{"a":1}`},
		{"docker", object(str("log"), str(`{}`), str("stream"), str("stderr"), str("time"), str("now")), `{}`},
		{"CRI", object(str("time"), str("now"), str("stream"), str("stdout"), str("_p"), str("F"), str("log"), str(`{}`)), `{}`},
		{"the first of two", object(str("log"), str(`{"a":1}`), str("log"), str(`{"a":2}`)), `{"a":1}`},
		{"kubernetes beside it", object(str("log"), str(`{}`), str("kubernetes"), object(str("pod"), str("p"))), ""},
		{"cluster beside it", object(str("log"), str(`{}`), str("cluster"), str("prod")), ""},
		{"plain text", logRecord("I0101 started"), ""},
		{"a cut line", logRecord(`{"a":`), ""},
		{"an array", logRecord(`[{}]`), ""},
		{"a parsed event", object(str("kind"), str("Event"), str("log"), str("{}")), ""},
		{"a number", object(str("log"), integer(1)), ""},
		{"empty", object(), ""},
		{"no map", array(), ""},
	} {
		text, n, ok := logText(c.in)
		if ok != (c.want != "") || string(text) != c.want || (ok && n != len(c.in)) {
			t.Errorf("%s: got %q of %d bytes and %v, want %q", c.name, text, n, ok, c.want)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(array(str("t"), array(entry(logRecord("{}"))), chunkOption("c")), uint8(3))
	f.Add(array(str("t"), bin(entry(logRecord("{}")))), uint8(1))
	f.Add(array(str("t"), integer(5), object(str("a"), float(1)), object()), uint8(2))
	f.Add([]byte(`["t",1,{"a":"\""},{"chunk":"x"}]`), uint8(5))
	f.Add([]byte("\xc0\x92\xa1t\xdd\xff\xff\xff\xff"), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		step := int(piece)%16 + 1
		for rest := stream; len(rest) > 0; {
			var whole, slow frame
			done, err := whole.advance(rest)
			var doneSlow bool
			var errSlow error
			for have := 0; !doneSlow && errSlow == nil && have < len(rest); {
				have = min(have+step, len(rest))
				doneSlow, errSlow = slow.advance(rest[:have:have])
			}
			if done != doneSlow || (err == nil) != (errSlow == nil) || done && whole.size != slow.size {
				t.Fatalf("at once: %v %v %d, in pieces: %v %v %d", done, err, whole.size, doneSlow, errSlow, slow.size)
			}
			if !done {
				return
			}
			if whole.size < 1 || whole.size > len(rest) {
				t.Fatalf("a message of %d in %d bytes", whole.size, len(rest))
			}
			message := rest[:whole.size:whole.size]
			switch whole.kind {
			case frameMessagePack:
				_, _ = parsePing(message, &whole)
				if m, err := parseMessage(message, &whole); err == nil {
					readEntries(t, m.entries)
					if m.carrier == carriesRecord {
						_, _, _ = logText(m.record)
					}
				}
			case frameJSON:
				if m, err := parseJSONMessage(message); err == nil {
					for _, e := range m.entries {
						_, _ = m.entry(e)
					}
				}
			}
			rest = rest[whole.size:]
		}
	})
}

func readEntries(t *testing.T, b []byte) {
	for len(b) > 0 {
		_, record, _ := readEntry(b)
		if record < 0 || record > len(b) {
			t.Fatalf("a record at %d of %d bytes", record, len(b))
		}
		if text, n, ok := logText(b[record:]); ok && (n > len(b)-record || len(text) > n) {
			t.Fatalf("a text of %d bytes in %d of %d", len(text), n, len(b)-record)
		}
		n, err := skip(b)
		if err != nil {
			return
		}
		b = b[n:]
	}
}
