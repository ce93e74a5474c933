package processor

import (
	"bytes"
	"testing"

	"github.com/spawnwatch/spawnwatch/sources"
)

// TestLetterIDs: a stream keeps one message of each id, so different records never share one, and the same record has the
// same one each time, however much of it is kept.
func TestLetterIDs(t *testing.T) {
	at := func(record string) *letter {
		return &letter{
			bad:    BadRecord{Origin: sources.Origin{Source: "audit", Topic: "tag", Partition: -1}, Reason: "foreign", Index: -1, Size: int64(len(record))},
			record: []byte(record),
		}
	}
	a, b := at(`{"log":"GET /a 200"}`), at(`{"log":"GET /b 500"}`)
	if a.id() == b.id() {
		t.Error("two records that came at the same index of two chunks share an id")
	}
	if a.id() != at(string(a.record)).id() {
		t.Error("a record has another id the next time")
	}
	large := at(string(bytes.Repeat([]byte("x"), 100_000)))
	short := large.cut(1000)
	none := short.cut(0)
	if large.id() != short.id() || short.id() != none.id() {
		t.Errorf("cut, a record has other ids: %s %s %s", large.id(), short.id(), none.id())
	}
}
