package forward

import (
	"context"
	"errors"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

// stream is a message in Forward mode, which is read entry by entry as it arrives: [tag, [entry, …], option]. The texts of
// its records wait in jobs until the option is there, which comes last: it may say that the chunk was answered before,
// or that it holds no logs, and whose cluster it is. Of a message without one nothing waits. So the bytes of a message are gone through once, and what is read
// leaves the buffer at once.
type stream struct {
	active bool
	tag    string
	// left is how many entries are still to come, index the place of the next one.
	left   uint64
	index  int64
	option bool
	// size is how many bytes of the message have left the buffer.
	size int
	// digest is made of the tag and both ends of all entries.
	digest uint64
	// held are the jobs that wait, weight about how many bytes of memory their records take.
	held   []*job
	weight int

	// scan looks for an end: while scanning, that of an entry that was not complete or could not be written; while
	// ending, those of the entries that are left (if whole) and of the option.
	scan             scanner
	scanning, ending bool
	whole            bool
	// entries is how many bytes the entries take that are left, -1 while that is unknown.
	entries int
}

const (
	// heldBytes is what may wait for the option of one message, 16 MiB: eight times a usual chunk. What comes behind it
	// stays MessagePack until the message is complete, and is written while the handler works.
	heldBytes = 16 << 20
	// recordBytes is about what a record takes beside its text.
	recordBytes = 160
)

// opening is how a message in Forward mode begins.
type opening struct {
	tag     []byte
	entries uint64
	option  bool
	// size is how many bytes come before the first entry.
	size int
}

// readOpening reads how the message at the start of b begins. It returns false for any other message, and for one of
// which too little is there.
func readOpening(b []byte) (o opening, ok bool) {
	outer, ok := readHead(b)
	if !ok || outer.kind != kindArray || outer.n < 2 || outer.n > 3 {
		return opening{}, false
	}
	tag, n, ok := readBytes(b[outer.size:])
	if !ok {
		return opening{}, false
	}
	list, ok := readHead(b[outer.size+n:])
	if !ok || list.kind != kindArray {
		return opening{}, false
	}
	return opening{tag: tag, entries: list.n, option: outer.n == 3, size: outer.size + n + list.size}, true
}

// begin begins a message; digest is that of its tag.
func (s *stream) begin(o opening, digest uint64) {
	*s = stream{active: true, digest: digest, tag: string(o.tag), left: o.entries, option: o.option, size: o.size, held: s.held[:0]}
}

// read goes on with the message in b, the bytes that are there. It returns how many of them are done with and whether
// the message is at its end. An error means that the sender does not speak the protocol, or is ctx's.
func (g *group) read(ctx context.Context, c *claim, b []byte) (pos int, done bool, err error) {
	s := &g.stream
	if s.left > maxMessage {
		return 0, false, sized(errTooLarge)
	}
	for s.left > 0 && !s.whole {
		n, err := g.readEntry(ctx, c, b[pos:])
		if n == 0 || err != nil {
			return pos, false, err
		}
		pos += n
		s.left--
		s.index++
		s.whole = s.weight > heldBytes && s.left > 0
		if s.size += n; s.size > maxMessage {
			return pos, false, sized(errTooLarge)
		}
	}
	rest := b[pos:]
	if !s.ending {
		s.ending, s.entries, s.scan = true, -1, scanner{pending: s.left}
	}
	for {
		ok, err := s.scan.advance(rest, s.remaining())
		if err != nil {
			return pos, false, sized(err)
		}
		if !ok {
			return pos, false, nil
		}
		if s.entries >= 0 {
			break
		}
		if s.entries = int(s.scan.pos); !s.option {
			break
		}
		s.scan.pending = 1
	}
	n := int(s.scan.pos)
	return pos + n, true, g.end(ctx, c, rest[:n])
}

// remaining is how many bytes the message may still have.
func (s *stream) remaining() uint64 { return uint64(maxMessage - s.size) }

// readEntry reads the entry at the start of b and returns its length, 0 when it is not complete.
func (g *group) readEntry(ctx context.Context, c *claim, b []byte) (int, error) {
	s := &g.stream
	if !s.scanning {
		n, err := g.holdEntry(ctx, c, b)
		if err == nil || errors.Is(err, errUnused) || ctx.Err() != nil {
			return n, err
		}
		// It is not complete, or holds what can't be written: the end of it is looked for.
		s.scanning, s.scan = true, scanner{pending: 1}
	}
	ok, err := s.scan.advance(b, s.remaining())
	if err != nil {
		return 0, sized(err)
	}
	if !ok {
		return 0, nil
	}
	s.scanning = false
	b = b[:s.scan.pos:s.scan.pos]
	n, err := g.holdEntry(ctx, c, b)
	if err == nil || errors.Is(err, errUnused) || ctx.Err() != nil {
		return n, err
	}
	at, record, _ := readEntry(b)
	if err := g.holdUnreadable(ctx, c, b[record:], at, err); err != nil {
		return 0, err
	}
	g.sample(b)
	return len(b), nil
}

// holdEntry adds the record of the entry at the start of b to the jobs that wait, and returns the entry's length. An
// error is ctx's, or says why the record has no JSON text: that it is not complete, perhaps.
func (g *group) holdEntry(ctx context.Context, c *claim, b []byte) (int, error) {
	at, record, marker := readEntry(b)
	if marker {
		n, err := skip(b)
		if err == nil {
			g.src.stats.markers.Add(1)
			g.sample(b[:n])
		}
		return n, err
	}
	j, err := g.room(ctx, c)
	if err != nil {
		return 0, err
	}
	start := len(j.text)
	text, n, plain := logText(b[record:])
	skimmed := false
	if plain {
		j.text = append(j.text, text...)
	} else if n, skimmed = g.skim(b[record:]); skimmed {
		j.skimmed(n)
	} else if j.text, n, err = appendJSON(j.text, b[record:], g.src.settings.MaxRecord); err != nil {
		j.text = j.text[:start]
		return 0, err
	}
	n += record
	if !skimmed {
		g.keep(j, sources.Record{Value: j.text[start:len(j.text):len(j.text)], Offset: g.stream.index, Time: at})
		if err := g.claim(ctx, c, j); err != nil { // JSON text may be six times as long as what it is of
			return 0, err
		}
	}
	g.sample(b[:n])
	return n, nil
}

// sample adds an entry to the digest.
func (g *group) sample(entry []byte) {
	g.stream.digest = mixed(g.stream.digest, g.src.answered.sample(entry))
}

// mixed depends on the order of what is mixed, and nothing that comes twice takes itself back.
func mixed(digest, next uint64) uint64 { return (digest ^ next) * 0x9e3779b97f4a7c15 }

// holdUnreadable adds what has no JSON text as it came, so that it is dead-lettered.
func (g *group) holdUnreadable(ctx context.Context, c *claim, b []byte, at time.Time, why error) error {
	j, err := g.room(ctx, c)
	if err != nil {
		return err
	}
	r := g.unreadable(g.stream.tag, b, at, g.stream.index, why)
	start := len(j.text)
	j.text = append(j.text, r.Value...)
	r.Value = j.text[start:len(j.text):len(j.text)]
	g.keep(j, r)
	return g.claim(ctx, c, j) // it may be much longer than a record that room makes room for
}

// room returns the job that the next record goes to. Its buffer is claimed from the budget, for which it may wait.
func (g *group) room(ctx context.Context, c *claim) (*job, error) {
	s := &g.stream
	var j *job
	if n := len(s.held); n > 0 {
		j = s.held[n-1]
	}
	if j == nil || j.bytes >= batchBytes || len(j.batch.Records) >= batchRecords {
		if !s.option {
			g.from(s.tag, "")
			if err := g.sendHeld(ctx); err != nil {
				return nil, err
			}
		}
		j = g.src.takeJob()
		s.held = append(s.held, j)
	}
	// A message of a few records needs little; one of many fills whole batches.
	if need := len(j.text) + smallestText; cap(j.text) < need {
		size := smallestText
		if len(j.text) > 0 {
			size = max(wholeText, need)
		}
		j.text = append(make([]byte, 0, size), j.text...)
	}
	if err := g.claim(ctx, c, j); err != nil {
		return nil, err
	}
	return j, nil
}

// claim claims what j has grown by, for which it may wait.
func (g *group) claim(ctx context.Context, c *claim, j *job) error {
	more := int64(cap(j.text)+recordBytes*cap(j.batch.Records)) - j.claimed
	if more <= 0 {
		return nil
	}
	g.send(ctx)
	if err := g.src.budget.acquire(ctx, c, more); err != nil {
		return err
	}
	j.claimed += more
	return nil
}

const (
	// smallestText is the room for the first records of a message and, for each record, before it is written, 32 KiB.
	smallestText = 32 << 10
	// wholeText is the room for a whole batch.
	wholeText = batchBytes + 2*smallestText
)

// keep adds r, whose bytes are in the text of j.
func (g *group) keep(j *job, r sources.Record) {
	if r.Oversized == nil && len(r.Value) > g.src.settings.MaxRecord {
		r = cut(r)
	}
	j.batch.Records = append(j.batch.Records, r)
	j.bytes += len(r.Value)
	g.stream.weight += len(r.Value) + recordBytes
}

// end reads the option and, where there are any, the entries that were left MessagePack, which rest consists of, and
// sends the jobs off or drops them.
func (g *group) end(ctx context.Context, c *claim, rest []byte) error {
	s := &g.stream
	defer g.discard(c) // what was not sent off
	entries := s.entries
	var o option
	if entries < len(rest) {
		if err := o.read(rest[entries:]); err != nil {
			return err
		}
	}
	if o.chunk != nil {
		if entries > 0 {
			s.digest = mixed(s.digest, g.src.answered.ends(rest[:entries]))
		}
		key := g.src.answered.streamed(o.chunk, s.digest, s.size+len(rest))
		if g.owe(answer{chunk: o.chunk, key: key}) {
			return nil
		}
	}
	if o.signal != signalLogs {
		g.src.stats.signals.Add(1)
		return nil
	}
	g.from(s.tag, string(o.cluster))
	if err := g.sendHeld(ctx); err != nil {
		return err
	}
	return g.takeEntries(ctx, rest[:entries], s.index)
}

// sendHeld sends the jobs off that wait. It returns ctx's error if that ends first.
func (g *group) sendHeld(ctx context.Context) error {
	s := &g.stream
	g.send(ctx)
	for i, j := range s.held {
		select {
		case g.src.slots <- struct{}{}:
		case <-ctx.Done():
			s.held = s.held[i:]
			return ctx.Err()
		}
		j.batch.Origin = g.origin
		g.claimed += j.claimed
		g.open = j
		g.send(ctx)
	}
	clear(s.held) // an idle connection would keep their texts
	s.held, s.weight = s.held[:0], 0
	return nil
}

// discard drops what waits.
func (g *group) discard(c *claim) {
	for _, j := range g.stream.held {
		g.src.budget.release(c, j.claimed)
		g.src.recycle(j)
	}
	clear(g.stream.held)
	g.stream = stream{held: g.stream.held[:0]}
}
