package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/strictyaml"
	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/enrich"
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

// config is the whole configuration file. What an adapter can be told is its own Config, in its own package.
type config struct {
	// Cluster names the cluster where the input doesn't tell.
	Cluster string `yaml:"cluster"`
	// Sources are where audit events come from: any number, each of exactly one kind. Required for run.
	Sources []sourceConfig `yaml:"sources"`
	// Rules say which events alert.
	Rules rulesConfig `yaml:"rules"`
	// Workloads are custom resources that count as workloads beside the built-in kinds.
	Workloads []workloadConfig `yaml:"workloads"`
	// Sinks are where alerts go: any number, each of exactly one kind; all of them get every alert. Required for run.
	Sinks []sinkConfig `yaml:"sinks"`
	// DeadLetter is the sink for records that cannot be read or delivered. Required for run.
	DeadLetter *deadLetterConfig `yaml:"dead_letter"`
	// Processor bounds the work in hand.
	Processor processorConfig `yaml:"processor"`
	// Admin is the listener for probes, metrics and status.
	Admin adminConfig `yaml:"admin"`
	// Enrich says what alerts are enriched with.
	Enrich enrichConfig `yaml:"enrich"`
	// Log says how much is logged, to standard error.
	Log logConfig `yaml:"log"`
}

type sourceConfig struct {
	// Name is how logs, metrics and alerts call the source. Default: its kind.
	Name string `yaml:"name"`
	// Cluster names the cluster of everything that comes from this source.
	Cluster string `yaml:"cluster"`
	// Foreign says what happens with records that hold no audit event: dead_letter (default) or count.
	Foreign string `yaml:"foreign"`

	Kafka   *sourcekafka.Config `yaml:"kafka"`
	NATS    *sourcenats.Config  `yaml:"nats"`
	Forward *forward.Config     `yaml:"forward"`
	Webhook *webhook.Config     `yaml:"webhook"`
	File    *sourcefile.Config  `yaml:"file"`
}

// sinkKinds are the sinks that alerts and dead letters can go to.
type sinkKinds struct {
	Kafka *sinkkafka.Config `yaml:"kafka"`
	NATS  *sinknats.Config  `yaml:"nats"`
	HTTP  *sinkhttp.Config  `yaml:"http"`
	File  *sinkfile.Config  `yaml:"file"`
}

type sinkConfig struct {
	// Name is how logs and metrics call the sink. Default: its kind.
	Name  string    `yaml:"name"`
	Kinds sinkKinds `yaml:",inline"`
	// Format is that of the alerts: native (default), ocsf, ecs or falco.
	Format string `yaml:"format"`
	// MinSeverity leaves out alerts below it: informational (default), low, medium, high or critical.
	MinSeverity string `yaml:"min_severity"`
}

type deadLetterConfig struct {
	Kinds sinkKinds `yaml:",inline"`
}

type rulesConfig struct {
	// Builtin switches the built-in pack on (default) or off.
	Builtin bool `yaml:"builtin"`
	// Paths are rule files and folders of one's own.
	Paths []string `yaml:"paths"`
	// Context switches the context rules on; off by default. They tell what happens around workloads: exec, rights
	// granted, secrets read, refused attempts.
	Context bool `yaml:"context"`
	// Disable lists ids of rules that are left out.
	Disable []string `yaml:"disable"`
	// Levels gives rules another level, by id: informational, low, medium, high or critical.
	Levels map[string]string `yaml:"levels"`
	// Aliases lets a field name in rules stand for paths or computed fields, beside the aliases of the program.
	Aliases map[string][]string `yaml:"aliases"`
	// Placeholders are the values of %name% in rules that use |expand.
	Placeholders map[string][]string `yaml:"placeholders"`
	// Children is fold (default: a workload that a controller made for its own object is counted, and raises no alert beside
	// its owner's) or alert (each raises one).
	Children string `yaml:"children"`
	// Controllers are more users whose children fold.
	Controllers []string `yaml:"controllers"`
}

// workloadConfig is a custom resource that counts as a workload.
type workloadConfig struct {
	// Group is its API group: argoproj.io.
	Group string `yaml:"group"`
	// Resource is its plural in lower case: rollouts. Required.
	Resource string `yaml:"resource"`
	// Kind is its kind: Rollout. Required.
	Kind string `yaml:"kind"`
	// Template is the dotted path of its pod template, empty if it has none.
	Template string `yaml:"template"`
}

