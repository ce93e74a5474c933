// Package telemetry is what the program tells about itself: metrics and traces by the OpenTelemetry SDK, and the state of
// sources and sinks for probes and people.
//
// Metrics can always be read from [Telemetry.Metrics]. Nothing is sent anywhere unless the standard OTEL_* variables ask
// for it; without them a trace that arrives with a record is passed on as it is, and no span is made.
//
// What is counted per batch is a handful of atomics, read when somebody collects: the hot path pays for four histograms
// and, where traces are exported, for one span a batch and one a match.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// scope names the instruments, spans and logs of the program.
const scope = "github.com/spawnwatch/spawnwatch"

// SourceInfo is a source as it is configured.
type SourceInfo struct {
	// Name is the configured name.
	Name string
	// Kind is the transport: kafka, nats, forward, webhook or file.
	Kind string
	// Group is the consumer group or the durable consumer, empty where there is none.
	Group string
	// Faults are the names of what can go wrong at its transport.
	Faults []string
}

// Options are what is known when the program starts.
type Options struct {
	Version, Revision, GoVersion string
	Sources                      []SourceInfo
	// Sinks are the names of all sinks, that of the dead letters among them.
	Sinks []string
	// LookUp reads the environment, which says whether and where anything is sent.
	LookUp func(name string) (value string, ok bool)
	// Logger gets what the exporters complain about, every ten seconds at most. It must not lead back to them.
	Logger *slog.Logger
}

// Telemetry is made once, by [Start].
type Telemetry struct {
	options  Options
	sources  map[string]*Source
	sinks    map[string]*Sink
	spare    *Source
	registry *prometheus.Registry
	figures  figures
	tracer   trace.Tracer
	// tracing is set when spans go anywhere: without it none are made.
	tracing bool
	// quiet and alerting bound the traces that the program starts itself.
	quiet, alerting *budget
	logs            *sdklog.LoggerProvider
	ends            []func(context.Context) error
	// complaint is when an exporter last complained.
	mu        sync.Mutex
	complaint time.Time
	unsaid    int
}

// Start makes instruments and exporters. It connects to nobody until there is something to send.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Telemetry{options: o, sources: map[string]*Source{}, sinks: map[string]*Sink{}, registry: prometheus.NewRegistry()}
	for _, info := range o.Sources {
		t.sources[info.Name] = newSource(info)
	}
	t.spare = newSource(SourceInfo{Name: "unknown"})
	for _, name := range o.Sinks {
		t.sinks[name] = newSink(name)
	}
	where, err := destinationsOf(o.LookUp)
	if err != nil {
		return nil, err
	}
	about, err := aboutUs(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(t.startMetrics(ctx, where, about), t.startTraces(ctx, where, about), t.startLogs(ctx, where, about)); err != nil {
		return nil, errors.Join(err, t.Close(ctx))
	}
	// The SDK reports what its exporters could not send to this one place of the process.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(t.complain))
	return t, nil
}

// aboutUs is the resource: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before what we say.
func aboutUs(ctx context.Context, o Options) (*resource.Resource, error) {
	r, err := resource.New(
		ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("spawnwatch"), semconv.ServiceVersion(o.Version)),
		resource.WithFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return r, nil
}

func (t *Telemetry) startMetrics(ctx context.Context, where destinations, about *resource.Resource) error {
	pull, err := promexporter.New(
		promexporter.WithRegisterer(t.registry),
		promexporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		promexporter.WithoutScopeInfo(),
		promexporter.WithoutTargetInfo(),
	)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := t.registry.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	options := []sdkmetric.Option{
		sdkmetric.WithReader(pull), sdkmetric.WithResource(about),
		// Labels come from the configuration, the rules and the partitions: they are as many as these.
		sdkmetric.WithCardinalityLimit(0),
	}
	if where.metrics {
		push, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("OTEL_METRICS_EXPORTER: %w", err)
		}
		options = append(options, sdkmetric.WithReader(push))
	}
	provider := sdkmetric.NewMeterProvider(options...)
	t.ends = append(t.ends, provider.Shutdown)
	return t.register(provider.Meter(scope))
}

func (t *Telemetry) startTraces(ctx context.Context, where destinations, about *resource.Resource) error {
	t.tracer = noop.NewTracerProvider().Tracer(scope)
	if !where.traces {
		return nil
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return fmt.Errorf("OTEL_TRACES_EXPORTER: %w", err)
	}
	// OTEL_TRACES_SAMPLER, OTEL_SPAN_* and OTEL_BSP_* are read by the SDK.
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	if !where.sampler {
		t.quiet, t.alerting = &budget{limit: quietTraces}, &budget{limit: alertTraces}
	}
	t.ends = append(t.ends, provider.Shutdown)
	t.tracer, t.tracing = provider.Tracer(scope), true
	return nil
}

func (t *Telemetry) startLogs(ctx context.Context, where destinations, about *resource.Resource) error {
	if !where.logs {
		return nil
	}
	exporter, err := autoexport.NewLogExporter(ctx)
	if err != nil {
		return fmt.Errorf("OTEL_LOGS_EXPORTER: %w", err)
	}
	t.logs = sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)), sdklog.WithResource(about))
	t.ends = append(t.ends, t.logs.Shutdown)
	return nil
}

// LogHandler sends logs to where the environment says, and is nil where it says nothing.
func (t *Telemetry) LogHandler() slog.Handler {
	if t.logs == nil {
		return nil
	}
	return otelslog.NewHandler(scope, otelslog.WithLoggerProvider(t.logs))
}

// Metrics answers in Prometheus' text format, or OpenMetrics where the client asks for it.
func (t *Telemetry) Metrics() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, Registry: t.registry})
}

// Close sends what is left to send, until ctx ends, and frees everything.
func (t *Telemetry) Close(ctx context.Context) error {
	errs := make([]error, len(t.ends))
	var wg sync.WaitGroup
	for i, end := range t.ends {
		wg.Go(func() { errs[i] = end(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// complaintEvery is how often exporters may complain.
const complaintEvery = 10 * time.Second

func (t *Telemetry) complain(err error) {
	t.mu.Lock()
	due := t.complaint.IsZero() || time.Since(t.complaint) >= complaintEvery
	leftOut := t.unsaid
	if due {
		t.complaint, t.unsaid = time.Now(), 0
	} else {
		t.unsaid++
	}
	t.mu.Unlock()
	if due {
		t.options.Logger.Warn("telemetry could not be sent; the work goes on", "lines_left_out", leftOut, "error", err)
	}
}
