package kafka

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
	"github.com/spawnwatch/spawnwatch/sinks"
)

// Config is what a user says about a Kafka sink. The zero value of every key but Brokers and Topic is its default.
type Config struct {
	// Brokers are some brokers of the cluster as host:port; the others are learned from them. The port defaults to
	// 9092. Required.
	Brokers []string `yaml:"brokers"`
	// Topic is a template: k8s.alerts.{severity}. In a label's value every character other than a-z A-Z 0-9 _ - becomes
	// _, so that no value can name a level of its own; an empty one becomes "unknown". Required.
	Topic string `yaml:"topic"`
	// Key is the template of the record key, which decides the partition: {cluster}/{namespace}/{name}. Values are put
	// in as they are. Default: the id of the message.
	Key string `yaml:"key"`
	// Create makes topics that do not exist, with the partitions and replicas that the brokers default to. Default: a
	// missing topic is an error, and the message is tried again.
	Create bool `yaml:"create"`
	// Compression of what is sent: none, gzip, snappy, lz4 or zstd. Default: none.
	Compression string `yaml:"compression"`
	// TLS makes connections speak TLS. Default: they do not.
	TLS *kafkaconn.TLS `yaml:"tls"`
	// SASL is what connections prove themselves with. Default: nothing.
	SASL *kafkaconn.SASL `yaml:"sasl"`
}

// Validate says everything that is wrong with c. Each fault names its key.
func (c *Config) Validate() error {
	var errs []error
	at := func(key, format string, args ...any) { errs = append(errs, kafkaconn.NewFault(key, format, args...)) }
	if err := kafkaconn.ValidateBrokers(c.Brokers); err != nil {
		errs = append(errs, err)
	}
	switch t, err := sinks.ParseTemplate(c.Topic); {
	case c.Topic == "":
		at("topic", "expected the name of a topic, such as k8s.alerts.{severity}, got none")
	case err != nil:
		at("topic", "%w", err)
	default:
		// Any label gives a legal part, so an expansion with short ones shows whether the literal text is legal.
		if name := string(t.Append(nil, &sinks.Labels{}, cleanTopic)); !legalTopic(name) {
			at("topic", "expected at most %d of the characters a-z A-Z 0-9 . _ - besides the labels in braces, got %q", maxTopic, c.Topic)
		}
	}
	if _, err := sinks.ParseTemplate(c.Key); err != nil {
		at("key", "%w", err)
	}
	if _, err := codecOf(c.Compression); err != nil {
		at("compression", "%w", err)
	}
	errs = append(errs, c.TLS.Faults(), c.SASL.Faults())
	return errors.Join(errs...)
}

// maxTopic is Kafka's limit of a topic's name in bytes.
const maxTopic = 249

func legalTopic(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > maxTopic {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !plainByte(c) && c != '.' {
			return false
		}
	}
	return true
}

func plainByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// cleanTopic appends a label's value as a part of a topic's name.
func cleanTopic(dst []byte, value string) []byte {
	if value == "" {
		return append(dst, "unknown"...)
	}
	for i := range len(value) {
		c := value[i]
		if !plainByte(c) {
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}

// cleanKey appends a label's value as a part of a key, which may hold any bytes.
func cleanKey(dst []byte, value string) []byte { return append(dst, value...) }

// Settings are given by code. The zero value of each has a default.
type Settings struct {
	// Name is the configured name of the sink.
	Name string
	// Logger gets what a person should know and no caller is told. Default: none.
	Logger *slog.Logger
}

func (s Settings) withDefaults() Settings {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	return s
}

// Limits.
const (
	// MaxMessage is the largest message that is tried, 32 MiB: value, key and headers. The topic's max.message.bytes
	// (1 MiB unless configured) is usually less, and the broker then refuses the message for good.
	MaxMessage = 32 << 20
	// batchBytes is how much goes into one batch, unless a single message is larger: below 1 MiB, the brokers' default
	// of max.message.bytes.
	batchBytes = 900_000
	// batchRecords bounds a batch of tiny messages.
	batchRecords = 5000
)

func codecOf(name string) (int8, error) {
	switch name {
	case "", "none":
		return 0, nil
	case "gzip":
		return 1, nil
	case "snappy":
		return 2, nil
	case "lz4":
		return 3, nil
	case "zstd":
		return 4, nil
	}
	return 0, fmt.Errorf("expected none, gzip, snappy, lz4 or zstd, got %q", name)
}
