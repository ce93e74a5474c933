package kafka

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/spawnwatch/spawnwatch/sources"
)

// span is a stretch of a partition that is acknowledged as one: the records of one handler call, or, where a header
// names their clusters, of one call for each cluster.
type span struct {
	end     int64 // offset after the last one
	groups  []group
	headers []sources.Header
	buffers []*buffer // what the records lie in
	size    int       // bytes of the records
	count   int
	pending atomic.Int32
	failed  atomic.Bool
	origin  *Source
}

// group is the records of a span from one cluster, "" where the partition decides.
type group struct {
	cluster string
	records []sources.Record
}

// release gives back everything that the span borrowed, and itself.
func (sp *span) release() {
	for i, b := range sp.buffers {
		sp.buffers[i] = nil
		b.release()
	}
	sp.buffers = sp.buffers[:0]
	clear(sp.headers)
	sp.headers = sp.headers[:0]
	for i := range sp.groups {
		clear(sp.groups[i].records)
		sp.groups[i].records = sp.groups[i].records[:0]
		sp.groups[i].cluster = ""
	}
	sp.groups = sp.groups[:0]
	sp.size, sp.count = 0, 0
	sp.failed.Store(false)
	sp.origin.spans.Put(sp)
}

func (sp *span) hold(b *buffer) {
	if n := len(sp.buffers); n == 0 || sp.buffers[n-1] != b {
		b.hold()
		sp.buffers = append(sp.buffers, b)
	}
}

// group returns the records of a cluster.
func (sp *span) group(cluster []byte) *group {
	for i := range sp.groups {
		if sp.groups[i].cluster == string(cluster) {
			return &sp.groups[i]
		}
	}
	if len(sp.groups) < cap(sp.groups) {
		sp.groups = sp.groups[:len(sp.groups)+1] // with the slice of records it had
	} else {
		sp.groups = append(sp.groups, group{})
	}
	g := &sp.groups[len(sp.groups)-1]
	g.cluster = string(cluster)
	return g
}

// spanner makes spans of what was fetched for one partition. It belongs to one goroutine.
type spanner struct {
	p     *partition
	sp    *span
	arena *buffer // where batches are decompressed to, one after the other
	used  int
	// sixteenths is how many times larger, in sixteenths, the last batch was when decompressed.
	sixteenths int
	usual      int // about how long batches are before that
}

// close lets go of the arena. The spanner may be used again.
func (s *spanner) close() {
	if s.arena != nil {
		s.arena.release()
		s.arena = nil
	}
	if s.sp != nil {
		s.sp.release()
		s.sp = nil
	}
}

// chunk decodes what one fetch brought, and makes the calls. When ctx ends it stops at once: what it left is not
// begun, so it is never committed.
func (s *spanner) chunk(ctx context.Context, c chunk) {
	data := c.records.data[:c.size]
	txns := newTransactions(c.aborted)
	want := c.from
	for {
		size := frameSize(data)
		if size == 0 || size > len(data) || size < batchFrame {
			break
		}
		raw := data[:size]
		data = data[size:]
		if next, ok := nextOffset(raw); ok && next <= want {
			continue // the whole batch lies before what was asked for
		}
		b, err := parseBatch(raw, c.size-len(data) <= c.verified)
		if err == nil && !txns.drop(&b) {
			want, err = s.batch(ctx, &b, c.records, want)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if errors.Is(err, errCRC) && s.p.rewind(want) {
				break // fetched again
			}
			b.next = s.unreadable(raw, want, c.records, err)
		}
		want = b.next
		s.begin().end = want
	}
	_ = s.flush(ctx) // its only error is the end of ctx
}

// begin returns the current span.
func (s *spanner) begin() *span {
	if s.sp == nil {
		s.sp, _ = s.p.g.s.spans.Get().(*span)
		if s.sp == nil {
			s.sp = &span{origin: s.p.g.s}
		}
	}
	return s.sp
}

