package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
	fetchapi "github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
)

const (
	// minFetchVersion is the first with record batches of format 2 and isolation levels (Kafka 0.11).
	minFetchVersion = 4
	// maxResponse bounds what an answer may claim to be, in bytes: a fetch may be exceeded by one batch.
	maxResponse = MaxBatch + (64 << 20)
	// readCommitted is the isolation level that leaves out open transactions and names the aborted ones.
	readCommitted = 1
)

// fetchRequest is one fetch from one broker, for all its partitions. The records of each partition are read into a
// buffer of its own, so that one partition's records never keep another's in memory.
type fetchRequest struct {
	wire  fetchapi.Request
	parts []fetchPart
	pool  *pool
	// took is called for each part as soon as it is read, while the rest is still to come, so that it is decoded before
	// the processor's caches have forgotten it. What it leaves in the part is freed.
	took func(*fetchPart)
}

// fetchPart is what was asked of one partition, and what came.
type fetchPart struct {
	p      *partition
	offset int64
	max    int32
	answer fetchAnswer
}

type fetchAnswer struct {
	came      bool
	code      int16
	highWater int64
	logStart  int64
	aborted   []aborted
	records   *buffer
	size      int
	verified  int // bytes of records whose batches have the right checksum
}

// free releases what was read.
func (f *fetchRequest) free() {
	for i := range f.parts {
		if b := f.parts[i].answer.records; b != nil {
			f.parts[i].answer.records = nil
			b.release()
		}
	}
}

// API implements [kafkaconn.Exchanger].
func (f *fetchRequest) API() protocol.ApiKey { return protocol.Fetch }

// Exchange implements [kafkaconn.Exchanger].
func (f *fetchRequest) Exchange(version int16, rw io.ReadWriter) error {
	if version < minFetchVersion {
		return fmt.Errorf("expected a broker with fetch version %d or later (Kafka 0.11), got version %d", minFetchVersion, version)
	}
	const correlation = 1
	if err := protocol.WriteRequest(rw, version, correlation, kafkaconn.ClientID, &f.wire); err != nil {
		return err
	}
	r := answerReader{r: rw, left: 4}
	size := r.int32()
	if r.err != nil {
		return r.err
	}
	if size < 4 || int64(size) > maxResponse {
		return fmt.Errorf("expected an answer of at most %d bytes, got one of %d", maxResponse, size)
	}
	r.left = int(size)
	if got := r.int32(); r.err == nil && got != correlation {
		return fmt.Errorf("expected the answer to request %d, got that to %d", correlation, got)
	}
	r.int32() // throttle time: the broker itself waits before it answers
	if version >= 7 {
		if code := r.int16(); r.err == nil && code != 0 {
			return kafkaconn.Code(code)
		}
		r.int32() // session
	}
	for range r.count() {
		topic := r.string()
		for range r.count() {
			f.part(&r, version, topic)
		}
	}
	if r.err == nil && r.left > 0 {
		r.discard(r.left)
	}
	return r.err
}

func (f *fetchRequest) part(r *answerReader, version int16, topic string) {
	id := r.int32()
	var a fetchAnswer
	a.came = true
	a.code = r.int16()
	a.highWater = r.int64()
	r.int64() // last stable offset
	if version >= 5 {
		a.logStart = r.int64()
	}
	if n := r.count(); n > 0 {
		a.aborted = make([]aborted, 0, min(n, 1024))
		for range n {
			a.aborted = append(a.aborted, aborted{producer: r.int64(), first: r.int64()})
			if r.err != nil {
				return
			}
		}
	}
	if version >= 11 {
		r.int32() // preferred replica
	}
	size := int(r.int32())
	if size < 0 {
		size = 0 // null
	}
	if r.err != nil {
		return
	}
	if size > r.left {
		r.err = fmt.Errorf("expected at most %d bytes of records, got %d", r.left, size)
		return
	}
	var part *fetchPart
	for i := range f.parts {
		if p := &f.parts[i]; p.p.id == id && p.p.topic == topic && !p.answer.came {
			part = p
			break
		}
	}
	if part == nil {
		r.discard(size)
		return
	}
	if size > 0 {
		a.records, a.size = f.pool.take(size, part.p.ledger), size
		a.verified = r.records(a.records.data[:size])
	}
	part.answer = a // also after an error, so that the buffer is freed
	if r.err == nil {
		f.took(part)
	}
}

// answerReader reads the primitive types of the protocol and never past the end of its answer.
type answerReader struct {
	r       io.Reader
	left    int
	err     error
	scratch [8]byte
	names   [256]byte
}

func (r *answerReader) full(b []byte) {
	if r.err != nil {
		return
	}
	if len(b) > r.left {
		r.err = io.ErrUnexpectedEOF
		return
	}
	n, err := io.ReadFull(r.r, b)
	r.left -= n
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	r.err = err
}

// readPiece is how much of the records is read at a time, 128 KiB: little enough to be in the cache still when it has been
// copied there and its checksum is made.
const readPiece = 128 << 10

// records fills b with record batches, and returns how many bytes of it are verified.
func (r *answerReader) records(b []byte) (verified int) {
	if r.err == nil && len(b) > r.left {
		r.err = io.ErrUnexpectedEOF
	}
	var sums checksums
	for n := 0; n < len(b) && r.err == nil; {
		m, err := r.r.Read(b[n:min(len(b), n+readPiece)])
		n += m
		r.left -= m
		sums.advance(b[:n])
		if n < len(b) && err != nil {
			r.err = err
			if errors.Is(err, io.EOF) {
				r.err = io.ErrUnexpectedEOF
			}
		}
	}
	return sums.verified
}

func (r *answerReader) fixed(n int) []byte {
	b := r.scratch[:n]
	r.full(b)
	if r.err != nil {
		clear(b)
	}
	return b
}

func (r *answerReader) int16() int16 { return int16(binary.BigEndian.Uint16(r.fixed(2))) }
func (r *answerReader) int32() int32 { return int32(binary.BigEndian.Uint32(r.fixed(4))) }
func (r *answerReader) int64() int64 { return int64(binary.BigEndian.Uint64(r.fixed(8))) }

// count reads the length of an array; null is empty. An array cannot have more items than bytes are left.
func (r *answerReader) count() int {
	n := int(r.int32())
	if r.err != nil || n <= 0 {
		return 0
	}
	if n > r.left {
		r.err = fmt.Errorf("expected an array in the %d bytes that are left, got one of %d items", r.left, n)
		return 0
	}
	return n
}

// string reads a topic's name, which Kafka limits to 249 bytes.
func (r *answerReader) string() string {
	n := int(r.int16())
	if r.err != nil || n < 0 {
		return ""
	}
	if n > len(r.names) {
		r.err = fmt.Errorf("expected a topic name of at most %d bytes, got %d", len(r.names), n)
		return ""
	}
	r.full(r.names[:n])
	if r.err != nil {
		return ""
	}
	return string(r.names[:n])
}

func (r *answerReader) discard(n int) {
	if r.err != nil {
		return
	}
	m, err := io.CopyN(io.Discard, r.r, int64(n))
	r.left -= int(m)
	r.err = err
}
