package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/processor/alert"
	sinkfile "github.com/spawnwatch/spawnwatch/sinks/file"
	"github.com/spawnwatch/spawnwatch/sources"
	sourcefile "github.com/spawnwatch/spawnwatch/sources/file"
	sourcekafka "github.com/spawnwatch/spawnwatch/sources/kafka"
	sourcenats "github.com/spawnwatch/spawnwatch/sources/nats"
)

// tailOptions are the flags of tail.
type tailOptions struct {
	output   string
	severity string
	nats     string
	subjects []string
	creds    string
	kafka    []string
	topics   []string
	start    string
	config   string
	sink     string
}

func newTail(std streams) *cobra.Command {
	var o tailOptions
	cmd := &cobra.Command{
		Use:   "tail [flags] [FILE...|-]",
		Short: "Show alerts as they come: from a NATS subject, a Kafka topic, files or standard input",
		Long: `tail shows alerts that spawnwatch has published, as cards that a person can decide upon.

  --nats URL --subject S     what is published to the subject from now on, whether or not a
                             stream keeps it; other readers are not disturbed
  --kafka BROKER --topic T   what is written to the topic from now on (--start for earlier),
                             in a consumer group of its own that nobody else uses
  -c FILE [--sink NAME]      what a sink of that configuration publishes, with its
                             credentials and TLS
  FILE... or -               lines of JSON from files or standard input

It runs until the end of the input, or until Ctrl-C. Records that are no alerts are said on
standard error and left out.

Exit code 0 at the end, 1 if a source failed or (files and standard input only) a line was
no alert, 2 for wrong arguments, 3 if the configuration is wrong.`,
		Example: `  spawnwatch tail --nats nats://127.0.0.1:4222 --subject 'k8s.alerts.>'
  spawnwatch tail --kafka 127.0.0.1:9092 --topic k8s.alerts.critical --start earliest
  spawnwatch tail -c /etc/spawnwatch/spawnwatch.yaml --sink siem --min-severity high
  spawnwatch tail -o table alerts.jsonl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return tail(cmd.Context(), std, &o, args)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "how alerts are shown: cards, table or json (default: cards on a terminal, else json)")
	f.StringVar(&o.severity, "min-severity", "", "leave out alerts below: informational, low, medium, high or critical")
	f.StringVar(&o.nats, "nats", "", "URL of a NATS server, or several separated by commas")
	f.StringArrayVar(&o.subjects, "subject", nil, "NATS subject, wildcards allowed (repeatable)")
	f.StringVar(&o.creds, "creds", "", "NATS credentials file")
	f.StringSliceVar(&o.kafka, "kafka", nil, "Kafka brokers as host:port, separated by commas")
	f.StringArrayVar(&o.topics, "topic", nil, "Kafka topic, or ^ and a regular expression (repeatable)")
	f.StringVar(&o.start, "start", "", "where a Kafka topic is begun: latest (default), earliest, or a time such as 2026-01-31T08:00:00Z")
	f.StringVarP(&o.config, "config", "c", "", "a configuration file whose sink is watched")
	f.StringVar(&o.sink, "sink", "", "name of that sink (default: the first)")
	return cmd
}

// feed is what tail reads.
type feed struct {
	source sources.Source
	// name is what a person calls it.
	name string
	// finite is set for an input that ends.
	finite bool
}

func tail(ctx context.Context, std streams, o *tailOptions, args []string) error {
	output, err := outputOf(o.output, std.out)
	if err != nil {
		return err
	}
	least, err := choose("min-severity", o.severity, append([]string{""}, alert.Severities()...)...)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	logger := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	in, err := o.feed(std, logger, args)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	shown := complaints{w: std.err}
	v := newViewer(std.out, output, stop, shown.add)
	v.least = alert.Severity(least)
	if !in.finite && isTerminal(std.err) {
		fmt.Fprintf(std.err, "waiting for alerts from %s (Ctrl-C ends)\n", printable(in.name))
	}
	err = in.source.Run(ctx, v.handle)
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, sinkfile.ErrClosedPipe):
		return nil // whoever read the alerts has enough of them
	case cause != nil && !errors.Is(cause, context.Canceled):
		return &exitError{code: exitBad, err: cause}
	case cause == nil && err != nil:
		return &exitError{code: exitBad, err: err}
	case in.finite && v.bad.Load() > 0:
		return &exitError{code: exitBad}
	}
	return nil
}

// complaints says what cannot be shown, at most [shownBad] times.
type complaints struct {
	w io.Writer
	n atomic.Int64
}

func (c *complaints) add(where string, err error) {
	switch n := c.n.Add(1); {
	case n <= shownBad:
		fmt.Fprintf(c.w, "spawnwatch: %s: not shown: %s\n", printable(where), printable(err.Error()))
	case n == shownBad+1:
		fmt.Fprintln(c.w, "spawnwatch: further records that are no alerts are left out without a word")
	}
}

// feed makes the source that the flags ask for. Exactly one is allowed.
func (o *tailOptions) feed(std streams, logger *slog.Logger, args []string) (*feed, error) {
	var given []string
	for _, g := range []struct {
		flag string
		set  bool
	}{{"--nats", o.nats != ""}, {"--kafka", len(o.kafka) > 0}, {"--config", o.config != ""}, {"FILE", len(args) > 0}} {
		if g.set {
			given = append(given, g.flag)
		}
	}
	if len(given) != 1 {
		return nil, usageError("expected exactly one of --nats, --kafka, --config and FILE, got %s", listed(given))
	}
	for _, belongs := range []struct {
		flag, to string
		set      bool
	}{
		{"--subject", "--nats", len(o.subjects) > 0},
		{"--creds", "--nats", o.creds != ""},
		{"--topic", "--kafka", len(o.topics) > 0},
		{"--start", "--kafka", o.start != ""},
		{"--sink", "--config", o.sink != ""},
	} {
		if belongs.set && belongs.to != given[0] {
			return nil, usageError("%s goes with %s, got %s", belongs.flag, belongs.to, given[0])
		}
	}
	var in *feed
	var err error
	switch given[0] {
	case "--nats":
		in, err = natsFeed(natsconn.Access{URL: o.nats, Creds: o.creds}, o.subjects, logger)
	case "--kafka":
		in, err = kafkaFeed(sourcekafka.Config{Brokers: o.kafka, Topics: o.topics, Start: o.start}, logger)
	case "--config":
		return o.configuredFeed(logger)
	default:
		in, err = fileFeed(args, std.in, logger)
	}
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	return in, nil
}

func usageError(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// tailDrain is how long a card that is being written may take at the end.
const tailDrain = time.Second

// natsFeed subscribes without any state on the server: a message that a stream stores goes to plain subscribers all the
// same. The queue group is nobody else's, so that all messages come here.
func natsFeed(access natsconn.Access, subjects []string, logger *slog.Logger) (*feed, error) {
	cfg := sourcenats.Config{Access: access, Mode: sourcenats.Core, Subjects: subjects, Queue: throwAway()}
	src, err := sourcenats.New(cfg, sourcenats.Settings{Name: "tail", Logger: logger, Drain: tailDrain, Calls: 1})
	if err != nil {
		return nil, err
	}
	return &feed{source: src, name: "subject " + strings.Join(subjects, ", ")}, nil
}

// kafkaFeed reads in a group that nobody else is in. The brokers forget its offsets after offsets.retention.minutes.
func kafkaFeed(cfg sourcekafka.Config, logger *slog.Logger) (*feed, error) {
	cfg.Group = throwAway()
	if cfg.Start == "" {
		cfg.Start = sourcekafka.Latest
	}
	src, err := sourcekafka.New(cfg, sourcekafka.Settings{Name: "tail", Logger: logger, Drain: tailDrain})
	if err != nil {
		return nil, err
	}
	return &feed{source: src, name: "topic " + strings.Join(cfg.Topics, ", ")}, nil
}

func fileFeed(paths []string, stdin io.Reader, logger *slog.Logger) (*feed, error) {
	src, err := sourcefile.New(sourcefile.Config{Paths: paths}, sourcefile.Settings{Name: "tail", Drain: tailDrain, Stdin: stdin, Logger: logger})
	if err != nil {
		return nil, err
	}
	return &feed{source: src, name: strings.Join(paths, ", "), finite: true}, nil
}

func throwAway() string { return "spawnwatch-tail-" + rand.Text()[:10] }
