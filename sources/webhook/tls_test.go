package webhook

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

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
			resp, err := client(t, c.client).Post("https://"+s.Addr().String(), "application/json", strings.NewReader("{}"))
			if c.works {
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != 200 || len(k.records) != 1 {
					t.Errorf("got %s, %d records", resp.Status, len(k.records))
				}
				return
			}
			if err == nil || len(k.records) > 0 {
				t.Errorf("a request without its due: %d records", len(k.records))
			}
			// The source may hear of it after the client.
			for deadline := time.Now().Add(10 * time.Second); !strings.Contains(s.log.String(), "TLS handshake error"); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("logged %q", s.log)
				}
			}
		})
	}
	s := start(t, Config{TLS: &listen.TLS{Cert: cert, Key: key}}, Settings{}, (&keeper{}).handle)
	resp, err := client(t, nil).Post("http://"+s.Addr().String(), "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("plain HTTP got %s", resp.Status)
	}
}

// TestTLSFiles: a source is not made without its identity, and says whose files they are.
func TestTLSFiles(t *testing.T) {
	cert, key, _ := certtest.NewAuthority(t).Issue("server")
	_, err := New(Config{Listen: ":0", TLS: &listen.TLS{Cert: cert + "x", Key: key}}, Settings{Name: "audit"})
	if err == nil || !strings.Contains(err.Error(), `source "audit" (webhook): tls.cert: stat`) {
		t.Errorf("got %v", err)
	}
}
