package forward

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

// script is a connection whose sender says what it has to say, in pieces, and leaves.
type script struct {
	net.Conn
	say   []byte
	piece int
}

func (s *script) Read(b []byte) (int, error) {
	n := copy(b, s.say[:min(s.piece, len(s.say))])
	s.say = s.say[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (s *script) Write(b []byte) (int, error)      { return len(b), nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) Close() error                     { return nil }

// FuzzServe plays a whole connection: framing, entries, decompression, batches and answers.
func FuzzServe(f *testing.F) {
	stream := append(entry(logRecord(`{"n":1}`)), entry(object(str("n"), integer(2)))...)
	for _, seed := range [][]byte{
		array(str("t"), array(entry(logRecord("{}")), entry(object())), chunkOption("c")),
		array(str("t"), bin(stream), chunkOption("c")),
		array(str("t"), bin(gzipped(f, stream)), chunkOption("c", str("compressed"), str("gzip"))),
		array(str("t"), bin(zstandard(f, stream)), chunkOption("c", str("compressed"), str("zstd"))),
		array(str("t"), array(eventTime(1, 2), object()), object(str("a"), float(1)), chunkOption("c")),
		[]byte(`["t",[[1,{"a":"\""}]],{"chunk":"x"}]` + "\n{}"),
		array(str("PING"), str("h"), str("s"), str("d"), str("u"), str("p")),
	} {
		f.Add(seed, uint16(7))
		f.Add(append(seed, seed...), uint16(1000))
	}
	s, err := New(Config{Listen: ":0"}, Settings{Name: "audit", MaxRecord: 1 << 10, Memory: 1 << 20, Calls: 4, Skim: evenHeads()})
	if err != nil {
		f.Fatal(err)
	}
	s.handler = func(_ context.Context, b *sources.Batch) error {
		for _, r := range b.Records {
			if r.Oversized == nil && len(r.Value) > 1<<10 {
				f.Errorf("a record of %d bytes", len(r.Value))
			}
		}
		return nil
	}
	f.Fuzz(func(t *testing.T, say []byte, piece uint16) {
		c := &conn{src: s, net: &script{say: say, piece: int(piece) + 1}}
		_ = c.serve(t.Context(), t.Context()) // most inputs are no forward messages
		if c.held.held != 0 || c.in != nil || len(s.slots) != 0 || s.budget.free != 1<<20 {
			t.Fatalf("holds %d bytes, %d slots, %d bytes are free", c.held.held, len(s.slots), s.budget.free)
		}
	})
}
