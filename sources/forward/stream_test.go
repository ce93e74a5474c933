package forward

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/spawnwatch/spawnwatch/sources"
)

// play lets a sender say something in pieces, and returns what the handler got, in order, and how the connection ended.
func play(t testing.TB, settings Settings, say []byte, piece int) (*Source, []got, error) {
	t.Helper()
	settings.Name = "audit"
	s, err := New(Config{Listen: ":0"}, settings)
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{}
	s.handler = k.handle
	c := &conn{src: s, net: &script{say: bytes.Clone(say), piece: piece}}
	err = c.serve(t.Context(), t.Context())
	if c.held.held != 0 || c.in != nil || len(s.slots) != 0 || s.budget.free != s.settings.Memory {
		t.Errorf("afterwards it holds %d bytes and %d slots; %d bytes are free", c.held.held, len(s.slots), s.budget.free)
	}
	records := k.all()
	slices.SortStableFunc(records, func(a, b got) int {
		return cmp.Or(strings.Compare(a.tag, b.tag), cmp.Compare(a.offset, b.offset))
	})
	return s, records, err
}

// TestStreamInPieces: whatever the pieces in which messages arrive, their records are the same.
func TestStreamInPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var say []byte
	for m := range 30 {
		var entries [][]byte
		for i := range r.IntN(30) {
			switch r.IntN(12) {
			case 0:
				entries = append(entries, entry(logRecord(`{"line":`+fmt.Sprint(i)+`}`)))
			case 1:
				entries = append(entries, array(array(eventTime(groupStart, 0), object()), object()))
			case 2: // no text
				entries = append(entries, entry(object(object(), []byte{1})))
			case 3: // too deep
				entries = append(entries, entry(append(bytes.Repeat([]byte{0x91}, maxDepth+1), 0xc0)))
			case 4: // too large
				entries = append(entries, entry(object(str("a"), str(strings.Repeat("x", 5000)))))
			case 5: // no entry
				entries = append(entries, randomValue(r, 1))
			default:
				entries = append(entries, array(array(eventTime(1795401792, 5), object()), object(str("n"), randomValue(r, 2))))
			}
		}
		parts := [][]byte{str(fmt.Sprintf("tag.%02d", m)), array(entries...)}
		if r.IntN(3) > 0 {
			parts = append(parts, chunkOption(fmt.Sprint(m), str("cluster"), str("c")))
		}
		say = append(say, array(parts...)...)
		if r.IntN(5) == 0 {
			say = append(say, 0xc0)
		}
	}
	settings := Settings{MaxRecord: 4 << 10}
	_, want, err := play(t, settings, say, len(say))
	if err != nil || len(want) < 200 {
		t.Fatalf("%d records and %v", len(want), err)
	}
	for _, piece := range []int{1, 2, 3, 7, 64, 1000, 4096} {
		_, records, err := play(t, settings, say, piece)
		if err != nil {
			t.Errorf("pieces of %d: %v", piece, err)
		}
		if diff := gocmp.Diff(want, records, gocmp.AllowUnexported(got{}), cmpopts.EquateNaNs()); diff != "" {
			t.Fatalf("pieces of %d: %s", piece, diff)
		}
	}
	// Packed into a bin the same entries are read after the message is complete: by other code, to the same end.
	var packed []byte
	for rest := say; len(rest) > 0; {
		var f frame
		if done, err := f.advance(rest); !done || err != nil {
			t.Fatalf("%v, %v", done, err)
		}
		message := rest[:f.size]
		rest = rest[f.size:]
		if f.kind == frameIdle {
			continue
		}
		m, err := parseMessage(message, &f)
		if err != nil {
			t.Fatal(err)
		}
		parts := [][]byte{str(string(m.tag)), bin(m.entries)}
		if f.n == 3 {
			parts = append(parts, message[f.elems[2]:])
		}
		packed = append(packed, array(parts...)...)
	}
	_, records, err := play(t, settings, packed, len(packed))
	if diff := gocmp.Diff(want, records, gocmp.AllowUnexported(got{})); diff != "" || err != nil {
		t.Fatalf("packed: %v %s", err, diff)
	}
}

