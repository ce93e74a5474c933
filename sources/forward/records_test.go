package forward

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"strings"
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
	zeros := make([]byte, 1<<20)
	const members = maxMessage>>20 + 1
	k := &keeper{}
	s := start(t, Config{}, Settings{Memory: 1 << 20}, k.handle)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i, c := range []struct {
		method string
		bomb   []byte
	}{{"gzip", bytes.Repeat(gzipped(t, zeros), members)}, {"zstd", bytes.Repeat(zstandard(t, zeros), members)}} {
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
