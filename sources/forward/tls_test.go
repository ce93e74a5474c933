package forward

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// authority signs certificates for the tests.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	next int64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), next: 1}
	a.key = a.newKey()
	template := a.template()
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) template() *x509.Certificate {
	a.next++
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue writes a certificate and its key, and returns the files and the serial number.
func (a *authority) issue(name string) (cert, key string, serial int64) {
	k := a.newKey()
	template := a.template()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, k.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "EC PRIVATE KEY", keyDER), a.next
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key, _ := ca.issue("server")
	clientCert, clientKey, _ := ca.issue("client")
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
		{"server only", "", &tls.Config{RootCAs: ca.pool()}, true},
		{"a client certificate that is asked for", ca.file, &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{pair}}, true},
		{"none where one is asked for", ca.file, &tls.Config{RootCAs: ca.pool()}, false},
		{"an old version", "", &tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &keeper{}
			s := start(t, Config{TLS: &TLS{Cert: cert, Key: key, ClientCA: c.clientCA}}, Settings{}, k.handle)
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

func TestTLSFiles(t *testing.T) {
	ca := newAuthority(t)
	cert, key, _ := ca.issue("server")
	notPEM := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(notPEM, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		files TLS
		want  string
	}{
		{TLS{Cert: cert + "x", Key: key}, "tls.cert: stat"},
		{TLS{Cert: cert, Key: key + "x"}, "tls.key: stat"},
		{TLS{Cert: notPEM, Key: key}, "tls.cert and tls.key: "},
		{TLS{Cert: cert, Key: key, ClientCA: notPEM}, "expected PEM certificates in"},
	} {
		if _, err := New(Config{Listen: ":0", TLS: &c.files}, Settings{Name: "audit"}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want one that says %q", c.files, err, c.want)
		}
	}
}

// TestTLSFilesChange renews the certificate under a running listener.
func TestTLSFilesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		cert, key, first := ca.issue("server")
		var failures []error
		id, err := newIdentity(TLS{Cert: cert, Key: key}, func(err error) { failures = append(failures, err) })
		if err != nil {
			t.Fatal(err)
		}
		serial := func() int64 {
			c, err := id.config().GetConfigForClient(nil)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.ParseCertificate(c.Certificates[0].Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			return leaf.SerialNumber.Int64()
		}
		touch := func(path string, at time.Time) {
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		if got := serial(); got != first {
			t.Fatalf("serial %d, want %d", got, first)
		}
		_, _, second := ca.issue("server")
		touch(cert, time.Unix(5, 0))
		if got := serial(); got != first {
			t.Errorf("looked again at once: serial %d", got)
		}
		time.Sleep(identityCheck) // fake time
		if got := serial(); got != second {
			t.Errorf("serial %d, want %d", got, second)
		}
		if err := os.WriteFile(cert, []byte("half a file"), 0o600); err != nil {
			t.Fatal(err)
		}
		touch(cert, time.Unix(6, 0))
		time.Sleep(identityCheck) // fake time
		if got := serial(); got != second || len(failures) != 1 {
			t.Errorf("serial %d, want the last good one, %d; told of %v", got, second, failures)
		}
	})
}
