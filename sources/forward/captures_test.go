package forward

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// wanted is a line of a capture's expected.jsonl.
type wanted struct {
	Conn, Msg int
	Mode, Tag string
	Time      struct {
		Kind      string
		Sec, Nsec int64
		Value     float64
	}
	Record any
	Option map[string]any
	Signal *int
}

// TestCaptures plays what real senders said to a listening source, and compares the records that come out and every
// byte of the answers with what is written beside the captures.
func TestCaptures(t *testing.T) {
	dir := captures(t)
	files, err := filepath.Glob(filepath.Join(dir, "*.expected.jsonl*"))
	if err != nil || len(files) < 25 {
		t.Fatalf("found %d captures (%v), expected all", len(files), err)
	}
	for _, file := range files {
		mode := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".gz"), ".expected.jsonl")
		for _, pieces := range []int{math.MaxInt, 997} {
			if pieces < math.MaxInt && strings.Contains(mode, "big5MB") {
				continue // the small ones show the same in less time
			}
			t.Run(fmt.Sprintf("%s in pieces of %d", mode, pieces), func(t *testing.T) {
				t.Parallel()
				playCapture(t, dir, mode, pieces)
			})
		}
	}
}

func playCapture(t *testing.T, dir, mode string, pieces int) {
	cfg := Config{Listen: "127.0.0.1:0", Hostname: "recorder"}
	if strings.Contains(mode, "sharedkey") {
		cfg.SharedKey = "s3cr3t"
	}
	if strings.Contains(mode, "user") {
		cfg.Users = []User{{"other", "x"}, {"fluent", "pässw0rd"}}
	}
	k := &keeper{}
	s, err := New(cfg, Settings{Name: "audit"})
	if err != nil {
		t.Fatal(err)
	}
	random := &replayed{}
	s.random = random
	r := run(t, s, &logBook{}, k.handle)

	var records []wanted
	signals := int64(0)
	chunks := map[string]int{}
	for line := range bytes.Lines(readMaybeGzip(t, filepath.Join(dir, mode+".expected.jsonl"))) {
		var w wanted
		if err := json.Unmarshal(line, &w); err != nil {
			t.Fatal(err)
		}
		if w.Signal != nil {
			signals++
			continue
		}
		// A chunk that comes again is answered and not handled again.
		if id, ok := w.Option["chunk"].(string); ok {
			if first, twice := chunks[id]; twice && first != w.Conn*1000+w.Msg {
				continue
			}
			chunks[id] = w.Conn*1000 + w.Msg
		}
		records = append(records, w)
	}
	var kept []got
	for _, n := range connections(t, dir, mode) {
		base := filepath.Join(dir, fmt.Sprintf("%s.conn%d.", mode, n))
		sent, answered := readMaybeGzip(t, base+"c2s.bin"), readMaybeGzip(t, base+"s2c.bin")
		if cfg.SharedKey != "" {
			random.from(t, answered, cfg.Users != nil)
		}
		if mode == "fluentd-noack-retry" && n == 1 {
			// The recorder kept its answer back, to see the chunk come again.
			answered = readMaybeGzip(t, filepath.Join(dir, mode+".conn2.s2c.bin"))
		}
		c := dial(t, r)
		go func() {
			for part := range chunked(sent, pieces) {
				if _, err := c.Write(part); err != nil {
					t.Error(err)
					return
				}
			}
			c.(*net.TCPConn).CloseWrite()
		}()
		back, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back, answered) {
			t.Errorf("connection %d: the answers differ\n got %q\nwant %q", n, back, answered)
		}
		// Batches of one connection may be handled in any order.
		fresh := k.all()[len(kept):]
		sort.SliceStable(fresh, func(i, j int) bool { return fresh[i].time.Before(fresh[j].time) })
		kept = append(kept, fresh...)
	}
	sort.SliceStable(records, func(i, j int) bool {
		return records[i].Conn < records[j].Conn || records[i].Conn == records[j].Conn && records[i].at().Before(records[j].at())
	})
	if got := r.Stats().Signals; got != signals {
		t.Errorf("counted %d chunks of metrics, want %d", got, signals)
	}
	if len(kept) != len(records) {
		t.Fatalf("got %d records, want %d", len(kept), len(records))
	}
	for i, w := range records {
		compareRecord(t, kept[i], w)
	}
}

func (w *wanted) at() time.Time {
	if w.Time.Kind == "EventTime" {
		return time.Unix(w.Time.Sec, w.Time.Nsec)
	}
	return time.Unix(int64(w.Time.Value), 0)
}

func compareRecord(t *testing.T, g got, w wanted) {
	t.Helper()
	if g.tag != w.Tag || !g.time.Equal(w.at()) {
		t.Errorf("got a record of %q at %s, want %q at %s", g.tag, g.time, w.Tag, w.at())
	}
	if name, _ := w.Option["cluster"].(string); g.cluster != name {
		t.Errorf("got cluster %q, want %q", g.cluster, name)
	}
	if m, ok := w.Record.(map[string]any); ok {
		if text, ok := m["log"].(string); ok && strings.HasPrefix(strings.TrimSpace(text), "{") && strings.HasSuffix(strings.TrimSpace(text), "}") {
			if g.value != strings.TrimSpace(text) {
				t.Errorf("got %.200s\nwant the line %.200s", g.value, text)
			}
			return
		}
	}
	var value any
	if err := json.Unmarshal([]byte(g.value), &value); err != nil {
		t.Fatalf("got %.200s: %v", g.value, err)
	}
	if !reflect.DeepEqual(value, w.Record) {
		t.Errorf("got  %.300s\nwant %.300v", g.value, w.Record)
	}
}

// connections are the numbers of a capture's connections, in order.
func connections(t *testing.T, dir, mode string) (ns []int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^` + regexp.QuoteMeta(mode) + `\.conn(\d+)\.c2s\.bin(\.gz)?$`)
	for _, e := range entries {
		if m := name.FindStringSubmatch(e.Name()); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			ns = append(ns, n)
		}
	}
	sort.Ints(ns)
	return ns
}

func chunked(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			part := b[:min(n, len(b))]
			if !yield(part) {
				return
			}
			b = b[len(part):]
		}
	}
}

// replayed hands out the nonce and the salt of a recorded HELO.
type replayed struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *replayed) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Read(b)
}

func (r *replayed) from(t *testing.T, helo []byte, users bool) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf.Reset()
	for _, key := range []string{"\xa5nonce", "\xa4auth"}[:1+b2i(users)] {
		at := bytes.Index(helo, []byte(key))
		if at < 0 {
			t.Fatalf("no %q in the recorded HELO %q", key, helo)
		}
		value, _, ok := readBytes(helo[at+len(key):])
		if !ok || len(value) != 16 {
			t.Fatalf("expected 16 bytes after %q, got %q", key, value)
		}
		r.buf.Write(value)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
