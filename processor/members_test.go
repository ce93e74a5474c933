package processor

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/processor/envelope"
	"github.com/spawnwatch/spawnwatch/rules"
)

// TestMembers: validating with a look at the members finds the faults that validating alone finds, and an event read by
// its members says what it says when it is read from the start.
func TestMembers(t *testing.T) {
	m := testModel(t)
	events := realLog(t)[:1500]
	events = append(events,
		[]byte(`{"kind":"Event","\u0076erb":"create" , "verb":"get","auditID":"1","objectRef":{"resource":"pods"},"responseStatus":{"code":201}}`),
		[]byte(` {"verb":"create"}`), []byte(`{}`), []byte(`[]`), []byte(``), []byte(`{"a":1}x`), []byte(`{"a"}`), []byte(`{"a":}`))
	for _, whole := range events {
		for _, event := range [][]byte{whole, whole[:len(whole)/2], bytes.Replace(whole, []byte(":"), []byte(" :\t"), 3)} {
			var members checkedMembers
			if start := bytes.Index(event, []byte(`"requestObject":`)); start > 0 {
				start += len(`"requestObject":`)
				if end := envelope.CheckValue(event, start); end > 0 {
					members.sound = []rules.Span{{Start: start, End: end}}
				}
			}
			with, without := envelope.CheckMembers(event, &members), envelope.Check(event)
			if (with == nil) != (without == nil) || with != nil && with.Detail != without.Detail {
				t.Fatalf("faults %v and %v: %.200s", with, without, event)
			}
			if with != nil || !json.Valid(event) {
				continue
			}
			var one, two audit.View
			err1, err2 := m.Read(event, &one), m.ReadMembers(event, &members.Members, &two)
			if event[0] != '{' {
				continue // the frame is the envelope's business
			}
			if (err1 == nil) != (err2 == nil) {
				t.Fatalf("%v and %v: %.200s", err1, err2, event)
			}
			a, b := reflect.ValueOf(one), reflect.ValueOf(two)
			for i := range a.NumField() {
				if f := a.Type().Field(i); f.IsExported() && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
					t.Fatalf("%s: %v and %v: %.200s", f.Name, a.Field(i), b.Field(i), event)
				}
			}
		}
	}
}
