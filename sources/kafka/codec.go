package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// The compressions of a record batch: the three low bits of its attributes.
const (
	codecNone   = 0
	codecGzip   = 1
	codecSnappy = 2
	codecLZ4    = 3
	codecZstd   = 4
)

func codecName(codec int) string {
	if names := [...]string{"none", "gzip", "snappy", "lz4", "zstd"}; codec < len(names) {
		return names[codec]
	}
	return fmt.Sprintf("codec %d", codec)
}

var errInflated = errors.New("the batch is too large when decompressed")

// inflater decompresses record batches. It is safe for concurrent use.
type inflater struct {
	limit int
	zstd  *zstd.Decoder
	gzip  sync.Pool
}

func newInflater(limit int) (*inflater, error) {
	// Concurrency 0 is one decoder for each CPU; they are made when first needed. The frame's own checksum says nothing that
	// the batch's, which was verified before, does not say.
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.IgnoreChecksum(true), zstd.WithDecoderMaxMemory(uint64(limit)))
	if err != nil {
		return nil, err
	}
	return &inflater{limit: limit, zstd: d}, nil
}

// inflate decompresses src into dst, from its beginning and as far as it reaches; more memory than dst has is allocated.
// It returns what was decompressed.
func (f *inflater) inflate(codec int, src, dst []byte) ([]byte, error) {
	var out []byte
	var err error
	switch codec {
	case codecGzip:
		out, err = f.inflateGzip(src, dst[:0])
	case codecSnappy:
		out, err = f.inflateSnappy(src, dst[:0])
	case codecLZ4:
		out, err = f.inflateLZ4(src, dst[:0])
	case codecZstd:
		out, err = f.zstd.DecodeAll(src, dst[:0])
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
			err = errInflated
		}
	default:
		return nil, fmt.Errorf("expected the compression none, gzip, snappy, lz4 or zstd, got codec %d", codec)
	}
	if err == nil && len(out) > f.limit {
		err = errInflated
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", codecName(codec), err)
	}
	return out, nil
}

// contentSize is how long a batch gets when decompressed, where its compression says so: snappy's plain blocks do, zstd's
// frames may (RFC 8878, section 3.1.1.1.4).
func contentSize(b *batch) (n int, known bool) {
	switch b.codec() {
	case codecSnappy:
		n, err := s2.DecodedLen(b.records)
		return n, err == nil && !bytes.HasPrefix(b.records, xerial)
	case codecZstd:
		var h zstd.Header
		if h.Decode(b.records) == nil && h.HasFCS && h.FrameContentSize <= MaxBatch {
			return int(h.FrameContentSize), true
		}
	}
	return 0, false
}

func (f *inflater) inflateGzip(src, dst []byte) ([]byte, error) {
	in := bytes.NewReader(src)
	r, ok := f.gzip.Get().(*gzip.Reader)
	var err error
	if ok {
		err = r.Reset(in)
	} else {
		r, err = gzip.NewReader(in)
	}
	if err != nil {
		return nil, err
	}
	defer f.gzip.Put(r)
	for {
		dst = room(dst, 1)
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return nil, err
		case len(dst) > f.limit:
			return nil, errInflated
		}
	}
}

// room makes space for at least n bytes behind what dst holds.
func room(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	grown := make([]byte, len(dst), max(len(dst)+n, 2*cap(dst), 64<<10))
	copy(grown, dst)
	return grown
}

// xerial begins the framing of snappy-java, which Java clients write: this, two versions of four bytes, then
// blocks that each begin with their length. Others write one plain block.
var xerial = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

func (f *inflater) inflateSnappy(src, dst []byte) ([]byte, error) {
	if !bytes.HasPrefix(src, xerial) {
		return f.snappyBlock(src, dst)
	}
	if len(src) < 16 {
		return nil, io.ErrUnexpectedEOF
	}
	var err error
	for src = src[16:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := binary.BigEndian.Uint32(src)
		if src = src[4:]; uint64(n) > uint64(len(src)) {
			return nil, io.ErrUnexpectedEOF
		}
		if dst, err = f.snappyBlock(src[:n], dst); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return dst, nil
}

func (f *inflater) snappyBlock(src, dst []byte) ([]byte, error) {
	n, err := s2.DecodedLen(src)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > f.limit-len(dst) {
		return nil, errInflated
	}
	dst = room(dst, n)
	if _, err := s2.Decode(dst[len(dst):len(dst)+n], src); err != nil {
		return nil, err
	}
	return dst[:len(dst)+n], nil
}

// The frame of LZ4 (LZ4 Frame Format 1.6.4). Its checksums are not looked at: the batch has one of its own.
const (
	lz4Magic          = 0x184D2204
	lz4BlockChecksum  = 1 << 4
	lz4ContentSize    = 1 << 3
	lz4Checksum       = 1 << 2
	lz4DictionaryID   = 1
	lz4Independent    = 1 << 5
	lz4Window         = 64 << 10
	lz4Uncompressed   = 1 << 31
	lz4HeaderChecksum = 1
)

func (f *inflater) inflateLZ4(src, dst []byte) ([]byte, error) {
	if len(src) < 6 || binary.LittleEndian.Uint32(src) != lz4Magic {
		return nil, errors.New("expected an LZ4 frame")
	}
	flags, blockCode := src[4], src[5]>>4&7
	if flags>>6 != 1 || blockCode < 4 || flags&lz4DictionaryID != 0 {
		return nil, fmt.Errorf("expected an LZ4 frame of version 1 without a dictionary, got flags %#02x and block code %d", flags, blockCode)
	}
	blockMax := 1 << (8 + 2*int(blockCode)) // 64 KiB, 256 KiB, 1 MiB, 4 MiB
	header := 6 + lz4HeaderChecksum
	if flags&lz4ContentSize != 0 {
		header += 8
	}
	if len(src) < header {
		return nil, io.ErrUnexpectedEOF
	}
	for src = src[header:]; ; {
		if len(src) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		size := binary.LittleEndian.Uint32(src)
		src = src[4:]
		if size == 0 {
			break
		}
		plain := size&lz4Uncompressed != 0
		n := int(size &^ lz4Uncompressed)
		if n > len(src) || n > blockMax+16 {
			return nil, io.ErrUnexpectedEOF
		}
		block := src[:n]
		src = src[n:]
		if flags&lz4BlockChecksum != 0 {
			if len(src) < 4 {
				return nil, io.ErrUnexpectedEOF
			}
			src = src[4:]
		}
		// Writers declare the largest blocks, 4 MiB, for the smallest batches: that much room is made only where it is needed.
		for {
			free := dst[len(dst):min(cap(dst), len(dst)+blockMax)]
			m, err := uncompressLZ4(block, free, dst, plain, flags&lz4Independent != 0)
			if err == nil {
				dst = dst[:len(dst)+m]
				break
			}
			if len(free) == blockMax {
				return nil, err
			}
			dst = room(dst, min(blockMax, max(4*len(free), 64<<10)))
		}
		if len(dst) > f.limit {
			return nil, errInflated
		}
	}
	return dst, nil
}

// uncompressLZ4 decompresses one block into free, which lies behind what was decompressed before.
func uncompressLZ4(block, free, before []byte, plain, independent bool) (int, error) {
	switch {
	case plain && len(block) > len(free):
		return 0, io.ErrShortBuffer
	case plain:
		return copy(free, block), nil
	case independent:
		return lz4.UncompressBlock(block, free)
	default:
		return lz4.UncompressBlockWithDict(block, free, before[max(0, len(before)-lz4Window):])
	}
}
