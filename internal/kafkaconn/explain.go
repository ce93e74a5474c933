package kafkaconn

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

	"github.com/segmentio/kafka-go"
)

// Advised is an error with what to do about it.
type Advised struct {
	Err    error
	Advice string
}

func (a *Advised) Error() string { return a.Err.Error() + ": " + a.Advice }
func (a *Advised) Unwrap() error { return a.Err }

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
		op        *net.OpError
		dns       *net.DNSError
		kerr      kafka.Error
	)
	switch {
	case errors.As(err, &authority):
		return "the broker's certificate comes from an authority that is not trusted: set tls.ca to the PEM file of the authority that signed it"
	case errors.As(err, &host):
		return "the broker's certificate is for another name: dial the broker by a name in its certificate or set tls.server_name to one"
	case errors.As(err, &invalid):
		return "the broker's certificate is not valid: renew it, or check this machine's clock"
	case errors.As(err, &record):
		return "the broker does not speak TLS on this port: use its TLS listener, or remove tls"
	case errors.As(err, &op) && op.Op == "remote error": // how crypto/tls calls an alert of the peer
		return "the broker ended the TLS handshake: it may want a client certificate (tls.cert, tls.key) of an authority that it trusts"
	case errors.As(err, &dns):
		return "the host name is unknown here: check brokers, and what the broker advertises (advertised.listeners)"
	case errors.Is(err, kafka.SASLAuthenticationFailed):
		return fmt.Sprintf("the broker refused user %q with %s: check sasl.username and sasl.password", c.username, c.mechanismName())
	case strings.Contains(err.Error(), "server nonce did not match"), strings.Contains(err.Error(), "server validation failed"):
		return "the broker could not prove that it knows the password: is this the right cluster?"
	case errors.Is(err, kafka.UnsupportedSASLMechanism):
		return fmt.Sprintf("the broker does not offer %s on this listener: set sasl.mechanism to one of its sasl.enabled.mechanisms", c.mechanismName())
	case errors.Is(err, kafka.IllegalSASLState):
		return "this listener knows no SASL: use the broker's SASL listener, or remove sasl"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: is the broker up, and is the port that of a listener?"
	case errors.As(err, &kerr):
		return codeAdvice(kerr)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		switch {
		case c.worked.Load():
			return "" // a broker that went away, nothing that a person set wrong
		case c.transport.TLS == nil && c.transport.SASL == nil:
			return "the broker closed the connection: this listener probably wants TLS (set tls) or SASL (set sasl)"
		case c.transport.TLS == nil:
			return "the broker closed the connection: this listener probably wants TLS (set tls)"
		case c.transport.SASL == nil:
			return "the broker closed the connection: this listener probably speaks no TLS (remove tls, or use its TLS listener), or wants SASL (set sasl) or a client certificate (tls.cert, tls.key)"
		}
		return "the broker closed the connection: check that this listener speaks both TLS and SASL"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time: is a firewall in between, is the broker overloaded, or does this listener speak another protocol (TLS or not)?"
	}
	return ""
}

func (c *Conn) mechanismName() string {
	if c.transport.SASL == nil {
		return "no SASL"
	}
	return c.transport.SASL.Name()
}

func codeAdvice(e kafka.Error) string {
	switch e {
	case kafka.TopicAuthorizationFailed:
		return "the cluster's ACLs do not let this user at the topic: allow Read and Describe (sources) or Write, Describe and, with create, Create (sinks)"
	case kafka.GroupAuthorizationFailed:
		return "the cluster's ACLs do not let this user use the consumer group: allow Read on the group"
	case kafka.ClusterAuthorizationFailed:
		return "the cluster's ACLs do not allow this user the operation on the cluster"
	case kafka.UnknownTopicOrPartition:
		return "the topic does not exist: create it or check its name"
	case kafka.InvalidTopic:
		return "Kafka does not allow this topic name"
	case kafka.InconsistentGroupProtocol:
		return "members of another kind use the same consumer group: give this source a group of its own"
	case kafka.UnsupportedVersion:
		return "the broker is too old: Kafka 0.11 or later is needed, and 2.1 for zstd"
	}
	return ""
}

// Code is the error of a code inside an answer: nil for 0.
func Code(code int16) error {
	if code == 0 {
		return nil
	}
	return kafka.Error(code)
}
