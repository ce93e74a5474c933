package listen

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/certtest"
)

func TestTLSFaults(t *testing.T) {
	for _, c := range []struct {
		files *TLS
		want  []string
	}{
		{nil, nil},
		{&TLS{Cert: "c", Key: "k", ClientCA: "a"}, nil},
		{&TLS{Cert: "c"}, []string{"tls.key: tls.key is required: the file with the private key"}},
		{&TLS{ClientCA: "a"}, []string{
			"tls.cert: tls.cert is required: the file with the certificate chain",
			"tls.key: tls.key is required: the file with the private key",
		}},
	} {
		var got []string
		for _, err := range c.files.Faults() {
			var f *Fault
			if !errors.As(err, &f) {
				t.Fatalf("%v names no key", err)
			}
			got = append(got, f.Key()+": "+f.Error())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.files, got, c.want)
		}
	}
}

func TestTLSFiles(t *testing.T) {
	ca := certtest.NewAuthority(t)
	cert, key, _ := ca.Issue("server")
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
		if _, err := NewIdentity(c.files, func(error) {}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want one that says %q", c.files, err, c.want)
		}
	}
}

// TestTLSFilesChange renews the certificate under a running listener.
func TestTLSFilesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := certtest.NewAuthority(t)
		cert, key, first := ca.Issue("server")
		var failures []error
		id, err := NewIdentity(TLS{Cert: cert, Key: key}, func(err error) { failures = append(failures, err) })
		if err != nil {
			t.Fatal(err)
		}
		serial := func() int64 {
			c, err := id.Config().GetConfigForClient(nil)
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
		_, _, second := ca.Issue("server")
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
