package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"
	fetchapi "github.com/segmentio/kafka-go/protocol/fetch"
)

const (
	// longPoll is how long a broker waits for records when it has none.
	longPoll = 500 * time.Millisecond
	// shortPoll is how long it waits when partitions were left out because they are at their bounds: the next fetch,
	// with them, should not have to wait for others that have nothing. It doubles while they stay there.
	shortPoll = 20 * time.Millisecond
	// fetchTime bounds a fetch as a whole.
	fetchTime = 30 * time.Second
	// fetchTotal bounds what is asked for in one fetch, 32 MiB.
	fetchTotal = 32 << 20

	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// fetcher fetches from one broker, for all partitions that it leads, one fetch at a time.
type fetcher struct {
	g      *generation
	broker int32
	wake   chan struct{}
	turn   int // which partition is asked first, so that none starves where the memory is short
	poll   time.Duration
}

func (f *fetcher) run(ctx context.Context) {
	wait := firstBackoff
	for ctx.Err() == nil {
		req, left := f.next()
		if req == nil {
			select {
			case <-f.wake:
			case <-ctx.Done():
			}
			continue
		}
		f.pace(req, left)
		err := f.fetch(ctx, req)
		if err == nil {
			wait = firstBackoff
			continue
		}
		if ctx.Err() != nil {
			return
		}
		f.failed(req, err)
		if sleep(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, maxBackoff)
	}
}

// next makes a request for every partition of the broker that has room. left says whether any was left out.
func (f *fetcher) next() (req *fetchRequest, left bool) {
	s := f.g.s
	asked := int64(0)
	f.turn++
	for i := range f.g.parts {
		p := f.g.parts[(i+f.turn)%len(f.g.parts)]
		p.mu.Lock()
		mine, next, size := p.owner == f && p.need == needNothing, p.next, p.max
		room := len(p.queue) < queuedChunks
		p.mu.Unlock()
		if !mine {
			continue
		}
		held := p.ledger.held.Load()
		room = room && (held == 0 || held+int64(size) <= PartitionMemory)
		if !room || asked > 0 && asked+int64(size) > fetchTotal || (held > 0 || asked > 0) && s.full(asked+int64(size)) {
			left = true
			continue
		}
		asked += int64(size)
		if req == nil {
			req = &fetchRequest{pool: &s.pool}
		}
		req.parts = append(req.parts, fetchPart{p: p, offset: next, max: size})
	}
	if req == nil {
		return nil, left
	}
	req.wire = fetchapi.Request{
		ReplicaID: -1, MinBytes: 1, MaxBytes: int32(min(asked, MaxBatch)), IsolationLevel: readCommitted, SessionEpoch: -1,
	}
	for _, p := range req.parts {
		want := fetchapi.RequestPartition{
			Partition: p.p.id, CurrentLeaderEpoch: -1, FetchOffset: p.offset, LogStartOffset: -1, PartitionMaxBytes: p.max,
		}
		if n := len(req.wire.Topics); n > 0 && req.wire.Topics[n-1].Topic == p.p.topic {
			req.wire.Topics[n-1].Partitions = append(req.wire.Topics[n-1].Partitions, want)
			continue
		}
		req.wire.Topics = append(req.wire.Topics, fetchapi.RequestTopic{Topic: p.p.topic, Partitions: []fetchapi.RequestPartition{want}})
	}
	return req, left
}

// pace sets how long the broker may wait.
func (f *fetcher) pace(req *fetchRequest, left bool) {
	switch {
	case !left:
		f.poll = longPoll
	case f.poll >= longPoll || f.poll == 0:
		f.poll = shortPoll
	}
	req.wire.MaxWaitTime = int32(f.poll / time.Millisecond)
}

// fetch sends the request and hands out what comes.
func (f *fetcher) fetch(ctx context.Context, req *fetchRequest) error {
	timeout, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	came := false
	req.took = func(part *fetchPart) {
		if f.answer(part) {
			came = true
		}
	}
	err := f.g.s.conn.Exchange(timeout, f.broker, req)
	req.free()
	if err != nil {
		return err
	}
	for i := range req.parts {
		if part := &req.parts[i]; !part.answer.came {
			f.answer(part)
		}
	}
	if !came && f.poll < longPoll {
		f.poll = min(2*f.poll, longPoll-1)
	} else if f.poll < longPoll {
		f.poll = shortPoll
	}
	return nil
}

// answer takes a partition's part of an answer. It returns whether records came.
func (f *fetcher) answer(part *fetchPart) bool {
	p, a := part.p, &part.answer
	var code error = kafka.Error(a.code)
	if a.code == 0 {
		code = nil
	}
	if !a.came {
		code = errLeftOut
	}
	if code == nil {
		p.ended(a.highWater)
	}
	end, size, frame := scan(a, part.offset)

	p.mu.Lock()
	current := p.owner == f && p.next == part.offset && p.need == needNothing
	switch {
	case !current: // moved to another broker or back to another offset meanwhile
		code = nil
		size = 0
	case errors.Is(code, kafka.OffsetOutOfRange):
		p.owner, p.need = nil, needRange
	case code != nil:
		p.owner = nil
	case size > 0:
		// Queued as one step with the move of the offset: a rewind comes before both or takes both back.
		p.next, p.max = end, fetchBytes
		p.since = time.Time{}
		if p.over {
			size = 0
			break
		}
		p.queue = append(p.queue, chunk{from: part.offset, records: a.records, size: size, verified: a.verified, aborted: a.aborted})
		a.records = nil // the chunk's now
	case frame > int(part.max):
		// Not one whole batch: more has to be asked for. Brokers since 0.10.1 (KIP-74) send the first one whole.
		p.max = int32(min(frame, MaxBatch))
	}
	p.mu.Unlock()

	if code != nil {
		f.g.s.settings.Meter.Event(FetchFailed, 1)
		if !errors.Is(code, kafka.OffsetOutOfRange) {
			f.g.s.log("a partition cannot be fetched; its leader is looked up again", "partition",
				"topic", p.topic, "partition", p.id, "offset", part.offset, "broker", f.broker, "error", f.g.s.conn.Explain(code))
		}
		notify(f.g.route)
	}
	if size == 0 {
		return false
	}
	notify(p.wake)
	return true
}

var errLeftOut = errors.New("the broker's answer leaves the partition out")

// scan finds the end of the last whole batch, from the headers alone: what is in them is checked when they are decoded.
// frame is the size of the first batch.
func scan(a *fetchAnswer, from int64) (end int64, size, frame int) {
	if a.records == nil {
		return from, 0, 0
	}
	data := a.records.data[:a.size]
	frame = frameSize(data)
	end = from
	for {
		n := frameSize(data[size:])
		if n < batchFrame || n > len(data)-size {
			return end, size, frame
		}
		next, ok := nextOffset(data[size : size+n])
		if !ok {
			next = end + 1 // passed on as unreadable, as one offset
		}
		end = max(end, next)
		size += n
	}
}

// failed is called when the whole fetch failed: the broker may be gone.
func (f *fetcher) failed(req *fetchRequest, err error) {
	s := f.g.s
	s.settings.Meter.Event(FetchFailed, 1)
	s.log("a fetch failed; the leaders of its partitions are looked up again", "fetch", "broker", f.broker, "error", s.conn.Explain(err))
	for i := range req.parts {
		p := req.parts[i].p
		p.mu.Lock()
		if p.owner == f {
			p.owner = nil
		}
		p.mu.Unlock()
	}
	notify(f.g.route)
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
