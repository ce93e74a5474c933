package natsconn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// start runs a server without streams.
func start(t *testing.T, adjust func(*server.Options)) string {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, NoSystemAccount: true}
	if adjust != nil {
		adjust(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return "nats://" + s.Addr().String()
}

// try connects and asks the server for a sign.
func try(t *testing.T, a Access) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := Connect(ctx, &a, Settings{Name: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Flush(ctx)
}

func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v\nshould say %q", err, text)
		}
	}
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestUserAndPassword(t *testing.T) {
	url := start(t, func(o *server.Options) { o.Username, o.Password = "u", "secret-p" })
	if err := try(t, Access{URL: url, User: "u", Password: "secret-p"}); err != nil {
		t.Error(err)
	}
	err := try(t, Access{URL: url, User: "u", Password: "secret-q"})
	wantError(t, err, `the server refused user "u"`)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the password: %v", err)
	}
	wantError(t, try(t, Access{URL: url}), "a client without credentials")
}

func TestToken(t *testing.T) {
	url := start(t, func(o *server.Options) { o.Authorization = "s3cret" })
	if err := try(t, Access{URL: url, Token: "s3cret"}); err != nil {
		t.Error(err)
	}
	err := try(t, Access{URL: url, Token: "wrong-one"})
	wantError(t, err, "the server refused the token")
	if strings.Contains(err.Error(), "wrong-one") {
		t.Errorf("the error tells the token: %v", err)
	}
}

func newUser(t *testing.T) (seed []byte, public string) {
	t.Helper()
	k, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	if seed, err = k.Seed(); err != nil {
		t.Fatal(err)
	}
	if public, err = k.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return seed, public
}

func TestNKey(t *testing.T) {
	seed, public := newUser(t)
	other, otherPublic := newUser(t)
	url := start(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	for _, nkey := range []string{string(seed), write(t, "user.nk", append(seed, '\n'))} {
		if err := try(t, Access{URL: url, NKey: nkey}); err != nil {
			t.Error(err)
		}
	}
	err := try(t, Access{URL: url, NKey: string(other)})
	wantError(t, err, "the server refused the nkey "+otherPublic)
	if strings.Contains(err.Error(), string(other)) {
		t.Error("the error tells the seed")
	}
	wantError(t, try(t, Access{URL: url, NKey: "/none/here.nk"}), "nkey: cannot use the seed", "/none/here.nk")
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	accountSeed, err := account.Seed()
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, try(t, Access{URL: url, NKey: write(t, "account.nk", accountSeed)}), "nkey:", "seed of a user")
}

func TestCreds(t *testing.T) {
	operator, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	public := func(k nkeys.KeyPair) string {
		p, err := k.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	op := jwt.NewOperatorClaims(public(operator))
	acc := jwt.NewAccountClaims(public(account))
	accJWT, err := acc.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	creds := func(expires time.Time) []byte {
		seed, userPublic := newUser(t)
		u := jwt.NewUserClaims(userPublic)
		if !expires.IsZero() {
			u.Expires = expires.Unix()
		}
		token, err := u.Encode(account)
		if err != nil {
			t.Fatal(err)
		}
		text, err := jwt.FormatUserConfig(token, seed)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	url := start(t, func(o *server.Options) {
		o.TrustedOperators = []*jwt.OperatorClaims{op}
		m := &server.MemAccResolver{}
		if err := m.Store(public(account), accJWT); err != nil {
			t.Fatal(err)
		}
		o.AccountResolver = m
	})
	if err := try(t, Access{URL: url, Creds: write(t, "user.creds", creds(time.Time{}))}); err != nil {
		t.Error(err)
	}
	old := write(t, "old.creds", creds(time.Now().Add(-time.Hour)))
	wantError(t, try(t, Access{URL: url, Creds: old}), "the credentials file "+old)
	wantError(t, try(t, Access{URL: url, Creds: "/none/here.creds"}), "creds: cannot read the credentials", "/none/here.creds")
	seed, _ := newUser(t)
	wantError(t, try(t, Access{URL: url, Creds: write(t, "seed", seed)}), "creds: expected a file with a user's JWT and seed")
}

// authority signs certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.file, _, a.key = a.sign(a.cert, a)
	return a
}

// issue makes a certificate and a key and gives their files.
func (a *authority) issue(names ...string) (cert, key string) {
	a.t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "peer"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, DNSNames: names,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		}
	}
	cert, key, _ = a.sign(c, a)
	return cert, key
}

