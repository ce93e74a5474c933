package kafka

import "sync"

// tracker knows what of one partition may be committed, in one generation of the group. Spans of the partition are
// begun in order and finished in any order; what may be committed is the end of the finished prefix. Three conditions
// make it safe, and the model test shows that each is needed:
//
//   - the prefix is contiguous: a span that finished early waits for those before it;
//   - only a span whose handler call returned nil counts as finished;
//   - once closed, because its generation ended, it gives out nothing any more, whatever finishes later.
type tracker struct {
	mu        sync.Mutex
	spans     []spanState // begun and not yet part of the prefix, in order; spans[head:] are live
	head      int
	first     uint64 // number of spans[head]
	position  int64  // end of the finished prefix
	committed int64  // what the group is known to have, -1 if nothing
	closed    bool
}

type spanState struct {
	end  int64
	done bool
}

// reset begins at position; committed is what the group has, -1 if nothing.
func (t *tracker) reset(position, committed int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.first += uint64(len(t.spans) - t.head)
	t.spans, t.head = t.spans[:0], 0
	t.position, t.committed = position, committed
}

// begin notes a span that ends before the offset end and starts where the one before it ended. The number it returns
// is given to finish.
func (t *tracker) begin(end int64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head > 0 && t.head == len(t.spans) {
		t.spans, t.head = t.spans[:0], 0
	}
	t.spans = append(t.spans, spanState{end: end})
	return t.first + uint64(len(t.spans)-t.head) - 1
}

// finish notes what became of a span: nil means that all of it is handled.
func (t *tracker) finish(number uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// A number below first belongs to spans that reset forgot.
	if t.closed || err != nil || number < t.first || number >= t.first+uint64(len(t.spans)-t.head) {
		return
	}
	t.spans[t.head+int(number-t.first)].done = true
	for t.head < len(t.spans) && t.spans[t.head].done {
		t.position = t.spans[t.head].end
		t.head++
		t.first++
	}
	if t.head >= 64 && t.head*2 >= len(t.spans) {
		n := copy(t.spans, t.spans[t.head:])
		t.spans, t.head = t.spans[:n], 0
	}
}

// move goes on at position without a span up to there: behind the spans that were begun, or, where that is before their
// end, because the partition was cut short, without them.
func (t *tracker) move(position int64) {
	t.mu.Lock()
	last := t.position
	if n := len(t.spans); n > t.head {
		last = t.spans[n-1].end
	}
	t.mu.Unlock()
	if position < last {
		t.reset(position, -1)
		return
	}
	t.finish(t.begin(position), nil)
}

// due returns the offset to commit; ok is false where there is nothing new, or where nothing may be committed any more.
func (t *tracker) due() (offset int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.position, !t.closed && t.position != t.committed
}

// wrote notes that offset was committed.
func (t *tracker) wrote(offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.committed = offset
}

// done returns the end of the finished prefix, and whether nothing else was begun.
func (t *tracker) done() (position int64, idle bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.position, t.head == len(t.spans)
}

// close ends it for good.
func (t *tracker) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}
