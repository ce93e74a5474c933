package telemetry

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/spawnwatch/spawnwatch/processor"
)

// figures are those of the program as a whole.
type figures struct {
	publish, batch, delay            metric.Float64Histogram
	compute, wait, publishing, total []metric.RecordOption

	inflight, folded, repeated atomic.Int64
	rules, letters, enrichers  counts[string]
	alerts                     counts[alertKey]

	reloadsGood, reloadsBad atomic.Int64
	current                 atomic.Bool
	loaded                  atomic.Int64
	workers                 atomic.Pointer[func() (all, busy int)]
}

type alertKey struct{ severity, outcome string }

// Reloaded counts a reload. After a failure the last good rules and settings stay.
func (t *Telemetry) Reloaded(err error) {
	if err != nil {
		t.figures.reloadsBad.Add(1)
	} else {
		t.figures.reloadsGood.Add(1)
	}
	t.figures.current.Store(err == nil)
}

// RulesLoaded says how many rules are in use.
func (t *Telemetry) RulesLoaded(n int) { t.figures.loaded.Store(int64(n)) }

// EnricherFailed counts a failure of an enricher; its alert went out with a note.
func (t *Telemetry) EnricherFailed(name string) { t.figures.enrichers.add(name, 1) }

// Workers says where to ask how many workers there are, and how many of them compute.
func (t *Telemetry) Workers(f func() (all, busy int)) { t.figures.workers.Store(&f) }

// Buckets of the histograms, in seconds. docs/metrics.md names them.
func workBuckets() []float64 {
	return []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
}

func delayBuckets() []float64 {
	return []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
}

// observe tells a value with its labels.
type observe func(value float64, labels attribute.Set)

// instrument is one that is read when somebody collects.
type instrument struct {
	name, unit, text string
	read             func(observe)
}

// none is for instruments without labels.
func none() attribute.Set { return *attribute.EmptySet() }

func label(key, value string) attribute.Set { return attribute.NewSet(attribute.String(key, value)) }

// register makes every instrument. docs/metrics.md is their list.
func (t *Telemetry) register(m metric.Meter) error {
	var errs []error
	for _, c := range t.counters() {
		if c.unit == "s" {
			_, err := m.Float64ObservableCounter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.text), metric.WithFloat64Callback(c.float))
			errs = append(errs, err)
			continue
		}
		_, err := m.Int64ObservableCounter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.text), metric.WithInt64Callback(c.whole))
		errs = append(errs, err)
	}
	for _, g := range t.gauges() {
		_, err := m.Float64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.text), metric.WithFloat64Callback(g.float))
		errs = append(errs, err)
	}
	f := &t.figures
	stage := func(name string) []metric.RecordOption {
		return []metric.RecordOption{metric.WithAttributeSet(label("stage", name))}
	}
	f.compute, f.wait, f.publishing, f.total = stage("compute"), stage("wait"), stage("publish"), stage("total")
	histogram := func(name, text string, buckets []float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text), metric.WithExplicitBucketBoundaries(buckets...))
		errs = append(errs, err)
		return h
	}
	f.publish = histogram("spawnwatch.publish.duration", "One try of publishing, until the sink answered.", workBuckets())
	f.batch = histogram("spawnwatch.batch.duration", "One batch, by stage: compute, wait, publish, total.", workBuckets())
	f.delay = histogram("spawnwatch.delivery.delay", "From the event's stageTimestamp until its alert was durable in every sink.", delayBuckets())
	f.current.Store(true)
	return errors.Join(errs...)
}

func (i instrument) whole(_ context.Context, o metric.Int64Observer) error {
	i.read(func(v float64, labels attribute.Set) { o.Observe(int64(v), metric.WithAttributeSet(labels)) })
	return nil
}

func (i instrument) float(_ context.Context, o metric.Float64Observer) error {
	i.read(func(v float64, labels attribute.Set) { o.Observe(v, metric.WithAttributeSet(labels)) })
	return nil
}

// perSource reads one counter of every source.
func (t *Telemetry) perSource(of func(*Source) *atomic.Int64) func(observe) {
	return func(o observe) {
		for _, s := range t.sources {
			o(float64(of(s).Load()), s.attrs)
		}
	}
}

func (t *Telemetry) perSink(of func(*Sink) *atomic.Int64) func(observe) {
	return func(o observe) {
		for _, s := range t.sinks {
			o(float64(of(s).Load()), s.attrs)
		}
	}
}

func single(n *atomic.Int64) func(observe) {
	return func(o observe) { o(float64(n.Load()), none()) }
}

func byName(c *counts[string], key string) func(observe) {
	return func(o observe) { c.each(func(name string, n int64) { o(float64(n), label(key, name)) }) }
}

