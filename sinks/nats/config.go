package nats

import (
	"errors"
	"strings"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/sinks"
)

// The modes.
const (
	// JetStream publishes to a stream and waits for its answer to each message.
	JetStream = "jetstream"
	// Core publishes and waits until the server has taken the messages: who does not listen misses them, and a server
	// that ends at that moment may lose them.
	Core = "core"
)

// maxToken is the longest value of a label in a subject, in bytes; what is longer is cut.
const maxToken = 128

// Config is what a user says about a NATS sink.
type Config struct {
	natsconn.Access `yaml:",inline"`

	// Subject is where messages go, a template: k8s.alerts.{cluster}.{severity}. In the value of a label all but letters,
	// digits, - and _ becomes _, so that it stays one word; an unknown one is _. Required.
	Subject string `yaml:"subject"`
	// Mode is jetstream (default) or core.
	Mode string `yaml:"mode"`
	// Stream is the stream that must take the messages. Default: whichever takes the subject.
	Stream string `yaml:"stream"`
	// Create makes the stream if it is missing. Default: it must exist.
	Create bool `yaml:"create"`
}

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	errs := []error{c.Faults()}
	at := func(key, format string, args ...any) {
		errs = append(errs, natsconn.NewFault(key, format, args...))
	}
	if t, err := sinks.ParseTemplate(c.Subject); err != nil {
		at("subject", "%w", err)
	} else if err := checkTemplate(t); err != nil {
		at("subject", "%w", err)
	}
	if err := natsconn.CheckName(c.Stream); err != nil {
		at("stream", "%w", err)
	}
	switch c.Mode {
	case "", JetStream:
		if c.Create && c.Stream == "" {
			at("stream", "expected the name of the stream that create may make, got none")
		}
	case Core:
		if c.Stream != "" {
			at("stream", "mode core knows no streams: remove stream, or mode")
		}
		if c.Create {
			at("create", "mode core has nothing to create: remove create, or mode")
		}
	default:
		at("mode", "expected %s or %s, got %q", JetStream, Core, c.Mode)
	}
	return errors.Join(errs...)
}

// checkTemplate holds that whatever the labels are, the result is a subject to which one can publish.
func checkTemplate(t sinks.Template) error {
	longest := t.Append(nil, &sinks.Labels{}, func(dst []byte, _ string) []byte {
		return append(dst, strings.Repeat("x", maxToken)...)
	})
	if strings.ContainsAny(t.String(), "*>") {
		return errors.New("expected a subject to publish to, without the wildcards * and >")
	}
	return natsconn.CheckSubject(string(longest))
}

// pattern is the subject with wildcards that stands for all that t can become.
func pattern(t sinks.Template) string {
	const mark = '*' // not allowed in the template itself
	text := t.Append(nil, &sinks.Labels{}, func(dst []byte, _ string) []byte { return append(dst, mark) })
	words := strings.Split(string(text), ".")
	for i, w := range words {
		if strings.ContainsRune(w, mark) {
			words[i] = "*"
		}
	}
	return strings.Join(words, ".")
}

// cleanToken appends a label's value as one word of a subject, or as part of one.
func cleanToken(dst []byte, value string) []byte {
	if value == "" {
		return append(dst, '_')
	}
	for i := range min(len(value), maxToken) {
		switch c := value[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			dst = append(dst, c)
		default:
			dst = append(dst, '_')
		}
	}
	return dst
}
