package processor

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/sinks"
)

// digest is the SHA-256 of the whole record, however much of it is kept.
func (l *letter) digest() [32]byte {
	if l.over {
		return l.sha256
	}
	return sha256.Sum256(l.record)
}

// cut shortens the kept bytes to limit and says so by the digest and size of the whole.
func (l *letter) cut(limit int) letter {
	c := *l
	c.over, c.sha256 = true, l.digest()
	c.record = l.record[:min(limit, len(l.record))]
	return c
}

// encodeLetter makes the message of a dead letter in the form that its sink wants.
func (p *Processor) encodeLetter(l *letter) sinks.Message {
	d := alert.DeadLetter{
		Reason: l.bad.Reason,
		Detail: l.bad.Detail,
		Origin: alert.Origin{
			Source: l.bad.Origin.Source, Topic: l.bad.Origin.Topic, Partition: l.bad.Origin.Partition,
			Offset: l.bad.Offset, Line: l.bad.Line,
		},
		Size:   l.bad.Size,
		Record: l.record,
	}
	if l.over {
		d.SHA256 = hex.EncodeToString(l.sha256[:])
	}
	m := sinks.Message{ID: l.id(), Labels: sinks.Labels{Cluster: l.cluster}}
	switch p.cfg.DeadLetter.Form {
	case DeadLetterHeaders:
		m.Value = l.record
		for _, h := range d.Headers() {
			m.Headers = append(m.Headers, sinks.Header{Key: h.Key, Value: h.Value})
		}
	default:
		m.Value = alert.AppendDeadLetter(nil, &d)
		m.Headers = []sinks.Header{{Key: "content-type", Value: "application/json"}}
	}
	return m
}

// id is the same whenever the same record is dead-lettered for the same reason, and another for every other record: in
// many transports places repeat, such as the index in a chunk, and a stream keeps one message of each id.
func (l *letter) id() string {
	h := sha256.New()
	for _, s := range []string{l.bad.Origin.Source, l.bad.Origin.Topic, l.bad.Reason, l.bad.Detail} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	for _, n := range []int64{int64(l.bad.Origin.Partition), l.bad.Offset, l.bad.Line, int64(l.bad.Index), l.bad.Size} {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	digest := l.digest()
	h.Write(digest[:])
	return "dl-" + hex.EncodeToString(h.Sum(nil)[:16])
}
