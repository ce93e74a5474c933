package kafka

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

var errRecord = errors.New("a record of the batch makes no sense")

// recordReader walks over the records of a batch, decompressed (Kafka protocol guide, "Record").
type recordReader struct {
	rest       []byte
	base       int64
	firstTime  int64
	appendTime int64 // -1: each record has its own time
	left       int32
}

func newRecordReader(b *batch, records []byte) recordReader {
	r := recordReader{rest: records, base: b.base, firstTime: b.firstTime, appendTime: -1, left: b.count}
	if b.attributes&attrAppendTime != 0 {
		r.appendTime = b.maxTime
	}
	return r
}

// next reads one record into rec; the bytes it points at are those of the batch. Headers are appended to headers, and
// rec.Headers is the part of it that was. ok is false at the end.
func (r *recordReader) next(rec *sources.Record, headers []sources.Header) (all []sources.Header, ok bool, err error) {
	if r.left <= 0 {
		return headers, false, nil
	}
	r.left--
	size, n := binary.Varint(r.rest)
	if n <= 0 || size < 0 || size > int64(len(r.rest)-n) {
		return headers, false, errRecord
	}
	body := r.rest[n : n+int(size)]
	r.rest = r.rest[n+int(size):]

	d := fields{rest: body}
	d.skip(1) // attributes, unused
	timeDelta := d.varint()
	offsetDelta := d.varint()
	rec.Key = d.bytes()
	rec.Value = d.bytes()
	count := d.varint()
	// A header takes at least two bytes.
	if d.bad || count < 0 || count > int64(len(d.rest)) || offsetDelta < 0 || offsetDelta >= maxOffsets {
		return headers, false, errRecord
	}
	rec.Headers = nil
	if count > 0 {
		from := len(headers)
		for range count {
			headers = append(headers, sources.Header{Key: d.bytes(), Value: d.bytes()})
		}
		if d.bad {
			return headers, false, errRecord
		}
		rec.Headers = headers[from:len(headers):len(headers)]
	}
	rec.Offset = r.base + offsetDelta
	rec.Line = 0
	rec.Oversized = nil
	ms := r.appendTime
	if ms < 0 {
		ms = r.firstTime + timeDelta
	}
	rec.Time = time.Time{}
	if ms >= 0 {
		rec.Time = time.UnixMilli(ms)
	}
	return headers, true, nil
}

// fields reads the parts of a record. After the first that is not there it reads nothing but zeros.
type fields struct {
	rest []byte
	bad  bool
}

func (d *fields) skip(n int) {
	if len(d.rest) < n {
		d.bad = true
		return
	}
	d.rest = d.rest[n:]
}

func (d *fields) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// bytes reads a length and as many bytes; a length of -1 stands for nil.
func (d *fields) bytes() []byte {
	n := d.varint()
	if n == -1 {
		return nil
	}
	if d.bad || n < 0 || n > int64(len(d.rest)) {
		d.bad = true
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

// cut shortens a value that is larger than the limit.
func cut(rec *sources.Record, limit int) {
	if len(rec.Value) <= limit {
		return
	}
	rec.Oversized = &sources.Oversized{Size: int64(len(rec.Value)), SHA256: sha256.Sum256(rec.Value)}
	rec.Value = rec.Value[:min(len(rec.Value), sources.OversizedKeep)]
}
