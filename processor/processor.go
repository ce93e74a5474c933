// Package processor is the core of the program: it takes batches of raw records from the sources, finds the audit
// events in them, matches these against the rules, turns what matched into alerts, and publishes alerts and dead
// letters before it returns. The return of [Processor.Handle] is the acknowledgement.
//
// One batch takes one way:
//
//	record ─▶ envelope ─▶ rules ─▶ validity ─▶ audit view ─▶ alert ─▶ enrichment ─▶ encoding ─▶ sinks
//	            │           └── 99 % end here     │
//	            └───────── what can't be read ────┴─▶ dead letter
//
// Up to the encoding a batch is computed by one of a fixed number of workers, each with scratch memory of its own;
// the worker is given back before anything waits: for an earlier batch, for a sink, for the next try.
package processor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sources"
)

// chunkBytes is how much of a large batch one worker takes at a time. Measured: at 150 kB the cost of handing work over
// has vanished, chunks of megabytes fall out of the cache.
const chunkBytes = 256 << 10

// Validation says how much of an event that can match no rule is read.
type Validation string

const (
	// ValidateCandidates checks the frame of every event, and all bytes of those that a rule may match.
	ValidateCandidates Validation = "candidates"
	// ValidateAll checks every byte of every event.
	ValidateAll Validation = "all"
)

// Children says what happens with workloads that a controller made for its own object.
type Children string

const (
	// FoldChildren counts them; the object they belong to has raised its own alert.
	FoldChildren Children = "fold"
	// AlertChildren raises an alert for each.
	AlertChildren Children = "alert"
)

// Foreign says what happens with records that hold no audit event.
type Foreign string

const (
	// ForeignDeadLetter dead-letters them.
	ForeignDeadLetter Foreign = "dead_letter"
	// ForeignCount only counts them, for sources that carry other records too.
	ForeignCount Foreign = "count"
)

// Enricher adds what is known about the workload, its actor and its surroundings to an alert. It reads memory only,
// must not fail the alert (what it cannot answer becomes a note), and is called from several workers at once. What it
// puts into the alert may point into v: both are valid until the alert has been encoded.
type Enricher interface {
	Enrich(v *audit.View, a *alert.Alert)
}

// Observer is told of every bad record, from several goroutines at once.
type Observer interface {
	Bad(b BadRecord)
}

// BadRecord says which record could not be used, and why.
type BadRecord struct {
	Origin sources.Origin
	// Offset and Line are those of the [sources.Record], Index the place of the event in a list, -1 outside of lists.
	Offset, Line int64
	Index        int
	// Reason is one of the documented reasons, Detail what was expected and what came, with its byte offset.
	Reason, Detail string
	// Size is the length of the bad bytes.
	Size int64
}

// Route is one sink for alerts.
type Route struct {
	// Name is the configured name of the sink.
	Name string
	Sink sinks.Sink
	// Format is one of [alert.Formats].
	Format string
	// Attributes is the prefix of the headers that carry the attributes of CloudEvents: "ce_" for Kafka, "ce-" for NATS
	// and HTTP. Empty: the transport has no headers, and none are made.
	Attributes string
	// MinSeverity leaves out alerts below it; empty lets all pass.
	MinSeverity alert.Severity
}

// DeadLetterForm says how a dead letter is written.
type DeadLetterForm uint8

const (
	// DeadLetterLine is one JSON line with the original bytes in base64: for files.
	DeadLetterLine DeadLetterForm = iota
	// DeadLetterHeaders is the original bytes as the message and everything else in headers: for brokers.
	DeadLetterHeaders
)

// DeadLetter is where goes what cannot be read or delivered. Without a Sink bad records are only counted and observed.
type DeadLetter struct {
	Sink sinks.Sink
	Form DeadLetterForm
}

// Config is what a [Processor] works with. Rules, Model and at least one route are required.
type Config struct {
	// Rules is the first set of rules; [Processor.SetRules] swaps it later.
	Rules *rules.Set
	// Model reads audit events.
	Model *audit.Model
	// Enricher is optional.
	Enricher Enricher
	// Routes are published to one beside the other; the acknowledgement waits for all.
	Routes     []Route
	DeadLetter DeadLetter
	// Cluster names the cluster where neither the source nor the record does.
	Cluster string
	// Workers bounds how many batches are computed at once; default: GOMAXPROCS.
	Workers int
	// Validate defaults to ValidateCandidates, Children to FoldChildren.
	Validate Validation
	Children Children
	// RepeatWindow is how many alert ids are remembered; default: [DefaultRepeatWindow].
	RepeatWindow int
	// Retry bounds the pause between two tries of publishing; default: 100 ms doubling to 10 s.
	RetryMin, RetryMax time.Duration
	// Now is the clock; default: time.Now.
	Now      func() time.Time
	Observer Observer
	// Meter is optional.
	Meter  Meter
	Logger *slog.Logger
}

// Processor computes and delivers. It is safe for concurrent use.
type Processor struct {
	cfg     Config
	rules   atomic.Pointer[rules.Set]
	workers chan *worker
	outs    sync.Pool
	formats []format
	repeats *repeatWindow
	// headers: at least one route carries them.
	headers bool

	counters counters
	// warned are the warnings about sinks that repeat, by their names.
	warned map[string]*occasional
}

// format is one encoding that at least one route wants.
type format struct {
	name   string
	encode alert.Encoder
}

// maxFormats is how many different encodings one processor can make.
const maxFormats = 4

