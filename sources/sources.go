// Package sources holds the port through which audit records enter: a [Source] reads a transport and hands
// batches of raw records to a [Handler], whose return is the acknowledgement.
//
// The adapters live in the folders below, one per transport. They know this package and nothing else of ours.
package sources

import (
	"context"
	"crypto/sha256"
	"time"
)

// Header is one header of a transport message. Key and Value are lent like the [Record] they belong to.
type Header struct {
	Key, Value []byte
}

// Record is one message as the transport delivered it: one Kafka or NATS message, one entry of a forward chunk,
// one webhook body, one line of a file.
//
// All its bytes are lent: they are read-only and valid until the [Handler] they were given to returns. Who needs
// them longer copies them.
type Record struct {
	// Value is JSON text. An empty Value is nothing (a tombstone, a blank line).
	Value []byte
	// Key is the message key, nil where the transport has none.
	Key []byte
	// Headers are the message headers, nil where the transport has none.
	Headers []Header
	// Offset is the position inside the [Origin]: Kafka's offset, JetStream's stream sequence, the byte offset of
	// a line in its (decompressed) file, the index inside a forward chunk or a request.
	Offset int64
	// Line is the 1-based line number in a file, 0 for every other transport.
	Line int64
	// Time is the transport's own time stamp, zero where it has none.
	Time time.Time
	// Oversized is set when the message was larger than the source's limit. Value then holds its first
	// [OversizedKeep] bytes only, and the record can but be dead-lettered.
	Oversized *Oversized
}

// OversizedKeep is how many bytes of an oversized message are kept, 64 KiB.
const OversizedKeep = 64 << 10

// DefaultMaxRecord is the largest message, in bytes, that a source passes on whole unless configured otherwise: 16 MiB.
const DefaultMaxRecord = 16 << 20

// Oversized says what a message was before it was cut.
type Oversized struct {
	// Size is the whole length in bytes.
	Size int64
	// SHA256 is the digest of the whole message.
	SHA256 [sha256.Size]byte
}

// Origin names where records came from.
type Origin struct {
	// Source is the configured name of the source.
	Source string
	// Topic is the Kafka topic, the NATS subject, the forward tag, the request path or the file path.
	Topic string
	// Partition is Kafka's partition, -1 where there is none.
	Partition int32
	// Cluster is the Kubernetes cluster, "" where the source does not know it.
	Cluster string
}

// Batch is what one call of a [Handler] works on: records of one partition, subject, connection or request, or the
// lines of one block of a file, in order. A batch of about 256 KiB is best: a source with more in hand makes several
// calls at once.
type Batch struct {
	Origin  Origin
	Records []Record
	// Skimmed are records that were left out of Records because a [Skim] rejected them. They are counted, nothing more.
	Skimmed Skimmed
	// After, where not nil, is closed when everything before this batch has been published: the handler computes
	// at once, but waits for it before it publishes. A source sets it when the order of the alerts must be that
	// of its input (files). The handler must not hold a worker while it waits.
	After <-chan struct{}
}

// Skim spares a source the work of making JSON text out of records that are of no interest. The source asks it with the
// head of a record: JSON text of an object with some of the record's own members, each whole, in the record's order. The
// zero Skim rejects nothing.
type Skim struct {
	// Members are the top-level members that a head holds, as far as the record has them. The record must begin with the
	// first Lead of them, otherwise it is not asked about.
	Members []string
	Lead    int
	// Rejects says that the handler would find the record to be of no interest, whatever else it holds. The head is lent.
	// It is safe for concurrent calls.
	Rejects func(head []byte) bool
}

// Skimmed counts records that a [Skim] rejected.
type Skimmed struct {
	Records int
	// Bytes is their length as the transport delivered them.
	Bytes int
}

// Handler processes one batch. Its return is the acknowledgement: nil means that every record is published,
// dead-lettered or of no interest, so the source may acknowledge it; an error means that the source must not.
// It returns an error only when ctx ended first: until then, whatever fails is tried again. A Handler is safe for
// concurrent calls, keeps nothing of the batch, and never changes it.
type Handler func(ctx context.Context, b *Batch) error

// Source reads a transport.
type Source interface {
	// Run reads until ctx ends (it then returns nil) or until it cannot go on (it then says why). It returns only
	// after every Handler call it made has returned and every acknowledgement owed was sent.
	//
	// Handler calls get a context of their own: when ctx ends the source stops reading, but calls in hand may
	// finish until the drain limit has passed. A partition that is revoked ends only its own calls.
	Run(ctx context.Context, h Handler) error
}
