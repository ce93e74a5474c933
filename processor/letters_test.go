package processor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/spawnwatch/spawnwatch/sinks"
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

// TestRefusedLettersOfOneID: what a sink refuses is the letter at its place, also when another has the same id and when
// the places moved from one try to the next.
func TestRefusedLettersOfOneID(t *testing.T) {
	p, _, dead := newTest(t, func(c *Config) { c.RetryMin, c.RetryMax = 1, 1 })
	record := bytes.Repeat([]byte("x"), sources.OversizedKeep+1)
	out := &outbox{}
	for _, cluster := range []string{"stored", "refused", "late"} {
		out.letters = append(out.letters, letter{
			bad: BadRecord{Reason: "foreign", Index: -1, Size: int64(len(record))}, record: record, cluster: cluster,
		})
	}
	var got []string
	dead.fail = func(call int, msgs []sinks.Message) error {
		switch call {
		case 1: // the second and the third once more
			got = append(got, msgs[0].Labels.Cluster)
			return &sinks.PublishError{Failures: []sinks.Failure{{Index: 1, Err: errors.New("busy")}, {Index: 2, Err: errors.New("busy")}}}
		case 2: // the second is the first now
			got = append(got, msgs[1].Labels.Cluster)
			return &sinks.PublishError{Failures: []sinks.Failure{{Index: 0, Err: errors.New("too large"), Permanent: true}}}
		}
		got = append(got, fmt.Sprintf("%s of %d", msgs[0].Labels.Cluster, len(msgs)))
		return nil
	}
	if err := p.publishLetters(context.Background(), out); err != nil {
		t.Fatal(err)
	}
	if want := []string{"stored", "late", "refused of 1"}; !slices.Equal(got, want) {
		t.Errorf("stored %q, want %q: the refused one cut, and no other again", got, want)
	}
}
