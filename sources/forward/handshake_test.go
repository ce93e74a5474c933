package forward

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

// client is the sender's side of the handshake, written from the specification.
type client struct {
	hostname, key, user, password string
}

func (c client) ping(t testing.TB, helo []byte) []byte {
	t.Helper()
	after := func(key string) []byte {
		at := bytes.Index(helo, []byte(key))
		if at < 0 {
			t.Fatalf("no %q in %q", key, helo)
		}
		v, _, ok := readBytes(helo[at+len(key):])
		if !ok {
			t.Fatalf("no text after %q in %q", key, helo)
		}
		return v
	}
	nonce, auth := after("\xa5nonce"), after("\xa4auth")
	for _, b := range slices.Concat(nonce, auth) {
		if b < ' ' || b > '~' {
			t.Fatalf("HELO %q holds bytes that are no text", helo)
		}
	}
	const salt = "0123456789abcdef"
	password := ""
	if len(auth) > 0 {
		password = digest(auth, []byte(c.user), []byte(c.password))
	}
	return array(str("PING"), str(c.hostname), str(salt), str(digest([]byte(salt), []byte(c.hostname), nonce, []byte(c.key))), str(c.user), str(password))
}

// readFor reads what arrives at once: HELO and PONG leave in one write each.
func readFor(t testing.TB, c net.Conn) []byte {
	t.Helper()
	b := make([]byte, 2048)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestHandshake(t *testing.T) {
	users := []User{{"fluent", "pässw0rd"}, {"other", "x"}}
	for _, c := range []struct {
		name   string
		users  []User
		client client
		reason string
	}{
		{"a shared key", nil, client{"h", "s3cr3t", "", ""}, ""},
		{"a shared key, a user for nothing", nil, client{"h", "s3cr3t", "u", "p"}, ""},
		{"a user", users, client{"h", "s3cr3t", "fluent", "pässw0rd"}, ""},
		{"another user", users, client{"h", "s3cr3t", "other", "x"}, ""},
		{"a wrong key", nil, client{"h", "wrong", "", ""}, "shared_key mismatch"},
		{"a wrong key with a right user", users, client{"h", "wrong", "fluent", "pässw0rd"}, "shared_key mismatch"},
		{"a wrong password", users, client{"h", "s3cr3t", "fluent", "wrong"}, "username/password mismatch"},
		{"another's password", users, client{"h", "s3cr3t", "fluent", "x"}, "username/password mismatch"},
		{"an unknown user", users, client{"h", "s3cr3t", "nobody", "x"}, "username/password mismatch"},
		{"no user", users, client{"h", "s3cr3t", "", ""}, "username/password mismatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &keeper{}
			s := start(t, Config{SharedKey: "s3cr3t", Users: c.users, Hostname: "recorder"}, Settings{}, k.handle)
			conn := dial(t, s)
			helo := readFor(t, conn)
			if !bytes.HasPrefix(helo, []byte("\x92\xa4HELO\x83")) || !bytes.HasSuffix(helo, []byte("\xa9keepalive\xc3")) {
				t.Fatalf("got HELO %q", helo)
			}
			// The chunk comes on the heels of PING: a refused sender's must not be looked at.
			send(t, conn, c.client.ping(t, helo), array(str("t"), array(entry(object())), chunkOption("id")))
			if c.reason != "" {
				expect(t, conn, slices.Concat([]byte("\x95\xa4PONG\xc2"), str(c.reason), str(""), str("")))
				expectEnd(t, conn)
				until(t, "a line with the reason", func() bool { return strings.Contains(s.log.String(), c.reason) })
				if len(k.all()) != 0 || s.Stats().Refused != 1 {
					t.Errorf("%d records, %+v", len(k.all()), s.Stats())
				}
				return
			}
			nonce, _, _ := readBytes(helo[bytes.Index(helo, []byte("nonce"))+5:])
			expect(t, conn, slices.Concat([]byte("\x95\xa4PONG\xc3"), str(""), str("recorder"),
				str(digest([]byte("0123456789abcdef"), []byte("recorder"), nonce, []byte("s3cr3t")))))
			expect(t, conn, ackOf("id"))
			if len(k.all()) != 1 {
				t.Errorf("handled %d records, want 1", len(k.all()))
			}
			for _, secret := range []string{"s3cr3t", "pässw0rd"} {
				if strings.Contains(s.log.String(), secret) {
					t.Errorf("the log tells %q", secret)
				}
			}
		})
	}
}

