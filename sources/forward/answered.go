package forward

import (
	"hash/maphash"
	"sync"
)

// answered remembers the chunks that were answered last. A sender that missed the answer sends the chunk again, with
// the same id and the same bytes, perhaps on another connection: it is answered again at once, and not handled twice.
//
// A chunk is known by its id and its bytes, hashed with a seed of this process: who guesses an id cannot make us
// answer for something that we have not seen.
type answered struct {
	seed maphash.Seed
	mu   sync.Mutex
	ring []chunkKey
	next int
	keys map[chunkKey]struct{}
}

type chunkKey struct {
	id, body uint64
	size     int
}

func newAnswered(n int) *answered {
	return &answered{seed: maphash.MakeSeed(), ring: make([]chunkKey, 0, n), keys: make(map[chunkKey]struct{}, n)}
}

// key is what a chunk is known by. message are all bytes of the message.
func (a *answered) key(chunk, message []byte) chunkKey {
	return chunkKey{maphash.Bytes(a.seed, chunk), maphash.Bytes(a.seed, message), len(message)}
}

func (a *answered) has(k chunkKey) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.keys[k]
	return ok
}

// add remembers k, and forgets the oldest one when there are too many.
func (a *answered) add(k chunkKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.keys[k]; ok {
		return
	}
	if len(a.ring) < cap(a.ring) {
		a.ring = append(a.ring, k)
	} else {
		delete(a.keys, a.ring[a.next])
		a.ring[a.next] = k
		a.next = (a.next + 1) % len(a.ring)
	}
	a.keys[k] = struct{}{}
}
