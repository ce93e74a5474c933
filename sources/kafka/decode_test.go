package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/spawnwatch/spawnwatch/sources"
)

// made is a record batch under construction: kafka-go writes it, and the test then bends it.
func made(t testing.TB, base int64, codec compress.Compression, rs ...kafka.Record) []byte {
	t.Helper()
	for i := range rs {
		rs[i].Offset = int64(i)
	}
	var out bytes.Buffer
	set := protocol.RecordSet{Version: 2, Attributes: protocol.Attributes(codec), Records: protocol.NewRecordReader(rs...)}
	if _, err := set.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	b := out.Bytes()[4:] // behind the length of the set
	binary.BigEndian.PutUint64(b, uint64(base))
	return seal(b)
}

// seal puts the right checksum in.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// mark sets attributes and the producer.
func mark(b []byte, attributes uint16, producer int64) []byte {
	binary.BigEndian.PutUint16(b[21:], binary.BigEndian.Uint16(b[21:])|attributes)
	binary.BigEndian.PutUint64(b[43:], uint64(producer))
	return seal(b)
}

// rig is a partition without a broker: chunks go in, calls come out.
type rig struct {
	s    *Source
	p    *partition
	sink *sink
}

func newRig(t testing.TB, settings Settings) *rig {
	t.Helper()
	settings.Name = "rig"
	s, err := New(Config{Brokers: []string{"b"}, Topics: []string{"t"}, Group: "g"}, settings)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{s: s, sink: newSink()}
	g := &generation{s: s, handler: r.sink.handle, route: make(chan struct{}, 1), idle: make(chan struct{}, 1)}
	g.callCtx, g.abandon = context.WithCancel(t.Context())
	g.callers = newCallers(&s.calls, g.callCtx.Done())
	r.p = g.newPartition("t", 0, 0)
	g.parts = []*partition{r.p}
	g.commits = newCommitter(nil, g.parts, s.settings.Meter, nil)
	return r
}

// wait waits until all calls have returned.
func (r *rig) wait() {
	for !r.p.g.drained() {
		<-r.p.g.idle
	}
}

// decode runs chunks, each fetched from the offset from, through the partition, and returns what came of them, in order.
func (r *rig) decode(t testing.TB, from int64, list []aborted, batches ...[]byte) []seen {
	t.Helper()
	data := bytes.Join(batches, nil)
	buf := r.s.pool.take(len(data), r.p.ledger)
	copy(buf.data, data)
	b := spanner{p: r.p}
	b.chunk(t.Context(), chunk{from: from, records: buf, size: len(data), verified: verify(data, 100), aborted: list})
	buf.release()
	b.close()
	r.wait()
	r.sink.mu.Lock()
	defer r.sink.mu.Unlock()
	slices.SortFunc(r.sink.got, func(a, b seen) int { return int(a.offset - b.offset) })
	if held := r.s.held.Load(); held != 0 {
		t.Errorf("%d bytes are held after all calls", held)
	}
	return r.sink.got
}

// verify checks the batches of data as a fetch does that arrives in pieces.
func verify(data []byte, piece int) int {
	var sums checksums
	for n := 0; n < len(data); {
		n = min(n+piece, len(data))
		sums.advance(data[:n])
	}
	return sums.verified
}

// TestChecksums: however a fetch arrives, exactly the right batches before the first wrong one are verified.
func TestChecksums(t *testing.T) {
	batches := [][]byte{made(t, 0, 0, records(0, 2)...), made(t, 2, compress.Zstd, records(2, 6)...), made(t, 6, 0, records(6, 8)...)}
	data := bytes.Join(batches, nil)
	first, second := len(batches[0]), len(batches[0])+len(batches[1])
	for piece := 1; piece <= len(data)+1; piece++ {
		if got := verify(data, piece); got != len(data) {
			t.Fatalf("in pieces of %d bytes %d of %d are verified", piece, got, len(data))
		}
		if got := verify(data[:len(data)-1], piece); got != second {
			t.Fatalf("in pieces of %d bytes %d are verified of a cut fetch, want %d", piece, got, second)
		}
	}
	for at := range data {
		bent := slices.Clone(data)
		bent[at] ^= 0x10
		want := 0
		for i, b := range batches {
			begin := want
			// The base offset and the epoch are the broker's and not covered, nor is the format, which parseBatch looks at.
			if in := at - begin; in >= 0 && in < len(b) && (in >= 8 && in < 12 || in >= batchCRCAt) {
				break
			}
			want += len(batches[i])
		}
		if got := verify(bent, 1+at%97); got != want {
			t.Fatalf("with byte %d bent %d bytes are verified, want %d (batches end at %d, %d, %d)", at, got, want, first, second, len(data))
		}
	}
}

