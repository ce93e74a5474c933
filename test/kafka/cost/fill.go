package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
)

// fill makes a topic of audit events, unless it is there. It returns how many records it holds and their length.
func fill(topic, codec string) (records, length int64, err error) {
	events, err := load(*log)
	if err != nil {
		return 0, 0, err
	}
	perRound := int64(0)
	for _, e := range events {
		perRound += int64(len(e))
	}
	n := int(*size*1e6/perRound) + 1
	records, length = int64(n*len(events)), int64(n)*perRound

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(brokers()...), Timeout: time.Minute}
	created, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: partitions, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "-1"}, {ConfigName: "max.message.bytes", ConfigValue: "8388608"}},
	}}})
	if err != nil {
		return 0, 0, err
	}
	if errors.Is(created.Errors[topic], kafka.TopicAlreadyExists) {
		ends, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ends()}})
		if err != nil {
			return 0, 0, err
		}
		have := int64(0)
		for _, p := range ends.Topics[topic] {
			have += p.LastOffset
		}
		if have != records {
			return 0, 0, fmt.Errorf("the topic holds %d records, want %d: delete it", have, records)
		}
		return records, length, nil
	}
	codecs := map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}
	if _, ok := codecs[codec]; !ok && codec != "none" {
		return 0, 0, fmt.Errorf("expected a compression, got %q", codec)
	}
	var batch []kafka.Record
	var values [][]byte
	next := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		var err error
		for wait := 50 * time.Millisecond; wait < 4*time.Second; wait *= 2 { // the leaders of a new topic settle
			for i, e := range values {
				batch[i].Value = kafka.NewBytes(e)
			}
			var res *kafka.ProduceResponse
			res, err = client.Produce(ctx, &kafka.ProduceRequest{
				Topic: topic, Partition: next % partitions, RequiredAcks: kafka.RequireAll, Compression: codecs[codec], Records: kafka.NewRecordReader(batch...),
			})
			if err == nil {
				err = res.Error
			}
			if err == nil {
				break
			}
			time.Sleep(wait)
		}
		values = values[:0]
		batch, next = batch[:0], next+1
		return err
	}
	for range n {
		for _, e := range events {
			values = append(values, e)
			if batch = append(batch, kafka.Record{}); len(batch) >= *perBatch {
				if err := flush(); err != nil {
					return 0, 0, err
				}
			}
		}
	}
	return records, length, flush()
}

func ends() (rs []kafka.OffsetRequest) {
	for i := range partitions {
		rs = append(rs, kafka.LastOffsetOf(i))
	}
	return rs
}

func load(path string) (events [][]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		events = append(events, bytes.Clone(lines.Bytes()))
	}
	return events, lines.Err()
}
