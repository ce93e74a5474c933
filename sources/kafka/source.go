// Package kafka reads audit records from Apache Kafka, as a member of a consumer group, at least once.
//
// Membership is kafka-go's ConsumerGroup. The rest is our own, because it has to be both safe and cheap: one fetch for
// all partitions of a broker, read into pooled memory; record batches decoded where they lie; several handler calls in
// flight for each partition; and offsets that are committed only up to the first record that is not yet handled, only
// by the generation that owns the partition.
//
// A generation of the group is one [generation]: a router that knows the leaders, a fetcher for each broker, and for
// each [partition] a goroutine that makes [span]s out of what was fetched. A [tracker] knows what may be committed, the
// [committer] when, and the [coordinator] to whom.
// Locks are never held together: a partition's is taken and let go before anything else is called.
package kafka

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
	"github.com/spawnwatch/spawnwatch/sources"
)

const (
	// startTime is how long the first contact may take: a broker that is not up yet is tried again until then.
	startTime = 10 * time.Second
	// topicTime is how long a missing topic is waited for at the start: one that was just made may not be known to all
	// brokers.
	topicTime = 3 * time.Second
	// logEvery bounds how often the same kind of fault is logged.
	logEvery = 10 * time.Second
)

// Source is a member of a consumer group. It implements [sources.Source].
type Source struct {
	config        Config
	settings      Settings
	start         start
	conn          *kafkaconn.Conn
	clusterHeader []byte
	clusterTopic  *regexp.Regexp
	plain         []string         // topics by name
	patterns      []*regexp.Regexp // topics by pattern, nil if there are none

	pool     pool
	inflater *inflater
	spans    sync.Pool
	held     atomic.Int64
	starved  atomic.Bool
	current  atomic.Pointer[generation]
	calls    sync.WaitGroup
	balancer balancer

	mu      sync.Mutex
	topics  []string       // what the group subscribes to
	wanted  []string       // what it should subscribe to, nil: the same
	again   func()         // ends the subscription, so that a new one is made
	initial map[string]int // partitions by topic when Run began
	logged  map[string]*muted
}

// muted is a kind of fault that was logged lately.
type muted struct {
	at    time.Time
	since int
}

// New prepares a source; it connects to nobody.
func New(config Config, settings Settings) (*Source, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	conn, err := kafkaconn.New(kafkaconn.Options{Brokers: config.Brokers, TLS: config.TLS, SASL: config.SASL})
	if err != nil {
		return nil, err
	}
	s := &Source{
		config: config, settings: settings.withDefaults(), conn: conn, clusterHeader: []byte(config.ClusterHeader),
		logged: map[string]*muted{},
	}
	s.balancer.layout = s.layout
	if s.start, err = parseStart(config.Start); err != nil {
		return nil, err
	}
	if s.inflater, err = newInflater(MaxBatch); err != nil {
		return nil, err
	}
	if config.ClusterTopic != "" {
		if s.clusterTopic, err = regexp.Compile(config.ClusterTopic); err != nil {
			return nil, err
		}
	}
	for _, t := range config.Topics {
		if !strings.HasPrefix(t, "^") {
			s.plain = append(s.plain, t)
			continue
		}
		re, err := regexp.Compile(t)
		if err != nil {
			return nil, err
		}
		s.patterns = append(s.patterns, re)
	}
	return s, nil
}

// Check reaches the brokers and looks up the topics, without joining the group. Its error says for each broker, topic
// and credential what is wrong and what to do.
func (s *Source) Check(ctx context.Context) error {
	defer s.conn.Close()
	topics, err := s.conn.Check(ctx, s.metadataTopics())
	errs := []error{err}
	for _, name := range s.plain {
		at := slices.IndexFunc(topics, func(t kafkaconn.Topic) bool { return t.Name == name })
		switch {
		case at >= 0 && topics[at].Err != nil:
			errs = append(errs, fmt.Errorf("topic %s: %w", name, topics[at].Err))
		case at < 0 && topics != nil: // among all topics those that do not exist are not listed
			errs = append(errs, fmt.Errorf("topic %s: %w", name, s.conn.Explain(kafka.UnknownTopicOrPartition)))
		}
	}
	return errors.Join(errs...)
}

