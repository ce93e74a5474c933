package kafka

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/spawnwatch/spawnwatch/sinks"
)

// IDHeader is the record header that carries the id of a message, by which a consumer can tell repeats.
const IDHeader = "spawnwatch-id"

const (
	batchHeader  = 61 // bytes of a record batch up to the first record
	crcFrom      = 21 // what the checksum covers begins here
	noProducer   = -1
	recordSlack  = 64 // more than the framing of a record and its id header's takes
	headerSlack  = 20 // more than the framing of a header takes
	recordFormat = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sequence is where a batch stands among those of its producer for one partition. A broker stores it once, however often
// it comes (KIP-98).
type sequence struct {
	producer int64
	epoch    int16
	first    int32
}

// after is the number that follows first by n: they wrap after the largest int32.
func (s sequence) after(n int) int32 { return int32((int64(s.first) + int64(n)) & 0x7fffffff) }

// encoder makes record batches (Kafka protocol guide, "Record Batch"). Its memory is used again for the next one.
type encoder struct {
	codec   int8
	records []byte
	body    []byte
	packed  bytes.Buffer
	out     []byte
}

// encode makes one batch out of items. The result is valid until the next call.
func (e *encoder) encode(items []*item, seq sequence, now time.Time) ([]byte, error) {
	e.records = e.records[:0]
	for i, it := range items {
		e.body = appendRecord(e.body[:0], int64(i), it.key, it.msg)
		e.records = binary.AppendVarint(e.records, int64(len(e.body)))
		e.records = append(e.records, e.body...)
	}
	payload := e.records
	if e.codec != 0 {
		e.packed.Reset()
		w := kafka.Compression(e.codec).Codec().NewWriter(&e.packed)
		if _, err := w.Write(e.records); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		payload = e.packed.Bytes()
	}
	ms := uint64(now.UnixMilli())
	b := binary.BigEndian.AppendUint64(e.out[:0], 0) // base offset: the broker's
	b = binary.BigEndian.AppendUint32(b, uint32(batchHeader-12+len(payload)))
	b = binary.BigEndian.AppendUint32(b, 0xffffffff) // leader epoch: the broker's
	b = append(b, recordFormat)
	b = binary.BigEndian.AppendUint32(b, 0) // checksum, below
	b = binary.BigEndian.AppendUint16(b, uint16(e.codec))
	b = binary.BigEndian.AppendUint32(b, uint32(len(items)-1))
	b = binary.BigEndian.AppendUint64(b, ms)
	b = binary.BigEndian.AppendUint64(b, ms)
	b = binary.BigEndian.AppendUint64(b, uint64(seq.producer))
	b = binary.BigEndian.AppendUint16(b, uint16(seq.epoch))
	first := seq.first
	if seq.producer == noProducer {
		first = -1
	}
	b = binary.BigEndian.AppendUint32(b, uint32(first))
	b = binary.BigEndian.AppendUint32(b, uint32(len(items)))
	b = append(b, payload...)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[crcFrom:], castagnoli))
	e.out = b
	return b, nil
}

func appendRecord(b []byte, delta int64, key []byte, m *sinks.Message) []byte {
	b = append(b, 0)              // attributes, unused
	b = binary.AppendVarint(b, 0) // time: the batch's
	b = binary.AppendVarint(b, delta)
	b = appendBytes(b, key)
	b = appendBytes(b, m.Value)
	n := len(m.Headers)
	if m.ID != "" {
		n++
	}
	b = binary.AppendVarint(b, int64(n))
	for i := range m.Headers {
		b = appendString(b, m.Headers[i].Key)
		b = appendString(b, m.Headers[i].Value)
	}
	if m.ID != "" {
		b = appendString(b, IDHeader)
		b = appendString(b, m.ID)
	}
	return b
}

func appendBytes(b, v []byte) []byte {
	b = binary.AppendVarint(b, int64(len(v)))
	return append(b, v...)
}

func appendString(b []byte, v string) []byte {
	b = binary.AppendVarint(b, int64(len(v)))
	return append(b, v...)
}

// sizeOf is at least what a message takes in a batch before compression.
func sizeOf(key []byte, m *sinks.Message) int {
	n := recordSlack + len(IDHeader) + len(m.ID) + len(key) + len(m.Value)
	for i := range m.Headers {
		n += headerSlack + len(m.Headers[i].Key) + len(m.Headers[i].Value)
	}
	return n
}

// murmur2 is the hash by which Kafka's own clients choose the partition of a key (MurmurHash2, 32 bit, with their seed), so that a
// key goes where another producer would put it.
func murmur2(data []byte) uint32 {
	const m, seed = 0x5bd1e995, 0x9747b28c
	h := uint32(seed) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := binary.LittleEndian.Uint32(data) * m
		k = (k ^ k>>24) * m
		h = h*m ^ k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(data[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

func partitionOf(key []byte, partitions int) int32 {
	return int32(murmur2(key)&0x7fffffff) % int32(partitions)
}
