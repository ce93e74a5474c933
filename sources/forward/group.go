package forward

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

// group is the messages that one connection works on at a time: those that lay complete in its buffer. Their records
// go to the handler in batches, several calls at once; when all have returned the messages are answered in order.
type group struct {
	src    *Source
	stream stream
	open   *job
	// origin is that of the messages being taken.
	origin  sources.Origin
	answers []answer
	// head is where [group.skim] writes.
	head []byte
	// decompressed are the buffers that records still point into.
	decompressed []*[]byte
	// claimed is what else of the budget is given back at the end.
	claimed int64

	calls sync.WaitGroup
	mu    sync.Mutex
	err   error
}

// job is one call of the handler. Its buffer holds the texts that its records point to, unless those lie in the
// message itself.
type job struct {
	batch sources.Batch
	text  []byte
	bytes int
	// claimed is what text holds of the budget, while the job waits for the end of its message.
	claimed int64
}

func (j *job) empty() bool { return len(j.batch.Records) == 0 && j.batch.Skimmed.Records == 0 }

// skimmed counts a record of n bytes that was left out.
func (j *job) skimmed(n int) {
	j.batch.Skimmed.Records++
	j.batch.Skimmed.Bytes += n
}

// answer is what is owed for one message.
type answer struct {
	chunk []byte
	json  bool
	key   chunkKey
	// known is set when the chunk was answered before.
	known bool
}

// take takes one complete message, b. It returns an error when the sender does not speak the protocol, or ctx's when
// that ended; either ends the connection.
func (g *group) take(ctx context.Context, c *claim, b []byte, f *frame) error {
	switch f.kind {
	case frameIdle:
		return nil
	case frameJSON:
		return g.takeJSON(ctx, c, b)
	}
	m, err := parseMessage(b, f)
	if err != nil {
		return err
	}
	if m.option.chunk != nil && g.owe(answer{chunk: m.option.chunk, key: g.src.answered.key(m.option.chunk, b)}) {
		return nil
	}
	if m.option.signal != signalLogs {
		g.src.stats.signals.Add(1)
		return nil
	}
	g.from(string(m.tag), string(m.option.cluster))
	switch m.carrier {
	case carriesRecord:
		if _, err := g.addRecord(ctx, m.record, m.time, 0); err != nil {
			return g.addUnreadable(ctx, m.record, m.time, 0, err) // or ctx's error, if that was it
		}
		return nil
	case carriesEntries:
		return g.takeEntries(ctx, m.entries, 0)
	}
	switch method := string(m.option.compressed); method {
	case "", "text":
		return g.takeEntries(ctx, m.entries, 0)
	default:
		g.send(ctx)
		plain, err := g.src.decompress(ctx, c, method, m.entries)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return g.addUnreadable(ctx, m.entries, time.Time{}, 0, err)
		}
		g.decompressed = append(g.decompressed, plain)
		return g.takeEntries(ctx, *plain, 0)
	}
}

// owe notes that a message is to be answered. It returns true when the chunk was answered before, so that nothing
// else is to be done.
func (g *group) owe(a answer) bool {
	a.known = g.src.answered.has(a.key)
	if a.known {
		g.src.stats.repeated.Add(1)
	}
	g.answers = append(g.answers, a)
	return a.known
}

// from says where the next records come from. A sender's own word for its cluster goes before the configured one.
func (g *group) from(tag, cluster string) {
	if cluster == "" {
		cluster = g.src.settings.Cluster
	}
	g.origin = sources.Origin{Source: g.src.settings.Name, Topic: tag, Partition: -1, Cluster: cluster}
}

