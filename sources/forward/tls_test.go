package forward

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/internal/certtest"
	"github.com/spawnwatch/spawnwatch/internal/listen"
)

func TestTLS(t *testing.T) {
	ca := certtest.NewAuthority(t)
	cert, key, _ := ca.Issue("server")
	clientCert, clientKey, _ := ca.Issue("client")
	pair, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		clientCA string
		client   *tls.Config
		works    bool
	}{
		{"server only", "", &tls.Config{RootCAs: ca.Pool()}, true},
		{"a client certificate that is asked for", ca.File(), &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{pair}}, true},
		{"none where one is asked for", ca.File(), &tls.Config{RootCAs: ca.Pool()}, false},
		{"an old version", "", &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &keeper{}
			s := start(t, Config{TLS: &listen.TLS{Cert: cert, Key: key, ClientCA: c.clientCA}}, Settings{}, k.handle)
			c.client.ServerName = "127.0.0.1"
			conn := tls.Client(dial(t, s), c.client)
			_, err := conn.Write(array(str("t"), array(entry(object())), chunkOption("id")))
			if c.works {
				if err != nil {
					t.Fatal(err)
				}
				expect(t, conn, ackOf("id"))
				return
			}
			if err == nil {
				_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the client hears of it later
			}
			until(t, "a line about the handshake", func() bool { return strings.Contains(s.log.String(), "the TLS handshake failed") })
			if err == nil || len(k.all()) > 0 {
				t.Errorf("a connection without its due: %v, %d records", err, len(k.all()))
			}
			// The listener lives on, also for those who connect and leave.
			dial(t, s).Close()
		})
	}
}

// TestTLSFaults: what is said about a handshake that failed helps to find out why.
func TestTLSFaults(t *testing.T) {
	ca := certtest.NewAuthority(t)
	cert, key, _ := ca.Issue("server")
	s := start(t, Config{TLS: &listen.TLS{Cert: cert, Key: key}}, Settings{}, (&keeper{}).handle)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		before := len(s.log.String())
		c := tls.Client(dial(t, s), &tls.Config{RootCAs: certtest.NewAuthority(t).Pool(), ServerName: "127.0.0.1", MaxVersion: version})
		if err := c.Handshake(); err == nil {
			t.Fatal("a stranger is trusted")
		}
		until(t, "a hint at the authority", func() bool { return strings.Contains(s.log.String()[before:], "tls.ca_file") })
	}
	before := len(s.log.String())
	c := tls.Client(&garbled{Conn: dial(t, s)}, &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1"})
	_ = c.Handshake() // the source finds the fault, perhaps later
	until(t, "a hint at the authority", func() bool { return strings.Contains(s.log.String()[before:], "tls.ca_file") })
	before = len(s.log.String())
	send(t, dial(t, s), array(str("t"), array(entry(object()))))
	until(t, "a hint at TLS", func() bool { return strings.Contains(s.log.String()[before:], "turn TLS on at the sender") })
	if text := s.log.String()[before:]; strings.Contains(text, "tls.ca_file") {
		t.Errorf("a sender without TLS is told of authorities: %s", text)
	}
	if got := tlsFault(context.DeadlineExceeded).Error(); !strings.HasPrefix(got, "no TLS handshake came within 10s") || strings.Contains(got, "context") {
		t.Errorf("of a silent sender it says %q", got)
	}
}

// garbled spoils what is written after the first piece, as one that refuses us in the clear looks to who has keys already.
type garbled struct {
	net.Conn
	later bool
}

func (g *garbled) Write(b []byte) (int, error) {
	b = bytes.Clone(b)
	if g.later {
		b[len(b)-1] ^= 1
	}
	g.later = true
	return g.Conn.Write(b)
}

// TestTLSFiles: a source is not made without its identity, and says whose files they are.
func TestTLSFiles(t *testing.T) {
	cert, key, _ := certtest.NewAuthority(t).Issue("server")
	_, err := New(Config{Listen: ":0", TLS: &listen.TLS{Cert: cert + "x", Key: key}}, Settings{Name: "audit"})
	if err == nil || !strings.Contains(err.Error(), `source "audit" (forward): tls.cert: stat`) {
		t.Errorf("got %v", err)
	}
}
