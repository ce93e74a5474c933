package nats

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
	"github.com/spawnwatch/spawnwatch/sources"
)

func nobody(context.Context, *sources.Batch) error { return nil }

// TestSetUpFaults: what cannot work fails at the start, in Check as in Run, with what was expected and what to do.
func TestSetUpFaults(t *testing.T) {
	t.Parallel()
	s := startServer(t, natsdemo.Settings{Adjust: func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "root", Password: "r"},
			{Username: "narrow", Password: "n", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Deny: []string{"$JS.API.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
		}
	}}).connect(nats.UserInfo("root", "r"))
	s.stream("AUDIT", "audit.>")
	s.stream("OTHER", "other.>")
	s.consumer("AUDIT", jetstream.ConsumerConfig{Durable: "narrow", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "audit.a"})
	s.consumer("AUDIT", jetstream.ConsumerConfig{Durable: "noack", AckPolicy: jetstream.AckNonePolicy})
	s.consumer("AUDIT", jetstream.ConsumerConfig{Durable: "groups", AckPolicy: jetstream.AckExplicitPolicy, PriorityGroups: []string{"g"}, PriorityPolicy: jetstream.PriorityPolicyOverflow})
	if _, err := s.js.CreatePushConsumer(s.ctx(), "AUDIT", jetstream.ConsumerConfig{Durable: "push", DeliverSubject: "to.me", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	root := natsconn.Access{URL: s.URL(), User: "root", Password: "r"}
	for _, c := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"nobody there", Config{Access: natsconn.Access{URL: "127.0.0.1:1"}, Stream: "AUDIT"}, []string{"cannot connect to nats://127.0.0.1:1", "nothing listens there"}},
		{"no credentials", Config{Access: natsconn.Access{URL: s.URL()}, Stream: "AUDIT"}, []string{"the server refused a client without credentials"}},
		{"wrong password", Config{Access: natsconn.Access{URL: s.URL(), User: "root", Password: "x"}, Stream: "AUDIT"}, []string{`the server refused user "root"`}},
		{"no permission", Config{Access: natsconn.Access{URL: s.URL(), User: "narrow", Password: "n"}, Stream: "AUDIT"}, []string{"Permissions Violation", `user "narrow"`}},
		{"no stream", Config{Access: root, Stream: "AUDITS"}, []string{`stream: the server has no stream "AUDITS"`, "create: true"}},
		{"no stream for the subject", Config{Access: root, Subjects: []string{"k8s.>"}}, []string{`subjects: no stream takes "k8s.>"`}},
		{"two streams", Config{Access: root, Subjects: []string{"audit.a", "other.a"}}, []string{"expected all subjects in one stream", `"AUDIT"`, `"OTHER"`}},
		{"not of the stream", Config{Access: root, Stream: "AUDIT", Subjects: []string{"other.a"}}, []string{`stream "AUDIT" does not take "other.a", only audit.>`}},
		{"create does not change a stream", Config{Access: root, Stream: "AUDIT", Subjects: []string{"other.a"}, Create: true}, []string{`does not take "other.a"`}},
		{"stream name of others", Config{Access: root, Stream: "MINE", Subjects: []string{"audit.>"}, Create: true}, []string{`cannot create stream "MINE"`, "overlap"}},
		{"no consumer", Config{Access: root, Stream: "AUDIT"}, []string{`durable: stream "AUDIT" has no consumer "spawnwatch"`, "create: true"}},
		{"other subjects", Config{Access: root, Stream: "AUDIT", Subjects: []string{"audit.b"}, Durable: "narrow"}, []string{`consumer "narrow" of stream "AUDIT" delivers audit.a, not audit.b`}},
		{"push", Config{Access: root, Stream: "AUDIT", Durable: "push"}, []string{"expected consumer \"push\" of stream \"AUDIT\" to be a pull consumer"}},
		{"no acks", Config{Access: root, Stream: "AUDIT", Durable: "noack"}, []string{"AckExplicit", "AckNone"}},
		{"groups", Config{Access: root, Stream: "AUDIT", Durable: "groups"}, []string{"no priority groups"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, err := New(c.cfg, quick("audit"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			check := func(what string, err error) {
				if err == nil || ctx.Err() != nil {
					t.Fatalf("%s: %v", what, err)
				}
				for _, w := range append(c.want, `source "audit" (nats): `) {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("%s: %v\nshould say %q", what, err, w)
					}
				}
			}
			check("Run", src.Run(ctx, nobody))
			// Check asks for nothing to be made, so it cannot know that the server would refuse that.
			if !c.cfg.Create || c.name == "create does not change a stream" {
				check("Check", src.Check(ctx))
			}
		})
	}
}