// takeEntries takes the entries that make up b, the first of which has the given index. Where b can't be read any further the rest is one record, to be
// dead-lettered: refusing it would have it sent again for ever.
func (g *group) takeEntries(ctx context.Context, b []byte, index int64) error {
	for ; len(b) > 0; index++ {
		at, record, group := readEntry(b)
		if group {
			size, err := skip(b)
			if err != nil {
				return g.addUnreadable(ctx, b, at, index, err)
			}
			b = b[size:]
			g.src.stats.markers.Add(1)
			continue
		}
		n, err := g.addRecord(ctx, b[record:], at, index)
		if err == nil {
			b = b[record+n:]
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		size, cut := skip(b)
		if cut != nil {
			return g.addUnreadable(ctx, b, at, index, cut)
		}
		if err := g.addUnreadable(ctx, b[min(record, size):size], at, index, err); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// readEntry reads the entry at the start of b: its time, where its record begins, and whether it is a marker of a group
// and no record. What is no pair of a time and a record is a record as a whole.
func readEntry(b []byte) (at time.Time, record int, marker bool) {
	h, ok := readHead(b)
	if !ok || h.kind != kindArray || h.n != 2 {
		return time.Time{}, 0, false
	}
	at, n := entryTime(b[h.size:])
	if n == 0 {
		return time.Time{}, 0, false
	}
	sec := at.Unix()
	return at, h.size + n, (sec == groupStart || sec == groupEnd) && isEventTime(b[h.size:])
}

// isEventTime says whether the time of an entry is an EventTime: only such a one marks a group.
func isEventTime(b []byte) bool {
	h, ok := readHead(b)
	if ok && h.kind == kindArray {
		h, ok = readHead(b[h.size:])
	}
	return ok && h.kind == kindExt && h.ext == extEventTime && h.n == 8
}

// addRecord adds the record at the start of b and returns its length. An error is ctx's or means that the record has
// no JSON text (of at most max_record bytes).
func (g *group) addRecord(ctx context.Context, b []byte, at time.Time, index int64) (int, error) {
	if err := g.make(ctx); err != nil {
		return 0, err
	}
	if text, n, ok := logText(b); ok {
		g.add(sources.Record{Value: text, Offset: index, Time: at})
		return n, nil
	}
	j := g.open
	if n, ok := g.skim(b); ok {
		j.skimmed(n)
		return n, nil
	}
	start := len(j.text)
	text, n, err := appendJSON(j.text, b, g.src.settings.MaxRecord)
	if err != nil {
		j.text = text[:start]
		return 0, err
	}
	j.text = text
	g.add(sources.Record{Value: text[start:len(text):len(text)], Offset: index, Time: at})
	return n, nil
}

// addUnreadable adds what has no JSON text as it came, so that it is dead-lettered.
func (g *group) addUnreadable(ctx context.Context, b []byte, at time.Time, index int64, why error) error {
	if err := g.make(ctx); err != nil {
		return err
	}
	g.add(g.unreadable(g.origin.Topic, b, at, index, why))
	return nil
}

// loggedTag is how much of a tag goes into the log, in bytes.
const loggedTag = 100

// unreadable is the record b of what has no JSON text.
func (g *group) unreadable(tag string, b []byte, at time.Time, index int64, why error) sources.Record {
	g.src.stats.unreadable.Add(1)
	g.src.warn("a record or chunk cannot be read and goes to the dead letter",
		"tag", tag[:min(len(tag), loggedTag)], "index", index, "bytes", len(b), "reason", why.Error())
	r := sources.Record{Value: b, Offset: index, Time: at}
	if errors.Is(why, errOversized) {
		r = cut(r)
	}
	return r
}

// cut makes r an oversized record.
func cut(r sources.Record) sources.Record {
	r.Oversized = &sources.Oversized{Size: int64(len(r.Value)), SHA256: sha256.Sum256(r.Value)}
	r.Value = r.Value[:min(len(r.Value), sources.OversizedKeep)]
	return r
}

// takeJSON takes a message in JSON text. What is no message is a record as a whole.
func (g *group) takeJSON(ctx context.Context, c *claim, b []byte) error {
	// encoding/json copies at each of the three levels.
	g.send(ctx)
	if err := g.src.budget.acquire(ctx, c, 3*int64(len(b))); err != nil {
		return err
	}
	g.claimed += 3 * int64(len(b))
	m, err := parseJSONMessage(b)
	if err != nil {
		g.from("", "")
		return g.addUnreadable(ctx, b, time.Time{}, 0, fmt.Errorf("it is no forward message in JSON: %w", err))
	}
	if err := checkTag([]byte(m.tag)); err != nil {
		return err
	}
	if len(m.chunk) > maxChunk {
		return fmt.Errorf("expected a chunk id of at most %d bytes, got %d", maxChunk, len(m.chunk))
	}
	if m.chunk != "" {
		text, err := json.Marshal(m.chunk)
		if err != nil {
			return err
		}
		if g.owe(answer{chunk: text, json: true, key: g.src.answered.key(text, b)}) {
			return nil
		}
	}
	g.from(m.tag, m.cluster)
	for i, raw := range m.entries {
		at, record := m.time, []byte(raw)
		if !m.single {
			at, record = m.entry(raw)
		}
		if err := g.make(ctx); err != nil {
			return err
		}
		g.add(sources.Record{Value: record, Offset: int64(i), Time: at})
	}
	return nil
}

// make sees to it that there is a job with room for a record of the present origin. It waits until a call may begin,
// and returns ctx's error if that ends first.
func (g *group) make(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if j := g.open; j != nil && j.bytes < batchBytes && len(j.batch.Records) < batchRecords && j.batch.Origin == g.origin {
		return nil
	}
	g.send(ctx)
	select {
	case g.src.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.open = g.src.takeJob()
	g.open.batch.Origin = g.origin
	return nil
}

// send sends the open job off. Whoever is going to wait for something else than the handler does this first: a job that
// lies here keeps a slot from others.
func (g *group) send(ctx context.Context) {
	j := g.open
	if j == nil {
		return
	}
	g.open = nil
	if j.empty() {
		g.src.giveJob(j)
		return
	}
	g.calls.Go(func() { g.call(ctx, j) })
}

// add adds r to the open job.
func (g *group) add(r sources.Record) {
	if r.Oversized == nil && len(r.Value) > g.src.settings.MaxRecord {
		r = cut(r)
	}
	j := g.open
	j.batch.Records = append(j.batch.Records, r)
	j.bytes += len(r.Value)
}

// call hands a job to the handler.
func (g *group) call(ctx context.Context, j *job) {
	err := g.src.handler(ctx, &j.batch)
	if err != nil {
		g.mu.Lock()
		g.err = err
		g.mu.Unlock()
	} else {
		g.src.stats.records.Add(int64(len(j.batch.Records) + j.batch.Skimmed.Records))
	}
	g.src.giveJob(j)
}

// finish waits until all that was taken is handled. It returns an error when something was not: nothing of the group
// may be answered then.
func (g *group) finish(ctx context.Context, c *claim) error {
	if j := g.open; j != nil {
		g.open = nil
		if j.empty() {
			g.src.giveJob(j)
		} else {
			g.call(ctx, j)
		}
	}
	g.calls.Wait()
	for i, buf := range g.decompressed {
		g.src.giveBuffer(c, buf)
		g.decompressed[i] = nil
	}
	g.decompressed = g.decompressed[:0]
	g.src.budget.release(c, g.claimed)
	g.claimed = 0
	err := g.err
	g.err = nil
	return err
}
