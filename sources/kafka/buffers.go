package kafka

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// buffer is memory that holds what was fetched or decoded for one partition. It is counted by those who use it, and
// returns to its pool with the last of them. Its bytes are valid until then.
type buffer struct {
	data   []byte // len is the capacity of its class, or more
	refs   atomic.Int32
	owner  *ledger
	origin *pool
}

// hold adds a user.
func (b *buffer) hold() { b.refs.Add(1) }

// release ends one use. After the last one nobody may touch the bytes.
func (b *buffer) release() {
	switch n := b.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("kafka: a buffer was released more often than held")
	}
	owner, size := b.owner, int64(cap(b.data))
	b.owner = nil
	b.origin.put(b)
	owner.give(size)
}

// ledger counts the bytes of one partition, and with them those of the source.
type ledger struct {
	held  atomic.Int64
	total *atomic.Int64
	freed func() // told after each release
}

func (l *ledger) take(n int64) {
	l.held.Add(n)
	l.total.Add(n)
}

func (l *ledger) give(n int64) {
	l.held.Add(-n)
	l.total.Add(-n)
	l.freed()
}

const (
	minClass = 12 // 4 KiB
	maxClass = 26 // 64 MiB: what is larger is not kept
	// keptBytes bounds what the pool keeps for later.
	keptBytes = 64 << 20
)

// pool keeps buffers for reuse. Other than a sync.Pool it keeps them over garbage collections: buffers of a megabyte
// cost more to clear than to keep.
type pool struct {
	mu   sync.Mutex
	kept int
	free [maxClass + 1][]*buffer
}

// class is the power of two that holds n bytes.
func class(n int) int { return max(minClass, bits.Len(uint(max(n, 1)-1))) }

// take returns a buffer of at least n bytes with one user, on the account of l.
func (p *pool) take(n int, l *ledger) *buffer {
	b := p.pop(class(n))
	if b == nil {
		size := n
		if c := class(n); c <= maxClass {
			size = 1 << c
		}
		b = &buffer{data: make([]byte, size), origin: p}
	}
	b.owner = l
	b.refs.Store(1)
	l.take(int64(cap(b.data)))
	return b
}

// adopt makes a buffer of memory that something else allocated.
func (p *pool) adopt(data []byte, l *ledger) *buffer {
	b := &buffer{data: data[:cap(data)], owner: l, origin: p}
	b.refs.Store(1)
	l.take(int64(cap(data)))
	return b
}

func (p *pool) pop(c int) *buffer {
	if c > maxClass {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.free[c]
	if len(list) == 0 {
		return nil
	}
	b := list[len(list)-1]
	list[len(list)-1] = nil
	p.free[c] = list[:len(list)-1]
	p.kept -= cap(b.data)
	return b
}

func (p *pool) put(b *buffer) {
	c := bits.Len(uint(cap(b.data))) - 1 // the largest class that it can serve
	if c < minClass || c > maxClass {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept+cap(b.data) > keptBytes {
		return
	}
	p.kept += cap(b.data)
	p.free[c] = append(p.free[c], b)
}
