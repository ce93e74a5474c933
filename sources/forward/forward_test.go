package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

func TestAnswersAfterTheHandler(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, Config{}, Settings{}, func(context.Context, *sources.Batch) error {
		entered <- struct{}{}
		<-release
		return nil
	})
	c := dial(t, s)
	send(t, c, array(str("t"), array(entry(object())), chunkOption("id")))
	<-entered
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || !os.IsTimeout(err) {
		t.Fatalf("read %d bytes and %v while the handler was at work", n, err)
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	close(release)
	expect(t, c, ackOf("id"))
}

// TestBigChunk shows that one chunk is handled in several calls at once, and answered when all have returned.
func TestBigChunk(t *testing.T) {
	const calls = 4
	record := object(str("x"), str(strings.Repeat("y", 1000)))
	var entries [][]byte
	for range calls * (batchBytes + 64<<10) / 1000 {
		entries = append(entries, entry(record))
	}
	var mu sync.Mutex
	at, most, sum := 0, 0, 0
	all := make(chan struct{})
	s := start(t, Config{}, Settings{Calls: calls}, func(_ context.Context, b *sources.Batch) error {
		mu.Lock()
		at++
		sum += len(b.Records)
		if most = max(most, at); most == calls {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		mu.Unlock()
		<-all // every call waits for the fourth
		mu.Lock()
		at--
		mu.Unlock()
		return nil
	})
	c := dial(t, s)
	send(t, c, array(str("t"), array(entries...), chunkOption("id")))
	expect(t, c, ackOf("id"))
	if most != calls || sum != len(entries) {
		t.Errorf("%d calls at once with %d records, want %d with %d", most, sum, calls, len(entries))
	}
}

func TestSmallMessagesShareBatches(t *testing.T) {
	const n = 2000
	first, release := make(chan struct{}), make(chan struct{})
	k := &keeper{}
	var once sync.Once
	s := start(t, Config{}, Settings{}, func(ctx context.Context, b *sources.Batch) error {
		once.Do(func() { close(first); <-release })
		return k.handle(ctx, b)
	})
	c := dial(t, s)
	one := array(str("t"), integer(1), object(str("n"), integer(5)))
	send(t, c, one)
	<-first
	send(t, c, bytes.Repeat(one, n))
	send(t, c, array(str("other"), integer(1), object(), chunkOption("id")))
	close(release)
	expect(t, c, ackOf("id"))
	if len(k.all()) != n+2 || k.calls > n/10 {
		t.Errorf("got %d records in %d calls, want %d in few", len(k.all()), k.calls, n+2)
	}
	others := 0
	for _, r := range k.all() {
		if r.tag == "other" && r.value == "{}" {
			others++
		}
	}
	if others != 1 {
		t.Errorf("%d records of the other tag, want 1", others)
	}
}

func TestChunkSentAgain(t *testing.T) {
	k := &keeper{}
	s := start(t, Config{}, Settings{}, k.handle)
	chunk := array(str("t"), array(entry(logRecord(`{"n":1}`))), chunkOption("id\n"))
	for range 3 {
		c := dial(t, s)
		send(t, c, chunk)
		expect(t, c, ackOf("id\n"))
	}
	if len(k.all()) != 1 || s.Stats().Repeated != 2 {
		t.Errorf("handled %d records, counted %d repeats, want 1 and 2", len(k.all()), s.Stats().Repeated)
	}
	// The id alone proves nothing.
	c := dial(t, s)
	send(t, c, array(str("t"), array(entry(logRecord(`{"n":2}`))), chunkOption("id\n")))
	expect(t, c, ackOf("id\n"))
	if len(k.all()) != 2 {
		t.Errorf("handled %d records, want the other one too", len(k.all()))
	}
}

func TestAnsweredForgets(t *testing.T) {
	a := newAnswered(3)
	key := func(i int) chunkKey { return a.key([]byte{byte(i)}, []byte("body")) }
	for i := range 5 {
		a.add(key(i))
		a.add(key(i))
	}
	for i := range 5 {
		if got := a.has(key(i)); got != (i >= 2) {
			t.Errorf("remembers chunk %d: %v", i, got)
		}
	}
	if len(a.keys) != 3 {
		t.Errorf("remembers %d chunks, want 3", len(a.keys))
	}
}

// TestFailedHandlerIsNotAnswered: what was not handled must come again, also when it is remembered by its id.
func TestFailedHandlerIsNotAnswered(t *testing.T) {
	k := &keeper{}
	fail := true
	s := start(t, Config{}, Settings{}, func(ctx context.Context, b *sources.Batch) error {
		if fail {
			fail = false
			return errors.New("the end came first")
		}
		return k.handle(ctx, b)
	})
	chunk := array(str("t"), array(entry(object())), chunkOption("id"))
	c := dial(t, s)
	send(t, c, chunk)
	expectEnd(t, c)
	c = dial(t, s)
	send(t, c, chunk)
	expect(t, c, ackOf("id"))
	if len(k.all()) != 1 {
		t.Errorf("handled %d records, want 1", len(k.all()))
	}
}

func TestBadSendersAreClosed(t *testing.T) {
	k := &keeper{}
	s := start(t, Config{}, Settings{}, k.handle)
	for name, c := range map[string]struct{ sent, log string }{
		"4 GB":       {"\x92\xa1t\xc6\xff\xff\xff\xff", "a message of at most 67108864 bytes"},
		"HTTP":       {"GET / HTTP/1.0\r\n\r\n", "looks like HTTP"},
		"TLS":        {"\x16\x03\x01\x02\x00", "set tls here"},
		"PING":       {string(array(str("PING"), str("h"), str("s"), str("d"), str("u"), str("p"))), "set shared_key"},
		"junk":       {"\xc1", "0xc1"},
		"half":       {"\x92\xa1t\xc6\x00\x00\xff\xffabc", "in the middle of a message, after 11 bytes"},
		"wrong tag":  {"\x92\x01\x90", "the tag"},
		"a good one": {string(array(str("t"), array(entry(object())))) + "\x05", "expected a forward message"},
	} {
		conn := dial(t, s)
		send(t, conn, []byte(c.sent))
		if name == "half" {
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		expectEnd(t, conn)
		until(t, "a line that says "+c.log, func() bool { return strings.Contains(s.log.String(), c.log) })
	}
	if len(k.all()) != 1 {
		t.Errorf("handled %d records, want the good one before the junk", len(k.all()))
	}
	// Empty connections are fluentd's heartbeats: nothing to say about them.
	before := s.log.String()
	for range 5 {
		c := dial(t, s)
		c.Close()
	}
	c := dial(t, s)
	send(t, c, []byte{0xc0, 0xc0}, array(str("t"), array(), chunkOption("id")))
	expect(t, c, ackOf("id"))
	if after := s.log.String(); after != before {
		t.Errorf("logged %q", after[len(before):])
	}
}

func TestUDPHeartbeat(t *testing.T) {
	s := start(t, Config{}, Settings{}, (&keeper{}).handle)
	c, err := net.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// Only a heartbeat is echoed: the one answer belongs to the last datagram.
	send(t, c, []byte("hello"))
	send(t, c, []byte{1})
	send(t, c, []byte{0})
	b := make([]byte, 10)
	if n, err := c.Read(b); err != nil || n != 1 || b[0] != 0 {
		t.Errorf("got %q and %v", b[:n], err)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	// What a killed process leaves behind is taken over.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	k := &keeper{}
	s := start(t, Config{Listen: "unix:" + path}, Settings{}, k.handle)
	c := dial(t, s)
	send(t, c, array(str("t"), array(entry(object())), chunkOption("id")))
	expect(t, c, ackOf("id"))

	second, err := New(Config{Listen: "unix:" + path}, Settings{Name: "second"})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := New(Config{Listen: "unix:" + file}, Settings{Name: "third"})
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "choose another path") {
		t.Errorf("got %v", err)
	}
}

func TestCheck(t *testing.T) {
	s := start(t, Config{}, Settings{}, (&keeper{}).handle)
	second, err := New(Config{Listen: s.Addr().String()}, Settings{Name: "second"})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Check(t.Context()); err == nil || !strings.Contains(err.Error(), `source "second" (forward) cannot listen at 127.0.0.1:`) {
		t.Errorf("got %v", err)
	}
	if err := second.Run(t.Context(), nil); err == nil {
		t.Error("Run went on without an address")
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	if err := second.Check(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestMemoryIsBounded holds more bytes at the senders than the source may take, in messages that are only begun, and
// sees all of them through.
func TestMemoryIsBounded(t *testing.T) {
	const senders, size, memory = 12, 1 << 20, 2 << 20
	release := make(chan struct{})
	k := &keeper{}
	s := start(t, Config{}, Settings{Memory: memory}, func(ctx context.Context, b *sources.Batch) error {
		<-release
		return k.handle(ctx, b)
	})
	record := logRecord(`{"x":"` + strings.Repeat("y", size) + `"}`)
	var wg sync.WaitGroup
	for i := range senders {
		c := dial(t, s)
		wg.Go(func() {
			id := fmt.Sprint(i)
			if _, err := c.Write(array(str("t"), array(entry(record)), chunkOption(id))); err != nil {
				t.Error(err)
				return
			}
			b := make([]byte, len(ackOf(id)))
			if _, err := io.ReadFull(c, b); err != nil || !bytes.Equal(b, ackOf(id)) {
				t.Errorf("sender %d got %q and %v", i, b, err)
			}
		})
	}
	until(t, "senders that wait for memory", s.budget.pressed)
	s.budget.mu.Lock()
	held := memory - s.budget.free
	s.budget.mu.Unlock()
	if held > memory+4*size {
		t.Errorf("holds %d bytes of %d", held, memory)
	}
	close(release)
	wg.Wait()
	if len(k.all()) != senders {
		t.Errorf("got %d records, want %d", len(k.all()), senders)
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	if s.budget.free != memory || s.budget.overdrawn != nil {
		t.Errorf("%d bytes of %d came back", s.budget.free, memory)
	}
}

func TestManyIdleConnections(t *testing.T) {
	const n = 300
	s := start(t, Config{}, Settings{Connections: n}, (&keeper{}).handle)
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = dial(t, s)
		send(t, conns[i], array(str("t"), array(entry(object())), chunkOption("warm"+fmt.Sprint(i))))
	}
	for i := range conns {
		expect(t, conns[i], ackOf("warm"+fmt.Sprint(i)))
	}
	// An ack leaves a moment before its bytes are given back.
	until(t, "idle connections that hold nothing", func() bool {
		s.budget.mu.Lock()
		defer s.budget.mu.Unlock()
		return s.budget.free == s.settings.Memory
	})
	// One more waits for its turn, and gets it.
	late := dial(t, s)
	send(t, late, array(str("t"), array(entry(object())), chunkOption("late")))
	until(t, "a word about the full house", func() bool { return strings.Contains(s.log.String(), "all connections are taken") })
	conns[0].Close()
	expect(t, late, ackOf("late"))
}