type processorConfig struct {
	// Workers is how many batches are computed at once; 0 (default): one per processor.
	Workers int `yaml:"workers"`
	// Validation is candidates (default: the frame of every event is checked, and all bytes of those that may alert) or all
	// (every byte of every event).
	Validation string `yaml:"validate"`
	// Drain is how long calls in hand may go on after shutdown began; default 20s.
	Drain time.Duration `yaml:"drain"`
	// MaxRecord is the largest record that is read; default 16MiB.
	MaxRecord byteSize `yaml:"max_record"`
}

type adminConfig struct {
	// Listen is the address of the admin listener; default 127.0.0.1:9464.
	Listen string `yaml:"listen"`
	// Pprof adds the profiles of the Go runtime below /debug/pprof/; default false. They show the arguments of the process
	// and can slow it down: leave the listener on loopback.
	Pprof bool `yaml:"pprof"`
}

type logConfig struct {
	// Level is debug, info (default), warn or error. A reload takes it up.
	Level string `yaml:"level"`
}

func defaultConfig() config {
	return config{
		Rules:     rulesConfig{Builtin: true, Children: string(processor.FoldChildren)},
		Processor: processorConfig{Validation: string(processor.ValidateCandidates), Drain: 20 * time.Second, MaxRecord: sources.DefaultMaxRecord},
		Admin:     adminConfig{Listen: "127.0.0.1:9464"},
		Log:       logConfig{Level: "info"},
		Enrich:    enrichConfig{Mode: enrichFull, Event: string(enrich.EventRedacted), Thresholds: thresholdsConfig(alert.DefaultThresholds())},
	}
}

// readConfig reads and checks a configuration file.
func readConfig(path string) (*config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	cfg := defaultConfig()
	env := strictyaml.Environment{LookUp: os.LookupEnv, ReadFile: os.ReadFile}
	if err := strictyaml.Decode(path, data, &cfg, env); err != nil {
		return nil, err
	}
	return &cfg, nil
}

// keyError is a fault at one key.
type keyError struct {
	key string
	err error
}

func (e *keyError) Error() string { return e.err.Error() }
func (e *keyError) Key() string   { return e.key }
func (e *keyError) Unwrap() error { return e.err }

func atKey(key, format string, args ...any) error {
	return &keyError{key, fmt.Errorf(format, args...)}
}

func oneOf(key, value string, allowed ...string) error {
	if value == "" {
		return nil
	}
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return atKey(key, "expected one of %s, got %q", strings.Join(allowed, ", "), value)
}

// Validate implements [strictyaml.Validator].
func (c *sourceConfig) Validate() error {
	kinds := c.kinds()
	err := oneOf("foreign", c.Foreign, string(processor.ForeignDeadLetter), string(processor.ForeignCount))
	if len(kinds) != 1 {
		return errors.Join(err, fmt.Errorf("expected exactly one of kafka, nats, forward, webhook, file, got %s", listed(kinds)))
	}
	if c.Name == "" {
		c.Name = kinds[0]
	}
	return err
}

func (c *sourceConfig) kinds() (kinds []string) {
	if c.Kafka != nil {
		kinds = append(kinds, "kafka")
	}
	if c.NATS != nil {
		kinds = append(kinds, "nats")
	}
	if c.Forward != nil {
		kinds = append(kinds, "forward")
	}
	if c.Webhook != nil {
		kinds = append(kinds, "webhook")
	}
	if c.File != nil {
		kinds = append(kinds, "file")
	}
	return kinds
}

func (c *sinkKinds) kinds() (kinds []string) {
	if c.Kafka != nil {
		kinds = append(kinds, "kafka")
	}
	if c.NATS != nil {
		kinds = append(kinds, "nats")
	}
	if c.HTTP != nil {
		kinds = append(kinds, "http")
	}
	if c.File != nil {
		kinds = append(kinds, "file")
	}
	return kinds
}

func listed(kinds []string) string {
	if len(kinds) == 0 {
		return "none"
	}
	return strings.Join(kinds, " and ")
}

// Validate implements [strictyaml.Validator].
func (c *sinkConfig) Validate() error {
	kinds := c.Kinds.kinds()
	err := errors.Join(
		oneOf("format", c.Format, alert.Formats()...),
		oneOf("min_severity", c.MinSeverity, alert.Severities()...),
	)
	if len(kinds) != 1 {
		return errors.Join(err, fmt.Errorf("expected exactly one of kafka, nats, http, file, got %s", listed(kinds)))
	}
	if c.Name == "" {
		c.Name = kinds[0]
	}
	if c.Format == "" {
		c.Format = "native"
	}
	return err
}

