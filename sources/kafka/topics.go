package kafka

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
)

// missing says which of the topics cannot be read.
func (s *Source) missing(m *metadata.Response) error {
	var errs []error
	for _, name := range s.plain {
		err := error(kafka.UnknownTopicOrPartition) // among all topics those that do not exist are not listed
		for i := range m.Topics {
			if m.Topics[i].Name == name {
				err = kafkaconn.Code(m.Topics[i].ErrorCode)
			}
		}
		if err != nil && !errors.Is(err, kafka.LeaderNotAvailable) {
			errs = append(errs, fmt.Errorf("topic %s: %w", name, s.conn.Explain(err)))
		}
	}
	return errors.Join(errs...)
}

// layout asks for the partitions of topics; what does not exist has none. It returns nil where nobody answers.
func (s *Source) layout(topics []string) []kafka.Partition {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	m, err := s.conn.Metadata(ctx, topics)
	if err != nil {
		s.log("the brokers cannot be asked for the partitions to share out", "layout", "error", s.conn.Explain(err))
		return nil
	}
	partitions := []kafka.Partition{}
	for i := range m.Topics {
		for _, p := range m.Topics[i].Partitions {
			partitions = append(partitions, kafka.Partition{Topic: m.Topics[i].Name, ID: int(p.PartitionIndex)})
		}
	}
	return partitions
}

// metadataTopics is what metadata is asked for: all topics (nil) where there are patterns.
func (s *Source) metadataTopics() []string {
	if s.patterns != nil {
		return nil
	}
	return s.plain
}

// matching returns the topics to subscribe to, in order.
func (s *Source) matching(m *metadata.Response) []string {
	topics := slices.Clone(s.plain)
	for i := range m.Topics {
		t := &m.Topics[i]
		if t.IsInternal || strings.HasPrefix(t.Name, "__") || t.ErrorCode != 0 {
			continue
		}
		if slices.ContainsFunc(s.patterns, func(re *regexp.Regexp) bool { return re.MatchString(t.Name) }) {
			topics = append(topics, t.Name)
		}
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// subscribed says whether topics are those of the group.
func (s *Source) subscribed(topics []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Equal(topics, s.topics)
}

// resubscribe ends the subscription in favour of one to other topics.
func (s *Source) resubscribe(topics []string) {
	s.settings.Logger.Info("the patterns match other topics than before", "topics", topics)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = topics
	s.again()
}

// isNew says whether a partition did not exist when Run began.
func (s *Source) isNew(topic string, id int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(id) >= s.initial[topic]
}
