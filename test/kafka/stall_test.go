package kafka_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	source "github.com/spawnwatch/spawnwatch/sources/kafka"
)

// stalled is how long the sink of TestStalledSink refuses; STALL changes it.
func stalled(t testing.TB) time.Duration {
	s := os.Getenv("STALL")
	if s == "" {
		return 60 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("STALL: %v", err)
	}
	return d
}

// TestStalledSink: the program's sink refuses for a minute while events keep coming. Nothing is lost, memory stays flat,
// the lag grows and drains; a record that holds no event is dead-lettered with its place, and its partition goes on.
func TestStalledSink(test *testing.T) {
	t := tell(test)
	r := open(t)
	if testing.Short() {
		t.Skip("takes minutes")
	}
	program := build(t)
	lines := events(t)
	audits := expected(t, program, lines)
	var down atomic.Bool
	var mu sync.Mutex
	got := map[string]bool{}
	refused := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		mu.Lock()
		defer mu.Unlock()
		if err != nil || down.Load() {
			refused++
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		for d := json.NewDecoder(strings.NewReader(string(body))); ; { // one alert, an array or lines of them
			var raw json.RawMessage
			if d.Decode(&raw) != nil {
				break
			}
			var many []alerted
			if json.Unmarshal(raw, &many) != nil {
				many = make([]alerted, 1)
				_ = json.Unmarshal(raw, &many[0])
			}
			for _, a := range many {
				got[a.Request.AuditID] = true
			}
		}
	}))
	t.Cleanup(server.Close)

	in, dead, group := name(t, "in"), name(t, "dead"), name(t, "group")
	large := kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "8388608"}
	r.topic(t, in, 4, large)
	r.topic(t, dead, 1, large)
	poison := []byte(`{"kind":"Event","verb":"create" this is no JSON`)
	r.produce(t, in, 2, 0, []byte(`{"kind":"Event","auditID":"x","stage":"ResponseComplete","verb":"get","requestURI":"/healthz"}`), poison)
	i := launch(t, program, fmt.Sprintf(`
sources: [{name: audit, kafka: {brokers: ["%[1]s"], topics: [%[2]s], group: %[3]s}}]
rules: {children: alert}
sinks: [{name: out, http: {url: "%[4]s"}}]
dead_letter: {kafka: {brokers: ["%[1]s"], topic: %[5]s}}
admin: {listen: "127.0.0.1:0"}
`, strings.Join(r.brokers, `","`), in, group, server.URL, dead), "stalled")

	const rounds = 24
	if err := r.feed(t.Context(), t, in, 4, 1e6, lines); err != nil { // warm
		t.Fatal(err)
	}
	r.drained(t.Context(), t, group, in, 4, 60*time.Second)
	before := i.resident()
	down.Store(true)
	began := time.Now()
	// The rounds go on where the first ones ended, so that their alerts are new.
	if err := r.feed(t.Context(), t, in, rounds, 1e6, renumberAll(lines)); err != nil {
		t.Fatal(err)
	}
	most, lag := 0, int64(0)
	for ctx := t.Context(); time.Since(began) < stalled(t); pause(ctx, 500*time.Millisecond) {
		most = max(most, i.resident())
		ends, err := r.ends(ctx, in, 4)
		if err != nil {
			continue
		}
		if have, err := r.committed(ctx, group, in, 4); err == nil {
			lag = sum(ends) - sum(have)
		}
	}
	down.Store(false)
	back := time.Now()
	r.drained(t.Context(), t, group, in, 4, 90*time.Second)
	took := time.Since(back)
	mu.Lock()
	defer mu.Unlock()
	missing := 0
	for round := range rounds {
		for audit := range audits {
			if !got[renumbered(marked(audit), round)] {
				missing++
			}
		}
	}
	t.Logf("RSS %d MB before, at most %d MB during %v of refusals (%d); lag %d, drained in %v; %d missing", before, most, stalled(t), refused, lag, took.Round(time.Millisecond), missing)
	if missing > 0 {
		t.Errorf("%d creations raised no alert", missing)
	}
	if lag < 1000 || refused == 0 {
		t.Errorf("the lag was %d and %d requests were refused: nothing was held back", lag, refused)
	}
	if most > before+200 {
		t.Errorf("memory went from %d to %d MB", before, most)
	}
	letters := r.read(t, dead, 1)
	if len(letters) != 1 {
		t.Fatalf("%d dead letters, want the one of the poison record", len(letters))
	}
	text := string(letters[0].value)
	for _, h := range letters[0].heads {
		text += "\n" + h.Key + ": " + h.Value
	}
	for _, part := range []string{in, "2", "1", "reason"} { // topic, partition, offset, reason
		if !strings.Contains(text, part) {
			t.Errorf("the dead letter lacks %q: %s", part, text)
		}
	}
	t.Logf("the dead letter:\n%s", text)
	i.stop(t)
}

// renumberAll gives events other ids than the first rounds had, behind the part that tells the round.
func renumberAll(lines [][]byte) (all [][]byte) {
	for _, l := range lines {
		l = renumber(l, 0)
		if at := auditID.FindIndex(l); at != nil {
			copy(l[at[0]+idAt+9:], "ffff")
		}
		all = append(all, l)
	}
	return all
}

func marked(audit string) string { return audit[:9] + "ffff" + audit[13:] }

// TestTransactions: what a transaction wrote comes once it is committed, what it gave up never does, and neither do the
// markers; the position moves over all of them.
func TestTransactions(t *testing.T) {
	r := open(t)
	topic, group := name(t, "in"), name(t, "group")
	r.topic(t, topic, 1)
	producer, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.TransactionalID(name(t, "txn")), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	ctx := within(t, 60*time.Second)
	write := func(end kgo.TransactionEndTry, values ...string) {
		t.Helper()
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if err := producer.ProduceSync(ctx, kgo.StringRecord(v)).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := producer.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	write(kgo.TryCommit, "a", "b")
	write(kgo.TryAbort, "never", "never either")
	r.produce(t, topic, 0, 0, []byte("plain"))
	write(kgo.TryAbort, "not this")
	write(kgo.TryCommit, "c")
	got := r.consume(t, source.Config{Brokers: r.brokers, Topics: []string{topic}, Group: group}, 4)
	var values []string
	for _, v := range got {
		values = append(values, v)
	}
	want := map[string]bool{"a": true, "b": true, "c": true, "plain": true}
	for _, v := range values {
		if !want[v] {
			t.Errorf("%q came", v)
		}
	}
	ends, err := r.ends(ctx, topic, 1)
	if err != nil {
		t.Fatal(err)
	}
	for have := int64(-1); have != ends[0]; { // the consumer has left, its last commit stands
		offsets, err := r.committed(ctx, group, topic, 1)
		if err != nil && ctx.Err() == nil {
			continue
		}
		if have = offsets[0]; have != ends[0] {
			t.Fatalf("%d is committed, want %d, behind the last marker", have, ends[0])
		}
	}
}