func TestHandshakeRefusesOthers(t *testing.T) {
	k := &keeper{}
	s := start(t, Config{SharedKey: "s3cr3t"}, Settings{}, k.handle)
	for name, sent := range map[string][]byte{
		"a message":        array(str("t"), array(entry(object())), chunkOption("id")),
		"a message of six": array(str("POST"), str("h"), str("s"), str("d"), str("u"), str("p")),
		"numbers":          array(str("PING"), integer(1), str("s"), str("d"), str("u"), str("p")),
		"JSON":             []byte(`["t",1,{}]`),
		"a huge PING":      array(str("PING"), str(strings.Repeat("h", maxPing)), str("s"), str("d"), str("u"), str("p")),
		"junk":             {0xc1},
	} {
		c := dial(t, s)
		readFor(t, c)
		send(t, c, sent)
		expectEnd(t, c)
		until(t, name+": a line", func() bool { return strings.Contains(s.log.String(), "expected a") })
	}
	if len(k.all()) != 0 {
		t.Errorf("handled %d records of strangers", len(k.all()))
	}
}

// pipe serves one end of an in-memory connection, in the bubble of a synctest.
func pipe(t *testing.T, cfg Config, h sources.Handler) (client *countingConn, ended chan error, stop func()) {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, err := New(cfg, Settings{Name: "audit", Drain: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s.handler = h
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	counted := &countingConn{Conn: ours}
	go func() { ended <- (&conn{src: s, net: counted}).serve(ctx, t.Context()) }()
	return &countingConn{Conn: theirs, peer: counted}, ended, cancel
}

// sendBehind sends without waiting for the reader, which a pipe would.
func sendBehind(t *testing.T, c net.Conn, parts ...[]byte) {
	t.Helper()
	go func() {
		if _, err := c.Write(bytes.Join(parts, nil)); err != nil {
			t.Error(err)
		}
	}()
}

// countingConn counts writes.
type countingConn struct {
	net.Conn
	peer *countingConn

	mu     sync.Mutex
	writes [][]byte
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, bytes.Clone(b))
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// TestOneWriteEach: Fluent Bit takes half a HELO for a refusal, and half an answer for none.
func TestOneWriteEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ended, _ := pipe(t, Config{SharedKey: "s3cr3t", Users: []User{{"u", "p"}}, Hostname: "here"}, (&keeper{}).handle)
		helo := readFor(t, c)
		sendBehind(t, c, client{"h", "s3cr3t", "u", "p"}.ping(t, helo))
		readFor(t, c)
		sendBehind(t, c, array(str("t"), array(), chunkOption("a")), array(str("t"), array(), chunkOption("b")))
		expect(t, c, ackOf("a"))
		expect(t, c, ackOf("b"))
		c.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		w := c.peer.writes
		if len(w) != 4 || !bytes.Contains(w[0], []byte("HELO")) || !bytes.Contains(w[1], []byte("PONG")) || !bytes.Equal(w[2], ackOf("a")) || !bytes.Equal(w[3], ackOf("b")) {
			t.Errorf("wrote %q, want HELO, PONG and two answers, each in one", w)
		}
	})
}

func TestHalfOpenHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ended, _ := pipe(t, Config{SharedKey: "s3cr3t"}, nil)
		readFor(t, c)
		begun := time.Now()
		err := <-ended
		if took := time.Since(begun); took != handshakeTime || err == nil || !strings.Contains(err.Error(), "expected a PING within 10s") {
			t.Errorf("ended after %s with %v", took, err)
		}
	})
}

