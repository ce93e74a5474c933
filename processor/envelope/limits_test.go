package envelope

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestInflationIsBounded: the limit holds for all parts of a record together, and memory with it.
func TestInflationIsBounded(t *testing.T) {
	var bomb bytes.Buffer
	w, err := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 48 { // below the limit alone, above it twice
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	part := `{"data":"` + b64(bomb.String()) + `"}`
	record := []byte(`{"records":[` + part + `,` + part + `,` + part + `]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	rec := readAll(record)
	runtime.ReadMemStats(&after)
	if len(rec.faults) != 3 || rec.faults[0].Reason != Malformed || rec.faults[1].Reason != TooLarge || rec.faults[2].Reason != TooLarge {
		t.Fatalf("faults %v", rec.faults)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 12*MaxInflated {
		t.Errorf("%d MiB were allocated in all", got>>20)
	}
	many := bytes.Repeat([]byte(zip("")), 100_000) // empty members cost time, no memory
	if rec := readAll(many); len(rec.faults) != 1 {
		t.Errorf("empty members: %+v", rec)
	}
}

func TestListsAreBounded(t *testing.T) {
	ones := strings.Repeat("{},", MaxItems) + "{}"
	for _, record := range []string{
		"[" + ones + "]", `{"kind":"EventList","items":[` + ones + `]}`, `{"messageType":"DATA_MESSAGE","logEvents":[` + ones + `]}`,
		`{"records":[` + ones + `]}`,
	} {
		var rd Reader
		var rec recorder
		rd.Read([]byte(record), &rec)
		if len(rec.events) > 0 || len(rec.faults) != 1 || rec.faults[0].Reason != TooLarge || rec.faults[0].Index != -1 {
			t.Errorf("%.60s: %d events, %d faults; want one, too_large", record, len(rec.events), len(rec.faults))
		}
		if len(rd.spans)+len(rd.lines) > 0 {
			t.Errorf("%.60s: elements are held after the Read", record)
		}
	}
	// Lists in lists count together: one small record must not become a million dead letters.
	inner := `{"kind":"EventList","items":[` + strings.Repeat("0,", 999) + "0]}"
	if rec := readAll([]byte("[" + strings.Repeat(inner+",", 1999) + inner + "]")); len(rec.faults) > MaxItems+2000 {
		t.Errorf("2,000 lists of 1,000: %d faults, want about %d", len(rec.faults), MaxItems)
	}
	full := "[" + ones[3:] + "]"
	if rec := readAll([]byte(full)); len(rec.faults) != MaxItems {
		t.Errorf("%d elements: %d faults; want each its own", MaxItems, len(rec.faults))
	}
}

// lender checks loans: it keeps what a Visitor was given, with copies, and compares when the Read is over.
type lender struct {
	recorder
	given, copies [][]byte
	t             testing.TB
}

func (l *lender) Event(i Item) {
	if len(i.Event) < 2 || i.Event[0] != '{' || i.Event[len(i.Event)-1] != '}' || len(i.Raw) == 0 || i.Index < -1 {
		l.t.Fatalf("a bad item: index %d, event %.60q, raw %.60q", i.Index, i.Event, i.Raw)
	}
	l.lend(i.Event)
	l.lend(i.Raw)
	l.recorder.Event(i)
}

func (l *lender) Fault(f Fault) {
	if f.Reason == "" || f.Detail == "" || f.Index < -1 || len(f.Raw) == 0 {
		l.t.Fatalf("a bad fault: %+v", f)
	}
	l.lend(f.Raw)
	l.recorder.Fault(f)
}

func (l *lender) lend(b []byte) {
	l.given, l.copies = append(l.given, b), append(l.copies, bytes.Clone(b))
}

func (l *lender) settle() {
	for i := range l.given {
		if !bytes.Equal(l.given[i], l.copies[i]) {
			l.t.Fatalf("loan %d was overwritten before the Read was over: %.80q became %.80q", i, l.copies[i], l.given[i])
		}
	}
}

func seeds() []string {
	return []string{
		event, quote(event), `[` + event + `]`, `{"log":` + quote(event) + `}`, `{"kind":"EventList","items":[` + event + `,null]}`,
		subscription(eksGroup, eksStream, event, event[:150]+"[Truncated...]", "x"), zip(event),
		`{"records":[{"category":"kube-audit","properties":{"log":` + quote(event) + `}},{"data":"` + b64(zip(event)) + `"}]}`,
		`{"protoPayload":{"methodName":"io.k8s.core.v1.pods.create","resourceName":"core/v1/namespaces/a/pods/b","status":{"code":7}},"labels":{}}`,
		`{"schema":{},"payload":` + event + `}`, "2026-11-23T01:02:09.000000000Z stdout F " + event, `{"message":{"data":"e30=","messageId":"1"}}`,
		`{"kubernetes":{"audit":` + event + `}}`, `{"event":{"original":` + quote(event) + `}}`, "\ufeff{}", `{"awslogs":{"data":""}}`,
		zip(event + event + "\n[" + event + `] "{}" {`), `{"log":{"offset":7},"message":{"records":[` + event + `]}}`,
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	other := []byte(`{"log":` + quote(event) + `}`)
	f.Fuzz(func(t *testing.T, record []byte) {
		before := bytes.Clone(record)
		var rd Reader
		l := lender{t: t}
		rd.Read(record, &l)
		l.settle()
		if !bytes.Equal(before, record) {
			t.Fatalf("%q was changed", before)
		}
		// A Reader keeps nothing from one record to the next.
		var again recorder
		rd.Read(other, &again)
		if len(again.events) != 1 || string(again.events[0].Event) != event {
			t.Fatalf("after %q the next record was misread: %+v", record, again)
		}
		again = recorder{}
		rd.Read(record, &again)
		if fmt.Sprint(again.events, again.faults, again.ignored) != fmt.Sprint(l.events, l.faults, l.ignored) {
			t.Fatalf("%q is read differently the second time", record)
		}
	})
}

func TestLoans(t *testing.T) {
	var rd Reader
	for range 3 {
		for _, s := range seeds() {
			l := lender{t: t}
			rd.Read([]byte(s), &l)
			l.settle()
		}
	}
}

// counter is a Visitor that allocates nothing.
type counter struct{ events, bytes int }

func (c *counter) Event(i Item) { c.events++; c.bytes += len(i.Event) }
func (c *counter) Fault(Fault)  { panic("a fault") }
func (c *counter) Ignored(string) {
	panic("ignored")
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	for name, record := range map[string]string{
		"bare":          event,
		"other order":   `{"annotations":{"a":"b"},` + event[1:],
		"padded":        " " + event + "\n",
		"list":          `{"kind":"EventList","items":[` + event + `,` + event + `]}`,
		"array":         `[` + event + `,` + event + `]`,
		"log string":    `{"log":` + quote(event) + `,"kubernetes":{"cluster_name":"c"}}`,
		"log object":    `{"log":` + event + `}`,
		"EKS":           subscription(eksGroup, eksStream, event, event),
		"EKS truncated": subscription(eksGroup, eksStream, event[:300]+"[Truncated...]"),
		"AKS":           `{"records":[{"category":"kube-audit","resourceId":"` + aksID + `","properties":{"log":` + quote(event) + `}}]}`,
		"Kafka Connect": `{"schema":{},"payload":` + quote(event) + `}`,
		"GKE":           `{"protoPayload":{"methodName":"io.k8s.core.v1.pods.create","resourceName":"core/v1/namespaces/a/pods/b","request":{"a":1}},"resource":{"labels":{"cluster_name":"c"}}}`,
		"gzip":          zip(event),
	} {
		var (
			rd Reader
			c  counter
			v  Visitor = &c
			b          = []byte(record)
		)
		if n := testing.AllocsPerRun(100, func() { rd.Read(b, v) }); n != 0 {
			t.Errorf("%s: %v allocations per record", name, n)
		}
		if c.events == 0 {
			t.Errorf("%s: no event", name)
		}
	}
}

// TestClusterNamesAreBounded: a hostile stream of names costs no more than the limit.
func TestClusterNamesAreBounded(t *testing.T) {
	var (
		rd Reader
		c  counter
	)
	for i := range 3 * maxClusters {
		rd.Read(fmt.Appendf(nil, `{"log":%s,"cluster_name":"c%d"}`, quote(event), i), &c)
		if len(rd.clusters) > maxClusters {
			t.Fatalf("%d names are remembered, more than %d", len(rd.clusters), maxClusters)
		}
	}
}

func TestFaultIsAnError(t *testing.T) {
	var err error = Check([]byte(`{`))
	if want := "malformed: expected a key in quotes or } at byte 1, found the end"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}
