package http

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

// Config is what a user says about an HTTP sink. Proxies are taken from the environment (HTTPS_PROXY, NO_PROXY).
type Config struct {
	// URL takes the messages by POST; http or https. Required.
	URL string `yaml:"url"`
	// Body is lines (default: many messages in one request as application/x-ndjson, one line each) or single (one request
	// for each, with the message's own headers).
	Body string `yaml:"body"`
	// MaxBody is the largest body in bytes of a request with several lines; a longer message goes alone. Default: 1 MiB.
	MaxBody int `yaml:"max_body"`
	// Token is sent as a bearer token (RFC 6750).
	Token string `yaml:"token"`
	// Timeout is the longest one request may take, answer included. Default: 10s.
	Timeout time.Duration `yaml:"timeout"`
	// TLS is needed where the system's authorities do not know the server, or where it asks for a certificate.
	TLS *TLS `yaml:"tls"`
}

// TLS names files, all PEM. They are read when the sink is made.
type TLS struct {
	// CA holds the authorities of which the server's certificate must come. Default: those of the system.
	CA string `yaml:"ca"`
	// Cert and Key are the certificate chain and the private key to show to the server; both or neither.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// ServerName is the name that the server's certificate must have. Default: the host of the URL.
	ServerName string `yaml:"server_name"`
}

// The forms of a body.
const (
	Lines  = "lines"
	Single = "single"
)

// Validate reports every fault, each with its key.
func (c *Config) Validate() error {
	var errs []error
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		errs = append(errs, errors.New("url: expected an address such as https://siem.example/events, got nothing"))
	case err != nil:
		errs = append(errs, fmt.Errorf("url: %w", err))
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		errs = append(errs, fmt.Errorf("url: expected http://HOST/PATH or https://HOST/PATH, got %q", u.Redacted()))
	case u.User != nil:
		errs = append(errs, errors.New("url: expected no user and password in it: use token"))
	case c.TLS != nil && u.Scheme == "http":
		errs = append(errs, errors.New("tls: the url begins with http://, write https:// or remove tls"))
	}
	if c.Body != "" && c.Body != Lines && c.Body != Single {
		errs = append(errs, fmt.Errorf("body: expected %s or %s, got %q", Lines, Single, c.Body))
	}
	if c.MaxBody < 0 {
		errs = append(errs, fmt.Errorf("max_body: expected a number of bytes, got %d", c.MaxBody))
	}
	if c.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout: expected a time above 0, got %v", c.Timeout))
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, errors.New("token: expected printable ASCII without spaces (is there a line feed at its end?)"))
	}
	if t := c.TLS; t != nil && (t.Cert == "") != (t.Key == "") {
		errs = append(errs, errors.New("tls: expected both cert and key or neither"))
	}
	return errors.Join(errs...)
}

func (t *TLS) load() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if t == nil {
		return out, nil
	}
	out.ServerName = t.ServerName
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls: ca: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls: ca: %s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls: cert and key: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}
