package sourcetest

import (
	"bytes"
	"context"
	"hash/maphash"

	"github.com/spawnwatch/spawnwatch/sources"
)

// Spoiled is the byte that lent memory is full of once its loan has ended. It occurs in no JSON text, so whoever
// kept a slice fails to read it.
const Spoiled = 0xDB

// Lend gives h copies of the bytes of each batch and overwrites them with [Spoiled] when h has returned: a handler
// that keeps lent bytes shows. The caller's own batch is not touched.
func Lend(h sources.Handler) sources.Handler {
	return func(ctx context.Context, b *sources.Batch) error {
		lent := clone(b)
		err := h(ctx, lent)
		spoil(lent)
		return err
	}
}

// clone copies the batch with all its bytes.
func clone(b *sources.Batch) *sources.Batch {
	c := *b
	c.Records = make([]sources.Record, len(b.Records))
	for i, r := range b.Records {
		r.Value, r.Key = bytes.Clone(r.Value), bytes.Clone(r.Key)
		headers := r.Headers
		r.Headers = nil
		for _, hd := range headers {
			r.Headers = append(r.Headers, sources.Header{Key: bytes.Clone(hd.Key), Value: bytes.Clone(hd.Value)})
		}
		c.Records[i] = r
	}
	return &c
}

// spoil overwrites all bytes of the batch.
func spoil(b *sources.Batch) {
	for i := range b.Records {
		r := &b.Records[i]
		overwrite(r.Value)
		overwrite(r.Key)
		for _, hd := range r.Headers {
			overwrite(hd.Key)
			overwrite(hd.Value)
		}
	}
}

func overwrite(b []byte) {
	for i := range b {
		b[i] = Spoiled
	}
}

// digest sums up everything a handler may read, to see whether it changed under its hands.
func digest(seed maphash.Seed, b *sources.Batch) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for i := range b.Records {
		r := &b.Records[i]
		maphash.WriteComparable(&h, r.Offset)
		h.Write(r.Value)
		h.Write(r.Key)
		for _, hd := range r.Headers {
			h.Write(hd.Key)
			h.Write(hd.Value)
		}
	}
	return h.Sum64()
}
