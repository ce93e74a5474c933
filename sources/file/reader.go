package file

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/spawnwatch/spawnwatch/sources"
)

// blockSize is how much is read at a time, 192 KiB: enough to make handing it over cheap, little enough to be still in
// the processor's cache when it is split and matched.
const blockSize = 192 << 10

// keepBuffer is how large a buffer may stay that grew for a long line, 2 MiB: about the longest event an API server
// writes unless told otherwise (etcd takes objects of 1.5 MiB).
const keepBuffer = 2 << 20

// maxIdleReads is how many reads in a row may bring neither data nor an error.
const maxIdleReads = 100

// reader cuts all inputs, one after the other, into blocks. Its lock is the only one; it is held for the reading and
// decompressing alone.
type reader struct {
	set  *Settings
	read *atomic.Int64
	stop <-chan struct{}
	// limit is how long a line may get inside of a buffer: room for MaxRecord, a carriage return and a line feed.
	limit int

	mu    sync.Mutex
	files []target
	in    *input
	order int
	// carry is what followed the last line feed of the block before.
	carry []byte
	// offset is that of carry in the input.
	offset int64
	// lines tells how many lines precede the next block of this input; nil at its beginning.
	lines chan int64
	// returned is closed when the block before was handled.
	returned chan struct{}
	faults   []*Fault
}

// block is some whole lines of an input. data belongs to the lane's buffer; the channels tie it to its neighbours.
type block struct {
	path   string
	order  int
	data   []byte
	offset int64
	// oversized: data is only the beginning of a single line that is longer than the reader's limit.
	oversized *sources.Oversized
	// before gives the number of lines that precede this block, once; nil at the beginning of an input. lines takes that
	// of the next block.
	before <-chan int64
	lines  chan<- int64
	// after is closed when the block before was handled, returned is to be closed when this one was.
	after    <-chan struct{}
	returned chan struct{}
	// fault is why the input ended with this block, nil at a proper end. end and compressed are the offsets there.
	fault           error
	end, compressed int64
}

func newReader(files []target, set *Settings, read *atomic.Int64, stop <-chan struct{}) *reader {
	r := &reader{
		set: set, read: read, stop: stop, limit: max(blockSize, set.MaxRecord+2),
		files: files, carry: make([]byte, 0, blockSize), returned: make(chan struct{}),
	}
	close(r.returned)
	return r
}

func (r *reader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.in != nil {
		r.in.close()
		r.in = nil
	}
}

func (r *reader) stopped() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// next reads the next block into buf, which it returns grown where a line did not fit. It is false at the end of all
// input and when reading was stopped.
func (r *reader) next(buf []byte) ([]byte, block, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.stopped() || (r.in == nil && !r.openNext()) {
			return buf, block{}, false
		}
		b := block{path: r.in.path, order: r.order, offset: r.offset}
		var err error
		buf, err = r.fill(buf, &b)
		if errors.Is(err, errStopped) {
			return buf, block{}, false
		}
		if err != nil {
			b.end = r.offset
			if !errors.Is(err, io.EOF) {
				b.fault = plain(err)
				if r.in.compressed {
					b.compressed = r.in.raw.n
				}
			}
		}
		empty := len(b.data) == 0 && b.fault == nil
		if !empty {
			r.tie(&b)
		}
		if err != nil {
			r.in.close()
			r.in, r.lines, r.offset = nil, nil, 0
		}
		if !empty {
			return buf, b, true
		}
	}
}

// openNext opens the next file that can be opened.
func (r *reader) openNext() bool {
	for len(r.files) > 0 && !r.stopped() {
		t := r.files[0]
		r.files = r.files[1:]
		in, err := open(t, r.set.Stdin, r.read, r.stop)
		if err == nil {
			r.in, r.order = in, t.order
			return true
		}
		if !errors.Is(err, errStopped) {
			r.faults = append(r.faults, &Fault{Path: t.path, Err: err, order: t.order})
		}
	}
	return false
}