func offsets(got []seen) (list []int64) {
	for _, x := range got {
		list = append(list, x.offset)
	}
	return list
}

// TestAbortedTransactionsAndControlBatchesAreLeftOut: what was given up never reaches a handler, and the position moves over it.
func TestAbortedTransactionsAndControlBatchesAreLeftOut(t *testing.T) {
	const txn, control = attrTransaction, attrTransaction | attrControl
	one := func(base int64, attributes uint16, producer int64) []byte {
		return mark(made(t, base, 0, records(int(base), int(base)+1)...), attributes, producer)
	}
	r := newRig(t, Settings{})
	got := r.decode(t, 0,
		[]aborted{{producer: 8, first: 5}, {producer: 7, first: 1}}, // in no order
		one(0, 0, -1),
		one(1, txn, 7), // aborted
		one(2, txn, 9), // committed
		one(3, txn, 7), // aborted
		one(4, control, 7),
		one(5, txn, 8), // aborted
		one(6, txn, 7), // the next transaction of 7, committed
		one(7, control, 8),
		one(8, control, 7),
		one(9, txn, 8), // the next transaction of 8
		one(10, control, 9),
		one(11, control, 8),
	)
	if want := []int64{0, 2, 6, 9}; !slices.Equal(offsets(got), want) {
		t.Errorf("offsets %v came, want %v", offsets(got), want)
	}
	if position, idle := r.p.track.done(); position != 12 || !idle {
		t.Errorf("the position is %d, want 12, behind the last control batch", position)
	}
}

func TestOnlyControlBatchesMoveThePosition(t *testing.T) {
	r := newRig(t, Settings{})
	got := r.decode(t, 0, nil, mark(made(t, 0, 0, records(0, 1)...), attrTransaction|attrControl, 3))
	if position, _ := r.p.track.done(); position != 1 || len(got) != 0 {
		t.Errorf("the position is %d and %d records came, want 1 and none", position, len(got))
	}
}

func TestOffsetsBelowTheWantedOneAreSkipped(t *testing.T) {
	r := newRig(t, Settings{})
	r.p.track.reset(7, 7)
	got := r.decode(t, 7, nil, made(t, 0, compress.Lz4, records(0, 5)...), made(t, 5, compress.Zstd, records(5, 10)...), made(t, 12, 0, records(12, 14)...))
	if want := []int64{7, 8, 9, 12, 13}; !slices.Equal(offsets(got), want) { // 10 and 11 were compacted away
		t.Errorf("offsets %v came, want %v", offsets(got), want)
	}
	if position, _ := r.p.track.done(); position != 14 {
		t.Errorf("the position is %d, want 14", position)
	}
}

// TestUnfinishedEndOfAFetch: a fetch ends anywhere; what is not whole is fetched again.
func TestUnfinishedEndOfAFetch(t *testing.T) {
	whole := made(t, 0, 0, records(0, 5)...)
	next := made(t, 5, 0, records(5, 10)...)
	for cut := range next {
		r := newRig(t, Settings{})
		data := append(slices.Clone(whole), next[:cut]...)
		a := &fetchAnswer{records: &buffer{data: data}, size: len(data)}
		if end, size, frame := scan(a, 0); end != 5 || size != len(whole) || frame != len(whole) {
			t.Fatalf("cut after %d bytes: scan says %d %d %d", cut, end, size, frame)
		}
		if got := r.decode(t, 0, nil, whole, next[:cut]); len(got) != 5 {
			t.Fatalf("cut after %d bytes: %d records came", cut, len(got))
		}
	}
}

