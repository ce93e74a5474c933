package forward

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/sources"
)

// TestOnlyEventTimesMarkGroups: a sender whose clock says 0xFFFFFFFF in whole seconds sends records like any other.
func TestOnlyEventTimesMarkGroups(t *testing.T) {
	k := &keeper{}
	s := start(t, Config{}, Settings{}, k.handle)
	c := dial(t, s)
	late := binary.BigEndian.AppendUint32([]byte{0xce}, groupStart)
	message := array(str("t"), array(
		array(late, logRecord(`{"n":1}`)),
		array(eventTime(groupStart, 0), logRecord(`{"n":2}`)),
		array(array(eventTime(groupEnd, 0), object()), logRecord(`{"n":3}`)),
	), chunkOption("id"))
	if _, err := c.Write(message); err != nil {
		t.Fatal(err)
	}
	expect(t, c, ackOf("id"))
	if all := k.all(); len(all) != 1 || all[0].value != `{"n":1}` || s.Stats().Markers != 2 {
		t.Errorf("%v came, with %d markers", all, s.Stats().Markers)
	}
}

// TestNamesAreBounded: what would be kept, logged or answered for as long as a connection lives.
func TestNamesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 60<<10)
	for name, message := range map[string][]byte{
		"tag":             array(str(long), array(entry(logRecord(`{}`))), chunkOption("id")),
		"tag of a packed": array(str(long), bin(entry(logRecord(`{}`))), chunkOption("id")),
		"chunk id":        array(str("t"), array(entry(logRecord(`{}`))), chunkOption(long)),
		"tag in JSON":     []byte(`["` + long + `",1,{},{"chunk":"id"}]`),
		"id in JSON":      []byte(`["t",1,{},{"chunk":"` + long + `"}]`),
	} {
		k := &keeper{}
		s := start(t, Config{}, Settings{}, k.handle)
		c := dial(t, s)
		if _, err := c.Write(message); err != nil {
			t.Fatal(err)
		}
		expectEnd(t, c)
		until(t, "a line about the "+name, func() bool { return strings.Contains(s.log.String(), "at most") })
		if text := s.log.String(); len(text) > 2000 {
			t.Errorf("%s: the log has %d bytes", name, len(text))
		}
	}
	k := &keeper{}
	s := start(t, Config{}, Settings{Cluster: "home"}, k.handle)
	c := dial(t, s)
	if _, err := c.Write(array(str("t"), array(entry(logRecord(`{}`))), chunkOption("id", str("cluster"), str(long)))); err != nil {
		t.Fatal(err)
	}
	expect(t, c, ackOf("id"))
	if all := k.all(); len(all) != 1 || all[0].cluster != "home" {
		t.Errorf("with a name of a cluster that is too long: %v", all)
	}
	c = dial(t, s)
	if _, err := c.Write([]byte(`["t",1,{},{"cluster":"` + long + `"}]` + string(array(str("t"), array(), chunkOption("end"))))); err != nil {
		t.Fatal(err)
	}
	expect(t, c, ackOf("end"))
	if all := k.all(); len(all) != 2 || all[1].cluster != "home" {
		t.Errorf("with a name of a cluster that is too long in JSON: %v", all)
	}
	// A tag that is long but may be is not logged as a whole.
	c = dial(t, s)
	if _, err := c.Write(array(str(long[:maxTag]), array(entry(object(object(), str("no text")))), chunkOption("id"))); err != nil {
		t.Fatal(err)
	}
	expect(t, c, ackOf("id"))
	if text := s.log.String(); !strings.Contains(text, "cannot be read") || strings.Contains(text, long[:loggedTag+1]) {
		t.Errorf("logged %s", text)
	}
}

// TestChunkIDIsAText: an id is echoed as it came, so it is not just any value.
func TestChunkIDIsAText(t *testing.T) {
	for name, id := range map[string][]byte{"a number": integer(7), "a map": object(str("a"), str("b"))} {
		say := array(str("t"), array(entry(logRecord(`{}`))), object(str("chunk"), id))
		if _, records, err := play(t, Settings{}, say, 1000); len(records) > 0 || err == nil || !strings.Contains(err.Error(), "expected a str or bin as the chunk id") {
			t.Errorf("%s: %d records and %v", name, len(records), err)
		}
	}
	if _, records, err := play(t, Settings{}, array(str("t"), array(entry(logRecord(`{}`))), object(str("chunk"), bin([]byte("id")))), 1000); len(records) != 1 || err != nil {
		t.Errorf("a bin: %d records and %v", len(records), err)
	}
}