func (t *Telemetry) counters() []instrument {
	f := &t.figures
	return []instrument{
		{"spawnwatch.records", "{record}", "Records that came in.", t.perSource(func(s *Source) *atomic.Int64 { return &s.records })},
		{"spawnwatch.record", "By", "Bytes of the records that came in.", t.perSource(func(s *Source) *atomic.Int64 { return &s.bytes })},
		{"spawnwatch.events", "{event}", "Audit events found in the records.", t.perSource(func(s *Source) *atomic.Int64 { return &s.events })},
		{"spawnwatch.events.matched", "{event}", "Events that at least one rule matched.", t.perSource(func(s *Source) *atomic.Int64 { return &s.matched })},
		{"spawnwatch.events.rejected", "{event}", "Events of no interest.", t.perSource(func(s *Source) *atomic.Int64 { return &s.rejected })},
		{"spawnwatch.records.bad", "{record}", "Records that could not be read, by reason.", func(o observe) {
			for _, s := range t.sources {
				s.bad.each(func(reason string, n int64) {
					o(float64(n), attribute.NewSet(attribute.String("source", s.info.Name), attribute.String("reason", reason)))
				})
			}
		}},
		{"spawnwatch.records.ignored", "{record}", "Records of a kind of no interest.", t.perSource(func(s *Source) *atomic.Int64 { return &s.ignored })},
		{"spawnwatch.rule.matches", "{match}", "Matches by the rule's id.", byName(&f.rules, "rule")},
		{"spawnwatch.alerts", "{alert}", "Alerts published.", func(o observe) {
			f.alerts.each(func(k alertKey, n int64) {
				o(float64(n), attribute.NewSet(attribute.String("severity", k.severity), attribute.String("outcome", k.outcome)))
			})
		}},
		{"spawnwatch.alerts.folded", "{alert}", "Children of a controller, counted with their parent.", single(&f.folded)},
		{"spawnwatch.alerts.repeated", "{alert}", "Alerts left out because the same id was published before.", single(&f.repeated)},
		{"spawnwatch.alerts.refused", "{alert}", "Messages that a sink refused for good.", func(o observe) {
			for _, s := range t.sinks {
				if s.name != processor.DeadLetterName { // there they are cut and tried again
					o(float64(s.refused.Load()), s.attrs)
				}
			}
		}},
		{"spawnwatch.dead.letters", "{record}", "Dead letters published, by reason.", byName(&f.letters, "reason")},
		{"spawnwatch.enrichment.failures", "{failure}", "Enrichers that failed; their alerts went out with a note.", byName(&f.enrichers, "enricher")},
		{"spawnwatch.publish.retries", "{try}", "Tries of publishing after the first.", t.perSink(func(s *Sink) *atomic.Int64 { return &s.retries })},
		{"spawnwatch.publish.failures", "{try}", "Tries of publishing that failed, in part or whole.", t.perSink(func(s *Sink) *atomic.Int64 { return &s.failures })},
		{"spawnwatch.backpressure", "s", "Time that batches waited for a worker or an earlier batch.", func(o observe) {
			for _, s := range t.sources {
				o(time.Duration(s.waited.Load()).Seconds(), s.attrs)
			}
		}},
		{"spawnwatch.source.restarts", "{restart}", "Restarts of a source after a failure.", t.perSource(func(s *Source) *atomic.Int64 { return &s.restarts })},
		{"spawnwatch.commits", "{commit}", "Acknowledgements sent.", t.perSource(func(s *Source) *atomic.Int64 { return &s.commits })},
		{"spawnwatch.source.faults", "{fault}", "What went wrong at the transport and is tried again.", func(o observe) {
			for _, s := range t.sources {
				s.allFaults(func(fault string, n int64) {
					o(float64(n), attribute.NewSet(attribute.String("source", s.info.Name), attribute.String("fault", fault)))
				})
			}
		}},
		{"spawnwatch.rebalances", "{rebalance}", "Generations of the consumer group that this instance joined.", t.perSource(func(s *Source) *atomic.Int64 { return &s.rebalances })},
		{"spawnwatch.reloads", "{reload}", "Reloads by result.", func(o observe) {
			o(float64(f.reloadsGood.Load()), label("result", "ok"))
			o(float64(f.reloadsBad.Load()), label("result", "failed"))
		}},
	}
}

func (t *Telemetry) gauges() []instrument {
	f := &t.figures
	workers := func(pick func(all, busy int) int) func(observe) {
		return func(o observe) {
			if ask := f.workers.Load(); ask != nil {
				o(float64(pick((*ask)())), none())
			}
		}
	}
	lag := func(each func(o observe, l *PartitionLag, labels attribute.Set)) func(observe) {
		return func(o observe) {
			now := time.Now()
			for _, s := range t.sources {
				for _, l := range s.Lags(now) {
					each(o, &l, attribute.NewSet(attribute.String("source", s.info.Name), attribute.String("topic", l.Topic), attribute.Int("partition", int(l.Partition))))
				}
			}
		}
	}
	return []instrument{
		{"spawnwatch.inflight", "By", "Bytes of records in hand.", single(&f.inflight)},
		{"spawnwatch.workers", "{worker}", "Workers of the processor.", workers(func(all, _ int) int { return all })},
		{"spawnwatch.workers.busy", "{worker}", "Workers that compute right now.", workers(func(_, busy int) int { return busy })},
		{"spawnwatch.source.up", "", "1 while the source runs.", func(o observe) {
			for _, s := range t.sources {
				o(number(s.State().Up), s.attrs)
			}
		}},
		{"spawnwatch.source.lag.messages", "", "Records that are not acknowledged.", lag(func(o observe, l *PartitionLag, labels attribute.Set) {
			o(float64(l.Messages), labels)
		})},
		{"spawnwatch.source.lag", "s", "Age of the last record taken, 0 when nothing is waiting.", lag(func(o observe, l *PartitionLag, labels attribute.Set) {
			if l.Known {
				o(l.Age.Seconds(), labels)
			}
		})},
		{"spawnwatch.reload.last_success", "", "1 while what is loaded is what is on disk.", func(o observe) { o(number(f.current.Load()), none()) }},
		{"spawnwatch.rules.loaded", "{rule}", "Rules in use.", single(&f.loaded)},
		{"spawnwatch.build.info", "", "Always 1.", func(o observe) {
			o(1, attribute.NewSet(attribute.String("version", t.options.Version), attribute.String("revision", t.options.Revision), attribute.String("goversion", t.options.GoVersion)))
		}},
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
