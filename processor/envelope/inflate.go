package envelope

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// isGzip recognises the magic bytes and the only method of RFC 1952, section 2.3.1.
func isGzip(b []byte) bool {
	return len(b) >= 3 && b[0] == 0x1F && b[1] == 0x8B && b[2] == 8
}

// errTooLarge stops an inflation at the limit.
var errTooLarge = errors.New("too large")

// gunzip reads what the gzip members of b hold. Compression is no wrapper of its own, but counts as a level, so that
// gzip within gzip ends.
func (r *Reader) gunzip(b []byte, u unit, v Visitor) {
	data, err := r.inflate(b)
	switch {
	case errors.Is(err, errTooLarge):
		v.Fault(u.fault(TooLarge, fmt.Sprintf("gzip data inflates to more than %d bytes", MaxInflated)))
	case err != nil:
		v.Fault(u.fault(Undecodable, fmt.Sprintf("gzip data of %d bytes cannot be inflated: %v", len(b), err)))
	default:
		u.level++
		r.values(data, u, v)
	}
}

// inflate decodes all gzip members of b into the scratch, as long as the record stays within MaxInflated.
func (r *Reader) inflate(b []byte) ([]byte, error) {
	r.zsrc.Reset(b)
	defer r.zsrc.Reset(nil)
	if r.zr == nil {
		zr, err := gzip.NewReader(&r.zsrc)
		if err != nil {
			return nil, err
		}
		r.zr = zr
	} else if err := r.zr.Reset(&r.zsrc); err != nil {
		return nil, err
	}
	dst := r.scratch.room(min(8*len(b), 1<<20))
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.zr.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if r.inflated += n; r.inflated > MaxInflated {
			return nil, errTooLarge
		}
		if errors.Is(err, io.EOF) {
			return r.scratch.keep(dst), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// unbase64 decodes a JSON string of standard base64 (RFC 4648, section 4). nil says that it is none.
func (r *Reader) unbase64(value []byte) []byte {
	text := r.text(value)
	if len(text) == 0 {
		return nil
	}
	dst := r.scratch.room(base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(dst[:cap(dst)], text)
	if err != nil || n == 0 {
		return nil
	}
	return r.scratch.keep(dst[:n])
}
