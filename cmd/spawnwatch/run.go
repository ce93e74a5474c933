package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/spawnwatch/spawnwatch/internal/telemetry"
	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/audit"
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

Rules, the files of enrichment, its thresholds and the log level are read again on SIGHUP
and when one of their files or the configuration changes, without a pause; if something is
wrong the last good ones stay, and the log says what. It also says which changes need a
restart.

The admin listener (admin.listen) answers /livez, /readyz, /metrics and /status. Metrics,
traces and logs are sent by OTLP when the standard OTEL_* variables say where to.

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
	enricher *liveEnricher
	proc     *processor.Processor
	routes   []processor.Route
	dead     processor.DeadLetter
	sources  []namedSource

	// of a long-running stage
	path  string
	level *slog.LevelVar
	tele  *telemetry.Telemetry
	began time.Time
	// live is the configuration with what reloads have taken up; cfg stays as it was at the start.
	live       atomic.Pointer[config]
	loaded     atomic.Int64
	lastReload atomic.Pointer[reloadStatus]
}

func runStage(ctx context.Context, std streams, path string) error {
	cfg, err := loadConfig(path)
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	level := new(slog.LevelVar)
	if l, err := cfg.Log.level(); err == nil { // it was checked with the rest
		level.Set(l)
	}
	handler := newLogHandler(std, level)
	tele, err := startTelemetry(ctx, cfg, slog.New(handler))
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	if sent := tele.LogHandler(); sent != nil {
		handler = slog.NewMultiHandler(handler, telemetry.AtLeast(level, sent))
	}
	s, err := assemble(cfg, std, slog.New(handler), tele)
	if err != nil {
		return &exitError{code: exitConfig, err: errors.Join(err, closeTelemetry(tele))}
	}
	s.path, s.level, s.began = path, level, time.Now()
	s.live.Store(cfg)
	err = s.run(ctx)
	errs := append([]error{err}, closeSinks(s.routes, s.dead.Sink, closeLimit)...)
	stats := s.proc.Stats()
	s.logger.Info("stopped", "events", stats.Events, "alerts", stats.Alerts, "bad", stats.Bad)
	if err := closeTelemetry(tele); err != nil {
		slog.New(newLogHandler(std, level)).Warn("the last of telemetry was not sent", "error", err)
	}
	if err := errors.Join(errs...); err != nil {
		return &exitError{code: exitBad, err: err}
	}
	return nil
}

// run runs all sources until ctx ends, with all that goes beside them.
func (s *stage) run(ctx context.Context) error {
	limitMemory(s.logger)
	listener, err := startAdmin(ctx, s)
	if err != nil {
		return err
	}
	defer listener.close()
	defer s.reloadOnChange(ctx)()
	defer s.checkSinks(ctx)()
	s.logger.InfoContext(ctx, "started", "version", programVersion(), "sources", len(s.sources), "sinks", len(s.routes),
		"rules", s.loaded.Load(), "admin", listener.listener.Addr().String())

	done := make(chan error, 1)
	sup := supervisor{logger: s.logger, ready: func(name string, up bool, err error) { s.tele.Source(name).Running(up, err) }}
	go func() { done <- sup.run(ctx, s.sources) }()
	return s.waitFor(ctx, done)
}

// closeTelemetry sends what is left to send.
func closeTelemetry(tele *telemetry.Telemetry) error {
	ctx, cancel := context.WithTimeout(context.Background(), telemetryLimit)
	defer cancel()
	return tele.Close(ctx)
}

// Beyond the drain limit: what a source may take to acknowledge and leave, what sinks may take to close, and the last of
// telemetry to be sent.
const (
	leaveLimit     = 5 * time.Second
	closeLimit     = 5 * time.Second
	telemetryLimit = 3 * time.Second
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

// assemble makes every part, without connecting anything. tele may be nil.
func assemble(cfg *config, std streams, logger *slog.Logger, tele *telemetry.Telemetry) (*stage, error) {
	s := &stage{cfg: cfg, logger: logger, tele: tele, enricher: new(liveEnricher)}
	var err error
	if s.model, err = newModel(cfg); err != nil {
		return nil, err
	}
	var failed func(string)
	if tele != nil {
		failed = tele.EnricherFailed
	}
	enricher, err := newEnricher(cfg, failed)
	if err != nil {
		return nil, err
	}
	s.enricher.current.Store(enricher)
	set, err := loadRules(s.model, ruleOptionsOf(cfg))
	if err != nil {
		return nil, err
	}
	parts := components{logger: logger, cfg: cfg, stdin: std.in, stdout: std.out, tele: tele}
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
	pc := processor.Config{
		Rules: set, Model: s.model, Enricher: s.chosenEnricher(), Routes: s.routes, DeadLetter: s.dead,
		Cluster: s.cfg.Cluster, Workers: s.cfg.Processor.Workers,
		Validate: processor.Validation(s.cfg.Processor.Validation), Children: processor.Children(s.cfg.Rules.Children),
		Logger: s.logger,
	}
	if s.tele != nil {
		pc.Meter = s.tele
	}
	proc, err := processor.New(pc)
	if err != nil {
		return err
	}
	s.proc = proc
	parts.skim = proc.Skim()
	s.countRules(set)
	if s.tele != nil {
		s.tele.Workers(proc.Workers)
	}
	for i := range s.cfg.Sources {
		c := &s.cfg.Sources[i]
		src, err := parts.source(c)
		if err != nil {
			return fmt.Errorf("sources[%d] (%s): %w", i, c.Name, err)
		}
		n := namedSource{name: c.Name, source: src, handler: proc.Handler(processor.Foreign(c.Foreign)), finite: c.File != nil && !c.File.Follow}
		if s.tele != nil {
			watchSource(s.tele.Source(c.Name), src)
			n.handler = countAcks(s.tele.Source(c.Name), n.handler)
		}
		s.sources = append(s.sources, n)
	}
	return nil
}

// countRules takes note of how many rules are in use.
func (s *stage) countRules(set *rules.Set) {
	n := len(set.Rules())
	s.loaded.Store(int64(n))
	if s.tele != nil {
		s.tele.RulesLoaded(n)
	}
}

// chosenEnricher is nil where alerts are to hold only what their event says of itself.
func (s *stage) chosenEnricher() processor.Enricher {
	if s.cfg.Enrich.Mode == enrichNone {
		return nil
	}
	return s.enricher
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
