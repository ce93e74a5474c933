// Package kafkaconn is how the Kafka adapters reach their brokers: addresses, TLS, SASL, routed requests that no cache
// answers, and errors that say what to do. It holds no topic, no group and no policy.
package kafkaconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// DefaultPort is the port of a broker that names none.
const DefaultPort = "9092"

// The mechanisms of SASL. Those with SCRAM are RFC 5802 and RFC 7677.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

// TLS makes connections speak TLS 1.2 or later. An empty one trusts the authorities of the system.
type TLS struct {
	// CA is a PEM file with the authorities that may have signed the brokers' certificates. Default: the system's.
	CA string `yaml:"ca"`
	// Cert is a PEM file with the client's certificate chain, for mutual TLS. It is read again at each connection.
	Cert string `yaml:"cert"`
	// Key is the PEM file with the key of Cert.
	Key string `yaml:"key"`
	// ServerName is the name that the brokers' certificates must carry. Default: the host that is dialled.
	ServerName string `yaml:"server_name"`
}

// SASL is what a connection proves itself with.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. Required.
	Mechanism string `yaml:"mechanism"`
	// Username is required.
	Username string `yaml:"username"`
	// Password is required; keep it out of the file with ${VAR} or ${file:/path}.
	Password string `yaml:"password"`
}

// Fault is something wrong at a key of a configuration.
type Fault struct {
	key string
	err error
}

// NewFault says what is wrong at key.
func NewFault(key, format string, args ...any) *Fault {
	return &Fault{key: key, err: fmt.Errorf(format, args...)}
}

func (f *Fault) Error() string { return f.key + ": " + f.err.Error() }
func (f *Fault) Unwrap() error { return f.err }

// Key names the key at fault, relative to the configuration that was validated.
func (f *Fault) Key() string { return f.key }

// ValidateBrokers says what is wrong with the key "brokers".
func ValidateBrokers(brokers []string) error {
	if len(brokers) == 0 {
		return NewFault("brokers", "expected at least one broker as host:port, got none")
	}
	var errs []error
	for i, b := range brokers {
		if _, err := address(b); err != nil {
			errs = append(errs, NewFault(fmt.Sprintf("brokers[%d]", i), "%w", err))
		}
	}
	return errors.Join(errs...)
}

// address completes host or host:port.
func address(broker string) (string, error) {
	if strings.Contains(broker, "://") || strings.ContainsAny(broker, ", \t") || broker == "" {
		return "", fmt.Errorf("expected one broker as host:port without a scheme, got %q", broker)
	}
	host, port, err := net.SplitHostPort(broker)
	if err != nil {
		if strings.Count(broker, ":") > 1 && !strings.HasPrefix(broker, "[") {
			return "", fmt.Errorf("expected host:port with an IPv6 address in brackets, got %q", broker)
		}
		host, port, err = net.SplitHostPort(broker + ":" + DefaultPort)
	}
	if err != nil || host == "" {
		return "", fmt.Errorf("expected a broker as host:port, got %q", broker)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("expected a port from 1 to 65535, got %q", port)
	}
	return net.JoinHostPort(host, port), nil
}

// Faults says what is wrong with t, each a [*Fault] at a key below "tls"; a nil t has none. It reads no file. It is not
// called Validate, because the decoder of the configuration would then call it by itself and name tls.tls.key.
func (t *TLS) Faults() error {
	if t == nil {
		return nil
	}
	switch {
	case t.Cert != "" && t.Key == "":
		return NewFault("tls.key", "expected the key of the certificate tls.cert, got none")
	case t.Key != "" && t.Cert == "":
		return NewFault("tls.cert", "expected the certificate of the key tls.key, got none")
	}
	return nil
}

// load reads the files.
func (t *TLS) load() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, NewFault("tls.ca", "cannot read the authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, NewFault("tls.ca", "expected PEM certificates in %s, found none", t.CA)
		}
	}
	if t.Cert != "" {
		if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
			return nil, NewFault("tls.cert", "cannot use the client certificate: %w", err)
		}
		cert, key := t.Cert, t.Key
		// Read anew for each handshake, which is rare: a renewed certificate needs no restart.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key)
			return &pair, err
		}
	}
	return c, nil
}

// Faults says what is wrong with s, as that of [TLS] does, at keys below "sasl".
func (s *SASL) Faults() error {
	if s == nil {
		return nil
	}
	var errs []error
	switch s.Mechanism {
	case Plain, ScramSHA256, ScramSHA512:
	default:
		errs = append(errs, NewFault("sasl.mechanism", "expected %s, %s or %s, got %q", Plain, ScramSHA256, ScramSHA512, s.Mechanism))
	}
	if s.Username == "" {
		errs = append(errs, NewFault("sasl.username", "expected a user name, got none"))
	}
	if s.Password == "" {
		errs = append(errs, NewFault("sasl.password", "expected a password, got none (is the variable or file that holds it empty?)"))
	}
	return errors.Join(errs...)
}

// mechanism builds what kafka-go wants. One is safe for many connections at once.
func (s *SASL) mechanism() (sasl.Mechanism, error) {
	if s == nil {
		return nil, nil
	}
	if s.Mechanism == Plain {
		return plain.Mechanism{Username: s.Username, Password: s.Password}, nil
	}
	algo := scram.SHA256
	if s.Mechanism == ScramSHA512 {
		algo = scram.SHA512
	}
	m, err := scram.Mechanism(algo, s.Username, s.Password)
	if err != nil {
		return nil, NewFault("sasl.password", "user name or password cannot be prepared (RFC 4013): %w", err)
	}
	return m, nil
}
