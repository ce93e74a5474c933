package nats

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
	"github.com/spawnwatch/spawnwatch/sinks"
)

// failures publishes and wants a PublishError.
func failures(t *testing.T, k *Sink, msgs ...sinks.Message) []sinks.Failure {
	t.Helper()
	err := k.Publish(t.Context(), msgs)
	var p *sinks.PublishError
	if !errors.As(err, &p) {
		t.Fatalf("Publish returned %v, want a PublishError", err)
	}
	return p.Failures
}

func wantFailure(t *testing.T, f sinks.Failure, index int, permanent bool, texts ...string) {
	t.Helper()
	if f.Index != index || f.Permanent != permanent {
		t.Errorf("failure of message %d, permanent %v; want %d, %v: %v", f.Index, f.Permanent, index, permanent, f.Err)
	}
	for _, text := range texts {
		if !strings.Contains(f.Err.Error(), text) {
			t.Errorf("the error should say %q: %v", text, f.Err)
		}
	}
}

func TestSameIDIsStoredOnce(t *testing.T) {
	s := startServer(t, natsdemo.Settings{})
	k := open(t, Config{Access: s.access(), Subject: "alerts.{severity}", Stream: "ALERTS", Create: true}, Settings{})
	for range 3 {
		if err := k.Publish(t.Context(), []sinks.Message{message("a", `{"n":1}`), message("b", `{"n":2}`), message("a", `{"n":1}`)}); err != nil {
			t.Fatal(err)
		}
	}
	all := s.stored("ALERTS")
	if len(all) != 2 {
		t.Fatalf("the stream holds %d messages, want each of the two once", len(all))
	}
	m := all[0]
	if m.Subject != "alerts.high" || string(m.Data) != `{"n":1}` || len(m.Header["content-type"]) != 1 {
		t.Errorf("stored %q on %q with %v", m.Data, m.Subject, m.Header)
	}
}

func TestCreateMakesAStreamForThePattern(t *testing.T) {
	s := startServer(t, natsdemo.Settings{})
	cfg := Config{Access: s.access(), Subject: "k8s.{cluster}-x.alerts.{severity}", Stream: "ALERTS", Create: true}
	k := open(t, cfg, Settings{})
	if err := k.Check(t.Context()); err != nil {
		t.Errorf("Check misses a stream that create would make: %v", err)
	}
	if err := k.Publish(t.Context(), []sinks.Message{message("a", "{}")}); err != nil {
		t.Fatal(err)
	}
	st, err := s.js.Stream(s.ctx(), "ALERTS")
	if err != nil {
		t.Fatal(err)
	}
	c := st.CachedInfo().Config
	if len(c.Subjects) != 1 || c.Subjects[0] != "k8s.*.alerts.*" || c.Duplicates == 0 || c.MaxAge == 0 || c.Storage != jetstream.FileStorage {
		t.Errorf("made %+v", c)
	}
	if err := open(t, cfg, Settings{Name: "second"}).Publish(t.Context(), []sinks.Message{message("b", "{}")}); err != nil {
		t.Errorf("a second sink with create: %v", err)
	}
}

func TestNoStreamForTheSubject(t *testing.T) {
	s := startServer(t, natsdemo.Settings{})
	k := open(t, Config{Access: s.access(), Subject: "alerts.{severity}"}, Settings{})
	for _, f := range failures(t, k, message("a", "{}")) {
		wantFailure(t, f, 0, false, `sink "siem" (nats)`, `"alerts.high"`, "no stream takes this subject", "create: true")
	}
	err := k.Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), `no stream takes "alerts.*"`) {
		t.Errorf("Check says %v", err)
	}
	// Once there is one, the same sink works.
	s.stream(jetstream.StreamConfig{Name: "LATE", Subjects: []string{"alerts.>"}})
	if err := k.Publish(t.Context(), []sinks.Message{message("a", "{}")}); err != nil {
		t.Error(err)
	}
	if err := k.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnotherStreamThanConfigured(t *testing.T) {
	s := startServer(t, natsdemo.Settings{})
	s.stream(jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"alerts.>"}})
	s.stream(jetstream.StreamConfig{Name: "ALERTS", Subjects: []string{"elsewhere.>"}})
	k := open(t, Config{Access: s.access(), Subject: "alerts.{severity}", Stream: "ALERTS"}, Settings{})
	wantFailure(t, failures(t, k, message("a", "{}"))[0], 0, false, "another stream than the configured one")
	if err := k.Check(t.Context()); err == nil || !strings.Contains(err.Error(), `stream "ALERTS" does not take "alerts.*", only elsewhere.>`) {
		t.Errorf("Check says %v", err)
	}
	gone := open(t, Config{Access: s.access(), Subject: "alerts.{severity}", Stream: "NONE"}, Settings{})
	if err := gone.Check(t.Context()); err == nil || !strings.Contains(err.Error(), `the server has no stream "NONE"`) {
		t.Errorf("Check says %v", err)
	}
}

