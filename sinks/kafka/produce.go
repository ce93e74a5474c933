package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	produceapi "github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
)

const (
	// requestTime bounds one produce request; the broker itself gives up on its replicas somewhat earlier.
	requestTime = 15 * time.Second
	replicaTime = 10 * time.Second
	// settleTime bounds how long a batch is sent again to learn what became of it.
	settleTime = 30 * time.Second
	askTime    = 5 * time.Second

	firstBackoff = 50 * time.Millisecond
	maxBackoff   = time.Second
)

// produceRequest sends one batch. It implements [kafkaconn.Exchanger].
type produceRequest struct {
	topic     string
	partition int32
	batch     []byte
	sent      bool // the request may have reached the broker
	answer    produceapi.ResponsePartition
}

// API names the request.
func (r *produceRequest) API() protocol.ApiKey { return protocol.Produce }

// Exchange sends the batch and reads the answer.
func (r *produceRequest) Exchange(version int16, rw io.ReadWriter) error {
	if version < 3 {
		return fmt.Errorf("expected a broker with produce version 3 or later (Kafka 0.11), got version %d", version)
	}
	r.sent = true
	// kafka-go leaves the length of the records to the reader.
	size := binary.BigEndian.AppendUint32(nil, uint32(len(r.batch)))
	const correlation = 1
	err := protocol.WriteRequest(rw, version, correlation, kafkaconn.ClientID, &rawproduce.Request{
		Acks: int16(kafka.RequireAll), Timeout: int32(replicaTime / time.Millisecond),
		Topics: []rawproduce.RequestTopic{{Topic: r.topic, Partitions: []rawproduce.RequestPartition{{
			Partition: r.partition, RecordSet: protocol.RawRecordSet{Reader: io.MultiReader(bytes.NewReader(size), bytes.NewReader(r.batch))},
		}}}},
	})
	if err != nil {
		return err
	}
	_, res, err := protocol.ReadResponse(rw, protocol.Produce, version)
	if err != nil {
		return err
	}
	answer, ok := res.(*produceapi.Response)
	if !ok || len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return fmt.Errorf("expected the answer for one partition, got %T with something else", res)
	}
	r.answer = answer.Topics[0].Partitions[0]
	return nil
}

// verdict is what an attempt to write a batch says about it.
type verdict int

const (
	written  verdict = iota // it is durable
	refused                 // it is not written, for a reason that may pass
	rejected                // it is not written, and never will be as it is
	unknown                 // it may or may not be written
	lost                    // the number is of no use any more; that it is written is unlikely
)

// judge turns the outcome of an attempt into a verdict.
func judge(r *produceRequest, err error) (verdict, error) {
	if err != nil {
		if r.sent {
			return unknown, err
		}
		return refused, err
	}
	code := kafka.Error(r.answer.ErrorCode)
	switch code {
	case 0, kafka.DuplicateSequenceNumber:
		return written, nil
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge, kafka.InvalidRecord, kafka.InvalidTimestamp:
		return rejected, describe(r, code)
	case kafka.RequestTimedOut, kafka.NetworkException, kafka.NotEnoughReplicasAfterAppend, kafka.KafkaStorageError, kafka.Unknown,
		// A leader that is replaced while it waits for its replicas says this of what it has appended, and they have too.
		kafka.NotLeaderForPartition:
		return unknown, code
	case kafka.NotEnoughReplicas, kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed, kafka.InvalidTopic, kafka.InvalidMessage,
		kafka.InvalidRequiredAcks, kafka.UnsupportedForMessageFormat, kafka.UnsupportedCompressionType, kafka.PolicyViolation:
		return refused, describe(r, code) // before anything was appended
	}
	// OutOfOrderSequenceNumber, UnknownProducerId, a fenced epoch, and whatever a broker may say after it has appended: the
	// number must not be used for anything else, or the broker would take that for a repeat and store nothing.
	return lost, describe(r, code)
}

func describe(r *produceRequest, code kafka.Error) error {
	if r.answer.ErrorMessage != "" {
		return fmt.Errorf("%w (%s)", code, r.answer.ErrorMessage)
	}
	return code
}

// session is an identity as a producer, under which the broker tells repeats. Kept by lanes until it is of no use.
type session struct {
	producer int64
	epoch    int16
}

// anonymous is the session where the cluster grants none.
var anonymous = &session{producer: noProducer, epoch: -1}

// session returns the current one, or asks for one.
func (s *Sink) session(ctx context.Context) (*session, error) {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if s.current != nil {
		return s.current, nil
	}
	ask, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	for wait := firstBackoff; ; wait *= 2 {
		session, err := s.identify(ask)
		if err == nil {
			s.current = session
			return session, nil
		}
		// A broker that has just started, or is out of ids, has to fetch some first. That is no refusal of a message.
		if !errors.Is(err, kafka.GroupLoadInProgress) && !errors.Is(err, kafka.GroupCoordinatorNotAvailable) || sleep(ask, wait) != nil {
			return nil, fmt.Errorf("the cluster gives no producer id: %w", err)
		}
	}
}

// identify asks for a session once.
func (s *Sink) identify(ctx context.Context) (*session, error) {
	res, err := s.conn.RoundTrip(ctx, kafkaconn.AnyBroker, &initproducerid.Request{TransactionTimeoutMs: 60000, ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return nil, err
	}
	answer, ok := res.(*initproducerid.Response)
	if !ok {
		return nil, fmt.Errorf("expected a producer id, got %T", res)
	}
	switch code := kafka.Error(answer.ErrorCode); {
	case code == 0:
		return &session{producer: answer.ProducerID, epoch: answer.ProducerEpoch}, nil
	case errors.Is(code, kafka.ClusterAuthorizationFailed):
		// Before Kafka 2.8 this takes IdempotentWrite on the cluster. Better some repeats than no alert.
		s.settings.Logger.Warn("the cluster's ACLs grant no producer id (IdempotentWrite): a batch whose answer is lost may be written twice", "sink", s.settings.Name)
		return anonymous, nil
	default:
		return nil, code
	}
}

// forget drops a session that is of no use any more.
func (s *Sink) forget(old *session) {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if s.current == old && old != anonymous {
		s.current = nil
	}
}