func (a *authority) sign(c *x509.Certificate, by *authority) (cert, keyFile string, key *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := by.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert = write(a.t, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyFile = write(a.t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return cert, keyFile, key
}

func (a *authority) pool() *x509.CertPool {
	a.t.Helper()
	text, err := os.ReadFile(a.file)
	if err != nil {
		a.t.Fatal(err)
	}
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(text)
	return p
}

func secured(t *testing.T, ca *authority, names ...string) *tls.Config {
	t.Helper()
	cert, key := ca.issue(names...)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
}

func TestTLS(t *testing.T) {
	ca, otherCA := newAuthority(t), newAuthority(t)
	url := start(t, func(o *server.Options) { o.TLSConfig, o.TLSTimeout = secured(t, ca, "127.0.0.1"), 5 })
	named := start(t, func(o *server.Options) { o.TLSConfig, o.TLSTimeout = secured(t, ca, "nats.example"), 5 })
	plain := start(t, nil)
	if err := try(t, Access{URL: url, TLS: &TLS{CA: ca.file}}); err != nil {
		t.Error(err)
	}
	if err := try(t, Access{URL: named, TLS: &TLS{CA: ca.file, ServerName: "nats.example"}}); err != nil {
		t.Error(err)
	}
	wantError(t, try(t, Access{URL: named, TLS: &TLS{CA: ca.file}}), "set tls.server_name")
	wantError(t, try(t, Access{URL: url, TLS: &TLS{CA: otherCA.file}}), "set tls.ca")
	wantError(t, try(t, Access{URL: url}), "set tls.ca") // the client turns to TLS where the server wants it
	wantError(t, try(t, Access{URL: plain, TLS: &TLS{CA: ca.file}}), "the server does not offer TLS")
	wantError(t, try(t, Access{URL: url, TLS: &TLS{CA: "/none.pem"}}), "tls.ca: cannot read")
	wantError(t, try(t, Access{URL: url, TLS: &TLS{CA: write(t, "x", []byte("x"))}}), "tls.ca: expected PEM certificates")
}

func TestTLSFirst(t *testing.T) {
	ca := newAuthority(t)
	url := start(t, func(o *server.Options) {
		o.TLSConfig, o.TLSTimeout, o.TLSHandshakeFirst = secured(t, ca, "127.0.0.1"), 5, true
	})
	if err := try(t, Access{URL: url, TLS: &TLS{CA: ca.file, HandshakeFirst: true}}); err != nil {
		t.Error(err)
	}
	plain := start(t, nil)
	wantError(t, try(t, Access{URL: plain, TLS: &TLS{CA: ca.file, HandshakeFirst: true}}), "handshake_first")
}

func TestMutualTLS(t *testing.T) {
	ca, otherCA := newAuthority(t), newAuthority(t)
	url := start(t, func(o *server.Options) {
		c := secured(t, ca, "127.0.0.1")
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
		o.TLSConfig, o.TLSTimeout, o.TLSVerify = c, 5, true
	})
	cert, key := ca.issue("client")
	if err := try(t, Access{URL: url, TLS: &TLS{CA: ca.file, Cert: cert, Key: key}}); err != nil {
		t.Error(err)
	}
	wantError(t, try(t, Access{URL: url, TLS: &TLS{CA: ca.file}}), "client certificate (tls.cert, tls.key)")
	foreign, foreignKey := otherCA.issue("client")
	wantError(t, try(t, Access{URL: url, TLS: &TLS{CA: ca.file, Cert: foreign, Key: foreignKey}}), "client certificate (tls.cert, tls.key)")
	wantError(t, try(t, Access{URL: url, TLS: &TLS{CA: ca.file, Cert: cert, Key: foreignKey}}), "tls.cert: cannot use the client certificate")
}
