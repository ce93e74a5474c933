package forward

import (
	"hash/maphash"
	"sync"
)

// answered remembers the chunks that were answered last. A sender that missed the answer sends the chunk again, with
// the same id and the same bytes, perhaps on another connection: it is answered again at once, and not handled twice.
//
// A chunk is known by its id, its length and its first and last bytes, hashed with a seed of this process: neither a
// sender that counts its chunks from 1 after every start nor one that guesses another's id can make us answer for
// something that we have not seen. The times and audit ids of the first events are among the first bytes.
type answered struct {
	seed maphash.Seed
	mu   sync.Mutex
	ring []chunkKey
	next int
	keys map[chunkKey]struct{}
}

type chunkKey struct {
	id, first, last uint64
	size            int
}

// answeredEnds is how many bytes at either end of a message are hashed. Hashing all of it would cost a tenth of the
// whole source.
const answeredEnds = 16 << 10

func newAnswered(n int) *answered {
	return &answered{seed: maphash.MakeSeed(), ring: make([]chunkKey, 0, n), keys: make(map[chunkKey]struct{}, n)}
}

// key is what a chunk is known by. message are all bytes of the message.
func (a *answered) key(chunk, message []byte) chunkKey {
	n := min(len(message), answeredEnds)
	return chunkKey{
		id:    maphash.Bytes(a.seed, chunk),
		first: maphash.Bytes(a.seed, message[:n]),
		last:  maphash.Bytes(a.seed, message[len(message)-n:]),
		size:  len(message),
	}
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
