package nats

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spawnwatch/spawnwatch/sources"
)

const (
	// batchBytes is how much goes into one call of the handler.
	batchBytes = 256 << 10
	// batchRecords bounds a batch of tiny messages.
	batchRecords = 1024
	// linger is how long a batch that is not full waits for more while other calls are in flight. The first message
	// after a silence never waits.
	linger = 5 * time.Millisecond
	// clusterHeader names the cluster of a message, in any case.
	clusterHeader = "cluster"
)

// desk gathers messages into batches of one subject and hands these to the handler, several at a time. It belongs to
// one goroutine; what the goroutines of the calls share with it goes through done.
type desk struct {
	settings Settings
	handler  sources.Handler
	// settle acknowledges what a call has handled, in the goroutine of that call.
	settle func(*call)

	open   map[string]*call // by subject: those that take more
	recent *call            // the one that took the last message, if it takes more
	queue  []*call          // not handed over yet, in the order of their first message
	active []*call          // handed over
	done   chan *call       // returned
	spare  []*call          // for use again

	messages, bytes int // held: in queue and active
}

// call is one call of the handler, before, while and after it is made.
type call struct {
	batch sources.Batch
	// replies are where the messages are acknowledged; nil in mode core.
	replies []string
	// headers are the bytes and the entries of the records' headers.
	headerText []byte
	bytes      int
	// since is when the first message came, touched when the server last heard that its messages are in work.
	since, touched time.Time
	open           bool
	place          int // in active
	err            error
}

func newDesk(s Settings, h sources.Handler, settle func(*call)) *desk {
	return &desk{
		settings: s,
		handler:  h,
		settle:   settle,
		open:     map[string]*call{},
		done:     make(chan *call, s.Calls),
	}
}

// fits reports whether one more message may be held. One that is larger than all there is fits alone.
func (d *desk) fits(m *nats.Msg) bool {
	return d.messages == 0 || d.messages < d.settings.Messages && d.bytes+m.Size() <= d.settings.Bytes
}

// take puts a message into the batch of its subject.
func (d *desk) take(m *nats.Msg, v delivery) {
	cluster := d.settings.Cluster
	if m.Header != nil {
		if named := clusterOf(m.Header); named != "" {
			cluster = named
		}
	}
	c := d.recent
	if c == nil || c.batch.Origin.Topic != m.Subject || c.batch.Origin.Cluster != cluster {
		c = d.open[m.Subject]
		if c != nil && c.batch.Origin.Cluster != cluster {
			d.shut(c)
			c = nil
		}
	}
	if c != nil && v.sequence > 0 && v.sequence <= c.last() {
		d.shut(c) // delivered again: a batch ascends in the stream
		c = nil
	}
	if c == nil {
		c = d.begin(m.Subject, cluster)
	}
	c.add(m, v, d.settings.MaxRecord)
	d.messages++
	d.bytes += m.Size()
	d.recent = c
	if c.bytes >= batchBytes || len(c.batch.Records) >= batchRecords {
		d.shut(c)
	}
}