// TestIdleConnectionKeepsNothing: what a connection has handled is not held by what it uses again.
func TestIdleConnectionKeepsNothing(t *testing.T) {
	s, err := New(Config{Listen: ":0"}, Settings{Name: "audit"})
	if err != nil {
		t.Fatal(err)
	}
	s.handler = (&keeper{}).handle
	say := array(str("t"), array(entry(object(str("a"), str(strings.Repeat("x", 2*batchBytes)))), entry(object())), chunkOption("id"))
	c := &conn{src: s, net: &script{say: append(say, 0x93), piece: 64 << 10}}
	if err := c.serve(t.Context(), t.Context()); err == nil {
		t.Fatal("the second message is not complete, and nothing is said")
	}
	for _, j := range c.group.stream.held[:cap(c.group.stream.held)] {
		if j != nil {
			t.Error("a job is held")
		}
	}
	for _, a := range c.group.answers[:cap(c.group.answers)] {
		if a.chunk != nil {
			t.Error("a chunk id, and the buffer that it lies in, are held")
		}
	}
}

// TestUnreadableIsClaimed: what is kept as it came counts while it waits, like every other record.
func TestUnreadableIsClaimed(t *testing.T) {
	s := start(t, Config{}, Settings{}, (&keeper{}).handle)
	c := dial(t, s)
	const size = 4 << 20
	whole := array(str("t"), array(entry(object(object(), str(strings.Repeat("x", size))))), chunkOption("id"))
	if _, err := c.Write(whole[:len(whole)-1]); err != nil {
		t.Fatal(err)
	}
	until(t, "the unreadable record", func() bool { return s.Stats().Unreadable == 1 })
	// The buffer that it was read into has twice that and stays as long as the message goes on.
	until(t, "a claim for its text", func() bool {
		s.budget.mu.Lock()
		defer s.budget.mu.Unlock()
		return s.settings.Memory-s.budget.free >= 3*size
	})
	if _, err := c.Write(whole[len(whole)-1:]); err != nil {
		t.Fatal(err)
	}
	expect(t, c, ackOf("id"))
}

// TestSourceIsNamedOnce: the logger that we are given names the source already.
func TestSourceIsNamedOnce(t *testing.T) {
	book := &logBook{}
	s, err := New(Config{Listen: ":0"}, Settings{Name: "audit", Logger: slog.New(slog.NewJSONHandler(book, nil)).With("source", "audit")})
	if err != nil {
		t.Fatal(err)
	}
	s.warn("a word", "tag", "t")
	if n := strings.Count(book.String(), `"source"`); n != 1 {
		t.Errorf("%d times in %s", n, book)
	}
}

