package forward

import "context"

// Buffers of bytes are pooled, and every byte of their capacity is claimed from the budget while they are in use.

// smallestBuffer is what a connection reads into first, 64 KiB.
const smallestBuffer = 64 << 10

// takeBuffer takes an empty buffer of at least smallestBuffer bytes.
func (s *Source) takeBuffer(ctx context.Context, c *claim) (*[]byte, error) {
	buf, _ := s.buffers.Get().(*[]byte)
	if buf == nil {
		b := make([]byte, 0, smallestBuffer)
		buf = &b
	}
	if err := s.budget.acquire(ctx, c, int64(cap(*buf))); err != nil {
		s.buffers.Put(buf)
		return nil, err
	}
	return buf, nil
}

// growBuffer returns a buffer with the bytes of buf and twice its capacity, or what the largest message needs; buf is
// done with, also after an error.
func (s *Source) growBuffer(ctx context.Context, c *claim, buf *[]byte) (*[]byte, error) {
	// The small one is not pooled: the pool shall hold what was large enough.
	defer s.budget.release(c, int64(cap(*buf)))
	n := 2 * cap(*buf)
	if cap(*buf) < largestBuffer {
		n = min(n, largestBuffer)
	}
	if err := s.budget.acquire(ctx, c, int64(n)); err != nil {
		return nil, err
	}
	grown := append(make([]byte, 0, n), *buf...)
	return &grown, nil
}

// giveBuffer gives a buffer and its claim back.
func (s *Source) giveBuffer(c *claim, buf *[]byte) {
	n := int64(cap(*buf))
	*buf = (*buf)[:0]
	if n <= largestPooled {
		s.buffers.Put(buf)
	}
	s.budget.release(c, n)
}

// largestBuffer holds the largest message and the beginning of the next.
const largestBuffer = maxMessage + smallestBuffer

// largestPooled keeps a rare giant from staying, 8 MiB.
const largestPooled = 8 << 20
