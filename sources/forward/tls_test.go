package forward

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/internal/listen"
	"github.com/spawnwatch/spawnwatch/internal/listen/listentest"
)

func TestTLS(t *testing.T) {
	ca := listentest.NewAuthority(t)
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

// TestTLSFiles: a source is not made without its identity, and says whose files they are.
func TestTLSFiles(t *testing.T) {
	cert, key, _ := listentest.NewAuthority(t).Issue("server")
	_, err := New(Config{Listen: ":0", TLS: &listen.TLS{Cert: cert + "x", Key: key}}, Settings{Name: "audit"})
	if err == nil || !strings.Contains(err.Error(), `source "audit" (forward): tls.cert: stat`) {
		t.Errorf("got %v", err)
	}
}