func TestWithoutJetStream(t *testing.T) {
	s := startServer(t, natsdemo.Settings{Adjust: func(o *server.Options) { o.JetStream = false }})
	src, err := New(s.config(), quick("audit"))
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Check": src.Check(t.Context()), "Run": src.Run(t.Context(), nobody)} {
		if err == nil || !strings.Contains(err.Error(), "JetStream") || !strings.Contains(err.Error(), "is it enabled") && !strings.Contains(err.Error(), "without JetStream") {
			t.Errorf("%s says %v", what, err)
		}
	}
}

// TestCreate makes stream and consumer once, and gives the consumer other subjects when they change.
func TestCreate(t *testing.T) {
	s := startServer(t, natsdemo.Settings{}).connect()
	src, err := New(s.config(), quick("audit"))
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Check(t.Context()); err != nil {
		t.Errorf("Check misses what create would make: %v", err)
	}
	k := newSink()
	r := run(t, s.config(), quick("audit"), k.handle)
	var info *jetstream.ConsumerInfo
	look := func() bool {
		c, err := s.js.Consumer(s.ctx(), "AUDIT", DefaultDurable)
		if err == nil {
			info = c.CachedInfo()
		}
		return err == nil
	}
	eventually(t, "the consumer", look)
	c := info.Config
	if c.MaxDeliver != -1 || c.AckPolicy != jetstream.AckExplicitPolicy || c.MaxAckPending != maxAckPending || c.AckWait != ackWait || c.FilterSubject != "audit.>" {
		t.Errorf("made %+v", c)
	}
	s.publish("audit.a.b", numbered(1)...)
	eventually(t, "the record", func() bool { return k.distinct() == 1 })
	r.end()
	if err := src.Check(t.Context()); err != nil {
		t.Error(err)
	}
	cfg := s.config()
	cfg.Subjects = []string{"audit.x", "audit.y"}
	again := run(t, cfg, quick("audit"), k.handle)
	eventually(t, "the new subjects", func() bool { return look() && len(info.Config.FilterSubjects) == 2 })
	again.end()
}

// TestMaxDeliverIsTold: a consumer that gives messages up is used, and said to.
func TestMaxDeliverIsTold(t *testing.T) {
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	s.consumer("AUDIT", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 3})
	cfg := s.config()
	cfg.Subjects, cfg.Create = nil, false
	var said logs
	r := run(t, cfg, Settings{Name: "audit", Logger: said.logger()}, nobody)
	eventually(t, "the warning", func() bool { return said.has("the consumer gives a message up") })
	r.end()
}

func TestEndedContextConnectsToNobody(t *testing.T) {
	src, err := New(Config{Access: natsconn.Access{URL: "127.0.0.1:1"}, Stream: "AUDIT"}, quick("audit"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := src.Run(ctx, nobody); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	url := natsconn.Access{URL: "nats://localhost:4222"}
	for _, c := range []struct {
		name string
		cfg  Config
		want []string // nil: it is right
	}{
		{"least", Config{Access: url, Stream: "AUDIT"}, nil},
		{"subjects", Config{Access: url, Subjects: []string{"a.*", "b.>"}}, nil},
		{"create", Config{Access: url, Stream: "AUDIT", Subjects: []string{"a"}, Create: true, Durable: "x"}, nil},
		{"core", Config{Access: url, Mode: Core, Subjects: []string{"a.>"}, Queue: "q"}, nil},
		{"nothing", Config{}, []string{"url: expected the address", "stream: expected a stream to read"}},
		{"core with all", Config{Access: url, Mode: Core, Stream: "S", Durable: "d", Create: true}, []string{"subjects: expected at least one", "stream: mode core", "durable: mode core", "create: mode core"}},
		{"create without names", Config{Access: url, Subjects: []string{"a"}, Create: true}, []string{"stream: expected the name"}},
		{"create without subjects", Config{Access: url, Stream: "S", Create: true}, []string{"subjects: expected the subjects"}},
		{"mode", Config{Access: url, Stream: "S", Mode: "push"}, []string{`mode: expected jetstream or core, got "push"`}},
		{"queue", Config{Access: url, Stream: "S", Queue: "q"}, []string{"queue: queue belongs to mode core"}},
		{"names", Config{Access: url, Stream: "a.b", Durable: "c d"}, []string{"stream: expected a name", "durable: expected a name"}},
		{"overlap", Config{Access: url, Subjects: []string{"a.>", "a.b"}}, []string{`"a.>" and "a.b" overlap`}},
		{"subject", Config{Access: url, Subjects: []string{"a.>.b"}}, []string{"subjects: expected the wildcard > at the end only"}},
	} {
		err := c.cfg.Validate()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: Validate = %v, want faults: %v", c.name, err, c.want)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v\nshould say %q", c.name, err, w)
			}
		}
		if _, err := New(c.cfg, quick("x")); (err == nil) != (c.want == nil) {
			t.Errorf("%s: New = %v", c.name, err)
		}
	}
}

