package forward

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
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
}

// TestOtherChunksOfTheSameIDAreHandled: a sender that counts its chunks from 1 begins anew when it starts again.
func TestOtherChunksOfTheSameIDAreHandled(t *testing.T) {
	unreadable := func(n byte) []byte {
		return array(eventTime(1, 1), object(array(integer(1)), str(string(rune('a'+n)))))
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