// TestWrongChecksum: fetched again, then passed on as it is, so that the partition moves on and nothing is lost unsaid.
func TestWrongChecksum(t *testing.T) {
	m := &meter{}
	r := newRig(t, Settings{Meter: m})
	r.p.next = 20
	good, bad, more := made(t, 0, 0, records(0, 2)...), made(t, 2, 0, records(2, 6)...), made(t, 6, 0, records(6, 8)...)
	bad[len(bad)-1] ^= 1
	if got := r.decode(t, 0, nil, good, bad, more); !slices.Equal(offsets(got), []int64{0, 1}) {
		t.Fatalf("offsets %v came before the bad batch", offsets(got))
	}
	if r.p.next != 2 {
		t.Fatalf("the partition is fetched from %d, want 2 again", r.p.next)
	}
	r.decode(t, 2, nil, bad, more)
	got := r.decode(t, 2, nil, bad, more)
	if want := []int64{0, 1, 2, 6, 7}; !slices.Equal(offsets(got), want) {
		t.Fatalf("offsets %v came, want %v", offsets(got), want)
	}
	if got[2].value != string(bad) || m.count(Unreadable) != 1 {
		t.Errorf("the bad batch came as %.100q, counted %d times", got[2].value, m.count(Unreadable))
	}
	if position, _ := r.p.track.done(); position != 8 {
		t.Errorf("the position is %d, want 8", position)
	}
}

// TestUnreadableBatches: a batch with a right checksum that cannot be decoded is not fetched again.
func TestUnreadableBatches(t *testing.T) {
	for name, bend := range map[string]func(b []byte) []byte{
		"codec":       func(b []byte) []byte { return mark(b, 7, -1) },
		"not lz4":     func(b []byte) []byte { return mark(b, codecLZ4, -1) },
		"not zstd":    func(b []byte) []byte { return mark(b, codecZstd, -1) },
		"not gzip":    func(b []byte) []byte { return mark(b, codecGzip, -1) },
		"not snappy":  func(b []byte) []byte { b[61] = 0xff; return mark(b, codecSnappy, -1) },
		"record size": func(b []byte) []byte { b[61] = 0x7f; return seal(b) },
		"old format":  func(b []byte) []byte { b[16] = 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Settings{})
			bad := bend(made(t, 0, 0, records(0, 3)...))
			got := r.decode(t, 0, nil, bad, made(t, 3, 0, records(3, 4)...))
			if len(got) != 2 || got[0].offset != 0 || got[0].value != string(bad) || got[1].offset != 3 && name != "old format" {
				t.Errorf("%d records came: %.300v", len(got), got)
			}
		})
	}
}

// TestInflateLimit: a batch that grows beyond all bounds is passed on compressed.
func TestInflateLimit(t *testing.T) {
	f, err := newInflater(64 << 20) // zstd wants its window in it
	if err != nil {
		t.Fatal(err)
	}
	f.limit = 1 << 20
	for _, codec := range []compress.Compression{compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		for _, size := range []int{1, 100_000, 1 << 20, 3 << 20, 40 << 20} {
			plain := bytes.Repeat([]byte("abcdefgh"), size/8+1)[:size]
			var packed bytes.Buffer
			w := codec.Codec().NewWriter(&packed)
			if _, err := w.Write(plain); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			out, err := f.inflate(int(codec), packed.Bytes(), make([]byte, 0, 1000))
			switch {
			case size <= 1<<20 && (err != nil || !bytes.Equal(out, plain)):
				t.Errorf("%v: %d bytes came out as %d, %v", codec, size, len(out), err)
			case size > 1<<20 && err == nil:
				t.Errorf("%v: %d bytes were decompressed, the limit is %d", codec, size, f.limit)
			}
		}
	}
}

// TestNoAllocationPerRecord: what a record costs does not reach the garbage collector.
func TestNoAllocationPerRecord(t *testing.T) {
	var rs []kafka.Record
	for i := range 1000 {
		rs = append(rs, kafka.Record{Key: kafka.NewBytes([]byte("k")), Value: kafka.NewBytes(value(i)), Headers: []kafka.Header{{Key: "h", Value: []byte("v")}}})
	}
	for _, codec := range []compress.Compression{0, compress.Lz4, compress.Zstd} {
		r := newRig(t, Settings{})
		var n atomic.Int64
		r.p.g.handler = func(_ context.Context, b *sources.Batch) error {
			n.Add(int64(len(b.Records)))
			return nil
		}
		data := made(t, 0, codec, rs...)
		b := spanner{p: r.p}
		run := func() {
			buf := r.s.pool.take(len(data), r.p.ledger)
			copy(buf.data, data)
			b.chunk(t.Context(), chunk{records: buf, size: len(data)})
			buf.release()
			r.wait()
		}
		run()
		if allocs := testing.AllocsPerRun(50, run); allocs > 30 {
			t.Errorf("codec %d: 1000 records cost %v allocations", codec, allocs)
		}
		b.close()
	}
}