// Validate implements [strictyaml.Validator].
func (c *deadLetterConfig) Validate() error {
	if kinds := c.Kinds.kinds(); len(kinds) != 1 {
		return fmt.Errorf("expected exactly one of kafka, nats, http, file, got %s", listed(kinds))
	}
	return nil
}

// Validate implements [strictyaml.Validator].
func (c *rulesConfig) Validate() error {
	errs := []error{oneOf("children", c.Children, string(processor.FoldChildren), string(processor.AlertChildren))}
	for _, id := range slices.Sorted(maps.Keys(c.Levels)) {
		if level := c.Levels[id]; level == "" {
			errs = append(errs, atKey("levels."+id, "expected one of %s, got none", strings.Join(alert.Severities(), ", ")))
		} else {
			errs = append(errs, oneOf("levels."+id, level, alert.Severities()...))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Aliases)) {
		if len(c.Aliases[name]) == 0 {
			errs = append(errs, atKey("aliases."+name, "expected the fields that it stands for, got none"))
		}
	}
	return errors.Join(errs...)
}

// Validate implements [strictyaml.Validator].
func (c *workloadConfig) Validate() error {
	var errs []error
	if c.Resource == "" {
		errs = append(errs, errors.New("resource is required: the plural in lower case, such as rollouts"))
	}
	if c.Kind == "" {
		errs = append(errs, errors.New("kind is required, such as Rollout"))
	}
	return errors.Join(errs...)
}

// Validate implements [strictyaml.Validator].
func (c *processorConfig) Validate() error {
	var errs []error
	if c.Workers < 0 || c.Workers > 1024 {
		errs = append(errs, atKey("workers", "expected 0 (one per processor) to 1024, got %d", c.Workers))
	}
	if c.Drain < time.Second || c.Drain > time.Hour {
		errs = append(errs, atKey("drain", "expected 1s to 1h, got %s", c.Drain))
	}
	if c.MaxRecord < 64<<10 || c.MaxRecord > 1<<30 {
		errs = append(errs, atKey("max_record", "expected 64KiB to 1GiB, got %d bytes", c.MaxRecord))
	}
	return errors.Join(append(errs, oneOf("validate", c.Validation, string(processor.ValidateCandidates), string(processor.ValidateAll)))...)
}

// Validate implements [strictyaml.Validator].
func (c *adminConfig) Validate() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return atKey("listen", "expected host:port, got %q", c.Listen)
	}
	return nil
}

// Validate implements [strictyaml.Validator].
func (c *logConfig) Validate() error {
	return oneOf("level", c.Level, "debug", "info", "warn", "error")
}

// Validate implements [strictyaml.Validator] for what several parts must agree on.
func (c *config) Validate() error {
	var errs []error
	names := map[string]int{}
	for i := range c.Sources {
		if first, twice := names[c.Sources[i].Name]; twice {
			errs = append(errs, fmt.Errorf("sources[%d] has the name %q of sources[%d]: give each a name of its own", i, c.Sources[i].Name, first))
		}
		names[c.Sources[i].Name] = i
	}
	clear(names)
	for i := range c.Sinks {
		if first, twice := names[c.Sinks[i].Name]; twice {
			errs = append(errs, fmt.Errorf("sinks[%d] has the name %q of sinks[%d]: give each a name of its own", i, c.Sinks[i].Name, first))
		}
		names[c.Sinks[i].Name] = i
	}
	return errors.Join(errs...)
}

// validateRun adds what only the long-running stage needs.
func (c *config) validateRun() error {
	var errs []error
	if len(c.Sources) == 0 {
		errs = append(errs, errors.New("sources: at least one is required"))
	}
	if len(c.Sinks) == 0 {
		errs = append(errs, errors.New("sinks: at least one is required"))
	}
	if c.DeadLetter == nil {
		errs = append(errs, errors.New("dead_letter: a sink for records that cannot be read is required, such as {file: {path: /var/lib/spawnwatch/dead.jsonl}}"))
	}
	return errors.Join(errs...)
}

// byteSize is a number of bytes: 16MiB, 64KiB, 1GiB, 1MB or a plain number.
type byteSize int64

// UnmarshalText implements [encoding.TextUnmarshaler].
func (b *byteSize) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}} {
		if number, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = strings.TrimSpace(number), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return errors.New("it is no number of bytes such as 16MiB, 64KiB or 1000000")
	}
	*b = byteSize(n * unit)
	return nil
}