func TestIdleAndSilentSenders(t *testing.T) {
	message := array(str("t"), array(entry(object())), chunkOption("id"))
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, ended, _ := pipe(t, Config{}, (&keeper{}).handle)
			time.Sleep(idleTime - time.Second) // fake time
			sendBehind(t, c, message)
			expect(t, c, ackOf("id"))
			begun := time.Now()
			if err := <-ended; err != nil || time.Since(begun) != idleTime {
				t.Errorf("ended after %s with %v", time.Since(begun), err)
			}
		})
	})
	t.Run("silent in a message", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, ended, _ := pipe(t, Config{}, (&keeper{}).handle)
			send(t, c, message[:10])
			begun := time.Now()
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "fell silent") || time.Since(begun) != stallTime {
				t.Errorf("ended after %s with %v", time.Since(begun), err)
			}
		})
	})
	t.Run("a byte now and then", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, ended, _ := pipe(t, Config{}, (&keeper{}).handle)
			var dripping sync.WaitGroup
			dripping.Go(func() {
				for i := range message {
					time.Sleep(stallTime - time.Second) // fake time
					if _, err := c.Write(message[i : i+1]); err != nil {
						return
					}
				}
			})
			begun := time.Now()
			err := <-ended
			if took := time.Since(begun); err == nil || took < messageTime || took > messageTime+2*stallTime {
				t.Errorf("ended after %s with %v", took, err)
			}
			c.Close()
			dripping.Wait()
		})
	})
	t.Run("our own time is not counted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, ended, stop := pipe(t, Config{}, func(context.Context, *sources.Batch) error {
				time.Sleep(3 * time.Hour) // fake time: a sink that is down
				return nil
			})
			next := array(str("t"), array(entry(object())), chunkOption("next"))
			sendBehind(t, c, message, next[:7])
			expect(t, c, ackOf("id"))
			sendBehind(t, c, next[7:])
			expect(t, c, ackOf("next"))
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	})
}

func TestShutdown(t *testing.T) {
	message := array(str("t"), array(entry(object())), chunkOption("id"))
	t.Run("a call in hand is finished and answered", func(t *testing.T) {
		entered, release := make(chan struct{}), make(chan struct{})
		s := start(t, Config{}, Settings{}, func(context.Context, *sources.Batch) error { close(entered); <-release; return nil })
		c, idle := dial(t, s), dial(t, s)
		send(t, c, message)
		<-entered
		ended := make(chan error, 1)
		go func() { ended <- s.end() }()
		expectEnd(t, idle) // the idle one goes at once
		close(release)
		expect(t, c, ackOf("id"))
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
			t.Error("the source still listens")
		}
	})
	t.Run("a call that takes longer is not answered", func(t *testing.T) {
		entered := make(chan struct{})
		s := start(t, Config{}, Settings{Drain: 20 * time.Millisecond}, func(ctx context.Context, _ *sources.Batch) error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		})
		c := dial(t, s)
		send(t, c, message)
		<-entered
		if err := s.end(); err != nil {
			t.Error(err)
		}
		expectEnd(t, c)
	})
}

func TestRandomFails(t *testing.T) {
	s, err := New(Config{Listen: "127.0.0.1:0", SharedKey: "s3cr3t"}, Settings{})
	if err != nil {
		t.Fatal(err)
	}
	s.random = bytes.NewReader(make([]byte, 3))
	ours, theirs := net.Pipe()
	defer theirs.Close()
	if err := (&conn{src: s, net: ours}).serve(t.Context(), t.Context()); err == nil {
		t.Error("a HELO without a nonce went out")
	}
}

func FuzzHandshake(f *testing.F) {
	cfg := Config{SharedKey: "s3cr3t", Users: []User{{"u", "p"}}}
	c, err := newChallenge(randomText{rand.Reader}, cfg.Users)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(client{"h", "s3cr3t", "u", "p"}.ping(f, c.appendHelo(nil)), true)
	f.Add(client{"h", "wrong", "u", "p"}.ping(f, c.appendHelo(nil)), false)
	f.Fuzz(func(t *testing.T, in []byte, _ bool) {
		var fr frame
		done, err := fr.advance(in)
		if !done || err != nil {
			return
		}
		p, err := parsePing(in[:fr.size], &fr)
		if err != nil {
			if !errors.Is(err, errNoPing) {
				t.Fatal(err)
			}
			return
		}
		refused := c.check(p, &cfg)
		if refused == nil && string(p.user) != "u" {
			t.Fatalf("let %q in", p.user)
		}
		if pong := c.appendPong(nil, p, strings.Repeat("h", maxHostname), cfg.SharedKey, refused); len(pong) > 1023 {
			t.Fatalf("a PONG of %d bytes", len(pong))
		}
	})
}