// batch adds the records of b from the offset want on. It returns how far it came, also when it fails.
func (s *spanner) batch(ctx context.Context, b *batch, from *buffer, want int64) (int64, error) {
	records := b.records
	if b.codec() != codecNone {
		if err := s.p.admit(ctx); err != nil {
			return want, err
		}
		var err error
		if records, err = s.inflate(b); err != nil {
			return want, err
		}
		from = s.arena
	}
	r := newRecordReader(b, records)
	header := s.p.g.s.clusterHeader
	limit := s.p.g.s.settings.MaxRecord
	var rec sources.Record
	for {
		sp := s.begin()
		var ok bool
		var err error
		sp.headers, ok, err = r.next(&rec, sp.headers)
		if err != nil {
			return want, err
		}
		if !ok {
			return b.next, nil
		}
		if rec.Offset < want {
			continue // before what was asked for; offsets of a batch rise
		}
		if rec.Offset >= b.next {
			return want, errRecord
		}
		want = rec.Offset + 1
		size := len(rec.Value) + len(rec.Key)
		cut(&rec, limit)
		var cluster []byte
		if len(header) > 0 {
			cluster = headerValue(rec.Headers, header)
		}
		sp.hold(from)
		g := sp.group(cluster)
		g.records = append(g.records, rec)
		sp.end = want
		sp.size += size
		if sp.count++; sp.size >= CallBytes || sp.count >= CallRecords {
			if err := s.flush(ctx); err != nil {
				return want, err
			}
		}
	}
}

func headerValue(headers []sources.Header, key []byte) []byte {
	for i := range headers {
		if bytes.Equal(headers[i].Key, key) {
			return headers[i].Value
		}
	}
	return nil
}

// zstdSlack is what the decoder wants to have free behind a block, 128 KiB and a little, to take its fast path.
const zstdSlack = 132 << 10

// inflate decompresses a batch into the arena, or into a new one.
func (s *spanner) inflate(b *batch) ([]byte, error) {
	guess := s.guess(b)
	if s.arena == nil || cap(s.arena.data)-s.used < guess {
		s.newArena(s.p.g.s.pool.take(max(guess, 2*CallBytes), s.p.ledger))
	}
	free := s.arena.data[s.used:]
	out, err := s.p.g.s.inflater.inflate(b.codec(), b.records, free[:0])
	if err != nil {
		return nil, err
	}
	s.sixteenths = min(16*len(out)/max(len(b.records), 1)+1, 16*64)
	s.usual += (len(b.records) - s.usual) / 8
	if len(out) == 0 || &out[0] == &free[:1][0] {
		s.used += len(out)
	} else {
		s.newArena(s.p.g.s.pool.adopt(out, s.p.ledger)) // it had to grow
		s.used = len(out)
	}
	return out, nil
}

// guess is how much room a batch may need. What is too little costs fresh memory again and again while the batch grows,
// what is too much only room.
func (s *spanner) guess(b *batch) int {
	n := len(b.records)
	var guess int
	switch size, known := contentSize(b); {
	case known:
		guess = min(size, maxRatio*n)
	case n > 3*s.usual:
		// Large events are full of repetition: what is much longer than others gets longer still.
		guess = min(maxRatio*n, 4<<20)
	default:
		// One batch that shrank to nothing says little about the next.
		guess = min(n*(max(s.sixteenths, 32)+4)/16+1, max(2*n+1, 4<<20))
	}
	if b.codec() == codecZstd {
		guess += zstdSlack
	}
	return min(guess, MaxBatch)
}

// maxRatio bounds how much of a claim or a suspicion is believed before it has come true.
const maxRatio = 128

func (s *spanner) newArena(b *buffer) {
	if s.arena != nil {
		s.arena.release()
	}
	s.arena, s.used = b, 0
}

// unreadable adds one record for what is left of a batch that cannot be read, so that it is dead-lettered and the
// partition goes on. It returns the offset after the batch.
func (s *spanner) unreadable(raw []byte, want int64, from *buffer, why error) int64 {
	next, ok := nextOffset(raw)
	if !ok || next <= want {
		next = want + 1
	}
	src := s.p.g.s
	src.settings.Meter.Event(Unreadable, 1)
	src.settings.Logger.Error("a batch of records cannot be read; its bytes as stored are passed on as one record",
		"topic", s.p.topic, "partition", s.p.id, "offset", want, "next", next, "bytes", len(raw), "error", why)
	sp := s.begin()
	rec := sources.Record{Value: raw, Offset: want}
	size := len(raw)
	cut(&rec, src.settings.MaxRecord)
	sp.hold(from)
	g := sp.group(nil)
	g.records = append(g.records, rec)
	sp.size += size
	sp.count++
	return next
}

// flush makes the calls of the current span.
func (s *spanner) flush(ctx context.Context) error {
	sp := s.sp
	if sp == nil {
		return nil
	}
	if sp.count == 0 {
		if sp.end > 0 {
			s.p.skip(sp.end)
		}
		s.sp = nil
		sp.release()
		return nil
	}
	if err := s.p.admit(ctx); err != nil {
		return err
	}
	s.sp = nil
	s.p.call(sp)
	// The call goes first, while its records are in this processor's cache, and gives its memory back before more is
	// needed: decoding far ahead of it cost the whole stage a twentieth more on batches compressed by zstd.
	runtime.Gosched()
	return nil
}
