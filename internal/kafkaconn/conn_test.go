package kafkaconn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kfake"
)

func cluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(2), kfake.SeedTopics(3, "audit")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// keys makes an authority and a certificate for 127.0.0.1, and returns their files.
func keys(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	make := func(name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
			NotAfter: time.Now().Add(time.Hour), IsCA: parent == nil, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		if parent == nil {
			parent, signer = template, private
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalECPrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: secret}} {
			if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return made, private
	}
	authority, signer := make("ca", nil, nil)
	make("leaf", authority, signer)
	return filepath.Join(dir, "ca.pem"), filepath.Join(dir, "leaf.pem"), filepath.Join(dir, "leaf.key")
}

func TestEveryWayIn(t *testing.T) {
	ca, cert, key := keys(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for how, x := range map[string]struct {
		opts []kfake.Opt
		tls  *TLS
		sasl *SASL
	}{
		"plain":           {},
		"TLS":             {[]kfake.Opt{kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}})}, &TLS{CA: ca}, nil},
		"PLAIN":           {[]kfake.Opt{kfake.EnableSASL(), kfake.Superuser(Plain, "u", "p")}, nil, &SASL{Plain, "u", "p"}},
		"SCRAM-SHA-256":   {[]kfake.Opt{kfake.EnableSASL(), kfake.Superuser(ScramSHA256, "u", "p")}, nil, &SASL{ScramSHA256, "u", "p"}},
		"SCRAM-SHA-512":   {[]kfake.Opt{kfake.EnableSASL(), kfake.Superuser(ScramSHA512, "u", "p")}, nil, &SASL{ScramSHA512, "u", "p"}},
		"both, TLS first": {[]kfake.Opt{kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}), kfake.EnableSASL(), kfake.Superuser(ScramSHA512, "u", "p")}, &TLS{CA: ca}, &SASL{ScramSHA512, "u", "p"}},
	} {
		t.Run(how, func(t *testing.T) {
			f := cluster(t, x.opts...)
			c, err := New(Options{Brokers: f.ListenAddrs(), TLS: x.tls, SASL: x.sasl})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			topics, err := c.Check(within(t), []string{"audit", "missing"})
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(topics, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
			if len(topics) != 2 || topics[0].Partitions != 3 || topics[0].Err != nil || !errors.Is(topics[1].Err, kafka.UnknownTopicOrPartition) {
				t.Errorf("Check found %+v", topics)
			}
		})
	}
}

func TestWrongWayIn(t *testing.T) {
	ca, cert, key := keys(t)
	other, _, _ := keys(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	secure := []kfake.Opt{kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}})}
	sasl := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser(ScramSHA512, "u", "p")}
	for what, x := range map[string]struct {
		opts    []kfake.Opt
		options Options
		says    []string
	}{
		"wrong password":        {sasl, Options{SASL: &SASL{ScramSHA512, "u", "wrong"}}, []string{"127.0.0.1", `user "u"`, ScramSHA512, "sasl.password"}},
		"wrong CA":              {secure, Options{TLS: &TLS{CA: other}}, []string{"tls.ca"}},
		"wrong name":            {secure, Options{TLS: &TLS{CA: ca, ServerName: "kafka.example"}}, []string{"tls.server_name"}},
		"no TLS":                {secure, Options{}, []string{"set tls"}},
		"TLS where none is":     {nil, Options{TLS: &TLS{CA: ca}}, []string{"TLS or not"}},
		"nobody listens":        {nil, Options{Brokers: []string{"127.0.0.1:1"}}, []string{"127.0.0.1:1", "nothing listens"}},
		"the host is not known": {nil, Options{Brokers: []string{"kafka.invalid"}}, []string{"kafka.invalid:9092", "host name is unknown"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := cluster(t, x.opts...)
			if x.options.Brokers == nil {
				x.options.Brokers = f.ListenAddrs()
			}
			c, err := New(x.options)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Check(within(t), nil)
			if err == nil {
				t.Fatal("Check found nothing wrong")
			}
			for _, part := range x.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error lacks %q: %v", part, err)
				}
			}
			if n := strings.Count(err.Error(), "cannot be used"); n != len(x.options.Brokers) {
				t.Errorf("%d brokers are named, want all %d: %v", n, len(x.options.Brokers), err)
			}
		})
	}
}

