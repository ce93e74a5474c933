package natsconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Advised is an error with what to do about it.
type Advised struct {
	Err    error
	Advice string
}

func (a *Advised) Error() string { return a.Err.Error() + ": " + a.Advice }
func (a *Advised) Unwrap() error { return a.Err }

// cause puts the reason for which the last dial failed in the place of "no servers available".
func (c *Conn) cause(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, nats.ErrNoServers) && c.dialed != nil {
		return c.dialed
	}
	return err
}

// Explain adds to an error what a person can do about it, where that is known.
func (c *Conn) Explain(err error) error {
	if err == nil {
		return nil
	}
	var already *Advised
	if errors.As(err, &already) {
		return err
	}
	if advice := c.advice(err); advice != "" {
		return &Advised{err, advice}
	}
	return err
}

func (c *Conn) advice(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		dns       *net.DNSError
	)
	switch {
	case errors.As(err, &authority):
		return "the server's certificate comes from an authority that is not trusted: set tls.ca to the PEM file of the authority that signed it"
	case errors.As(err, &host):
		return "the server's certificate is for another name: use a name in its certificate in url, or set tls.server_name to one"
	case errors.As(err, &invalid):
		return "the server's certificate is not valid: renew it, or check this machine's clock"
	case errors.As(err, &record):
		return "the server does not begin with TLS on this port: remove tls.handshake_first, or use its TLS port"
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls"), strings.Contains(err.Error(), "closed by remote after TLS handshake"):
		return "the server ended the TLS handshake: it may want a client certificate (tls.cert, tls.key) of an authority that it trusts"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server does not offer TLS: remove tls, or use its TLS port"
	case errors.Is(err, nats.ErrSecureConnRequired):
		return "the server wants TLS: set tls"
	case errors.As(err, &dns):
		return "the host name is unknown here: check url"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: is the server up, and is the port in url that of its clients (4222 by default)?"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return "the credentials no longer count: renew those of " + c.access.who()
	case errors.Is(err, nats.ErrAuthorization), strings.Contains(strings.ToLower(err.Error()), "authorization violation"):
		return "the server refused " + c.access.who()
	case isDenied(err):
		return "the server does not allow this to " + c.access.who() + ": give it the permission there"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return "the account of " + c.access.who() + " may not use JetStream: enable it for the account, or set mode: core"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return "the server runs without JetStream: start it with -js or a jetstream block, or set mode: core"
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return "no stream takes this subject: create one that does, check subject, or set create: true with a stream name"
	case errors.Is(err, nats.ErrNoInfoReceived):
		return "what listens there does not speak the NATS protocol as a server does to its clients: check the port in url"
	case errors.Is(err, nats.ErrNoResponders):
		return "nobody answers for JetStream: is it enabled on the server and for this account?"
	}
	return c.adviceOnSilence(err)
}

// isDenied tells the error of a server that does not allow what was asked.
func isDenied(err error) bool {
	return err != nil && (errors.Is(err, nats.ErrPermissionViolation) || strings.Contains(strings.ToLower(err.Error()), "permissions violation"))
}

// adviceOnSilence explains what was not answered.
func (c *Conn) adviceOnSilence(err error) string {
	silent := errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, jetstream.ErrAsyncPublishTimeout)
	switch {
	case silent:
		// A server tells a client that it may not do something on the side, and leaves the request unanswered.
		if heard := c.lastHeard(); heard != nil && !errors.Is(heard, err) {
			if advice := c.advice(heard); advice != "" {
				return fmt.Sprintf("the server said meanwhile %q: %s", heard, advice)
			}
			return fmt.Sprintf("the server said meanwhile %q", heard)
		}
		return "no answer in time: is a firewall in between, is the server overloaded or without a leader, or does this port speak another protocol?"
	case errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting):
		return "there is no connection at the moment; it is made again without end"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the peer closed the connection: is this the port of a NATS server, and does it want TLS from the first byte (tls.handshake_first)?"
	}
	return ""
}
