package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
)

// layoutTime is how long what is known of a topic is believed; a refusal ends it earlier.
const layoutTime = 30 * time.Second

// topics knows the partitions of topics and their leaders.
type topics struct {
	conn   *kafkaconn.Conn
	create bool

	mu    sync.Mutex
	known map[string]layout
}

type layout struct {
	leaders []int32 // by partition, -1: none
	until   time.Time
}

// layout returns what is known of a topic, or asks; a missing one is made where that is wanted.
func (t *topics) layout(ctx context.Context, topic string) (layout, error) {
	t.mu.Lock()
	l, ok := t.known[topic]
	t.mu.Unlock()
	if ok && time.Now().Before(l.until) {
		return l, nil
	}
	l, err := t.ask(ctx, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) && t.create {
		if err = t.make(ctx, topic); err == nil {
			l, err = t.appear(ctx, topic)
		}
	}
	if err != nil {
		return layout{}, fmt.Errorf("topic %s: %w", topic, err)
	}
	t.mu.Lock()
	t.known[topic] = l
	t.mu.Unlock()
	return l, nil
}

// leader returns the broker that leads a partition.
func (t *topics) leader(ctx context.Context, topic string, partition int32) (int32, error) {
	l, err := t.layout(ctx, topic)
	if err != nil {
		return 0, err
	}
	if int(partition) >= len(l.leaders) || l.leaders[partition] < 0 {
		t.forget(topic)
		return 0, kafka.LeaderNotAvailable
	}
	return l.leaders[partition], nil
}

// forget makes the topic be asked for again.
func (t *topics) forget(topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, topic)
}

func (t *topics) ask(ctx context.Context, topic string) (layout, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	m, err := t.conn.Metadata(ctx, []string{topic})
	if err != nil {
		return layout{}, err
	}
	if len(m.Topics) != 1 {
		return layout{}, fmt.Errorf("expected metadata of one topic, got %d", len(m.Topics))
	}
	if err := kafkaconn.Code(m.Topics[0].ErrorCode); err != nil {
		return layout{}, err
	}
	l := layout{leaders: make([]int32, len(m.Topics[0].Partitions)), until: time.Now().Add(layoutTime)}
	for i := range l.leaders {
		l.leaders[i] = -1
	}
	for _, p := range m.Topics[0].Partitions {
		if i := int(p.PartitionIndex); i >= 0 && i < len(l.leaders) && p.LeaderID >= 0 {
			l.leaders[i] = p.LeaderID
		}
	}
	if len(l.leaders) == 0 {
		return layout{}, kafka.LeaderNotAvailable
	}
	return l, nil
}

// make makes a topic with what the brokers default to (KIP-464, Kafka 2.4).
func (t *topics) make(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	res, err := t.conn.RoundTrip(ctx, kafkaconn.Controller, &createtopics.Request{
		Topics:    []createtopics.RequestTopic{{Name: topic, NumPartitions: -1, ReplicationFactor: -1}},
		TimeoutMs: int32(askTime / time.Millisecond),
	})
	if err != nil {
		return fmt.Errorf("cannot be created: %w", err)
	}
	answer, ok := res.(*createtopics.Response)
	if !ok || len(answer.Topics) != 1 {
		return fmt.Errorf("expected the answer to the creation of one topic, got %T", res)
	}
	if err := kafkaconn.Code(answer.Topics[0].ErrorCode); err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
		return fmt.Errorf("cannot be created: %w (%s)", err, answer.Topics[0].ErrorMessage)
	}
	return nil
}

// appear waits for a topic that was made: brokers hear of it one after the other.
func (t *topics) appear(ctx context.Context, topic string) (layout, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	for {
		l, err := t.ask(ctx, topic)
		if err == nil && l.leaders[0] >= 0 {
			return l, nil
		}
		if err == nil {
			err = kafka.LeaderNotAvailable
		}
		if sleep(ctx, firstBackoff) != nil {
			return layout{}, err
		}
	}
}