// tie links the block to the one before it.
func (r *reader) tie(b *block) {
	b.before = r.lines
	r.lines = make(chan int64, 1)
	b.lines = r.lines
	b.after = r.returned
	r.returned = make(chan struct{})
	b.returned = r.returned
}

// fill reads until the block is full, its input ends or, of live input, until there is a line. The error is that of the
// input: what was read before it is in the block.
func (r *reader) fill(buf []byte, b *block) ([]byte, error) {
	buf = append(buf[:0], r.carry...)
	r.carry = r.carry[:0]
	cut := lastLineFeed(buf) + 1
	idle := 0
	for target := blockSize; ; {
		if len(buf) >= target || (r.in.live && cut > 0) {
			if cut > 0 {
				break
			}
			if target == r.limit {
				return r.oversized(buf, b)
			}
			target = min(target+blockSize, r.limit)
		}
		if cap(buf) < target {
			buf = append(make([]byte, 0, min(2*target, r.limit)), buf...)
		}
		from := len(buf)
		n, err := r.in.r.Read(buf[from:target])
		buf = buf[:from+n]
		if i := lastLineFeed(buf[from:]); i >= 0 {
			cut = from + i + 1
		}
		if idle++; n > 0 {
			idle = 0
		}
		if err == nil && idle == maxIdleReads {
			err = io.ErrNoProgress
		}
		if err != nil {
			b.data = buf
			r.offset += int64(len(buf))
			return buf, err
		}
	}
	b.data = buf[:cut]
	r.carry = append(r.carry, buf[cut:]...)
	r.offset += int64(cut)
	return buf, nil
}

// lastLineFeed is bytes.LastIndexByte for text whose last line may be long. That one looks at byte after byte, a third of
// all time in a log with lines of a megabyte; bytes.IndexByte finds by the vector which piece is worth it.
func lastLineFeed(p []byte) int {
	const piece = 1024
	for end := len(p); end > 0; {
		from := max(0, end-piece)
		if bytes.IndexByte(p[from:end], '\n') >= 0 {
			return from + bytes.LastIndexByte(p[from:end], '\n')
		}
		end = from
	}
	return -1
}

// oversized passes a line that is longer than the limit through a hash, up to its line feed. Its beginning stays in buf.
func (r *reader) oversized(buf []byte, b *block) ([]byte, error) {
	line := lineHash{sum: sha256.New()}
	line.write(buf)
	b.data = buf[:sources.OversizedKeep]
	r.offset += int64(len(buf))
	scratch := buf[sources.OversizedKeep:blockSize]
	idle := 0
	var err error
	for err == nil {
		if r.stopped() {
			return buf, errStopped
		}
		var n int
		n, err = r.in.r.Read(scratch)
		got := scratch[:n]
		if idle++; n > 0 {
			idle = 0
		}
		if err == nil && idle == maxIdleReads {
			err = io.ErrNoProgress
		}
		i := bytes.IndexByte(got, '\n')
		if i < 0 {
			line.write(got)
			r.offset += int64(n)
			continue
		}
		line.write(got[:i])
		r.offset += int64(i) + 1
		r.carry = append(r.carry, got[i+1:]...)
		if err != nil { // the input ends, but lines of it are in hand: they come first, the end after them
			r.in.r, err = failing{err}, nil
		}
		break
	}
	b.oversized = line.done()
	return buf, err
}

// failing is an input that has ended.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// lineHash sums up a line that comes in pieces, without a carriage return at its end.
type lineHash struct {
	sum       hash.Hash
	size      int64
	pendingCR bool
}

func (l *lineHash) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if l.pendingCR {
		l.sum.Write([]byte{'\r'})
		l.size++
	}
	if l.pendingCR = p[len(p)-1] == '\r'; l.pendingCR {
		p = p[:len(p)-1]
	}
	l.sum.Write(p)
	l.size += int64(len(p))
}

func (l *lineHash) done() *sources.Oversized {
	o := &sources.Oversized{Size: l.size}
	l.sum.Sum(o.SHA256[:0])
	return o
}
