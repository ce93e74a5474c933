package forward

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/spawnwatch/spawnwatch/sources"
)

// evenHeads rejects every other head, by its length, so that both ways are gone in any message.
func evenHeads() sources.Skim {
	return sources.Skim{Members: []string{"kind", "verb", "n"}, Rejects: func(head []byte) bool { return len(head)%2 == 0 }}
}

// TestSkim: what is rejected doesn't come, and is counted and acknowledged like what comes, in every mode and however
// the message is cut on its way.
func TestSkim(t *testing.T) {
	record := func(i int) []byte {
		verb := "get"
		if i%5 == 0 {
			verb = "create"
		}
		return object(str("kind"), str("Event"), str("n"), integer(uint32(i)), str("verb"), str(verb), str("body"), object(str("x"), array(str("y"), float(1.5))))
	}
	var entries [][]byte
	for i := range 1000 {
		entries = append(entries, entry(record(i)))
	}
	stream := []byte(strings.Join(func() (all []string) {
		for _, e := range entries {
			all = append(all, string(e))
		}
		return all
	}(), ""))
	for name, message := range map[string][]byte{
		"forward": array(str("t"), array(entries...), chunkOption("id")),
		"packed":  array(str("t"), bin(stream), chunkOption("id")),
		"gzip":    array(str("t"), bin(gzipped(t, stream)), chunkOption("id", str("compressed"), str("gzip"))),
	} {
		t.Run(name, func(t *testing.T) {
			k := &keeper{}
			skim := sources.Skim{Members: []string{"kind", "verb"}, Lead: 1, Rejects: func(head []byte) bool {
				verb := gjson.GetBytes(head, "verb").Str
				if want := fmt.Sprintf(`{"kind":"Event","verb":%q}`, verb); string(head) != want {
					t.Errorf("the head is %s, want %s", head, want)
				}
				return verb == "get"
			}}
			s := start(t, Config{}, Settings{Skim: skim}, k.handle)
			c := dial(t, s)
			for rest := message; len(rest) > 0; {
				n := min(777, len(rest))
				if _, err := c.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			expect(t, c, ackOf("id"))
			all := k.all()
			if len(all) != 200 || s.Stats().Records != 1000 {
				t.Fatalf("%d records came, %d are counted", len(all), s.Stats().Records)
			}
			for i, r := range all {
				if n := gjson.Get(r.value, "n").Int(); n != int64(5*i) || r.offset != n || gjson.Get(r.value, "body.x.1").Num != 1.5 {
					t.Fatalf("record %d is %+v", i, r)
				}
			}
		})
	}
}

// TestSkimLeavesAlone: no record is skimmed of which the head might say too little.
func TestSkimLeavesAlone(t *testing.T) {
	s, err := New(Config{Listen: ":0"}, Settings{Name: "t", MaxRecord: 1000, Skim: sources.Skim{
		Members: []string{"kind", "apiVersion", "verb"}, Lead: 2, Rejects: func([]byte) bool { return true },
	}})
	if err != nil {
		t.Fatal(err)
	}
	g := group{src: s}
	whole := object(str("kind"), str("Event"), str("apiVersion"), str("v1"), str("x"), str("y"), str("verb"), str("get"))
	if n, ok := g.skim(whole); !ok || n != len(whole) {
		t.Fatalf("%d, %v", n, ok)
	}
	for name, record := range map[string][]byte{
		"another beginning": object(str("log"), str("x"), str("kind"), str("Event"), str("apiVersion"), str("v1")),
		"another order":     object(str("apiVersion"), str("v1"), str("kind"), str("Event")),
		"too little":        object(str("kind"), str("Event")),
		"a key with a dot":  object(str("kind"), str("Event"), str("apiVersion"), str("v1"), str("objectRef.resource"), str("x"), str("verb"), str("get")),
		"a key of no text":  object(str("kind"), str("Event"), str("apiVersion"), str("v1"), integer(1), str("x"), str("verb"), str("get")),
		"a long member":     object(str("kind"), str("Event"), str("apiVersion"), str("v1"), str("verb"), str(strings.Repeat("x", headBytes))),
		"a long record":     object(str("kind"), str("Event"), str("apiVersion"), str("v1"), str("verb"), str("get"), str("x"), str(strings.Repeat("x", 1000))),
		"broken inside":     append(object(str("kind"), str("Event"), str("apiVersion"), str("v1"), str("verb"), str("get"), str("x"))[:4], 4),
		"cut":               whole[:len(whole)-1],
		"no map":            array(str("kind")),
	} {
		if n, ok := g.skim(record); ok {
			t.Errorf("%s: %d bytes are skimmed", name, n)
		}
	}
}

// FuzzSkim: a head holds what the whole record says, and a record that is skimmed is as long as one that is written.
func FuzzSkim(f *testing.F) {
	f.Add(pack(f, benchEvent()))
	f.Add(object(str("kind"), str("Event"), str("verb"), object(str("a"), float(201)), str("kind"), str("again")))
	f.Fuzz(func(t *testing.T, record []byte) {
		var head string
		s := &Source{settings: Settings{MaxRecord: 1 << 20, Skim: sources.Skim{
			Members: []string{"kind", "verb", "objectRef"}, Rejects: func(b []byte) bool { head = string(b); return true },
		}}}
		g := group{src: s}
		n, ok := g.skim(record)
		if !ok {
			return
		}
		text, size, err := appendJSON(nil, record, 1<<24)
		if err != nil {
			return // such a key, or such a depth, is found only when all is written
		}
		if size != n {
			t.Fatalf("%d bytes are skimmed, %d written", n, size)
		}
		for _, name := range s.settings.Skim.Members {
			if got, want := gjson.Get(head, name).Raw, gjson.GetBytes(text, name).Raw; got != "" && got != want {
				t.Fatalf("the head has %s for %s, the record %s", got, name, want)
			}
		}
	})
}