func TestStorageFullIsWorthAnotherTry(t *testing.T) {
	s := startServer(t, natsdemo.Settings{})
	small := jetstream.StreamConfig{Name: "ALERTS", Subjects: []string{"alerts.>"}, MaxBytes: 2000, Discard: jetstream.DiscardNew}
	s.stream(small)
	k := open(t, Config{Access: s.access(), Subject: "alerts.{severity}"}, Settings{})
	msgs := make([]sinks.Message, 20)
	for i := range msgs {
		msgs[i] = message(fmt.Sprint(i), `{"pad":"`+strings.Repeat("x", 300)+`"}`)
	}
	failed := failures(t, k, msgs...)
	if len(failed) == 0 || len(failed) == len(msgs) {
		t.Fatalf("%d of %d failed, want some", len(failed), len(msgs))
	}
	for i, f := range failed {
		wantFailure(t, f, len(msgs)-len(failed)+i, false, "the stream is full")
	}
	if stored := len(s.stored("ALERTS")); stored != len(msgs)-len(failed) {
		t.Errorf("%d are stored, %d were told as failed, of %d", stored, len(failed), len(msgs))
	}
	small.MaxBytes = -1
	s.stream(small)
	if err := k.Publish(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	if stored := len(s.stored("ALERTS")); stored != len(msgs) {
		t.Errorf("%d are stored, want %d, each once", stored, len(msgs))
	}
}

func TestServerWithoutRoom(t *testing.T) {
	s := startServer(t, natsdemo.Settings{Store: 64 << 10})
	s.stream(jetstream.StreamConfig{Name: "ALERTS", Subjects: []string{"alerts.>"}})
	k := open(t, Config{Access: s.access(), Subject: "alerts.{severity}"}, Settings{})
	var failed []sinks.Failure
	for i := 0; i < 40 && failed == nil; i++ {
		var p *sinks.PublishError
		if err := k.Publish(t.Context(), []sinks.Message{message(fmt.Sprint(i), strings.Repeat("x", 8<<10))}); errors.As(err, &p) {
			failed = p.Failures
		}
	}
	if len(failed) != 1 {
		t.Fatal("the server took more than its storage")
	}
	wantFailure(t, failed[0], 0, false, "JetStream has no room left")
}

func TestTooLargeForTheStream(t *testing.T) {
	s := startServer(t, natsdemo.Settings{})
	s.stream(jetstream.StreamConfig{Name: "ALERTS", Subjects: []string{"alerts.>"}, MaxMsgSize: 500})
	k := open(t, Config{Access: s.access(), Subject: "alerts.{severity}"}, Settings{})
	failed := failures(t, k, message("a", "{}"), message("b", strings.Repeat("x", 600)), message("c", strings.Repeat("x", 2<<20)), message("d", "{}"))
	if len(failed) != 2 {
		t.Fatalf("%d failed, want 2: %v", len(failed), failed)
	}
	wantFailure(t, failed[0], 1, true, "max_msg_size")
	wantFailure(t, failed[1], 2, true, "the server's limit is 1048576 bytes")
	if len(s.stored("ALERTS")) != 2 {
		t.Error("the small ones beside them are not stored")
	}
}

func TestWithoutJetStream(t *testing.T) {
	s := startServer(t, natsdemo.Settings{Adjust: func(o *server.Options) { o.JetStream = false }})
	k := open(t, Config{Access: s.access(), Subject: "alerts.{severity}"}, Settings{})
	if err := k.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "JetStream") {
		t.Errorf("Check says %v", err)
	}
	wantFailure(t, failures(t, k, message("a", "{}"))[0], 0, false, "no stream takes this subject")
}