func TestParseDelivery(t *testing.T) {
	stored := time.Unix(0, 1790000000123456789)
	for reply, want := range map[string]*delivery{
		"$JS.ACK.AUDIT.spawnwatch.2.77.99.1790000000123456789.5":                  {sequence: 77, count: 2, stored: stored},
		"$JS.ACK.hub.hash.AUDIT.spawnwatch.2.77.99.1790000000123456789.5":         {sequence: 77, count: 2, stored: stored},
		"$JS.ACK._.hash.AUDIT.spawnwatch.2.77.99.1790000000123456789.5.rnd":       {sequence: 77, count: 2, stored: stored},
		"$JS.ACK.AUDIT.spawnwatch.1.9223372036854775807.1.1790000000123456789.0":  {sequence: 9223372036854775807, count: 1, stored: stored},
		"$JS.ACK.AUDIT.spawnwatch.1.9223372036854775808.1.1790000000123456789.0":  nil,
		"$JS.ACK.AUDIT.spawnwatch.1.99999999999999999999.1.1790000000123456789.0": nil,
		"$JS.ACK.AUDIT.spawnwatch.x.1.1.1.0":                                      nil,
		"$JS.ACK.AUDIT.spawnwatch.1..1.1.0":                                       nil,
		"$JS.ACK.AUDIT.spawnwatch.1.1":                                            nil,
		"$JS.ACK.hub.AUDIT.spawnwatch.1.1.1.1.0":                                  nil,
		"$JS.ACK.":                                                                nil,
		"_INBOX.x.1":                                                              nil,
		"":                                                                        nil,
	} {
		got, ok := parseDelivery(reply)
		if ok != (want != nil) || ok && (got.sequence != want.sequence || got.count != want.count || !got.stored.Equal(want.stored)) {
			t.Errorf("%q: %+v, %v, want %+v", reply, got, ok, want)
		}
	}
}

func FuzzParseDelivery(f *testing.F) {
	f.Add("$JS.ACK.AUDIT.spawnwatch.2.77.99.1790000000123456789.5")
	f.Add("$JS.ACK.hub.hash.AUDIT.spawnwatch.2.77.99.1790000000123456789.5.r")
	f.Add("$JS.ACK.........")
	f.Fuzz(func(t *testing.T, reply string) {
		got, ok := parseDelivery(reply)
		if !ok {
			return
		}
		// The client's own reading of it. It takes numbers for fewer digits than we do.
		m := &nats.Msg{Reply: reply, Sub: &nats.Subscription{}}
		want, err := m.Metadata()
		if err != nil {
			return
		}
		if int64(want.Sequence.Stream) != got.sequence || int64(want.NumDelivered) != got.count || !want.Timestamp.Equal(got.stored) {
			t.Errorf("%q: %+v, the client reads %+v", reply, got, want)
		}
	})
}

// TestNarrowPermissions: what the package's documentation lists is enough.
func TestNarrowPermissions(t *testing.T) {
	s := startServer(t, natsdemo.Settings{Adjust: func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "root", Password: "r"},
			{Username: "narrow", Password: "n", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
				Publish: &server.SubjectPermission{Allow: []string{
					"$JS.API.INFO", "$JS.API.STREAM.INFO.AUDIT", "$JS.API.STREAM.NAMES", "$JS.API.CONSUMER.INFO.AUDIT.spawnwatch",
					"$JS.API.CONSUMER.MSG.NEXT.AUDIT.spawnwatch", "$JS.ACK.AUDIT.spawnwatch.>",
				}},
			}},
			{Username: "maker", Password: "m", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
				Publish: &server.SubjectPermission{Allow: []string{
					"$JS.API.STREAM.INFO.AUDIT", "$JS.API.CONSUMER.INFO.AUDIT.spawnwatch", "$JS.API.CONSUMER.MSG.NEXT.AUDIT.spawnwatch",
					"$JS.ACK.AUDIT.spawnwatch.>", "$JS.API.STREAM.CREATE.AUDIT", "$JS.API.CONSUMER.CREATE.AUDIT.>",
				}},
			}},
		}
	}}).connect(nats.UserInfo("root", "r"))
	k := newSink()
	cfg := s.config()
	cfg.User, cfg.Password = "maker", "m"
	maker := run(t, cfg, quick("audit"), k.handle)
	eventually(t, "the consumer", func() bool {
		_, err := s.js.Consumer(s.ctx(), "AUDIT", DefaultDurable)
		return err == nil
	})
	s.publish("audit.a", numbered(1)...)
	eventually(t, "the first record", func() bool { return k.distinct() == 1 })
	maker.end()
	cfg.User, cfg.Password, cfg.Create, cfg.Stream = "narrow", "n", false, ""
	narrow := run(t, cfg, quick("audit"), k.handle)
	s.publish("audit.a", []byte(`{"n":1}`))
	eventually(t, "the second record", func() bool { return k.distinct() == 2 })
	eventually(t, "its acknowledgement", func() bool { return s.unanswered("AUDIT") == 0 })
	if err := narrow.src.Check(t.Context()); err != nil {
		t.Error(err)
	}
	narrow.end()
}
