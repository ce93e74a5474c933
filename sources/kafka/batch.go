package kafka

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// A record batch of format 2 (Kafka protocol guide, "Record Batch"); Kafka has written nothing else since 0.11.
const (
	batchHeader  = 61 // up to the first record
	batchFrame   = 12 // base offset and length, which the length does not count
	batchCRCAt   = 17
	batchCRCFrom = 21 // what the checksum covers begins with the attributes
	batchMagic   = 2

	attrCodec       = 0b111
	attrAppendTime  = 1 << 3
	attrTransaction = 1 << 4
	attrControl     = 1 << 5

	// maxOffsets bounds the offsets that a batch may span: what Kafka's own cleaner can make of one.
	maxOffsets = 1 << 31
)

// batch is the header of one record batch, and its records as they are stored.
type batch struct {
	base       int64
	next       int64 // offset after the last one
	attributes uint16
	firstTime  int64 // ms
	maxTime    int64 // ms
	producer   int64
	count      int32
	records    []byte
}

func (b *batch) codec() int { return int(b.attributes & attrCodec) }

// frameSize returns how long the batch at the beginning of data is as a whole, or 0 where data ends before that is
// known. A fetch may end in the middle of a batch.
func frameSize(data []byte) int {
	if len(data) < batchFrame {
		return 0
	}
	return batchFrame + int(binary.BigEndian.Uint32(data[8:]))
}

// nextOffset reads where the batch at the beginning of data ends, without checking it. The data must hold all of it.
func nextOffset(data []byte) (int64, bool) {
	if len(data) < batchHeader || data[16] != batchMagic {
		return 0, false
	}
	base, delta := int64(binary.BigEndian.Uint64(data)), int64(binary.BigEndian.Uint32(data[23:]))
	return base + delta + 1, base >= 0 && delta < maxOffsets && base+delta+1 > base
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errCRC     = errors.New("the checksum of the batch is wrong")
)

// parseBatch reads the header of the one batch that data holds, and checks its checksum unless that is verified.
func parseBatch(data []byte, verified bool) (batch, error) {
	var b batch
	if len(data) < batchHeader {
		return b, fmt.Errorf("expected a batch of at least %d bytes, got %d", batchHeader, len(data))
	}
	if magic := data[16]; magic != batchMagic {
		return b, fmt.Errorf("expected a batch of format %d, got format %d, which Kafka before 0.11 wrote", batchMagic, magic)
	}
	if !verified && crc32.Checksum(data[batchCRCFrom:], castagnoli) != binary.BigEndian.Uint32(data[batchCRCAt:]) {
		return b, errCRC
	}
	next, ok := nextOffset(data)
	if !ok {
		return b, errors.New("the offsets of the batch make no sense")
	}
	return batch{
		base:       int64(binary.BigEndian.Uint64(data)),
		next:       next,
		attributes: binary.BigEndian.Uint16(data[21:]),
		firstTime:  int64(binary.BigEndian.Uint64(data[27:])),
		maxTime:    int64(binary.BigEndian.Uint64(data[35:])),
		producer:   int64(binary.BigEndian.Uint64(data[43:])),
		count:      int32(binary.BigEndian.Uint32(data[57:])),
		records:    data[batchHeader:],
	}, nil
}

// aborted is a transaction that was given up: the records of producer from first on, up to its next control batch.
type aborted struct {
	producer, first int64
}

// transactions drops what was never committed (KIP-98): a fetch tells which transactions in its range were aborted,
// the control batch of a producer tells where each ended.
type transactions struct {
	pending []aborted // by first offset
	active  []int64   // producers in the middle of an aborted transaction
}

// newTransactions takes the list of a fetch, in any order.
func newTransactions(list []aborted) transactions {
	slices.SortFunc(list, func(a, b aborted) int { return cmp.Compare(a.first, b.first) })
	return transactions{pending: list}
}

// drop says whether the records of b are to be ignored. Batches must be given in order.
func (t *transactions) drop(b *batch) bool {
	for len(t.pending) > 0 && t.pending[0].first < b.next {
		t.active = append(t.active, t.pending[0].producer)
		t.pending = t.pending[1:]
	}
	if b.attributes&attrControl != 0 {
		// Of the control batches only an abort can be of a producer in active: its transaction ends here.
		for i, p := range t.active {
			if p == b.producer {
				t.active = append(t.active[:i], t.active[i+1:]...)
				break
			}
		}
		return true
	}
	if b.attributes&attrTransaction == 0 {
		return false
	}
	for _, p := range t.active {
		if p == b.producer {
			return true
		}
	}
	return false
}