// TestStreamBeyondWhatWaits: of a message with more text than may wait for the option, the rest is read at its end.
func TestStreamBeyondWhatWaits(t *testing.T) {
	text := strings.Repeat("x", 1<<20)
	entries := make([][]byte, 20)
	for i := range entries {
		entries[i] = entry(object(str("n"), []byte{byte(i)}, str("text"), str(text)))
	}
	small := make([][]byte, 110_000) // small records weigh more than their text
	for i := range small {
		small[i] = entry(object())
	}
	for name, list := range map[string][][]byte{"large": entries, "small": small} {
		_, records, err := play(t, Settings{}, array(str(name), array(list...), chunkOption("c")), 100_000)
		if err != nil || len(records) != len(list) {
			t.Fatalf("%s: %d records of %d, %v", name, len(records), len(list), err)
		}
		for i, r := range records {
			if r.offset != int64(i) {
				t.Fatalf("%s: record %d has the offset %d", name, i, r.offset)
			}
		}
	}
}

// TestStreamWaitsForOption: nothing is handled before the option is there, which may say that nothing is to be.
func TestStreamWaitsForOption(t *testing.T) {
	list := array(entry(logRecord(`{"a":1}`)), entry(object(str("b"), []byte{2})))
	whole := array(str("t"), list, chunkOption("c"))
	for cut := range len(whole) - 1 {
		_, records, err := play(t, Settings{}, whole[:cut], 1000)
		if len(records) > 0 {
			t.Fatalf("after %d of %d bytes %d records were handled", cut, len(whole), len(records))
		}
		if (err == nil) != (cut == 0) {
			t.Fatalf("after %d of %d bytes: %v", cut, len(whole), err)
		}
	}
	s, records, err := play(t, Settings{}, append(bytes.Clone(whole), whole...), 1000)
	if err != nil || len(records) != 4 || s.Stats().Repeated != 0 {
		// Both came at once: neither was answered before the other.
		t.Errorf("%d records, %d repeated, %v", len(records), s.Stats().Repeated, err)
	}
	s, records, err = play(t, Settings{}, append(bytes.Clone(whole), whole...), len(whole))
	if err != nil || len(records) != 2 || s.Stats().Repeated != 1 {
		t.Errorf("%d records, %d repeated, %v", len(records), s.Stats().Repeated, err)
	}
	other := array(str("t"), array(entry(logRecord(`{"a":3}`)), entry(object(str("b"), []byte{2}))), chunkOption("c"))
	s, records, err = play(t, Settings{}, append(bytes.Clone(whole), other...), len(whole))
	if err != nil || len(records) != 4 || s.Stats().Repeated != 0 {
		t.Errorf("the same id and length with other entries: %d records, %d repeated, %v", len(records), s.Stats().Repeated, err)
	}
	signal := array(str("t"), list, chunkOption("c", str("fluent_signal"), []byte{2}))
	s, records, err = play(t, Settings{}, signal, 10)
	if err != nil || len(records) != 0 || s.Stats().Signals != 1 {
		t.Errorf("traces: %d records, %d signals, %v", len(records), s.Stats().Signals, err)
	}
}

func TestStreamRefuses(t *testing.T) {
	for name, c := range map[string]struct{ say, want string }{
		"4 G entries":                 {"\x92\xa1t\xdd\xff\xff\xff\xff", "at most"},
		"4 G pairs in an entry":       {"\x92\xa1t\x91\xdf\xff\xff\xff\xff", "at most"},
		"the unused byte":             {"\x92\xa1t\x92\x92\x01\x80\xc1", "0xc1"},
		"the unused byte in a record": {"\x92\xa1t\x91\x92\x01\x81\xa1a\xc1", "0xc1"},
		"an option that is no map":    {"\x93\xa1t\x90\xa1x", "a map as the option"},
	} {
		for _, piece := range []int{1, 100} {
			_, _, err := play(t, Settings{}, []byte(c.say), piece)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want an error that says %q", name, err, c.want)
			}
		}
	}
}

// TestStreamAllocations: a record costs none.
func TestStreamAllocations(t *testing.T) {
	record := pack(t, benchEvent())
	per := func(n int) float64 {
		list := make([][]byte, n)
		for i := range list {
			list[i] = entry(record)
		}
		say := array(str("t"), array(list...))
		s, err := New(Config{Listen: ":0"}, Settings{Name: "audit"})
		if err != nil {
			t.Fatal(err)
		}
		s.handler = func(context.Context, *sources.Batch) error { return nil }
		return testing.AllocsPerRun(5, func() {
			c := &conn{src: s, net: &script{say: say, piece: 64 << 10}}
			if err := c.serve(t.Context(), t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := per(100), per(1000)
	if each := (many - few) / 900; each > 0.1 { // a batch costs some, and the pools may be emptied
		t.Errorf("%.0f allocations for 100 records, %.0f for 1000: %.2f each", few, many, each)
	}
}