// Run reads until ctx ends. It implements [sources.Source].
func (s *Source) Run(ctx context.Context, h sources.Handler) error {
	defer s.conn.Close()
	defer s.calls.Wait()
	topics, err := s.first(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("kafka source %s: %w", s.settings.Name, s.conn.Explain(err))
	}
	for ctx.Err() == nil {
		if len(topics) == 0 {
			topics, err = s.await(ctx)
		} else {
			topics, err = s.subscribe(ctx, topics, h)
		}
		if err != nil {
			return fmt.Errorf("kafka source %s: %w", s.settings.Name, s.conn.Explain(err))
		}
	}
	return nil
}

// first makes the first contact, and returns the topics there are. What is wrong then is worth an error.
func (s *Source) first(ctx context.Context) ([]string, error) {
	began := time.Now()
	for wait := firstBackoff; ; wait = min(2*wait, time.Second) {
		ask, cancel := context.WithTimeout(ctx, askTime)
		m, err := s.conn.Metadata(ask, s.metadataTopics())
		cancel()
		limit := startTime
		if err == nil {
			if err = s.missing(m); err == nil {
				s.mu.Lock()
				s.initial = make(map[string]int, len(m.Topics))
				for i := range m.Topics {
					s.initial[m.Topics[i].Name] = len(m.Topics[i].Partitions)
				}
				s.mu.Unlock()
				return s.matching(m), nil
			}
			limit = topicTime
		}
		if hopeless(err) || time.Since(began) > limit {
			return nil, err
		}
		if sleep(ctx, wait) != nil {
			return nil, ctx.Err()
		}
	}
}

// await waits for a topic that matches a pattern.
func (s *Source) await(ctx context.Context) ([]string, error) {
	s.log("no topic matches the patterns yet", "await", "topics", s.config.Topics)
	if sleep(ctx, watchEvery) != nil {
		return nil, nil
	}
	ask, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	m, err := s.conn.Metadata(ask, nil)
	if err != nil {
		if hopeless(err) {
			return nil, err
		}
		return nil, nil // as long as it takes
	}
	return s.matching(m), nil
}

// hopeless says that trying again does not help: someone has to change something.
func hopeless(err error) bool {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
	)
	if errors.As(err, &authority) || errors.As(err, &host) {
		return true
	}
	for _, code := range []kafka.Error{
		kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState, kafka.TopicAuthorizationFailed, kafka.GroupAuthorizationFailed,
		kafka.ClusterAuthorizationFailed, kafka.InconsistentGroupProtocol, kafka.InvalidSessionTimeout, kafka.InvalidGroupId, kafka.InvalidTopic,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// clusterOf is the cluster of the records of a topic, as far as the topic or the configuration tell.
func (s *Source) clusterOf(topic string) string {
	if s.clusterTopic != nil {
		if m := s.clusterTopic.FindStringSubmatch(topic); m != nil && m[1] != "" {
			return m[1]
		}
	}
	return s.settings.Cluster
}

// full says whether n more bytes are too many, and has those who were told so woken when some are freed.
func (s *Source) full(n int64) bool {
	if s.held.Load()+n <= s.settings.Memory {
		return false
	}
	s.starved.Store(true)
	return s.held.Load()+n > s.settings.Memory // once more: what was freed before that woke nobody
}

// freed is told of every buffer that was freed.
func (s *Source) freed() {
	if !s.starved.Load() {
		return
	}
	s.starved.Store(false)
	g := s.current.Load()
	if g == nil {
		return
	}
	for _, p := range g.parts {
		notify(p.wake)
		p.mu.Lock()
		f := p.owner
		p.mu.Unlock()
		if f != nil {
			notify(f.wake)
		}
	}
}

// log warns of a fault that may come often; of each kind at most every [logEvery].
func (s *Source) log(text, kind string, args ...any) {
	s.mu.Lock()
	m := s.logged[kind]
	if m == nil {
		m = &muted{}
		s.logged[kind] = m
	}
	now := time.Now()
	if now.Sub(m.at) < logEvery {
		m.since++
		s.mu.Unlock()
		return
	}
	suppressed := m.since
	m.at, m.since = now, 0
	s.mu.Unlock()
	if suppressed > 0 {
		args = append(args, "suppressed", suppressed)
	}
	s.settings.Logger.Warn(text, args...)
}

var _ sources.Source = (*Source)(nil)
