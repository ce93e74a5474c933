package webhook

import (
	"errors"
	"net"
	"strings"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/listen"
)

// Config is what a user says about a webhook source. The zero value of every key but Listen is its default.
type Config struct {
	// Listen is host:port. Required.
	Listen string `yaml:"listen"`
	// Path is the path that events are posted to, such as /audit. Default: /, which takes every path.
	Path string `yaml:"path"`
	// Token is the bearer token that a client must send. Empty: none is asked for.
	Token string `yaml:"token"`
	// TLS makes the listener speak HTTPS only.
	TLS *listen.TLS `yaml:"tls"`
}

const (
	// answerTime is the longest a request may wait for its answer, from its last header line on. The API server gives
	// up after 30 s.
	answerTime = 25 * time.Second
	// handleTime is when the handler is told to stop, from the same moment on, so that its memory is free again soon
	// after the answer.
	handleTime = 24 * time.Second
	// bodyTime is the longest a body may take to arrive, from the same moment on.
	bodyTime = 15 * time.Second
	// writeTime is how long an answer may take to leave.
	writeTime = 5 * time.Second
	// headerTime is the longest the head of a request, or a TLS handshake, may take.
	headerTime = 5 * time.Second
	// idleTime is how long a connection may be silent between two requests.
	idleTime = 2 * time.Minute
	// maxHeader is the largest head of a request in bytes.
	maxHeader = 32 << 10
	// retryAfter is what a client that is turned away is told to wait, in seconds. The API server obeys it.
	retryAfter = "1"
)

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	at := func(key, format string, args ...any) {
		errs = append(errs, listen.NewFault(key, format, args...))
	}
	_, port, err := net.SplitHostPort(c.Listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		at("listen", "expected listen to be host:port such as 0.0.0.0:8443, got %q", c.Listen)
	}
	if c.Path != "" && (!strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, "?#% ")) {
		at("path", "expected a plain path such as /audit, got %q", c.Path)
	}
	if strings.TrimSpace(c.Token) != c.Token {
		at("token", "expected a token without white space around it (a file may end in a line feed)")
	}
	errs = append(errs, c.TLS.Faults()...)
	return errors.Join(errs...)
}
