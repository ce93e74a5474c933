package kafka

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

// partition is one assigned partition, for one generation of the group. Three parties work on it: a fetcher appends what
// it fetched to the queue, one goroutine (work) decodes the queue into spans, and each span's handler calls run in
// goroutines of their own. The router decides which fetcher it belongs to, and where it begins.
type partition struct {
	topic  string
	id     int32
	g      *generation
	origin sources.Origin // the cluster is that of the topic or of the configuration
	ledger *ledger
	track  tracker
	wake   chan struct{} // to work: something was queued, finished or freed

	highWater atomic.Int64 // end of the partition as it was last told
	toldAt    atomic.Int64 // when that was, in Unix nanoseconds

	mu       sync.Mutex
	owner    *fetcher // nil: the router has to find the leader
	need     need     // what the router has to find out besides
	next     int64    // offset that is fetched next
	max      int32    // bytes that are asked for
	queue    []chunk
	over     bool // work has ended
	calls    int
	badAt    int64 // offset of a batch that could not be read
	badTries int
	since    time.Time // when next was first found out of range
}

// need is what has to be found out before a partition can be fetched.
type need int

const (
	needNothing need = iota
	needStart        // it has no committed offset
	needRange        // its offset was out of range
)

// chunk is what one fetch brought for a partition or, without records, where the partition goes on because what it wanted
// is not there any more.
type chunk struct {
	from     int64
	records  *buffer
	size     int // bytes of whole batches
	verified int // of them those whose checksum is known to be right
	aborted  []aborted
}

const (
	// fetchBytes is how much of one partition is asked for at a time, unless a single batch is larger: 2 MiB. Measured: with
	// 512 KiB a GB costs a tenth more, because each fetch has to be waited for; with 4 MiB it costs no less.
	fetchBytes = 2 << 20
	// queuedChunks is how many fetches of a partition may wait to be decoded: one in work, one ready.
	queuedChunks = 2
	// badTries is how often a batch with a wrong checksum is fetched before it is passed on as it is.
	badTries = 3
)

func (g *generation) newPartition(topic string, id int32, offset int64) *partition {
	p := &partition{
		topic: topic, id: id, g: g, max: fetchBytes, badAt: -1, next: offset, wake: make(chan struct{}, 1),
		origin: sources.Origin{Source: g.s.settings.Name, Topic: topic, Partition: id, Cluster: g.s.clusterOf(topic)},
	}
	p.toldAt.Store(time.Now().UnixNano())
	p.ledger = &ledger{total: &g.s.held, freed: p.freed}
	if offset < 0 {
		p.need, p.next = needStart, -1
	}
	p.track.reset(p.next, p.next)
	return p
}

// freed is told of every buffer of the partition that was freed.
func (p *partition) freed() {
	notify(p.wake)
	p.mu.Lock()
	f := p.owner
	p.mu.Unlock()
	if f != nil {
		notify(f.wake)
	}
	p.g.s.freed()
}

// notify wakes the one that waits for c, or the next to wait.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// work decodes what was fetched until ctx ends.
func (p *partition) work(ctx context.Context) {
	b := spanner{p: p}
	for {
		c, ok := p.pop(ctx, &b)
		if !ok {
			break
		}
		if c.records == nil {
			p.track.move(c.from)
			continue
		}
		b.chunk(ctx, c)
		c.records.release()
	}
	b.close()
	p.mu.Lock()
	queue := p.queue
	p.queue, p.over = nil, true
	p.mu.Unlock()
	release(queue)
}

// release frees chunks that nobody decodes.
func release(queue []chunk) {
	for _, c := range queue {
		if c.records != nil {
			c.records.release()
		}
	}
}

// ended notes the end of the partition as a broker told it.
func (p *partition) ended(offset int64) {
	p.highWater.Store(offset)
	p.toldAt.Store(time.Now().UnixNano())
}

// pop returns the next chunk. Before it waits it lets go of what the spanner keeps for later: that counts as in hand, and
// would keep this partition, or others, from being fetched.
func (p *partition) pop(ctx context.Context, b *spanner) (chunk, bool) {
	for {
		if ctx.Err() != nil {
			return chunk{}, false
		}
		p.mu.Lock()
		if len(p.queue) > 0 {
			c := p.queue[0]
			p.queue = append(p.queue[:0], p.queue[1:]...)
			f := p.owner
			p.mu.Unlock()
			if f != nil {
				notify(f.wake) // there is room for another one
			}
			return c, true
		}
		p.mu.Unlock()
		b.close()
		select {
		case <-p.wake:
		case <-ctx.Done():
		}
	}
}

// admit waits until another call may be made, or more be decoded. While nothing of the partition is in hand it never
// waits for memory, so that every partition makes progress whatever the others hold.
func (p *partition) admit(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.mu.Lock()
		calls := p.calls
		p.mu.Unlock()
		full := p.ledger.held.Load() > PartitionMemory
		if !p.g.commits.pauses() && (calls == 0 || calls < PartitionCalls && !full && !p.g.s.full(0)) {
			return nil
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
		}
	}
}

// call makes the handler calls of a span, and notes when all are through.
func (p *partition) call(sp *span) {
	number := p.track.begin(sp.end)
	p.mu.Lock()
	p.calls++
	p.mu.Unlock()
	sp.pending.Store(int32(len(sp.groups)))
	for i := range sp.groups {
		p.g.callers.start(call{p, sp, &sp.groups[i], number})
	}
}

func (p *partition) handle(sp *span, gr *group, number uint64) {
	b := sources.Batch{Origin: p.origin, Records: gr.records}
	if gr.cluster != "" {
		b.Origin.Cluster = gr.cluster
	}
	err := p.g.handler(p.g.callCtx, &b)
	for wait := firstBackoff; err != nil && p.g.callCtx.Err() == nil; wait = min(2*wait, maxBackoff) {
		// A handler must not give up before its context ends. One that does must not cost a record.
		p.g.s.log("a handler call failed though its context had not ended; it is made again", "handler",
			"topic", p.topic, "partition", p.id, "error", err)
		if sleep(p.g.callCtx, wait) != nil {
			break
		}
		err = p.g.handler(p.g.callCtx, &b)
	}
	if err != nil {
		sp.failed.Store(true)
	}
	if sp.pending.Add(-1) > 0 {
		return
	}
	var fault error
	if sp.failed.Load() {
		fault = errUnfinished
	}
	p.track.finish(number, fault)
	count := sp.count
	sp.release()
	p.mu.Lock()
	p.calls--
	p.mu.Unlock()
	notify(p.wake)
	p.g.finished(count)
}

var errUnfinished = errors.New("a handler call ended unfinished")

// skip moves the position over offsets without records, without a handler call.
func (p *partition) skip(end int64) {
	p.track.finish(p.track.begin(end), nil)
}

// rewind makes the batch at the offset be fetched again, and says whether that is worth it.
func (p *partition) rewind(offset int64) bool {
	p.mu.Lock()
	if p.badAt != offset {
		p.badAt, p.badTries = offset, 0
	}
	p.badTries++
	again := p.badTries < badTries
	var dropped []chunk
	if again {
		// A fetch that is under way asked for another offset: its answer will not be taken.
		dropped, p.queue, p.next = p.queue, nil, offset
	}
	p.mu.Unlock()
	release(dropped)
	return again
}