// TestFewSlotsManyCalls: calls that share a few slots get through, and none waits for another for ever.
func TestFewSlotsManyCalls(t *testing.T) {
	s := startServer(t, natsdemo.Settings{})
	s.stream(jetstream.StreamConfig{Name: "ALERTS", Subjects: []string{"alerts.>"}})
	k := open(t, Config{Access: s.access(), Subject: "alerts.{severity}"}, Settings{Unanswered: 3})
	var calls sync.WaitGroup
	for c := range 16 {
		calls.Go(func() {
			msgs := make([]sinks.Message, 50)
			for i := range msgs {
				msgs[i] = message(fmt.Sprintf("%d-%d", c, i), "{}")
			}
			if err := k.Publish(t.Context(), msgs); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if n := len(s.stored("ALERTS")); n != 16*50 {
		t.Errorf("%d are stored, want %d", n, 16*50)
	}
	if len(k.slots) != 0 {
		t.Errorf("%d slots are still taken", len(k.slots))
	}
}

// TestServerRestartsUnderLoad: what Publish called durable is stored, and the rest can be published again.
func TestServerRestartsUnderLoad(t *testing.T) {
	s := startServer(t, natsdemo.Settings{})
	s.stream(jetstream.StreamConfig{Name: "ALERTS", Subjects: []string{"alerts.>"}})
	k := open(t, Config{Access: s.access(), Subject: "alerts.{severity}"}, Settings{})
	halfway := make(chan struct{})
	published := make(chan int)
	go func() {
		failed := 0
		for i := range 60 {
			if i == 20 {
				close(halfway)
			}
			todo := make([]sinks.Message, 25)
			for j := range todo {
				todo[j] = message(fmt.Sprintf("%d-%d", i, j), `{"pad":"`+strings.Repeat("x", 1000)+`"}`)
			}
			for t.Context().Err() == nil {
				err := k.Publish(t.Context(), todo)
				var p *sinks.PublishError
				if !errors.As(err, &p) {
					break
				}
				var again []sinks.Message
				for _, f := range p.Failures {
					if f.Permanent {
						t.Errorf("failed for good: %v", f.Err)
					}
					again = append(again, todo[f.Index])
				}
				failed += len(again)
				todo = again
			}
		}
		published <- failed
	}()
	<-halfway
	s.stop(t)
	s.start(t)
	t.Logf("%d messages were told as failed on the way", <-published)
	ids := map[string]int{}
	for _, m := range s.stored("ALERTS") {
		ids[m.Header.Get(jetstream.MsgIDHeader)]++
	}
	if len(ids) != 60*25 {
		t.Errorf("%d different messages are stored, want %d", len(ids), 60*25)
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("%s is stored %d times", id, n)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	k := open(t, Config{Access: natsconn.Access{URL: "nats://127.0.0.1:1"}, Subject: "alerts"}, Settings{})
	wantFailure(t, failures(t, k, message("a", "{}"), message("b", "{}"))[1], 1, false, "cannot connect to nats://127.0.0.1:1", "nothing listens there")
	if err := k.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing listens there") {
		t.Errorf("Check says %v", err)
	}
}

// TestForbiddenSubject: a server that forbids a subject does not answer the message; the reason must still be told.
func TestForbiddenSubject(t *testing.T) {
	s := startServer(t, natsdemo.Settings{Adjust: func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "root", Password: "r"},
			{Username: "sw", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"alerts.>"}}}},
		}
		o.NoAuthUser = "root"
	}})
	s.stream(jetstream.StreamConfig{Name: "ALERTS", Subjects: []string{"alerts.>"}})
	a := s.access()
	a.User, a.Password = "sw", "p"
	k := open(t, Config{Access: a, Subject: "alerts.{severity}"}, Settings{Answer: 300 * time.Millisecond})
	wantFailure(t, failures(t, k, message("a", "{}"))[0], 0, false, "alerts.high", "Permissions Violation", `user "sw"`)
}