// TestOneOfTwoBrokersIsWrong: Check names it, and still finds the topics by way of the other.
func TestOneOfTwoBrokersIsWrong(t *testing.T) {
	f := cluster(t)
	c, err := New(Options{Brokers: []string{f.ListenAddrs()[0], "127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	topics, err := c.Check(within(t), []string{"audit"})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1 cannot be used") || len(topics) != 1 {
		t.Errorf("Check found %v, %v", topics, err)
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	_, cert, key := keys(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		tls *TLS
		key string
	}{
		"no such CA":      {&TLS{CA: empty + "x"}, "tls.ca"},
		"empty CA":        {&TLS{CA: empty}, "tls.ca"},
		"key as cert":     {&TLS{Cert: key, Key: cert}, "tls.cert"},
		"cert, no key":    {&TLS{Cert: cert}, "tls.key"},
		"key, no cert":    {&TLS{Key: key}, "tls.cert"},
		"no such keypair": {&TLS{Cert: empty, Key: empty}, "tls.cert"},
	} {
		_, err := New(Options{Brokers: []string{"b"}, TLS: x.tls})
		var f *Fault
		if !errors.As(err, &f) || f.Key() != x.key {
			t.Errorf("%s: %v, want a fault of %s", what, err, x.key)
		}
	}
}

func TestAddresses(t *testing.T) {
	for broker, want := range map[string]string{
		"kafka": "kafka:9092", "kafka:1": "kafka:1", "[::1]:9093": "[::1]:9093", "[::1]": "[::1]:9092", "10.0.0.1": "10.0.0.1:9092",
		"": "", "::1": "", "kafka://b:1": "", "a,b": "", "a:0": "", "a:65536": "", "a:x": "", ":9092": "",
	} {
		got, err := address(broker)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("address(%q) = %q, %v; want %q", broker, got, err, want)
		}
	}
}

// hanging is an exchange that waits for an answer which never comes.
type hanging struct {
	begun chan struct{}
	ended bool
}

func (h *hanging) API() protocol.ApiKey { return protocol.Metadata }

func (h *hanging) Exchange(_ int16, rw io.ReadWriter) error {
	close(h.begun)
	_, err := io.ReadFull(rw, make([]byte, 1))
	h.ended = true // without a lock: the race detector checks the promise
	return err
}

// TestExchangeEndsWithItsContext: nothing touches the request after Exchange has returned.
func TestExchangeEndsWithItsContext(t *testing.T) {
	f := cluster(t)
	c, err := New(Options{Brokers: f.ListenAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := &hanging{begun: make(chan struct{})}
	ctx, cancel := context.WithCancel(within(t))
	go func() {
		<-h.begun
		cancel()
	}()
	began := time.Now()
	if err := c.Exchange(ctx, f.LeaderFor("audit", 0), h); !errors.Is(err, context.Canceled) {
		t.Errorf("Exchange returned %v, want the end of its context", err)
	}
	if !h.ended || time.Since(began) > 5*time.Second {
		t.Errorf("after %v the exchange has ended: %v", time.Since(began), h.ended)
	}
	if _, err := c.Metadata(within(t), []string{"audit"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := c.Exchange(within(t), 99, h); !errors.Is(err, kafka.BrokerNotAvailable) {
		t.Errorf("a broker that nobody knows: %v", err)
	}
}

// TestDeadlineIsNeverAbsent: a peer that accepts and never answers is not waited for without end.
func TestDeadlineIsNeverAbsent(t *testing.T) {
	if d := time.Until(bound(time.Time{})); d > silence || d < silence/2 {
		t.Errorf("without a deadline a connection waits %v, want %v", d, silence)
	}
	at := time.Now().Add(time.Hour)
	if !bound(at).Equal(at) {
		t.Error("a deadline that was asked for was changed")
	}
}
