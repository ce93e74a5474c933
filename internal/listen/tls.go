// Package listen is what the sources that listen have in common: an identity for TLS, a throttle for the log, and faults
// at keys of the configuration. It holds no listener, no protocol and no policy.
package listen

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// TLS names the files of the listener's identity, all PEM. They are read again when they change.
type TLS struct {
	// Cert is the file with the certificate chain. Required.
	Cert string `yaml:"cert"`
	// Key is the file with the private key. Required.
	Key string `yaml:"key"`
	// ClientCA is a file with the authorities of which a client's certificate must come. Empty: no certificate is
	// asked for.
	ClientCA string `yaml:"client_ca"`
}

// Faults says all that is wrong with t, each a [*Fault] at a key below "tls"; a nil t has none. It reads no file. It is
// not called Validate, because the decoder of the configuration would then call it by itself and name tls.tls.cert.
func (t *TLS) Faults() (faults []error) {
	if t != nil && t.Cert == "" {
		faults = append(faults, NewFault("tls.cert", "tls.cert is required: the file with the certificate chain"))
	}
	if t != nil && t.Key == "" {
		faults = append(faults, NewFault("tls.key", "tls.key is required: the file with the private key"))
	}
	return faults
}

// Identity is the listener's TLS configuration, read again when its files change: certificates in a cluster live for
// weeks, the process for longer.
type Identity struct {
	files TLS
	// failed is told when changed files cannot be used; the last good ones stay.
	failed func(error)

	mu      sync.Mutex
	good    *tls.Config
	stamps  [3]time.Time
	checked time.Time
}

// identityCheck is how often the files are looked at, at most.
const identityCheck = 10 * time.Second

// NewIdentity reads the files. failed is told when they have changed and cannot be used; it is called in the middle of a
// handshake, with others waiting, and must not block.
func NewIdentity(files TLS, failed func(error)) (*Identity, error) {
	id := &Identity{files: files, failed: failed}
	stamps, err := id.look()
	if err != nil {
		return nil, err
	}
	if id.good, err = id.load(); err != nil {
		return nil, err
	}
	id.stamps, id.checked = stamps, time.Now()
	return id, nil
}

// Config is what the listener is given.
func (id *Identity) Config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return id.current(), nil },
	}
}

func (id *Identity) current() *tls.Config {
	id.mu.Lock()
	defer id.mu.Unlock()
	now := time.Now()
	if now.Sub(id.checked) < identityCheck {
		return id.good
	}
	id.checked = now
	stamps, err := id.look()
	if err == nil && stamps == id.stamps {
		return id.good
	}
	if err == nil {
		var fresh *tls.Config
		if fresh, err = id.load(); err == nil {
			id.good, id.stamps = fresh, stamps
			return id.good
		}
	}
	id.failed(fmt.Errorf("the changed TLS files cannot be used, the former ones stay: %w", err))
	return id.good
}

// look returns when each file was last changed.
func (id *Identity) look() (stamps [3]time.Time, err error) {
	for i, f := range []struct{ key, path string }{{"tls.cert", id.files.Cert}, {"tls.key", id.files.Key}, {"tls.client_ca", id.files.ClientCA}} {
		if f.path == "" {
			continue
		}
		info, err := os.Stat(f.path)
		if err != nil {
			return stamps, fmt.Errorf("%s: %w", f.key, err)
		}
		stamps[i] = info.ModTime()
	}
	return stamps, nil
}

func (id *Identity) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(id.files.Cert, id.files.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if id.files.ClientCA == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(id.files.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls.client_ca: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("tls.client_ca: expected PEM certificates in " + id.files.ClientCA + ", got none")
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	return cfg, nil
}
