package nats

import (
	"errors"
	"slices"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
)

// The modes.
const (
	// JetStream reads a stream through a durable consumer: at least once.
	JetStream = "jetstream"
	// Core subscribes to subjects: at most once. What arrives while nobody listens, or faster than it is handled, is
	// lost.
	Core = "core"
)

// DefaultDurable is the name of the durable consumer, and of the queue group, unless configured otherwise.
const DefaultDurable = "spawnwatch"

// Config is what a user says about a NATS source.
type Config struct {
	natsconn.Access `yaml:",inline"`

	// Stream is the stream to read. Default: the one that takes Subjects.
	Stream string `yaml:"stream"`
	// Subjects are what is read of the stream, wildcards allowed. Default: all of it. Required in mode core, without a
	// stream, and with create.
	Subjects []string `yaml:"subjects"`
	// Durable is the name of the consumer: instances that share it share the work, and one goes on where another
	// stopped. Default: spawnwatch.
	Durable string `yaml:"durable"`
	// Mode is jetstream (default) or core.
	Mode string `yaml:"mode"`
	// Queue is the queue group of mode core: instances in it share the messages. Default: spawnwatch.
	Queue string `yaml:"queue"`
	// Create makes the stream and the consumer if they are missing, and gives an existing consumer the configured
	// subjects. Default: both must exist.
	Create bool `yaml:"create"`
}

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	errs := []error{c.Faults()}
	at := func(key, format string, args ...any) {
		errs = append(errs, natsconn.NewFault(key, format, args...))
	}
	for _, n := range []struct{ key, name string }{{"stream", c.Stream}, {"durable", c.Durable}, {"queue", c.Queue}} {
		if err := natsconn.CheckName(n.name); err != nil {
			at(n.key, "%w", err)
		}
	}
	for i, s := range c.Subjects {
		if err := natsconn.CheckSubject(s); err != nil {
			at("subjects", "%w", err)
			continue
		}
		for _, other := range c.Subjects[:i] {
			if natsconn.Overlaps(other, s) {
				at("subjects", "expected subjects that share no message, but %q and %q overlap", other, s)
			}
		}
	}
	switch c.Mode {
	case "", JetStream:
		if c.Stream == "" && len(c.Subjects) == 0 {
			at("stream", "expected a stream to read, or subjects to find it by, got neither")
		}
		if c.Create && c.Stream == "" {
			at("stream", "expected the name of the stream that create may make, got none")
		}
		if c.Create && len(c.Subjects) == 0 {
			at("subjects", "expected the subjects of the stream that create may make, got none")
		}
		if c.Queue != "" {
			at("queue", "queue belongs to mode core: instances share a stream by a common durable")
		}
	case Core:
		if len(c.Subjects) == 0 {
			at("subjects", "expected at least one subject to subscribe to, got none")
		}
		if c.Stream != "" {
			at("stream", "mode core knows no streams: remove stream, or mode")
		}
		if c.Durable != "" {
			at("durable", "mode core has no durable consumers: set queue instead, or remove mode")
		}
		if c.Create {
			at("create", "mode core has nothing to create: remove create, or mode")
		}
	default:
		at("mode", "expected %s or %s, got %q", JetStream, Core, c.Mode)
	}
	return errors.Join(errs...)
}

// withDefaults fills in what was left out, and shares nothing with c.
func (c Config) withDefaults() Config {
	if c.Mode == "" {
		c.Mode = JetStream
	}
	if c.Durable == "" {
		c.Durable = DefaultDurable
	}
	if c.Queue == "" {
		c.Queue = DefaultDurable
	}
	c.Subjects = slices.Clone(c.Subjects)
	return c
}
