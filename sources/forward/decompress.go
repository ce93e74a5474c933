package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// zstdWindow is the largest window of a zstd frame, 8 MiB, which RFC 8878 (section 3.1.1.1.2) recommends to support. A
// decoder takes about as much memory.
const zstdWindow = 8 << 20

// decompressors pools the decoders, which are dear to make.
type decompressors struct {
	gzips, zstds sync.Pool
}

// errBomb is the fault of a payload that decompresses to more than maxMessage.
var errBomb = fmt.Errorf("it decompresses to more than %d bytes", maxMessage)

// decompress decompresses src, which has several gzip members or zstd frames when a sender joined chunks. The result
// lives in a buffer of buffers whose capacity c holds; the caller returns both. It is nil after an error.
//
// The error is ctx's when that ended while waiting for memory; every other one is the payload's own fault.
func (s *Source) decompress(ctx context.Context, c *claim, method string, src []byte) (*[]byte, error) {
	switch method {
	case "gzip":
		r, _ := s.decoders.gzips.Get().(*gzip.Reader)
		if r == nil {
			r = new(gzip.Reader)
		}
		defer s.decoders.gzips.Put(r)
		if err := r.Reset(bytes.NewReader(src)); err != nil {
			return nil, err
		}
		return s.readAll(ctx, c, r)
	case "zstd":
		r, _ := s.decoders.zstds.Get().(*zstd.Decoder)
		if r == nil {
			var err error
			r, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
			if err != nil {
				return nil, err
			}
		}
		defer func() {
			_ = r.Reset(nil) // lets go of src
			s.decoders.zstds.Put(r)
		}()
		if err := s.budget.acquire(ctx, c, zstdWindow); err != nil {
			return nil, err
		}
		defer s.budget.release(c, zstdWindow)
		if err := r.Reset(bytes.NewReader(src)); err != nil {
			return nil, err
		}
		return s.readAll(ctx, c, r)
	}
	return nil, fmt.Errorf("expected it to be compressed by gzip or zstd, got %.40q", method)
}

func (s *Source) readAll(ctx context.Context, c *claim, r io.Reader) (*[]byte, error) {
	buf, err := s.takeBuffer(ctx, c)
	if err != nil {
		return nil, err
	}
	for {
		b := *buf
		if len(b) == cap(b) {
			if buf, err = s.growBuffer(ctx, c, buf); err != nil {
				return nil, err
			}
			b = *buf
		}
		n, err := r.Read(b[len(b):cap(b)])
		*buf = b[:len(b)+n]
		switch {
		case len(*buf) > maxMessage:
			s.giveBuffer(c, buf)
			return nil, errBomb
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			s.giveBuffer(c, buf)
			return nil, err
		}
	}
}
