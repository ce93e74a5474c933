package main

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
	"github.com/spawnwatch/spawnwatch/internal/strictyaml"
	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/sinks"
	sinknats "github.com/spawnwatch/spawnwatch/sinks/nats"
	sourcenats "github.com/spawnwatch/spawnwatch/sources/nats"
)

// demoAudit holds lines of a real API server's audit log, chosen by TestDemoSample out of testdata/corpus.
//
//go:embed demodata/audit.jsonl.gz
var demoAudit []byte

// demoConfig is what the demo runs.
//
//go:embed demodata/spawnwatch.yaml
var demoConfig []byte

type demoOptions struct {
	output string
	pace   time.Duration
}

func newDemo(std streams) *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See the whole job in a quarter of a minute: nothing to install, no network needed",
		Long: `demo starts a NATS server with JetStream inside of this process (on a free port of
127.0.0.1, its files in a temporary folder), publishes lines of a real audit log into it,
runs the very pipeline of "spawnwatch run" from the audit subject to the alert subject, and
shows the alerts that come out there. Then it takes everything away again.

Exit code 0 at the end and after Ctrl-C, 1 if something failed, 2 for wrong arguments.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), std, o)
		},
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", outputCards, "how alerts are shown: cards, table or json")
	cmd.Flags().DurationVar(&o.pace, "pace", 12*time.Second, "how long publishing the sample takes; 0s: as fast as possible")
	return cmd
}

func demo(ctx context.Context, std streams, o demoOptions) error {
	output, err := outputOf(o.output, std.out)
	if err != nil {
		return err
	}
	if o.pace < 0 || o.pace > time.Hour {
		return usageError("--pace: expected 0s to 1h, got %s", o.pace)
	}
	lines, err := demoLines()
	if err != nil {
		return &exitError{code: exitBad, err: err}
	}
	server, err := natsdemo.Start(natsdemo.Settings{})
	if err != nil {
		return &exitError{code: exitBad, err: err}
	}
	err = runDemo(ctx, std, demoRun{url: server.URL(), lines: lines, output: output, pace: o.pace})
	if err := errors.Join(err, server.Close()); err != nil {
		return &exitError{code: exitBad, err: err}
	}
	return nil
}

// demoRun is one demo against a server.
type demoRun struct {
	url    string
	lines  [][]byte
	output string
	pace   time.Duration
}

// Names that demodata/spawnwatch.yaml uses.
const (
	demoSubject     = "k8s.audit"
	demoStream      = "K8S_AUDIT"
	demoAlerts      = "k8s.alerts.*"
	demoAlertStream = "K8S_ALERTS"
)

// runDemo returns nil when all alerts were shown, or ctx ended.
func runDemo(ctx context.Context, std streams, d demoRun) error {
	began := time.Now()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	logger := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := d.stage(std, logger)
	if err != nil {
		return err
	}
	shown := complaints{w: std.err}
	v := newViewer(std.out, d.output, stop, shown.add)
	screen, err := sourcenats.New(sourcenats.Config{
		Access: natsconn.Access{URL: d.url}, Stream: demoAlertStream, Subjects: []string{demoAlerts}, Durable: "screen", Create: true,
	}, sourcenats.Settings{Name: "screen", Logger: logger, Drain: tailDrain, Calls: 1})
	if err != nil {
		return err
	}

	fmt.Fprintf(std.err, "An embedded NATS server listens on %s. Audit events go to %s, alerts come out of %s.\n\n", d.url, demoSubject, demoAlerts)
	sup := supervisor{logger: logger, ready: func(string, bool, error) {}}
	ended := make(chan error, 2)
	go func() { ended <- sup.run(ctx, s.sources) }()
	go func() { ended <- screen.Run(ctx, v.handle) }()
	go func() {
		err := d.publish(ctx, logger)
		if err == nil {
			err = d.settle(ctx, s.proc, v)
		}
		stop(err) // nil: all was shown
	}()
	errs := []error{<-ended}
	stop(errs[0]) // one without the other would wait for ever
	errs = append(errs, <-ended)
	errs = append(errs, closeSinks(s.routes, s.dead.Sink, closeLimit)...)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		errs = append(errs, cause)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	writeSummary(std.err, s.proc.Stats(), time.Since(began))
	if v.shown.Load() >= int64(s.proc.Stats().Alerts) && v.shown.Load() > 0 {
		fmt.Fprintln(std.err, whatNext)
	}
	return nil
}

// whatNext is where a reader may go from the demo.
const whatNext = `
What to try next:
  your own audit log        spawnwatch replay /var/log/kubernetes/audit/*.log
  as data                   spawnwatch replay -o json audit.log | jq .title
  as a long-running stage   spawnwatch config example > spawnwatch.yaml; spawnwatch run -c spawnwatch.yaml
  watch its alerts          spawnwatch tail --nats nats://127.0.0.1:4222 --subject 'k8s.alerts.>'
  what it looks for         spawnwatch rules list`

// stage is what `run` would make of the configuration.
func (d *demoRun) stage(std streams, logger *slog.Logger) (*stage, error) {
	cfg := defaultConfig()
	env := strictyaml.Environment{
		LookUp: func(name string) (string, bool) { return d.url, name == "NATS_URL" },
		ReadFile: func(string) ([]byte, error) {
			return nil, errors.New("the demo reads no files")
		},
	}
	if err := strictyaml.Decode("demodata/spawnwatch.yaml", demoConfig, &cfg, env); err != nil {
		return nil, err
	}
	return assemble(&cfg, std, logger, nil)
}

// publish sends the lines at their pace.
func (d *demoRun) publish(ctx context.Context, logger *slog.Logger) error {
	sink, err := sinknats.New(sinknats.Config{
		Access: natsconn.Access{URL: d.url}, Subject: demoSubject, Stream: demoStream, Create: true,
	}, sinknats.Settings{Name: "audit log", Logger: logger})
	if err != nil {
		return err
	}
	defer func() { _ = sink.Close(ctx) }()
	pause := d.pace / time.Duration(len(d.lines))
	for i, line := range d.lines {
		msg := sinks.Message{Value: line, Headers: []sinks.Header{{Key: "content-type", Value: "application/json"}}}
		if err := sink.Publish(ctx, []sinks.Message{msg}); err != nil {
			return fmt.Errorf("line %d of the sample was not published: %w", i+1, err)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// How often and how long the demo looks whether everything has come through.
const (
	settleEvery = 20 * time.Millisecond
	settleLimit = 15 * time.Second
)

// settle waits until every line was worked on and every alert was shown.
func (d *demoRun) settle(ctx context.Context, proc *processor.Processor, v *viewer) error {
	limit := time.Now().Add(settleLimit)
	for {
		stats := proc.Stats()
		done := stats.Records >= uint64(len(d.lines)) && stats.Alerts+stats.Repeats >= stats.Raised
		if done && v.shown.Load() >= int64(stats.Alerts) && stats.Alerts > 0 {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("after %s %d of %d events have come through and %d of %d alerts were shown: is the machine very busy?",
				settleLimit, stats.Records, len(d.lines), v.shown.Load(), stats.Alerts)
		}
		if err := sleep(ctx, settleEvery); err != nil {
			return err
		}
	}
}

// sleep pauses for d unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// demoLines unpacks the sample.
func demoLines() ([][]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(demoAudit))
	if err != nil {
		return nil, fmt.Errorf("the sample of the demo: %w", err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("the sample of the demo: %w", err)
	}
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")), nil
}
