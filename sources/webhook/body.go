package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"

	"github.com/spawnwatch/spawnwatch/sources"
)

// memory bounds the bytes of bodies in hand over all requests. Nobody waits for it: who can't have more is told to come
// again, which the API server does.
type memory struct {
	limit int64
	used  atomic.Int64
}

// take takes n bytes, or says that they aren't there.
func (m *memory) take(n int64) bool {
	if m.used.Add(n) <= m.limit {
		return true
	}
	m.used.Add(-n)
	return false
}

func (m *memory) give(n int64) { m.used.Add(-n) }

// refusal is an answer other than 200.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// body is what was read of a request, decompressed. Its bytes are taken from the memory until it is given back.
type body struct {
	bytes []byte
	taken int64
}

const (
	// smallestBody is what a body is read into first, 64 KiB.
	smallestBody = 64 << 10
	// largestPooled keeps a rare giant from staying, 4 MiB. The API server's batches are a few hundred kB.
	largestPooled = 4 << 20
)

// bodies pools bodies and decoders.
type bodies struct {
	memory memory
	// limit is the largest body in bytes, before and after decompression.
	limit int
	pool  sync.Pool
	gzips sync.Pool
}

// read reads the body of r. The error is a *refusal, or what reading failed with.
func (p *bodies) read(r *http.Request) (*body, error) {
	if r.ContentLength > int64(p.limit) {
		return nil, p.tooLarge()
	}
	in := io.LimitReader(r.Body, int64(p.limit)+1)
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return p.readAll(in)
	case "gzip":
		g, _ := p.gzips.Get().(*gzip.Reader)
		if g == nil {
			g = new(gzip.Reader)
		}
		defer p.gzips.Put(g)
		if err := g.Reset(in); err != nil {
			return nil, corrupt(err)
		}
		b, err := p.readAll(g)
		if err != nil {
			return nil, corrupt(err)
		}
		return b, nil
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "expected Content-Encoding gzip or none, got %.40q", encoding)
	}
}

func (p *bodies) tooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, "expected a body of at most %d bytes after decompression (max_record), got more: make the batches smaller (--audit-webhook-batch-max-size)", p.limit)
}

// corrupt tells a body that is no gzip from one that failed to arrive.
func corrupt(err error) error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(http.StatusBadRequest, "expected a gzip body as Content-Encoding says: %v", err)
	}
	return err
}

func (p *bodies) readAll(in io.Reader) (*body, error) {
	b, err := p.take()
	if err != nil {
		return nil, err
	}
	for {
		if len(b.bytes) == cap(b.bytes) {
			if err := p.grow(b); err != nil {
				p.give(b)
				return nil, err
			}
		}
		n, err := in.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		switch {
		case len(b.bytes) > p.limit:
			p.give(b)
			return nil, p.tooLarge()
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			p.give(b)
			return nil, err
		}
	}
}

// records are those of a body: itself, or each line where every line begins and ends as an object does. An object that is
// written over several lines has others between.
func records(body []byte, headers []sources.Header) []sources.Record {
	whole := []sources.Record{{Value: body, Headers: headers}}
	if at := bytes.IndexByte(body, '\n'); at < 0 || len(bytes.TrimSpace(body[at:])) == 0 {
		return whole
	}
	var lines []sources.Record
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if line[0] != '{' || line[len(line)-1] != '}' || len(lines) == maxLines {
			return whole
		}
		lines = append(lines, sources.Record{Value: line, Offset: int64(len(lines)), Headers: headers})
	}
	return lines
}

// maxLines is how many lines of a body may be records. More of them fit into a body of 16 MiB only if they are too short to
// be audit events.
const maxLines = 1 << 18

func (p *bodies) full() error {
	return refuse(http.StatusTooManyRequests, "%d bytes of requests are being handled, no more are taken before some are done", p.memory.used.Load())
}

func (p *bodies) take() (*body, error) {
	b, _ := p.pool.Get().(*body)
	if b == nil {
		b = &body{bytes: make([]byte, 0, smallestBody)}
	}
	n := int64(cap(b.bytes))
	if !p.memory.take(n) {
		p.pool.Put(b)
		return nil, p.full()
	}
	b.taken = n
	return b, nil
}

// grow doubles b, up to what shows that it is too large.
func (p *bodies) grow(b *body) error {
	n := max(min(2*cap(b.bytes), p.limit+1), cap(b.bytes)+1)
	if !p.memory.take(int64(n)) {
		return p.full()
	}
	b.bytes = append(make([]byte, 0, n), b.bytes...)
	p.memory.give(b.taken)
	b.taken = int64(n)
	return nil
}

// give gives b back.
func (p *bodies) give(b *body) {
	p.memory.give(b.taken)
	b.taken, b.bytes = 0, b.bytes[:0]
	if cap(b.bytes) <= largestPooled {
		p.pool.Put(b)
	}
}