func clusterOf(h nats.Header) string {
	for key, values := range h {
		if len(key) == len(clusterHeader) && strings.EqualFold(key, clusterHeader) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// begin opens a batch.
func (d *desk) begin(subject, cluster string) *call {
	var c *call
	if n := len(d.spare); n > 0 {
		c = d.spare[n-1]
		d.spare = d.spare[:n-1]
	} else {
		c = &call{}
	}
	c.batch.Origin = sources.Origin{Source: d.settings.Name, Topic: subject, Partition: -1, Cluster: cluster}
	c.since = time.Now()
	c.touched = c.since
	c.open = true
	d.open[subject] = c
	d.queue = append(d.queue, c)
	return c
}

// shut lets a batch take no more.
func (d *desk) shut(c *call) {
	c.open = false
	delete(d.open, c.batch.Origin.Topic)
	if d.recent == c {
		d.recent = nil
	}
}

// last is the stream sequence of the last message.
func (c *call) last() int64 {
	if n := len(c.batch.Records); n > 0 {
		return c.batch.Records[n-1].Offset
	}
	return 0
}

// add appends the message. Its bytes belong to the client's own copy, which nobody else reads.
func (c *call) add(m *nats.Msg, v delivery, maxRecord int) {
	r := sources.Record{Value: m.Data, Offset: v.sequence, Time: v.stored}
	if len(m.Data) > maxRecord {
		r.Value = m.Data[:min(len(m.Data), sources.OversizedKeep):min(len(m.Data), sources.OversizedKeep)]
		r.Oversized = &sources.Oversized{Size: int64(len(m.Data)), SHA256: sha256.Sum256(m.Data)}
	}
	if len(m.Header) > 0 {
		r.Headers = c.headers(m.Header)
	}
	c.batch.Records = append(c.batch.Records, r)
	if m.Reply != "" && v.sequence > 0 {
		c.replies = append(c.replies, m.Reply)
	}
	c.bytes += m.Size()
}

// headers copies them into bytes that may be lent.
func (c *call) headers(h nats.Header) []sources.Header {
	out := make([]sources.Header, 0, len(h))
	lend := func(s string) []byte {
		from := len(c.headerText)
		c.headerText = append(c.headerText, s...)
		return c.headerText[from:len(c.headerText):len(c.headerText)]
	}
	for key, values := range h {
		for _, v := range values {
			out = append(out, sources.Header{Key: lend(key), Value: lend(v)})
		}
	}
	return out
}

// dispatch hands over what is due: full batches, those that waited long enough, and anything while nothing is in
// flight. It returns when the next one is due, zero where none waits for time alone.
func (d *desk) dispatch(ctx context.Context) (due time.Time) {
	n := 0
	for ; n < len(d.queue) && len(d.active) < d.settings.Calls; n++ {
		c := d.queue[n]
		if c.open && len(d.active) > 0 && time.Since(c.since) < linger {
			// Those behind it are younger; a full one among them may wait for this one, but not for longer than that.
			due = c.since.Add(linger)
			break
		}
		if c.open {
			d.shut(c)
		}
		c.place = len(d.active)
		d.active = append(d.active, c)
		go func() {
			c.err = d.handler(ctx, &c.batch)
			if c.err == nil {
				d.settle(c)
			}
			d.done <- c // has room for every call
		}()
	}
	rest := copy(d.queue, d.queue[n:])
	clear(d.queue[rest:])
	d.queue = d.queue[:rest]
	return due
}

// finish takes back a call that returned. It must not be used afterwards.
func (d *desk) finish(c *call) {
	last := len(d.active) - 1
	d.active[c.place] = d.active[last]
	d.active[c.place].place = c.place
	d.active[last] = nil
	d.active = d.active[:last]
	d.release(c)
}

// release frees what c holds.
func (d *desk) release(c *call) {
	d.messages -= len(c.batch.Records)
	d.bytes -= c.bytes
	clear(c.batch.Records) // the messages' memory
	clear(c.replies)
	*c = call{
		batch:      sources.Batch{Records: c.batch.Records[:0]},
		replies:    c.replies[:0],
		headerText: nil, // small and rare
	}
	if len(d.spare) < d.settings.Calls {
		d.spare = append(d.spare, c)
	}
}

// abandon empties the queue, giving each batch to back.
func (d *desk) abandon(back func(*call)) {
	for _, c := range d.queue {
		if c.open {
			d.shut(c)
		}
		back(c)
		d.release(c)
	}
	clear(d.queue)
	d.queue = d.queue[:0]
}

// holds reports whether the message with that sequence is in hand.
func (d *desk) holds(sequence int64) bool {
	for _, list := range [2][]*call{d.queue, d.active} {
		for _, c := range list {
			// The records ascend, but a batch may have gaps.
			if r := c.batch.Records; r[0].Offset <= sequence && sequence <= c.last() {
				for i := range r {
					if r[i].Offset == sequence {
						return true
					}
				}
			}
		}
	}
	return false
}
