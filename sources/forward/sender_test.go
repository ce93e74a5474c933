package forward

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

// A small MessagePack writer for the tests: every function appends one value.

func str(s string) []byte {
	switch n := len(s); {
	case n < 32:
		return append([]byte{0xa0 | byte(n)}, s...)
	case n < 1<<16:
		return append([]byte{0xda, byte(n >> 8), byte(n)}, s...)
	default:
		return append(binary.BigEndian.AppendUint32([]byte{0xdb}, uint32(n)), s...)
	}
}

func bin(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xc6}, uint32(len(b))), b...)
}

func integer(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0xce}, n) }

func float(f float64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0xcb}, math.Float64bits(f))
}

func array(elems ...[]byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xdd}, uint32(len(elems))), bytes.Join(elems, nil)...)
}

// object takes keys and values in turn.
func object(pairs ...[]byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xdf}, uint32(len(pairs)/2)), bytes.Join(pairs, nil)...)
}

func eventTime(sec, nsec uint32) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0xd7, 0x00}, sec)
	return binary.BigEndian.AppendUint32(b, nsec)
}

func entry(record []byte) []byte { return array(eventTime(1795401792, 5), record) }

func logRecord(text string) []byte { return object(str("log"), str(text)) }

func chunkOption(id string, more ...[]byte) []byte {
	return object(append([][]byte{str("chunk"), str(id)}, more...)...)
}

func ackOf(id string) []byte { return append([]byte("\x81\xa3ack"), str(id)...) }

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// got is a record that outlived its loan.
type got struct {
	tag, cluster string
	value        string
	time         time.Time
	offset       int64
	oversized    *sources.Oversized
}

// keeper is a handler that keeps what it is given, and spoils the loan when it returns.
type keeper struct {
	mu      sync.Mutex
	records []got
	calls   int
}

func (k *keeper) handle(_ context.Context, b *sources.Batch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	for _, r := range b.Records {
		k.records = append(k.records, got{b.Origin.Topic, b.Origin.Cluster, string(r.Value), r.Time, r.Offset, r.Oversized})
		for i := range r.Value {
			r.Value[i] = 0xee
		}
	}
	return nil
}

func (k *keeper) all() []got {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]got(nil), k.records...)
}

// running is a source that runs.
type running struct {
	*Source
	log *logBook
	end func() error
}

// start runs a source until the test ends.
func start(t testing.TB, cfg Config, settings Settings, h sources.Handler) *running {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	settings.Name = "audit"
	book := &logBook{}
	settings.Logger = slog.New(slog.NewTextHandler(book, nil))
	s, err := New(cfg, settings)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, s, book, h)
}

func run(t testing.TB, s *Source, book *logBook, h sources.Handler) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, h) }()
	end := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	select {
	case <-s.Listening():
	case err := <-done:
		t.Fatalf("Run ended at once: %v", err)
	}
	return &running{s, book, end}
}

// logBook keeps what is logged.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func dial(t testing.TB, s *running) net.Conn {
	t.Helper()
	c, err := net.Dial(s.Addr().Network(), s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t testing.TB, c net.Conn, parts ...[]byte) {
	t.Helper()
	if _, err := c.Write(bytes.Join(parts, nil)); err != nil {
		t.Fatal(err)
	}
}

func expect(t testing.TB, c net.Conn, want []byte) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("expected %q, got %q and %v", want, b[:n], err)
	}
	if !bytes.Equal(b, want) {
		t.Fatalf("expected %q, got %q", want, b)
	}
}

// expectEnd waits for the source to close the connection.
func expectEnd(t testing.TB, c net.Conn) {
	t.Helper()
	if b, err := io.ReadAll(c); len(b) > 0 || (err != nil && os.IsTimeout(err)) {
		t.Fatalf("expected the connection to be closed, got %q and %v", b, err)
	}
}

// until polls for something that another goroutine is about to do.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// captures is the folder with the bytes of real senders.
func captures(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "captures")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the captures of real senders are not beside the checkout (../shared/captures)")
	}
	return dir
}

// readMaybeGzip reads a file that may be there under its name with .gz.
func readMaybeGzip(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		return b
	}
	f, err := os.Open(path + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return b
}
