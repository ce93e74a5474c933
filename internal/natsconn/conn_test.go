package natsconn

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		a    Access
		want []string // nil: it is right
	}{
		{"host", Access{URL: "localhost"}, nil},
		{"several", Access{URL: "nats://a:4222, tls://b:4443,c"}, nil},
		{"websocket", Access{URL: "wss://a/path"}, nil},
		{"user", Access{URL: "a", User: "u", Password: "p"}, nil},
		{"none", Access{}, []string{"url: expected the address"}},
		{"commas", Access{URL: " , "}, []string{"url: expected the address"}},
		{"scheme", Access{URL: "http://a"}, []string{`url: expected a scheme out of nats, tls, ws and wss, got "http"`}},
		{"port", Access{URL: "a:99999"}, []string{"url: expected a port from 1 to 65535"}},
		{"no host", Access{URL: "nats://:4222"}, []string{"without a host"}},
		{"path", Access{URL: "nats://a:4222/x"}, []string{"expected nothing behind the port"}},
		{"mixed", Access{URL: "ws://a,nats://b"}, []string{"expected either ws and wss or nats and tls"}},
		{"two ways", Access{URL: "a", Token: "t", Creds: "c"}, []string{"creds: expected one way to log in, got token and creds"}},
		{"no password", Access{URL: "a", User: "u"}, []string{`password: expected the password of user "u"`}},
		{"no user", Access{URL: "a", Password: "p"}, []string{"user: expected the user"}},
		{"seed", Access{URL: "a", NKey: "SUABC"}, []string{"nkey: expected the seed"}},
		{"tls", Access{URL: "a", TLS: &TLS{Cert: "c"}}, []string{"tls.key: expected the key"}},
		{"tls key", Access{URL: "a", TLS: &TLS{Key: "k"}}, []string{"tls.cert: expected the certificate"}},
		{"all at once", Access{User: "u", Token: "t", TLS: &TLS{Key: "k"}}, []string{"url:", "token:", "password:", "tls.cert:"}},
	} {
		err := c.a.Faults()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want faults: %v", c.name, err, c.want)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v\nshould say %q", c.name, err, w)
			}
		}
	}
}

// TestURLKeepsItsSecret: a URL with a password in it is refused without telling it.
func TestURLKeepsItsSecret(t *testing.T) {
	for _, url := range []string{"nats://u:hunter2@host:4222", "nats://u:hunter2@ho st", "nats://u:hunter2@host:4222/x"} {
		a := Access{URL: url}
		err := a.Faults()
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
	var f *Fault
	a := Access{URL: "nats://u:p@host"}
	if err := a.Faults(); !errors.As(err, &f) || f.Key() != "url" {
		t.Errorf("the fault does not name its key: %v", err)
	}
}

// TestNotNATS: what listens there is something else, or says nothing.
func TestNotNATS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.9\r\n"))
			_ = c.Close()
		}
	}()
	defer func() { _ = l.Close(); <-done }()
	wantError(t, try(t, Access{URL: l.Addr().String()}), "cannot connect to nats://127.0.0.1:", "does not speak the NATS protocol")
	wantError(t, try(t, Access{URL: "nats://host.invalid:4222"}), "the host name is unknown here")
	wantError(t, try(t, Access{URL: "127.0.0.1:1,127.0.0.1:2"}), "nothing listens there")
}

// TestConnectEndsWithItsContext: a peer that accepts and says nothing is not waited for, and nothing stays behind.
func TestConnectEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			accepted <- c
			cancel()
		}
	}()
	began := time.Now()
	_, err = Connect(ctx, &Access{URL: l.Addr().String()}, Settings{Name: "test", Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, context.Canceled) || time.Since(began) > DialTimeout/2 {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	_ = (<-accepted).Close()
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

func TestReconnectDelayGrowsToItsLimit(t *testing.T) {
	for attempts := range 100 {
		full := reconnectMax
		if attempts < 7 {
			full = min(reconnectMax, reconnectMin<<max(attempts-1, 0))
		}
		for range 20 {
			if d := reconnectDelay(attempts); d < full/2 || d > full {
				t.Errorf("after %d attempts the pause is %v, want %v to %v", attempts, d, full/2, full)
			}
		}
	}
}

func TestSubjects(t *testing.T) {
	for subject, fine := range map[string]bool{
		"a": true, "a.b.c": true, "a.*.c": true, "a.>": true, ">": true, "*": true, "é.b": true,
		"": false, ".a": false, "a.": false, "a..b": false, "a.>.b": false, "a.b*": false, "a.x>": false, "a b": false, "a\tb": false,
		"$JS.API.x": false, strings.Repeat("a", MaxSubject+1): false,
	} {
		if err := CheckSubject(subject); (err == nil) != fine {
			t.Errorf("CheckSubject(%.20q) = %v", subject, err)
		}
	}
	for _, c := range []struct {
		a, b             string
		covers, overlaps bool
	}{
		{"a.b", "a.b", true, true},
		{"a.*", "a.b", true, true},
		{"a.b", "a.*", false, true},
		{"a.>", "a.b.c", true, true},
		{"a.>", "a", false, false},
		{"a.b.c", "a.>", false, true},
		{"*.b", "a.*", false, true},
		{"a.*", "a.*", true, true},
		{"a.*", "a.>", false, true},
		{"a.b", "a.c", false, false},
		{"a.b", "a.b.c", false, false},
		{">", "a", true, true},
		{"*", "a.b", false, false},
	} {
		if Covers(c.a, c.b) != c.covers || Overlaps(c.a, c.b) != c.overlaps || Overlaps(c.b, c.a) != c.overlaps {
			t.Errorf("%q and %q: covers %v, overlaps %v and %v", c.a, c.b, Covers(c.a, c.b), Overlaps(c.a, c.b), Overlaps(c.b, c.a))
		}
	}
	for name, fine := range map[string]bool{"": true, "AUDIT": true, "a_b-1": true, "a.b": false, "a*": false, "a b": false, "a/b": false, strings.Repeat("a", 256): false} {
		if err := CheckName(name); (err == nil) != fine {
			t.Errorf("CheckName(%.20q) = %v", name, err)
		}
	}
}
