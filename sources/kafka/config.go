package kafka

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
	"github.com/spawnwatch/spawnwatch/sources"
)

// Config is what a user says about a Kafka source. The zero value of every key but Brokers, Topics and Group is its
// default.
type Config struct {
	// Brokers are some brokers of the cluster as host:port; the others are learned from them. The port defaults to
	// 9092. Required.
	Brokers []string `yaml:"brokers"`
	// Topics are the topics to read. An entry that begins with ^ is a regular expression (RE2) and stands for every
	// topic that it matches, now or later, other than internal ones (whose names begin with __). Required.
	Topics []string `yaml:"topics"`
	// Group is the consumer group. Sources of one group share the partitions of the topics. Required.
	Group string `yaml:"group"`
	// Start is where a partition without a committed offset is begun: earliest, latest, or a time (RFC 3339), which
	// means the first record that is not older. Partitions that are added while the source runs are begun at their
	// first record, unless Start is a time. Default: earliest.
	Start string `yaml:"start"`
	// OutOfRange is where a partition goes on when the wanted offset is no longer there, because retention was faster
	// or the topic was made anew: earliest or latest. It is logged each time. Default: earliest.
	OutOfRange string `yaml:"out_of_range"`
	// ClusterHeader is the message header that holds the name of the Kubernetes cluster. Where it is missing or empty
	// the topic decides, then the configured name.
	ClusterHeader string `yaml:"cluster_header"`
	// ClusterTopic is a regular expression (RE2) with one group: what the group matches in the name of a topic is the
	// name of the Kubernetes cluster. Where it does not match the configured name holds.
	ClusterTopic string `yaml:"cluster_topic"`
	// TLS makes connections speak TLS. Default: they do not.
	TLS *kafkaconn.TLS `yaml:"tls"`
	// SASL is what connections prove themselves with. Default: nothing.
	SASL *kafkaconn.SASL `yaml:"sasl"`
}

// Where a partition may be begun.
const (
	Earliest = "earliest"
	Latest   = "latest"
)

// maxGroup and maxTopic are Kafka's own limits of names, in bytes.
const (
	maxGroup = 32767
	maxTopic = 249
)

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// Validate says everything that is wrong with c. Each fault names its key.
func (c *Config) Validate() error {
	var errs []error
	at := func(key, format string, args ...any) { errs = append(errs, kafkaconn.NewFault(key, format, args...)) }
	if err := kafkaconn.ValidateBrokers(c.Brokers); err != nil {
		errs = append(errs, err)
	}
	if len(c.Topics) == 0 {
		at("topics", "expected at least one topic, got none")
	}
	for i, t := range c.Topics {
		if err := validTopic(t); err != nil {
			at(fmt.Sprintf("topics[%d]", i), "%w", err)
		}
	}
	if c.Group == "" || len(c.Group) > maxGroup {
		at("group", "expected the name of a consumer group of 1 to %d bytes, got %d bytes", maxGroup, len(c.Group))
	}
	if _, err := parseStart(c.Start); err != nil {
		errs = append(errs, err)
	}
	switch c.OutOfRange {
	case "", Earliest, Latest:
	default:
		at("out_of_range", "expected earliest or latest, got %q", c.OutOfRange)
	}
	if c.ClusterTopic != "" {
		if re, err := regexp.Compile(c.ClusterTopic); err != nil {
			at("cluster_topic", "expected a regular expression: %w", err)
		} else if re.NumSubexp() != 1 {
			at("cluster_topic", "expected a regular expression with one group, got %d groups", re.NumSubexp())
		}
	}
	errs = append(errs, c.TLS.Faults(), c.SASL.Faults())
	return errors.Join(errs...)
}

func validTopic(t string) error {
	if strings.HasPrefix(t, "^") {
		_, err := regexp.Compile(t)
		return err
	}
	if t == "." || t == ".." || len(t) > maxTopic || !topicName.MatchString(t) {
		return fmt.Errorf("expected a topic name of 1 to %d of the characters a-z A-Z 0-9 . _ -, or a regular expression that begins with ^, got %q", maxTopic, t)
	}
	return nil
}