// TestBuffersAreReused, and never while somebody holds them.
func TestBuffers(t *testing.T) {
	var total atomic.Int64
	l := &ledger{total: &total, freed: func() {}}
	var p pool
	a := p.take(5000, l)
	if cap(a.data) != 8192 || total.Load() != 8192 {
		t.Errorf("5000 bytes got %d, %d are counted", cap(a.data), total.Load())
	}
	a.hold()
	a.release()
	if b := p.take(5000, l); b == a {
		t.Fatal("a buffer was given out twice")
	}
	a.release()
	if b := p.take(8000, l); b != a {
		t.Error("a free buffer was not used again")
	}
	defer func() {
		if recover() == nil {
			t.Error("a buffer that was released too often went unnoticed")
		}
	}()
	c := p.take(100<<20, l)
	c.release()
	c.refs.Store(0)
	c.release()
}

func TestBuffersUnderLoad(t *testing.T) {
	var total atomic.Int64
	var p pool
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			l := &ledger{total: &total, freed: func() {}}
			for n := range 2000 {
				b := p.take(1+(n*i*37)%200_000, l)
				b.data[0] = byte(i)
				b.hold()
				go b.release()
				if b.data[0] != byte(i) {
					t.Error("a buffer was shared")
				}
				b.release()
			}
		})
	}
	wg.Wait()
	eventually(t, "all to be free", func() bool { return total.Load() == 0 })
	if p.kept > keptBytes {
		t.Errorf("the pool keeps %d bytes, at most %d are right", p.kept, keptBytes)
	}
}

// FuzzBatches: whatever a fetch brings, it is decoded or passed on, and neither offsets nor memory go wrong.
func FuzzBatches(f *testing.F) {
	for _, codec := range []compress.Compression{0, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		rs := records(0, 5)
		rs[1].Headers = []kafka.Header{{Key: "a", Value: []byte("b")}}
		f.Add(made(f, 0, codec, rs...), true)
	}
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, data []byte, right bool) {
		data = slices.Clone(data)
		if n := frameSize(data); right && n >= batchHeader && n <= len(data) {
			seal(data[:n]) // so that what is behind the checksum is reached
		}
		r := newRig(t, Settings{MaxRecord: 1000})
		r.s.inflater.limit = 1 << 20
		end, size, _ := scan(&fetchAnswer{records: &buffer{data: data}, size: len(data)}, 0)
		if end < 0 || size < 0 || size > len(data) {
			t.Fatalf("scan says %d %d of %d bytes", end, size, len(data))
		}
		r.p.next = 1 << 62
		for range badTries {
			r.decode(t, 0, nil, data[:size])
		}
		for _, x := range r.sink.got {
			if x.offset < 0 || len(x.value) > max(1000, sources.OversizedKeep) {
				t.Fatalf("a record came as %+v", x)
			}
		}
	})
}

// BenchmarkDecode is the cost of everything behind the socket but the handler, for records of 3.6 kB.
func BenchmarkDecode(b *testing.B) {
	pad := bytes.Repeat([]byte(`{"verb":"get","user":{"username":"system:apiserver"},"n":123}`), 60)
	for _, codec := range []compress.Compression{0, compress.Snappy, compress.Lz4, compress.Zstd} {
		name := "none"
		if codec != 0 {
			name = codec.String()
		}
		b.Run(name, func(b *testing.B) {
			r := newRig(b, Settings{})
			r.p.g.handler = func(context.Context, *sources.Batch) error { return nil }
			var rs []kafka.Record
			size := 0
			for i := range 250 {
				v := append(fmt.Appendf(nil, "%d", i*7919), pad...)
				size += len(v)
				rs = append(rs, kafka.Record{Value: kafka.NewBytes(v), Time: time.Unix(1, 0)})
			}
			data := made(b, 0, codec, rs...)
			sp := spanner{p: r.p}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				buf := r.s.pool.take(len(data), r.p.ledger)
				copy(buf.data, data)
				sp.chunk(b.Context(), chunk{records: buf, size: len(data)})
				buf.release()
				r.wait()
			}
		})
	}
}
