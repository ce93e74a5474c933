package forward

import (
	"encoding/binary"
	"strings"
	"testing"
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
