package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/sinks"
	sinkfile "github.com/spawnwatch/spawnwatch/sinks/file"
	sourcefile "github.com/spawnwatch/spawnwatch/sources/file"
)

// replayOptions are the flags of replay.
type replayOptions struct {
	output     string
	format     string
	rules      []string
	builtin    bool
	context    bool
	children   string
	deadLetter string
	enrich     string
	config     string
	validate   string
	workers    int
}

func newReplay(std streams) *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay [flags] [FILE...|-]",
		Short: "Find created workloads in audit log files or standard input",
		Long: `replay runs the whole pipeline over audit files or standard input and ends at the end of
input. One record a line: a bare audit event, an EventList, or what a log shipper wrapped
around it. Files may be plain, gzip or zstd (told by their first bytes) and may be given
as globs. Without FILE, standard input is read.

Alerts go to standard output in the order of the input; bad records and the summary go to
standard error.`,
		Example: `  spawnwatch replay /var/log/kubernetes/audit/*.log
  zcat audit.gz | spawnwatch replay --children alert | jq .title
  spawnwatch replay --dead-letter bad.jsonl --validate all audit.log`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return replay(cmd.Context(), std, o, args)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "how alerts are written: json, cards or table (default: cards on a terminal, else json)")
	f.StringVar(&o.format, "format", "native", "format of JSON alerts: native, ocsf, ecs or falco")
	f.StringArrayVar(&o.rules, "rules", nil, "a rule file or folder, added to the built-in pack (repeatable)")
	f.BoolVar(&o.builtin, "builtin", true, "use the built-in pack of rules")
	f.BoolVar(&o.context, "context", false, "use the context rules too: exec, rights granted, secrets read, refused attempts")
	f.StringVar(&o.children, "children", "", "workloads made by a controller for its own object: fold (count them) or alert (default fold)")
	f.StringVar(&o.deadLetter, "dead-letter", "", "write bad records to this file as JSON lines; without it they are only counted and shown")
	f.StringVar(&o.enrich, "enrich", "full", "full, or none: only what the event says of itself")
	f.StringVarP(&o.config, "config", "c", "", "a configuration file for the rest (cluster, rules, workloads, ...)")
	f.StringVar(&o.validate, "validate", "", "candidates: read all bytes of events that a rule may match; all: of every event (default candidates)")
	f.IntVar(&o.workers, "workers", 0, "how many blocks are worked on at once (default: one per processor)")
	return cmd
}

// choose checks that a flag has one of the values allowed; the first is its default.
func choose(flag, value string, allowed ...string) (string, error) {
	if value == "" {
		return allowed[0], nil
	}
	if !slices.Contains(allowed, value) {
		return "", fmt.Errorf("--%s: expected one of %s, got %q", flag, strings.Join(allowed, ", "), value)
	}
	return value, nil
}

func replay(ctx context.Context, std streams, o replayOptions, args []string) error {
	began := time.Now()
	if len(args) == 0 {
		args = []string{"-"}
	}
	cfg, err := o.configure(std)
	if err != nil {
		return err
	}
	model, err := newModel(cfg)
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	set, err := loadRules(model, ruleOptionsOf(cfg))
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bar := newProgressBar(std.err)
	defer bar.finish()
	logger := slog.New(slog.NewTextHandler(bar.beside(std.err), &slog.HandlerOptions{Level: slog.LevelWarn}))
	proc := processor.Config{
		Rules: set, Model: model, Cluster: cfg.Cluster, Workers: cfg.Processor.Workers,
		Validate: processor.Validation(cfg.Processor.Validation), Children: processor.Children(cfg.Rules.Children),
		Routes:   []processor.Route{{Name: "stdout", Sink: &pipeSink{Sink: o.sink(std, bar), closed: cancel}, Format: o.format}},
		Observer: &badPrinter{w: bar.beside(std.err)}, Logger: logger,
	}
	if o.enrich == enrichFull && cfg.Enrich.Mode != enrichNone {
		enricher, err := newEnricher(cfg, nil)
		if err != nil {
			return &exitError{code: exitConfig, err: err}
		}
		proc.Enricher = enricher
	}
	if o.deadLetter != "" {
		dead, err := sinkfile.New(sinkfile.Config{Path: o.deadLetter})
		if err != nil {
			return &exitError{code: exitBad, err: err}
		}
		defer func() { _ = dead.Close(context.WithoutCancel(ctx)) }()
		proc.DeadLetter = processor.DeadLetter{Sink: dead, Form: processor.DeadLetterLine}
	}
	p, err := processor.New(proc)
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	src, err := sourcefile.New(sourcefile.Config{Paths: args}, sourcefile.Settings{
		Name: "replay", MaxRecord: int(cfg.Processor.MaxRecord), Drain: 2 * time.Second, Stdin: std.in, Logger: logger,
	})
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	bar.start(src.Progress)
	err = src.Run(ctx, p.Handler(processor.ForeignDeadLetter))
	bar.finish()
	return finish(ctx, std.err, p.Stats(), time.Since(began), err)
}

