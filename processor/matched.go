package processor

import (
	"bytes"
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/processor/envelope"
	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/sinks"
)

// matched turns an event that rules matched into an alert.
func (w *worker) matched(item envelope.Item, hits []rules.Hit) {
	w.stats.Matched++
	for i := range hits {
		w.out.report.Rules = count(w.out.report.Rules, hits[i].Rule.ID, 1)
	}
	v := &w.view
	if err := w.read(item, item.Event, v); err != nil {
		w.fault(item, alert.ReasonMalformed, err.Error())
		return
	}
	switch v.Outcome {
	case audit.Created:
		w.stats.Created++
	case audit.Unknown:
		w.stats.Unknown++
	case audit.Refused, audit.Changed, audit.Observed:
	}
	if w.p.cfg.Enricher != nil {
		// An enricher that ran out of time may still read the event when its loan has ended, so it gets one of its own.
		v = new(audit.View)
		if err := w.read(item, bytes.Clone(item.Event), v); err != nil {
			w.fault(item, alert.ReasonMalformed, err.Error())
			return
		}
	}
	a := w.build.base(v, hits, w.cluster(item.Cluster), w.p.cfg.Now())
	a.Origin = originOf(&w.batch.Origin, w.record)
	if a.Time.IsZero() {
		a.Time = item.Time
	}
	if item.Rebuilt {
		a.Notes = append(a.Notes, alert.Note{Code: "rebuilt", Text: "the event was rebuilt from a cloud's log entry, which does not say everything: a dry run cannot be told apart"})
	}
	if w.p.cfg.Enricher != nil {
		w.p.cfg.Enricher.Enrich(v, a)
	}
	w.keep(a)
}

// read fills v with what event says, which is item's or a copy of it.
func (w *worker) read(item envelope.Item, event []byte, v *audit.View) error {
	if err := w.p.cfg.Model.ReadMembers(event, &w.members.Members, v); err != nil {
		return err
	}
	if item.Truncated {
		v.MarkTruncated()
	}
	return nil
}

// keep encodes the alert into the outbox, once in every format that a route wants.
func (w *worker) keep(a *alert.Alert) {
	w.stats.Raised++
	p := pending{
		AlertReport: AlertReport{ID: a.ID, Severity: a.Severity, Labels: labelsOf(a), Time: a.Time, Detected: a.DetectedAt, Trace: TraceOf(w.record.Headers)},
		headers:     w.headersOf(a),
	}
	for i := range w.p.formats {
		p.values[i] = w.out.put(func(dst []byte) []byte { return w.p.formats[i].encode(dst, a) })
	}
	w.out.alerts = append(w.out.alerts, p)
}

// labelsOf copies what templates may name: the alert's own texts are lent.
func labelsOf(a *alert.Alert) sinks.Labels {
	l := sinks.Labels{Cluster: strings.Clone(a.Cluster), Severity: string(a.Severity), Outcome: string(a.Outcome), Namespace: strings.Clone(a.Request.Object.Namespace)}
	if a.Workload != nil {
		l.Kind, l.Name, l.Namespace = strings.Clone(a.Workload.Kind), strings.Clone(a.Workload.Name), strings.Clone(a.Workload.Namespace)
	}
	if len(a.Rules) > 0 {
		l.Rule = a.Rules[0].ID
	}
	return l
}

// headersOf are what a message carries beside its value: what kind of data it is, what a router may want to know. The
// attributes of CloudEvents follow, named without the prefix that is the transport's.
func (w *worker) headersOf(a *alert.Alert) []alert.Header {
	if !w.p.headers {
		return nil
	}
	headers := make([]alert.Header, 0, 16)
	headers = append(headers, alert.Header{Key: "spawnwatch-severity", Value: string(a.Severity)})
	if len(a.Rules) > 0 {
		headers = append(headers, alert.Header{Key: "spawnwatch-rule", Value: a.Rules[0].ID})
	}
	return alert.CloudEvent(headers, a)
}
