package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/spawnwatch/spawnwatch/internal/telemetry"
	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/processor/enrich"
	"github.com/spawnwatch/spawnwatch/sources"
	"github.com/spawnwatch/spawnwatch/sources/forward"
	sourcekafka "github.com/spawnwatch/spawnwatch/sources/kafka"
	sourcenats "github.com/spawnwatch/spawnwatch/sources/nats"
)

// startTelemetry starts what the program tells about itself. logger must lead to standard error alone.
func startTelemetry(ctx context.Context, cfg *config, logger *slog.Logger) (*telemetry.Telemetry, error) {
	o := telemetry.Options{Version: programVersion(), Revision: revision(), GoVersion: runtime.Version(), LookUp: os.LookupEnv, Logger: logger}
	for i := range cfg.Sources {
		o.Sources = append(o.Sources, infoOf(&cfg.Sources[i]))
	}
	for i := range cfg.Sinks {
		o.Sinks = append(o.Sinks, cfg.Sinks[i].Name)
	}
	o.Sinks = append(o.Sinks, processor.DeadLetterName)
	return telemetry.Start(ctx, o)
}

// infoOf says what telemetry has to know of a source.
func infoOf(c *sourceConfig) telemetry.SourceInfo {
	info := telemetry.SourceInfo{Name: c.Name, Kind: c.kinds()[0]}
	switch {
	case c.Kafka != nil:
		info.Group = c.Kafka.Group
		info.Faults = []string{string(sourcekafka.CommitFailed), string(sourcekafka.FetchFailed), string(sourcekafka.OutOfRange), string(sourcekafka.Unreadable)}
	case c.NATS != nil:
		info.Group = c.NATS.Durable
		info.Faults = []string{"redelivered", "dropped"}
	case c.Forward != nil:
		info.Faults = []string{"refused", "unreadable"}
	}
	return info
}

// revision is the commit that the program was built from, if the build recorded it.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}

// kafkaMeter passes on what a Kafka source tells.
type kafkaMeter struct{ *telemetry.Source }

// Event implements [sourcekafka.Meter].
func (m kafkaMeter) Event(e sourcekafka.Event, n int64) {
	switch e {
	case sourcekafka.Rebalanced:
		m.Joined()
	case sourcekafka.Committed:
		m.Committed(n)
	default:
		m.Fault(string(e), n)
	}
}

// watchSource takes the counts that an adapter keeps itself.
func watchSource(to *telemetry.Source, from sources.Source) {
	switch s := from.(type) {
	case *sourcenats.Source:
		to.PollFault("redelivered", func() int64 { return s.Stats().Redelivered })
		to.PollFault("dropped", func() int64 { return s.Stats().Dropped })
		to.PollLag(func() (string, int64, bool) {
			lag := s.Stats().Lag
			if lag == nil {
				return "", 0, false
			}
			return lag.Stream, lag.Messages, true
		})
	case *forward.Source:
		to.PollFault("refused", func() int64 { return s.Stats().Refused })
		to.PollFault("unreadable", func() int64 { return s.Stats().Unreadable })
		to.PollFault("repeated", func() int64 { return s.Stats().Repeated })
		to.PollFault("signal", func() int64 { return s.Stats().Signals })
	}
}

// countAcks counts what a source acknowledges when the handler returns: each message for NATS, the whole batch for the
// others. Kafka counts its commits itself.
func countAcks(to *telemetry.Source, next sources.Handler) sources.Handler {
	kind := to.Info().Kind
	if kind == "kafka" || kind == "file" {
		return next
	}
	return func(ctx context.Context, b *sources.Batch) error {
		err := next(ctx, b)
		if err == nil {
			n := int64(1)
			if kind == "nats" {
				n = int64(len(b.Records))
			}
			to.Committed(n)
		}
		return err
	}
}

// liveEnricher is an enricher that a reload swaps. An alert keeps the one it began with.
type liveEnricher struct {
	current atomic.Pointer[enrich.Enricher]
}

// Enrich implements [processor.Enricher].
func (l *liveEnricher) Enrich(v *audit.View, a *alert.Alert) { l.current.Load().Enrich(v, a) }

// How often a sink is asked at the start whether it can be used, and how long it may take to answer.
const (
	checkEvery = 10 * time.Second
	checkLimit = 10 * time.Second
)

// checkSinks asks every sink whether it can be used, until it can: with no alert to publish a wrong address would not show
// before the first one. The function it returns ends that.
func (s *stage) checkSinks(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	ask := func(name string, sink any) {
		c, ok := sink.(checker)
		if !ok {
			return
		}
		wg.Go(func() { s.checkSink(ctx, s.tele.Sink(name), name, c) })
	}
	for i := range s.routes {
		ask(s.routes[i].Name, s.routes[i].Sink)
	}
	ask(processor.DeadLetterName, s.dead.Sink)
	return func() {
		cancel()
		wg.Wait()
	}
}

func (s *stage) checkSink(ctx context.Context, sink *telemetry.Sink, name string, c checker) {
	for said := false; ; {
		try, cancel := context.WithTimeout(ctx, checkLimit)
		err := c.Check(try)
		cancel()
		switch {
		case ctx.Err() != nil || sink.Published() > 0:
			return
		case err == nil:
			sink.Found(nil)
			return
		}
		sink.Found(err)
		if !said {
			s.logger.WarnContext(ctx, "a sink cannot be used yet; it is asked again", "sink", name, "every", checkEvery, "error", err)
			said = true
		}
		if sleep(ctx, checkEvery) != nil {
			return
		}
	}
}

// memoryShare of the cgroup's limit is what the Go runtime may use: the rest is for what it does not count.
const memoryShare = 0.9

// limitMemory makes the runtime collect harder before the cgroup's limit ends the process. GOMEMLIMIT and AUTOMEMLIMIT go
// before it.
func limitMemory(logger *slog.Logger) {
	before := debug.SetMemoryLimit(-1)
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare))
	switch {
	case err != nil:
		logger.Debug("the memory limit of the cgroup could not be read", "error", err)
	case limit != before:
		logger.Info("memory limit", "bytes", limit)
	}
}

// newLogger logs for people on a terminal, as JSON elsewhere.
func newLogger(std streams, level slog.Leveler) *slog.Logger {
	return slog.New(newLogHandler(std, level))
}

func newLogHandler(std streams, level slog.Leveler) slog.Handler {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	if isTerminal(std.err) {
		return telemetry.WithTrace(slog.NewTextHandler(std.err, options))
	}
	return telemetry.WithTrace(slog.NewJSONHandler(std.err, options))
}

// readable writes durations as people do, 20s, where JSON would have nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// levelOf reads a configured log level.
func (c *logConfig) level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.Level)); err != nil {
		return 0, fmt.Errorf("expected debug, info, warn or error, got %q", c.Level)
	}
	return l, nil
}
