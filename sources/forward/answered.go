package forward

import (
	"hash/maphash"
	"sync"
)

// answered remembers the chunks that were answered last. A sender that missed the answer sends the chunk again, with
// the same id and the same bytes, perhaps on another connection: it is answered again at once, and not handled twice.
//
// A chunk is known by its id, its length, and its first and last bytes or those that each of its entries begins with,
// hashed with a seed of this process: neither a sender that counts its chunks from 1 after every start nor one that
// guesses another's id can make us answer for something that we have not seen. The times and audit ids of events are
// among these bytes.
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

// answeredSample is how much of either end of each entry counts in a message that is read entry by entry: enough for the
// audit id and the times of an event.
const answeredSample = 256

// sample is what an entry adds to the digest of its message.
func (a *answered) sample(entry []byte) uint64 {
	n := min(len(entry), answeredSample)
	return maphash.Bytes(a.seed, entry[:n]) + 3*maphash.Bytes(a.seed, entry[len(entry)-n:]) + uint64(len(entry))
}

// ends is what many entries that were read as one add to it.
func (a *answered) ends(entries []byte) uint64 {
	n := min(len(entries), answeredEnds)
	return maphash.Bytes(a.seed, entries[:n]) + 3*maphash.Bytes(a.seed, entries[len(entries)-n:]) + uint64(len(entries))
}

// streamed is the key of a message of so many bytes that was read entry by entry.
func (a *answered) streamed(chunk []byte, digest uint64, size int) chunkKey {
	return chunkKey{id: maphash.Bytes(a.seed, chunk), first: digest, size: size}
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
