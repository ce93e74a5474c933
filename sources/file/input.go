package file

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxWindow is the largest zstd window in bytes, the same limit as the zstd tool's own: 128 MiB.
	maxWindow = 128 << 20
	// rawBuffer is how much of a compressed file is read at a time.
	rawBuffer = 64 << 10
)

// errStopped is what a read reports that was given up because the run ends.
var errStopped = errors.New("reading was stopped")

// input is one opened file with its decompressor.
type input struct {
	path string
	r    io.Reader
	// raw counts what was read of the file itself.
	raw *counter
	// compressed: r gives other bytes than the file has.
	compressed bool
	// live input comes when it comes: what is there is worked on without waiting for a full block.
	live    bool
	closers []func() error
}

func (in *input) close() {
	for _, c := range in.closers {
		_ = c() // nothing was written, and what was read is read
	}
}

// open opens one target and looks at its first bytes.
func open(t target, std io.Reader, read *atomic.Int64, stop <-chan struct{}) (*input, error) {
	in := &input{path: t.path, live: !t.regular}
	var src io.Reader
	switch {
	case t.path == stdin:
		p := newPump(std, stop)
		in.closers = append(in.closers, p.close)
		src = p
	case t.regular:
		f, err := os.Open(t.path)
		if err != nil {
			return nil, plain(err)
		}
		in.closers = append(in.closers, f.Close)
		src = f
	default:
		p := openPump(t.path, stop)
		in.closers = append(in.closers, p.close)
		src = p
	}
	in.raw = &counter{r: src, all: read}
	if err := in.sniff(); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// sniff chooses the decompressor by the magic bytes: RFC 1952 section 2.3.1 for gzip, RFC 8878 sections 3.1.1 and 3.1.2
// for zstd's frames and skippable frames.
func (in *input) sniff() error {
	magic := make([]byte, 4)
	n, err := io.ReadFull(in.raw, magic)
	magic = magic[:n]
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return plain(err)
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bufio.NewReaderSize(in.raw.after(magic), rawBuffer))
		if err != nil {
			return compressed("gzip", err)
		}
		in.closers = append(in.closers, z.Close)
		in.r, in.compressed = &decompressed{r: z, format: "gzip"}, true
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}), n == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18}):
		z, err := zstd.NewReader(bufio.NewReaderSize(in.raw.after(magic), rawBuffer),
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return compressed("zstd", err)
		}
		in.closers = append(in.closers, z.IOReadCloser().Close)
		in.r, in.compressed = &decompressed{r: z, format: "zstd"}, true
	default:
		in.r = in.raw.after(magic)
	}
	return nil
}

// decompressed names the format in the errors of its reader.
type decompressed struct {
	r      io.Reader
	format string
}

func (d *decompressed) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // a decompressor gives io.EOF itself at its end, and wraps it in nothing
		err = compressed(d.format, err)
	}
	return n, err
}

func compressed(format string, err error) error {
	switch {
	case errors.Is(err, errStopped):
		return errStopped
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("the %s data is truncated: the file ends before its last frame does", format)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("the zstd data needs a window above the limit of %d MiB: compress it again without --long", maxWindow>>20)
	}
	return fmt.Errorf("the %s data is corrupt: %w", format, err)
}

// counter counts what passes.
type counter struct {
	r   io.Reader
	n   int64
	all *atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.all.Add(int64(n))
	return n, err
}

// after reads head, which was read already, and then the rest.
func (c *counter) after(head []byte) io.Reader { return io.MultiReader(bytes.NewReader(head), c) }

// pump reads in a goroutine of its own from something that may make it wait for ever. When the run ends in the middle of
// a read, the reader and the buffer given to it are left to that goroutine; otherwise it ends with the input or at close.
type pump struct {
	stop    <-chan struct{}
	want    chan []byte
	got     chan pumped
	closed  chan struct{}
	drained error
}

type pumped struct {
	n   int
	err error
}

func newPump(r io.Reader, stop <-chan struct{}) *pump {
	return startPump(stop, func() (io.ReadCloser, error) { return io.NopCloser(r), nil })
}

// openPump opens the path in the goroutine too: opening a named pipe waits for its writer.
func openPump(path string, stop <-chan struct{}) *pump {
	return startPump(stop, func() (io.ReadCloser, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, plain(err)
		}
		return f, nil
	})
}

func startPump(stop <-chan struct{}, open func() (io.ReadCloser, error)) *pump {
	p := &pump{stop: stop, want: make(chan []byte), got: make(chan pumped, 1), closed: make(chan struct{})}
	go p.work(open)
	return p
}

func (p *pump) work(open func() (io.ReadCloser, error)) {
	r, err := open()
	if err == nil {
		defer func() { _ = r.Close() }() // nothing was written
	}
	for {
		select {
		case buf := <-p.want:
			var n int
			if err == nil {
				n, err = r.Read(buf)
			}
			p.got <- pumped{n, err}
			if err != nil {
				return
			}
		case <-p.closed:
			return
		case <-p.stop:
			return
		}
	}
}

func (p *pump) Read(buf []byte) (int, error) {
	if p.drained != nil {
		return 0, p.drained
	}
	select {
	case p.want <- buf:
	case <-p.stop:
		p.drained = errStopped
		return 0, errStopped
	}
	select {
	case g := <-p.got:
		p.drained = g.err
		return g.n, g.err
	case <-p.stop:
		p.drained = errStopped
		return 0, errStopped
	}
}

func (p *pump) close() error {
	close(p.closed)
	return nil
}