// start is where partitions without a committed offset are begun.
type start struct {
	kind string    // earliest, latest or ""
	at   time.Time // where kind is ""
}

func parseStart(s string) (start, error) {
	switch s {
	case "", Earliest:
		return start{kind: Earliest}, nil
	case Latest:
		return start{kind: Latest}, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return start{}, kafkaconn.NewFault("start", "expected earliest, latest or a time such as 2026-01-31T08:00:00Z, got %q", s)
	}
	return start{at: at}, nil
}

// Settings are given by code. The zero value of each has a default.
type Settings struct {
	// Name is the configured name of the source.
	Name string
	// Cluster is the Kubernetes cluster of records that do not say it themselves.
	Cluster string
	// Logger gets what a person should know; repeated faults at most every ten seconds. Default: none.
	Logger *slog.Logger
	// MaxRecord is the largest record value in bytes that is passed on whole. Default: [sources.DefaultMaxRecord].
	MaxRecord int
	// Drain is how long handler calls in hand may take to finish at shutdown. Default: [DefaultDrain]. When partitions
	// are given up to other members it is at most [RevokeDrain]: all members wait for that.
	Drain time.Duration
	// Memory bounds the bytes of all records in hand, fetched or decoded. Default: [DefaultMemory]. Every partition
	// may exceed it by one batch of records, so that all make progress.
	Memory int64
	// Meter gets figures. Default: none.
	Meter Meter
}

// Limits and their defaults.
const (
	// DefaultDrain is how long a shutdown waits for handler calls, 20 s.
	DefaultDrain = 20 * time.Second
	// RevokeDrain is the longest that a rebalance waits for handler calls, 10 s.
	RevokeDrain = 10 * time.Second
	// DefaultMemory bounds the bytes of all records in hand, 128 MiB.
	DefaultMemory = 128 << 20
	// PartitionMemory bounds the bytes of one partition's records in hand, 8 MiB. A partition that has reached it is
	// left out of fetches, so that one that is stuck does not stop the others.
	PartitionMemory = 8 << 20
	// PartitionCalls bounds the handler calls in flight for one partition, 32.
	PartitionCalls = 32
	// CallBytes is how much goes into one handler call, 256 KiB: a call ends with the record that reaches it.
	CallBytes = 256 << 10
	// CallRecords bounds a call of tiny records.
	CallRecords = 4096
	// MaxBatch is the largest batch of records in bytes, as stored and, apart from that, as decompressed: 256 MiB. A larger
	// one, or one that cannot be read, is passed on as one record with the bytes as stored, so that it is dead-lettered.
	MaxBatch = 256 << 20
)

// Meter gets figures about a source. It is safe for concurrent use and does not block.
type Meter interface {
	// Lag is how many records of a partition are not yet acknowledged, -1 when the partition was given up. It is
	// reported about every second.
	Lag(topic string, partition int32, records int64)
	// Event counts what happened.
	Event(e Event, n int64)
}

// Event is something that a [Meter] counts.
type Event string

// The events.
const (
	Rebalanced   Event = "rebalanced"    // a new generation of the group began
	Committed    Event = "committed"     // offsets were committed
	CommitFailed Event = "commit_failed" // offsets could not be committed; they are again, unless the group moved on
	FetchFailed  Event = "fetch_failed"  // a fetch, or a partition's part in it, failed
	OutOfRange   Event = "out_of_range"  // the wanted offset of a partition was no longer there
	Unreadable   Event = "unreadable"    // a batch of records could not be read and was passed on as it is stored
)

type noMeter struct{}

func (noMeter) Lag(string, int32, int64) {}
func (noMeter) Event(Event, int64)       {}

func (s Settings) withDefaults() Settings {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.MaxRecord <= 0 {
		s.MaxRecord = sources.DefaultMaxRecord
	}
	if s.Drain <= 0 {
		s.Drain = DefaultDrain
	}
	if s.Memory <= 0 {
		s.Memory = DefaultMemory
	}
	if s.Meter == nil {
		s.Meter = noMeter{}
	}
	return s
}
