package forward

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/spawnwatch/spawnwatch/sources"
)

func zstandard(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func values(records []got) (vs []string) {
	for _, r := range records {
		vs = append(vs, r.value)
	}
	slices.Sort(vs)
	return vs
}

// TestRecords sends chunks of every form, and looks at the records and at the answer.
func TestRecords(t *testing.T) {
	one, two := entry(logRecord(`{"n":1}`)), entry(object(str("n"), integer(2)))
	both := []string{`{"n":1}`, `{"n":2}`}
	stream := slices.Concat(one, two)
	id := chunkOption("id")
	withMethod := func(m string) []byte { return chunkOption("id", str("compressed"), str(m)) }
	deep := append(bytes.Repeat([]byte{0x91}, maxDepth+1), 0xc0)
	corrupt := gzipped(t, stream)
	corrupt[len(corrupt)-5] ^= 1
	for _, c := range []struct {
		name    string
		message []byte
		want    []string
		unread  int64
	}{
		{"forward", array(str("t"), array(one, two), id), both, 0},
		{"packed in bin", array(str("t"), bin(stream), id), both, 0},
		{"packed in str", array(str("t"), str(string(stream)), id), both, 0},
		{"said to be text", array(str("t"), str(string(stream)), withMethod("text")), both, 0},
		{"gzip", array(str("t"), bin(gzipped(t, stream)), withMethod("gzip")), both, 0},
		{"gzip of two members", array(str("t"), bin(slices.Concat(gzipped(t, one), gzipped(t, two))), withMethod("gzip")), both, 0},
		{"zstd", array(str("t"), str(string(zstandard(t, stream))), withMethod("zstd")), both, 0},
		{"zstd of two frames", array(str("t"), bin(slices.Concat(zstandard(t, one), zstandard(t, two))), withMethod("zstd")), both, 0},
		{"message", array(str("t"), integer(9), object(str("n"), integer(2)), id), both[1:], 0},
		{"message with metadata", array(str("t"), array(eventTime(1, 2), object()), object(str("n"), integer(2)), id), both[1:], 0},
		{"metadata", array(str("t"), array(array(array(eventTime(1, 2), object(str("a"), str("b"))), logRecord(`{"n":1}`))), id), both[:1], 0},
		{"no entries", array(str("t"), array(), id), nil, 0},
		{"an empty stream", array(str("t"), bin(nil), id), nil, 0},
		{"markers of groups", array(str("t"), array(array(array(eventTime(groupStart, 0), object()), object()), one, array(array(eventTime(groupEnd, 0), object()), object())), id), both[:1], 0},
		{"metrics", array(str("t"), bin([]byte("\xc1\xc1")), chunkOption("id", str("fluent_signal"), integer(1))), nil, 0},
		{"a text of two lines", array(str("t"), array(entry(logRecord("a\nb"))), id), []string{`{"log":"a\nb"}`}, 0},

		// What can't be read goes on as it came, and the chunk is answered.
		{"no pair", array(str("t"), array(one, integer(7)), id), []string{"7", both[0]}, 0},
		{"no map", array(str("t"), array(one, array(integer(1), str("x"))), id), []string{`"x"`, both[0]}, 0},
		{"a key that is a map", array(str("t"), array(entry(object(object(), str("x"))), one), id), []string{both[0], string(object(object(), str("x")))}, 1},
		{"too deep", array(str("t"), array(entry(deep), one), id), []string{both[0], string(deep)}, 1},
		{"a message too deep", array(str("t"), integer(1), deep, id), []string{string(deep)}, 1},
		{"a cut stream", array(str("t"), bin(slices.Concat(one, two[:len(two)-3])), id), []string{both[0], string(two[:len(two)-3])}, 1},
		{"a cut time", array(str("t"), bin(slices.Concat(one, two[:9])), id), []string{both[0], string(two[:9])}, 1},
		{"junk in a stream", array(str("t"), bin(slices.Concat(one, []byte{0xc1, 1, 2})), id), []string{both[0], "\xc1\x01\x02"}, 1},
		{"corrupt gzip", array(str("t"), bin(corrupt), withMethod("gzip")), []string{string(corrupt)}, 1},
		{"no gzip", array(str("t"), bin([]byte("junk")), withMethod("gzip")), []string{"junk"}, 1},
		{"no zstd", array(str("t"), bin([]byte("junk")), withMethod("zstd")), []string{"junk"}, 1},
		{"an unknown compression", array(str("t"), bin([]byte("junk")), withMethod("lz4")), []string{"junk"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &keeper{}
			s := start(t, Config{}, Settings{Cluster: "prod"}, k.handle)
			conn := dial(t, s)
			send(t, conn, c.message)
			expect(t, conn, ackOf("id"))
			slices.Sort(c.want)
			if got := values(k.all()); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			for _, r := range k.all() {
				if r.tag != "t" || r.cluster != "prod" || r.oversized != nil {
					t.Errorf("got %+v, want tag t, cluster prod", r)
				}
			}
			if n := s.Stats().Unreadable; n != c.unread {
				t.Errorf("counted %d unreadable records, want %d", n, c.unread)
			}
			// Whatever it was, the connection and the source go on.
			send(t, conn, array(str("t"), array(one), chunkOption("next")))
			expect(t, conn, ackOf("next"))
		})
	}
}

func TestRecordPlaceAndTime(t *testing.T) {
	k := &keeper{}
	s := start(t, Config{}, Settings{}, k.handle)
	c := dial(t, s)
	send(t, c, array(str("kube.audit"), array(
		array(eventTime(10, 20), logRecord(`{"n":0}`)), array(integer(30), object()), array(float(40.5), object()), array([]byte{0xd0, 0xff}, object()), array(str("x"), object()),
	), chunkOption("id")))
	expect(t, c, ackOf("id"))
	want := []time.Time{time.Unix(10, 20), time.Unix(30, 0), time.Unix(40, 5e8), time.Unix(-1, 0), {}}
	for i, r := range k.all() {
		if !r.time.Equal(want[i]) || r.offset != int64(i) || r.tag != "kube.audit" {
			t.Errorf("record %d: got %+v, want time %s", i, r, want[i])
		}
	}
	if len(k.all()) != len(want) {
		t.Errorf("got %d records, want %d", len(k.all()), len(want))
	}
}

func TestOversized(t *testing.T) {
	const limit = 200 << 10
	k := &keeper{}
	s := start(t, Config{}, Settings{MaxRecord: limit}, k.handle)
	c := dial(t, s)
	line := `{"x":"` + strings.Repeat("y", limit) + `"}`
	wide := object(str("x"), str(strings.Repeat("\x01", limit/6)))
	fits := object(str("x"), str(strings.Repeat("z", limit-8)))
	for i, record := range [][]byte{logRecord(line), wide, fits} {
		id := fmt.Sprint(i)
		send(t, c, array(str("t"), array(entry(record), entry(logRecord(`{}`))), chunkOption(id)))
		expect(t, c, ackOf(id))
	}
	all := k.all()
	if len(all) != 6 {
		t.Fatalf("got %d records, want 6", len(all))
	}
	for i, want := range map[int]string{0: line, 2: string(wide)} {
		r := all[i]
		if r.oversized == nil || r.oversized.Size != int64(len(want)) || r.oversized.SHA256 != sha256.Sum256([]byte(want)) ||
			r.value != want[:min(len(want), sources.OversizedKeep)] {
			t.Errorf("record %d: got %d bytes, %+v, want the first of %d", i, len(r.value), r.oversized, len(want))
		}
	}
	if r := all[4]; r.oversized != nil || len(r.value) != limit {
		t.Errorf("a record at the limit: got %d bytes, %+v", len(r.value), r.oversized)
	}
}

// TestBombs sends payloads that decompress to more than memory should hold.
func TestBombs(t *testing.T) {
	zeros := make([]byte, maxMessage+1)
	k := &keeper{}
	s := start(t, Config{}, Settings{Memory: 1 << 20}, k.handle)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i, c := range []struct {
		method string
		bomb   []byte
	}{{"gzip", gzipped(t, zeros)}, {"zstd", zstandard(t, zeros)}} {
		conn := dial(t, s)
		id := fmt.Sprint(i)
		send(t, conn, array(str("t"), bin(c.bomb), chunkOption(id, str("compressed"), str(c.method))))
		expect(t, conn, ackOf(id))
		if got := k.all()[i]; got.value != string(c.bomb) {
			t.Errorf("%s: got a record of %d bytes, want the %d as they came", c.method, len(got.value), len(c.bomb))
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 4*maxMessage {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if !strings.Contains(s.log.String(), "decompresses to more than") {
		t.Errorf("logged %q", s.log)
	}
}

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

func TestJSON(t *testing.T) {
	k := &keeper{}
	s := start(t, Config{}, Settings{Cluster: "prod"}, k.handle)
	c := dial(t, s)
	send(t, c, []byte(`["t", 10.5, {"n": 1}, {"chunk": "a\n"}]`))
	expect(t, c, []byte(`{"ack":"a\n"}`))
	send(t, c, []byte("\n"+`["t", [[20, {"n":2}], [21, {"n":3}], 4], {"chunk": "b", "cluster": "edge"}]`))
	expect(t, c, []byte(`{"ack":"b"}`))
	send(t, c, []byte(` {"n": 5}`+"\n"+`["t"]["t",1,{x}]`+`["t",1,{},{"chunk":"c"}]`))
	expect(t, c, []byte(`{"ack":"c"}`))
	want := []got{
		{"t", "prod", `{"n": 1}`, time.Unix(10, 5e8), 0, nil},
		{"t", "edge", `{"n":2}`, time.Unix(20, 0), 0, nil},
		{"t", "edge", `{"n":3}`, time.Unix(21, 0), 1, nil},
		{"t", "edge", `4`, time.Time{}, 2, nil},
		{"", "prod", `{"n": 5}`, time.Time{}, 0, nil},
		{"", "prod", `["t"]`, time.Time{}, 0, nil},
		{"", "prod", `["t",1,{x}]`, time.Time{}, 0, nil},
		{"t", "prod", `{}`, time.Unix(1, 0), 0, nil},
	}
	all := k.all()
	if len(all) != len(want) {
		t.Fatalf("got %d records, want %d: %+v", len(all), len(want), all)
	}
	for _, w := range want {
		if !slices.ContainsFunc(all, func(g got) bool {
			return g.tag == w.tag && g.cluster == w.cluster && g.value == w.value && g.time.Equal(w.time) && g.offset == w.offset
		}) {
			t.Errorf("no record %+v in %+v", w, all)
		}
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
	if free := func() int64 { s.budget.mu.Lock(); defer s.budget.mu.Unlock(); return s.budget.free }(); free != s.settings.Memory {
		t.Errorf("idle connections hold %d bytes", s.settings.Memory-free)
	}
	// One more waits for its turn, and gets it.
	late := dial(t, s)
	send(t, late, array(str("t"), array(entry(object())), chunkOption("late")))
	until(t, "a word about the full house", func() bool { return strings.Contains(s.log.String(), "all connections are taken") })
	conns[0].Close()
	expect(t, late, ackOf("late"))
}
