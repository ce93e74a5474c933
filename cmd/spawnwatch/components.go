package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/telemetry"
	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/sinks"
	sinkfile "github.com/spawnwatch/spawnwatch/sinks/file"
	sinkhttp "github.com/spawnwatch/spawnwatch/sinks/http"
	sinkkafka "github.com/spawnwatch/spawnwatch/sinks/kafka"
	sinknats "github.com/spawnwatch/spawnwatch/sinks/nats"
	"github.com/spawnwatch/spawnwatch/sources"
	sourcefile "github.com/spawnwatch/spawnwatch/sources/file"
	"github.com/spawnwatch/spawnwatch/sources/forward"
	sourcekafka "github.com/spawnwatch/spawnwatch/sources/kafka"
	sourcenats "github.com/spawnwatch/spawnwatch/sources/nats"
	"github.com/spawnwatch/spawnwatch/sources/webhook"
)

// checker is an adapter that can try its peer without moving data.
type checker interface {
	Check(ctx context.Context) error
}

// components is what the adapters get from the program.
type components struct {
	logger *slog.Logger
	cfg    *config
	stdin  io.Reader
	stdout io.Writer
	// tele is nil for commands that end by themselves.
	tele *telemetry.Telemetry
	// skim is the processor's, for sources that can spare it work.
	skim sources.Skim
}

// source makes the source that c configures.
func (p components) source(c *sourceConfig) (sources.Source, error) {
	logger := p.logger.With("source", c.Name)
	maxRecord, drain := int(p.cfg.Processor.MaxRecord), p.cfg.Processor.Drain
	switch {
	case c.Kafka != nil:
		settings := sourcekafka.Settings{Name: c.Name, Cluster: c.Cluster, Logger: logger, MaxRecord: maxRecord, Drain: drain}
		if p.tele != nil {
			settings.Meter = kafkaMeter{p.tele.Source(c.Name)}
		}
		return sourcekafka.New(*c.Kafka, settings)
	case c.NATS != nil:
		return sourcenats.New(*c.NATS, sourcenats.Settings{Name: c.Name, Cluster: c.Cluster, Logger: logger, MaxRecord: maxRecord, Drain: drain})
	case c.Forward != nil:
		return forward.New(*c.Forward, forward.Settings{Name: c.Name, Cluster: c.Cluster, Logger: logger, MaxRecord: maxRecord, Drain: drain, Skim: p.skim})
	case c.Webhook != nil:
		return webhook.New(*c.Webhook, webhook.Settings{Name: c.Name, Cluster: c.Cluster, Logger: logger, MaxRecord: maxRecord, Drain: drain})
	case c.File != nil:
		return sourcefile.New(*c.File, sourcefile.Settings{Name: c.Name, Cluster: c.Cluster, Logger: logger, MaxRecord: maxRecord, Drain: drain, Stdin: p.stdin})
	}
	return nil, fmt.Errorf("source %q is of no kind", c.Name)
}

// madeSink is a sink with what the processor must know of its transport.
type madeSink struct {
	sinks.Sink
	form processor.DeadLetterForm
	// attributes is the prefix of CloudEvents attributes in headers, empty where there are no headers.
	attributes string
}

// sink makes the sink that c configures.
func (p components) sink(name string, c *sinkKinds) (madeSink, error) {
	logger := p.logger.With("sink", name)
	switch {
	case c.Kafka != nil:
		s, err := sinkkafka.New(*c.Kafka, sinkkafka.Settings{Name: name, Logger: logger})
		return madeSink{s, processor.DeadLetterHeaders, "ce_"}, err
	case c.NATS != nil:
		s, err := sinknats.New(*c.NATS, sinknats.Settings{Name: name, Logger: logger})
		return madeSink{s, processor.DeadLetterHeaders, "ce-"}, err
	case c.HTTP != nil:
		s, err := sinkhttp.New(*c.HTTP)
		if c.HTTP.Body == sinkhttp.Single { // a request with several alerts has no headers for one
			return madeSink{s, processor.DeadLetterLine, "ce-"}, err
		}
		return madeSink{s, processor.DeadLetterLine, ""}, err
	case c.File != nil && c.File.Path == "-":
		return madeSink{sinkfile.NewWriter(p.stdout, name), processor.DeadLetterLine, ""}, nil
	case c.File != nil:
		s, err := sinkfile.New(*c.File)
		return madeSink{s, processor.DeadLetterLine, ""}, err
	}
	return madeSink{}, fmt.Errorf("sink %q is of no kind", name)
}

// routes makes the sinks for alerts.
func (p components) routes() (routes []processor.Route, err error) {
	for i := range p.cfg.Sinks {
		c := &p.cfg.Sinks[i]
		s, err := p.sink(c.Name, &c.Kinds)
		if err != nil {
			closeSinks(routes, nil, time.Second)
			return nil, fmt.Errorf("sinks[%d] (%s): %w", i, c.Name, err)
		}
		routes = append(routes, processor.Route{Name: c.Name, Sink: s.Sink, Attributes: s.attributes, Format: c.Format, MinSeverity: alert.Severity(c.MinSeverity)})
	}
	return routes, nil
}

// closeSinks flushes and frees all sinks within limit.
func closeSinks(routes []processor.Route, dead sinks.Sink, limit time.Duration) (errs []error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for i := range routes {
		if err := routes[i].Sink.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("sink %q: %w", routes[i].Name, err))
		}
	}
	if dead != nil {
		if err := dead.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("dead_letter: %w", err))
		}
	}
	return errs
}