// New checks the configuration and makes the workers.
func New(cfg Config) (*Processor, error) {
	var errs []error
	if cfg.Rules == nil {
		errs = append(errs, errors.New("processor: a compiled set of rules is required, got none"))
	}
	if cfg.Model == nil {
		errs = append(errs, errors.New("processor: an audit model is required, got none"))
	}
	if len(cfg.Routes) == 0 {
		errs = append(errs, errors.New("processor: at least one sink for alerts is required, got none"))
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Validate == "" {
		cfg.Validate = ValidateCandidates
	}
	if cfg.Children == "" {
		cfg.Children = FoldChildren
	}
	if cfg.RepeatWindow <= 0 {
		cfg.RepeatWindow = DefaultRepeatWindow
	}
	if cfg.RetryMin <= 0 {
		cfg.RetryMin = 100 * time.Millisecond
	}
	if cfg.RetryMax < cfg.RetryMin {
		cfg.RetryMax = max(10*time.Second, cfg.RetryMin)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Meter == nil {
		cfg.Meter = noMeter{}
	}
	p := &Processor{
		cfg: cfg, repeats: newRepeatWindow(cfg.RepeatWindow), workers: make(chan *worker, cfg.Workers),
		warned: map[string]*occasional{DeadLetterName: new(occasional)},
	}
	for i := range cfg.Routes {
		p.warned[cfg.Routes[i].Name] = new(occasional)
		if err := p.addFormat(cfg.Routes[i].Format); err != nil {
			errs = append(errs, fmt.Errorf("sink %q: %w", cfg.Routes[i].Name, err))
		}
		p.headers = p.headers || cfg.Routes[i].Attributes != ""
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	p.rules.Store(cfg.Rules)
	for range cfg.Workers {
		p.workers <- newWorker(p)
	}
	p.outs.New = func() any { return new(outbox) }
	return p, nil
}

func (p *Processor) addFormat(name string) error {
	for _, f := range p.formats {
		if f.name == name {
			return nil
		}
	}
	encode, err := alert.Format(name)
	if err != nil {
		return err
	}
	if len(p.formats) == maxFormats {
		return fmt.Errorf("at most %d different formats can be published at once", maxFormats)
	}
	p.formats = append(p.formats, format{name, encode})
	return nil
}

// SetRules swaps the rules. A batch that is being computed keeps the set it began with.
func (p *Processor) SetRules(s *rules.Set) { p.rules.Store(s) }

// Handler returns the handler for one source.
func (p *Processor) Handler(foreign Foreign) sources.Handler {
	return func(ctx context.Context, b *sources.Batch) error { return p.handle(ctx, b, foreign) }
}

// handle computes the batch and publishes what came out. See [sources.Handler] for its contract.
func (p *Processor) handle(ctx context.Context, b *sources.Batch, foreign Foreign) (err error) {
	ctx, meter := p.cfg.Meter.Begin(ctx, b)
	var out *outbox
	var done Delivery
	defer func() {
		meter.End(ctx, done, err)
		if out != nil {
			p.release(out)
		}
	}()
	if out, err = p.compute(ctx, b, foreign); err != nil {
		return err
	}
	for i := range out.alerts {
		out.report.Alerts = append(out.report.Alerts, &out.alerts[i].AlertReport)
	}
	ctx = meter.Computed(ctx, &out.report)
	if b.After != nil {
		began := time.Now()
		select {
		case <-b.After:
			done.Turn = time.Since(began)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return p.deliver(ctx, b, out, &done)
}

// compute runs the batch through the workers; a batch larger than a chunk is shared among them. What comes out is in
// the order of the records.
func (p *Processor) compute(ctx context.Context, b *sources.Batch, foreign Foreign) (*outbox, error) {
	if len(b.Records) == 0 {
		out := p.outs.Get().(*outbox)
		p.skimmed(b, out)
		return out, nil
	}
	chunks := split(b.Records)
	if len(chunks) == 1 {
		out, err := p.computeChunk(ctx, b, chunks[0], foreign)
		if err == nil {
			p.skimmed(b, out)
		}
		return out, err
	}
	outs := make([]*outbox, len(chunks))
	errs := make([]error, len(chunks))
	var wg sync.WaitGroup
	for i, records := range chunks {
		wg.Go(func() { outs[i], errs[i] = p.computeChunk(ctx, b, records, foreign) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	whole := p.outs.Get().(*outbox)
	for _, o := range outs {
		if o != nil && err == nil {
			whole.alerts = append(whole.alerts, o.alerts...)
			whole.letters = append(whole.letters, o.letters...)
			whole.parts = append(whole.parts, o)
			whole.report.add(&o.report)
		}
	}
	if err != nil {
		for _, o := range outs {
			if o != nil {
				p.release(o)
			}
		}
		p.release(whole)
		return nil, err
	}
	p.skimmed(b, whole)
	return whole, nil
}

func (p *Processor) computeChunk(ctx context.Context, b *sources.Batch, records []sources.Record, foreign Foreign) (*outbox, error) {
	came := time.Now()
	select {
	case w := <-p.workers:
		began := time.Now()
		out := p.outs.Get().(*outbox)
		w.work(b, records, foreign, out)
		p.counters.add(&w.stats)
		out.report.Stats, out.report.Wait, out.report.Compute = w.stats, began.Sub(came), time.Since(began)
		p.workers <- w
		return out, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// split cuts records into chunks of about chunkBytes. The common batch is one chunk and costs nothing.
func split(records []sources.Record) [][]sources.Record {
	var chunks [][]sources.Record
	start, size := 0, 0
	for i := range records {
		size += len(records[i].Value)
		if size >= chunkBytes+chunkBytes/2 && i > start {
			chunks = append(chunks, records[start:i])
			start, size = i, len(records[i].Value)
		}
	}
	return append(chunks, records[start:])
}

// release gives an outbox back once nothing refers to it any more.
func (p *Processor) release(o *outbox) {
	for _, part := range o.parts {
		p.release(part)
	}
	o.reset()
	p.outs.Put(o)
}