// TestLogIsOneLine: the end of a connection that was cut off is told without a line break.
func TestLogIsOneLine(t *testing.T) {
	s, err := New(Config{Listen: ":0"}, Settings{Name: "audit"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.handler = func(context.Context, *sources.Batch) error { cancel(); return ctx.Err() }
	c := &conn{src: s, net: &script{say: array(str("t"), array(entry(logRecord(`{}`))), chunkOption("id")), piece: 1000}}
	if err := c.serve(t.Context(), ctx); !errors.Is(err, errUnanswered) || !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %q", err)
	}
}

// TestOtherChunksOfTheSameIDAreHandled: a sender that counts its chunks from 1 begins anew when it starts again.
func TestOtherChunksOfTheSameIDAreHandled(t *testing.T) {
	unreadable := func(n byte) []byte {
		return array(eventTime(1, 1), object(array(integer(1)), str(string(rune('a'+n)))))
	}
	marker := func(n string) []byte {
		return array(array(eventTime(groupStart, 0), object()), object(str("n"), str(n)))
	}
	var full [][]byte // more than waits for the option
	for range 17 {
		full = append(full, entry(logRecord(`{"b":"`+strings.Repeat("y", 1<<20)+`"}`)))
	}
	behind := func(text string) []byte {
		return array(str("t"), array(append(full[:len(full):len(full)], entry(logRecord(text)))...), chunkOption("1"))
	}
	pad := strings.Repeat("p", 400)
	var once, twice [][]byte
	for i := range 64 {
		once = append(once, entry(object(str("n"), integer(uint32(1000+i)))))
		twice = append(twice, entry(object(str("n"), integer(uint32(5000+i)))))
	}
	for name, pair := range map[string][2][]byte{
		"another tag":        {array(str("a"), array(entry(logRecord("{}"))), chunkOption("1")), array(str("b"), array(entry(logRecord("{}"))), chunkOption("1"))},
		"unreadable":         {array(str("t"), array(unreadable(0)), chunkOption("1")), array(str("t"), array(unreadable(1)), chunkOption("1"))},
		"the end of a long":  {array(str("t"), array(entry(object(str("p"), str(pad), str("n"), str("1")))), chunkOption("1")), array(str("t"), array(entry(object(str("p"), str(pad), str("n"), str("2")))), chunkOption("1"))},
		"a marker":           {array(str("t"), array(marker("1")), chunkOption("1")), array(str("t"), array(marker("2")), chunkOption("1"))},
		"behind 16 MiB":      {behind(`{"n":1}`), behind(`{"n":2}`)},
		"each entry doubled": {array(str("t"), array(append(once, once...)...), chunkOption("1")), array(str("t"), array(append(twice, twice...)...), chunkOption("1"))},
	} {
		k := &keeper{}
		s := start(t, Config{}, Settings{}, k.handle)
		c := dial(t, s)
		for range 2 { // the first pass, and each once more
			for _, message := range pair {
				if _, err := c.Write(message); err != nil {
					t.Fatal(err)
				}
				expect(t, c, ackOf("1"))
			}
		}
		if got := s.Stats().Repeated; got != 2 {
			t.Errorf("%s: %d chunks were taken for repeats, want the second pass", name, got)
		}
	}
}

// TestSenderThatNeverPausesStarvesNobody: its message over the budget gives the overdraft back, though the next has begun.
func TestSenderThatNeverPausesStarvesNobody(t *testing.T) {
	s := start(t, Config{}, Settings{Memory: 1 << 20}, func(context.Context, *sources.Batch) error { return nil })
	whole := array(str("t"), bin(bytes.Repeat([]byte{0xc0}, 900<<10)), chunkOption("b"))
	free := func() int64 {
		s.budget.mu.Lock()
		defer s.budget.mu.Unlock()
		return s.budget.free
	}
	// Halves of messages take what there is, each in a buffer of the next power of two.
	left := int64(1 << 20)
	for _, half := range []struct{ bytes, buffer int64 }{{300 << 10, 512 << 10}, {150 << 10, 256 << 10}, {80 << 10, 128 << 10}, {10 << 10, 64 << 10}, {10 << 10, 64 << 10}} {
		if _, err := dial(t, s).Write(whole[:half.bytes]); err != nil {
			t.Fatal(err)
		}
		left -= half.buffer
		until(t, "half a message", func() bool { return free() == left })
	}
	message := func(i int) []byte {
		return array(str("t"), bin(entry(logRecord(`{"a":1}`))), chunkOption(fmt.Sprint(i+100)))
	}
	busy := dial(t, s)
	if _, err := busy.Write(message(0)[:10]); err != nil {
		t.Fatal(err)
	}
	until(t, "the overdraft", func() bool { return free() < 0 })
	good := dial(t, s)
	if _, err := good.Write(array(str("t"), array(entry(logRecord(`{"g":1}`))), chunkOption("good"))); err != nil {
		t.Fatal(err)
	}
	until(t, "the sender that waits", s.budget.pressed)
	if _, err := busy.Write(append(message(0)[10:], message(1)[:10]...)); err != nil {
		t.Fatal(err)
	}
	expect(t, busy, ackOf("100"))
	expect(t, good, ackOf("good"))
}
