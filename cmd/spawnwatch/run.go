package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/processor/enrich"
	"github.com/spawnwatch/spawnwatch/rules"
)

func newRun(std streams) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Run as a stage of a pipeline: read sources, publish alerts, until told to stop",
		Long: `run reads every source of the configuration and publishes alerts to every sink until it
gets SIGTERM or SIGINT. It then stops reading, lets the work in hand finish within the
drain limit (processor.drain), and acknowledges what was published. A second signal ends
it at once. What was not acknowledged comes again at the next start.

On SIGHUP the rules are read again; if they are wrong the last good ones stay.

Exit code 0 after a clean stop, 1 after a failure, 3 if the configuration or a rule is wrong.`,
		Example: "  spawnwatch run -c /etc/spawnwatch/spawnwatch.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runStage(cmd.Context(), std, path)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "", "the configuration file (required)")
	_ = cmd.MarkFlagRequired("config")
	return cmd
}

// loadConfig reads and checks the configuration of a long-running stage.
func loadConfig(path string) (*config, error) {
	cfg, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	if err := cfg.validateRun(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, nil
}

// stage is everything that run has put together.
type stage struct {
	cfg      *config
	logger   *slog.Logger
	model    *audit.Model
	enricher *enrich.Enricher
	proc     *processor.Processor
	routes   []processor.Route
	dead     processor.DeadLetter
	sources  []namedSource
}

func newLogger(std streams) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if isTerminal(std.err) {
		return slog.New(slog.NewTextHandler(std.err, options))
	}
	return slog.New(slog.NewJSONHandler(std.err, options))
}

func runStage(ctx context.Context, std streams, path string) error {
	cfg, err := loadConfig(path)
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	s, err := assemble(cfg, std, newLogger(std))
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	defer s.reloadOnHangup(ctx)()
	s.logger.InfoContext(ctx, "started", "version", programVersion(), "sources", len(s.sources), "sinks", len(s.routes))

	done := make(chan error, 1)
	sup := supervisor{logger: s.logger, ready: func(string, bool, error) {}}
	go func() { done <- sup.run(ctx, s.sources) }()
	err = s.waitFor(ctx, done)
	errs := append([]error{err}, closeSinks(s.routes, s.dead.Sink, closeLimit)...)
	if err := errors.Join(errs...); err != nil {
		return &exitError{code: exitBad, err: err}
	}
	stats := s.proc.Stats()
	s.logger.Info("stopped", "events", stats.Events, "alerts", stats.Alerts, "bad", stats.Bad)
	return nil
}

// Beyond the drain limit: what a source may take to acknowledge and leave, and what sinks may take to close.
const (
	leaveLimit = 5 * time.Second
	closeLimit = 5 * time.Second
)

var errStuck = errors.New("sources did not stop within the drain limit: what they had in hand is not acknowledged and comes again")

// waitFor waits for the sources, but not for ever once the program is to stop.
func (s *stage) waitFor(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	s.logger.Info("stopping", "drain", s.cfg.Processor.Drain)
	limit := time.NewTimer(s.cfg.Processor.Drain + leaveLimit)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-limit.C:
		return errStuck
	}
}

// assemble makes every part, without connecting anything.
func assemble(cfg *config, std streams, logger *slog.Logger) (*stage, error) {
	s := &stage{cfg: cfg, logger: logger}
	var err error
	if s.model, err = newModel(cfg); err != nil {
		return nil, err
	}
	if s.enricher, err = newEnricher(cfg); err != nil {
		return nil, err
	}
	set, err := loadRules(s.model, ruleOptionsOf(cfg))
	if err != nil {
		return nil, err
	}
	parts := components{logger: logger, cfg: cfg, stdin: std.in, stdout: std.out}
	if s.routes, err = parts.routes(); err != nil {
		return nil, err
	}
	dead, err := parts.sink("dead_letter", &cfg.DeadLetter.Kinds)
	if err != nil {
		closeSinks(s.routes, nil, closeLimit)
		return nil, fmt.Errorf("dead_letter: %w", err)
	}
	s.dead = processor.DeadLetter{Sink: dead.Sink, Form: dead.form}
	if err := s.process(parts, set); err != nil {
		closeSinks(s.routes, s.dead.Sink, closeLimit)
		return nil, err
	}
	return s, nil
}

// process makes the processor and binds the sources to it.
func (s *stage) process(parts components, set *rules.Set) error {
	proc, err := processor.New(processor.Config{
		Rules: set, Model: s.model, Enricher: s.enricher, Routes: s.routes, DeadLetter: s.dead,
		Cluster: s.cfg.Cluster, Workers: s.cfg.Processor.Workers,
		Validate: processor.Validation(s.cfg.Processor.Validation), Children: processor.Children(s.cfg.Rules.Children),
		Logger: s.logger,
	})
	if err != nil {
		return err
	}
	s.proc = proc
	for i := range s.cfg.Sources {
		c := &s.cfg.Sources[i]
		src, err := parts.source(c)
		if err != nil {
			return fmt.Errorf("sources[%d] (%s): %w", i, c.Name, err)
		}
		s.sources = append(s.sources, namedSource{
			name: c.Name, source: src, handler: proc.Handler(processor.Foreign(c.Foreign)), finite: c.File != nil && !c.File.Follow,
		})
	}
	return nil
}

// newModel makes the reader of audit events.
func newModel(cfg *config) (*audit.Model, error) {
	o := audit.Options{}
	for _, user := range cfg.Rules.Controllers {
		o.Controllers = append(o.Controllers, audit.Controller{User: user})
	}
	for _, w := range cfg.Workloads {
		o.Workloads = append(o.Workloads, audit.CustomWorkload{Group: w.Group, Resource: w.Resource, Kind: w.Kind, Template: w.Template})
	}
	return audit.NewModel(o)
}

// reloadOnHangup reads the rules again on every SIGHUP. The function it returns ends that.
func (s *stage) reloadOnHangup(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-hangup:
				s.reloadRules(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		signal.Stop(hangup)
		cancel()
		<-ended
	}
}

func (s *stage) reloadRules(ctx context.Context) {
	set, err := loadRules(s.model, ruleOptionsOf(s.cfg))
	if err != nil {
		s.logger.ErrorContext(ctx, "the rules were not reloaded: the last good ones stay", "error", err)
		return
	}
	s.proc.SetRules(set)
	s.logger.InfoContext(ctx, "rules reloaded")
}
