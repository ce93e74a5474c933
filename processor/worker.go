package processor

import (
	"fmt"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/processor/envelope"
	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/sources"
)

// worker computes chunks, one at a time. It owns the scratch memory for that, so that an event which matches nothing
// costs no allocation.
type worker struct {
	p      *Processor
	reader envelope.Reader
	hits   []rules.Hit
	// members of the event that was checked last
	members checkedMembers
	view    audit.View
	build   builder
	stats   Stats

	// of the chunk in hand
	set     *rules.Set
	batch   *sources.Batch
	record  *sources.Record
	foreign Foreign
	out     *outbox
}

// checkedMembers takes the members of an event, and knows which values were checked while rules were matched.
type checkedMembers struct {
	audit.Members
	sound []rules.Span
}

// Sound implements [envelope.MemberVisitor].
func (m *checkedMembers) Sound(start int) int {
	for i := range m.sound {
		if m.sound[i].Start == start {
			return m.sound[i].End
		}
	}
	return 0
}

func newWorker(p *Processor) *worker { return &worker{p: p} }

// work computes records, in order, into out. A panic is a fault of ours: the record that met it is dead-lettered, and
// the work goes on behind it.
func (w *worker) work(b *sources.Batch, records []sources.Record, foreign Foreign, out *outbox) {
	w.set, w.batch, w.foreign, w.out = w.p.rules.Load(), b, foreign, out
	w.stats = Stats{}
	for next := 0; next < len(records); {
		next = w.workFrom(records, next)
	}
	w.batch, w.record, w.out = nil, nil, nil
}

// workFrom computes records[first:] and returns where to go on: behind the end, or behind the record that panicked.
func (w *worker) workFrom(records []sources.Record, first int) (next int) {
	i := first
	defer func() {
		if cause := recover(); cause != nil {
			w.p.cfg.Logger.Error("a record could not be processed: this is a fault of the program, please report it",
				"panic", fmt.Sprint(cause), "source", w.batch.Origin.Source, "topic", w.batch.Origin.Topic,
				"partition", w.batch.Origin.Partition, "offset", records[i].Offset, "line", records[i].Line)
			w.bad(-1, alert.ReasonInternal, fmt.Sprintf("processing this record panicked: %v", cause), records[i].Value)
			next = i + 1
		}
	}()
	for ; i < len(records); i++ {
		w.one(&records[i])
	}
	return i
}

func (w *worker) one(r *sources.Record) {
	if len(r.Value) == 0 {
		return
	}
	w.record = r
	w.stats.Records++
	w.stats.Bytes += uint64(len(r.Value))
	if r.Oversized != nil {
		w.bad(-1, alert.ReasonTooLarge, fmt.Sprintf("expected at most the source's limit, got a record of %d bytes; its first %d are kept",
			r.Oversized.Size, len(r.Value)), r.Value)
		return
	}
	w.reader.Read(r.Value, w)
}

// Event implements [envelope.Visitor].
func (w *worker) Event(item envelope.Item) {
	w.stats.Events++
	if w.p.cfg.Validate == ValidateAll {
		if f := envelope.Check(item.Event); f != nil {
			w.invalid(item, f)
			return
		}
	}
	c, end, err := w.set.Walk(item.Event)
	if err == nil && end == rules.Rejected {
		w.stats.Rejected++
		return
	}
	w.candidate(item, c, err)
	c.Release()
}

// candidate goes on with an event that no field has excluded: only now all of its bytes are read. broken is where the
// walk over it failed. Rules are evaluated last, and not for children that fold: most of what a cluster creates.
func (w *worker) candidate(item envelope.Item, c rules.Candidate, broken error) {
	w.members.Reset()
	w.members.sound = c.Checked()
	if f := envelope.CheckMembers(item.Event, &w.members); f != nil {
		w.invalid(item, f)
		return
	}
	if broken != nil {
		w.fault(item, alert.ReasonMalformed, broken.Error())
		return
	}
	if verb := w.members.Value(item.Event, "verb"); verb == "" || verb[0] != '"' {
		w.fault(item, alert.ReasonNoVerb, "expected an audit event with a verb (a string), got "+described(verb))
		return
	}
	if w.p.cfg.Children == FoldChildren && !item.Truncated {
		if outcome, folds := w.p.cfg.Model.Folds(item.Event, &w.members.Members); folds {
			w.folded(outcome)
			return
		}
	}
	hits := c.Hits(w.hits[:0])
	w.hits = hits[:0]
	if len(hits) > 0 {
		w.matched(item, hits)
	}
}

// folded counts a child.
func (w *worker) folded(outcome audit.Outcome) {
	w.stats.Folded++
	if outcome == audit.Created {
		w.stats.Created++
	}
}

// Fault implements [envelope.Visitor].
func (w *worker) Fault(f envelope.Fault) {
	if f.Reason == envelope.Foreign && w.foreign == ForeignCount {
		w.stats.Ignored++
		return
	}
	w.bad(f.Index, string(f.Reason), f.Detail, f.Raw)
}

// Ignored implements [envelope.Visitor].
func (w *worker) Ignored(string) { w.stats.Ignored++ }

func (w *worker) invalid(item envelope.Item, f *envelope.Fault) {
	w.fault(item, string(f.Reason), f.Detail)
}

func (w *worker) fault(item envelope.Item, reason, detail string) {
	w.bad(item.Index, reason, detail, item.Raw)
}

// bad keeps a dead letter and tells the observer.
func (w *worker) bad(index int, reason, detail string, raw []byte) {
	w.stats.Bad++
	w.out.report.Bad = count(w.out.report.Bad, reason, 1)
	l := letter{
		bad: BadRecord{
			Origin: w.batch.Origin, Offset: w.record.Offset, Line: w.record.Line, Index: index,
			Reason: reason, Detail: detail, Size: int64(len(raw)),
		},
		cluster: w.cluster(""),
	}
	if o := w.record.Oversized; o != nil {
		l.bad.Size, l.over, l.sha256 = o.Size, true, o.SHA256
	}
	if w.p.cfg.DeadLetter.Sink != nil {
		l.record = w.out.keep(raw)
		w.out.letters = append(w.out.letters, l)
	}
	if w.p.cfg.Observer != nil {
		w.p.cfg.Observer.Bad(l.bad)
	}
}

// cluster says whose event it is: the word of the operator before that of the record.
func (w *worker) cluster(told string) string {
	switch {
	case w.batch.Origin.Cluster != "":
		return w.batch.Origin.Cluster
	case told != "":
		return told
	default:
		return w.p.cfg.Cluster
	}
}

// described says what kind of value raw is, with its beginning.
func described(raw string) string {
	if raw == "" {
		return "none"
	}
	kind := "the number "
	switch raw[0] {
	case '{':
		kind = "the object "
	case '[':
		kind = "the list "
	case 't', 'f':
		kind = "the boolean "
	case 'n':
		kind = "the value "
	}
	return kind + cutText(raw, 40)
}

func cutText(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