// configure checks the flags and puts them above the configuration file, if there is one.
func (o *replayOptions) configure(std streams) (*config, error) {
	var errs []error
	check := func(flag string, value *string, allowed ...string) {
		chosen, err := choose(flag, *value, allowed...)
		if err != nil {
			errs = append(errs, err)
		}
		*value = chosen
	}
	output, err := outputOf(o.output, std.out)
	if err != nil {
		errs = append(errs, err)
	}
	o.output = output
	check("format", &o.format, alert.Formats()...)
	check("enrich", &o.enrich, enrichFull, enrichNone)
	if o.children != "" {
		check("children", &o.children, string(processor.FoldChildren), string(processor.AlertChildren))
	}
	if o.validate != "" {
		check("validate", &o.validate, string(processor.ValidateCandidates), string(processor.ValidateAll))
	}
	if o.workers < 0 {
		errs = append(errs, fmt.Errorf("--workers: expected 0 or more, got %d", o.workers))
	}
	if o.output != outputJSON && o.format != alert.FormatNative {
		errs = append(errs, fmt.Errorf("--format %s is data: it goes with -o json", o.format))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	defaults := defaultConfig()
	cfg := &defaults
	if o.config != "" {
		var err error
		if cfg, err = readConfig(o.config); err != nil {
			return nil, &exitError{code: exitConfig, err: err}
		}
	}
	cfg.Rules.Paths = append(cfg.Rules.Paths, o.rules...)
	cfg.Rules.Builtin = cfg.Rules.Builtin && o.builtin
	cfg.Rules.Context = cfg.Rules.Context || o.context
	if o.children != "" {
		cfg.Rules.Children = o.children
	}
	if o.validate != "" {
		cfg.Processor.Validation = o.validate
	}
	if o.workers > 0 {
		cfg.Processor.Workers = o.workers
	}
	return cfg, nil
}

// sink is where the alerts go.
func (o *replayOptions) sink(std streams, bar *progressBar) sinks.Sink {
	if o.output == outputJSON {
		return sinkfile.NewWriter(bar.beside(std.out), "standard output")
	}
	return newHumanSink(bar.beside(std.out), o.output, styleOf(std.out))
}

// finish prints the summary and chooses the exit code.
func finish(ctx context.Context, w io.Writer, s processor.Stats, took time.Duration, err error) error {
	for _, e := range unjoin(err) {
		fmt.Fprintf(w, "spawnwatch: %v\n", e)
	}
	writeSummary(w, s, took)
	switch {
	case errors.Is(context.Cause(ctx), sinkfile.ErrClosedPipe):
		// Whoever read the alerts has enough of them.
		return nil
	case err != nil || s.Bad > 0:
		return &exitError{code: exitBad}
	case ctx.Err() != nil:
		return &exitError{code: exitBad, err: errors.New("interrupted before the end of the input")}
	}
	return nil
}

// unjoin lists the errors that errors.Join put together.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range j.Unwrap() {
			all = append(all, unjoin(e)...)
		}
		return all
	}
	return []error{err}
}
