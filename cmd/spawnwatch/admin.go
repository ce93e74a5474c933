package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/telemetry"
	"github.com/spawnwatch/spawnwatch/processor"
)

// Limits of the admin listener. Whoever asks is a probe, a scraper or a person: small requests, quick answers.
const (
	adminHeaderTime = 5 * time.Second
	adminReadTime   = 10 * time.Second
	adminWriteTime  = 30 * time.Second
	adminIdleTime   = 2 * time.Minute
	adminHeaders    = 16 << 10
	// profileTime is how long a profile may run, 2 minutes.
	profileTime = 2 * time.Minute
)

// admin is the listener for probes, metrics and status.
type admin struct {
	server   *http.Server
	listener net.Listener
	ended    chan struct{}
}

// startAdmin listens at once, so that a port that is taken is told before anything is read.
func startAdmin(ctx context.Context, s *stage) (*admin, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Admin.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin.listen: %w: choose another address, or end what has it", err)
	}
	a := &admin{listener: listener, ended: make(chan struct{})}
	a.server = &http.Server{
		Handler: s.adminHandler(ctx), ReadHeaderTimeout: adminHeaderTime, ReadTimeout: adminReadTime, WriteTimeout: adminWriteTime,
		IdleTimeout: adminIdleTime, MaxHeaderBytes: adminHeaders, ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(a.ended)
		if err := a.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.logger.ErrorContext(ctx, "the admin listener failed; the work goes on", "error", err)
		}
	}()
	return a, nil
}

// close ends the listener, and what it is asked after a second.
func (a *admin) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := a.server.Shutdown(ctx); err != nil {
		_ = a.server.Close()
	}
	<-a.ended
}

// adminHandler answers until the process ends; running ends when the stage is to stop.
func (s *stage) adminHandler(running context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		reasons := s.notReady(running)
		if len(reasons) == 0 {
			plain(w, http.StatusOK, "ready")
			return
		}
		plain(w, http.StatusServiceUnavailable, reasons...)
	})
	mux.Handle("GET /metrics", s.tele.Metrics())
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(s.status(running, time.Now())) // who asked has gone
	})
	if s.cfg.Admin.Pprof {
		for path, h := range map[string]http.HandlerFunc{
			"/debug/pprof/": pprof.Index, "/debug/pprof/cmdline": pprof.Cmdline, "/debug/pprof/profile": pprof.Profile,
			"/debug/pprof/symbol": pprof.Symbol, "/debug/pprof/trace": pprof.Trace,
		} {
			mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(profileTime)) // the profile is cut then
				h(w, r)
			})
		}
	}
	return mux
}

// plain answers in lines of text.
func plain(w http.ResponseWriter, code int, lines ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	for _, l := range lines {
		_, _ = io.WriteString(w, l+"\n")
	}
}

// notReady lists why the stage cannot do its work: a source that does not run or has no place in its group, a sink whose
// last try failed, or the end of it all.
func (s *stage) notReady(running context.Context) (reasons []string) {
	if running.Err() != nil {
		reasons = append(reasons, "stopping")
	}
	for i := range s.cfg.Sources {
		src := s.tele.Source(s.cfg.Sources[i].Name)
		switch state := src.State(); {
		case state.Done:
		case !state.Up && state.Err != nil:
			reasons = append(reasons, fmt.Sprintf("source %q is down: %v", src.Info().Name, state.Err))
		case !state.Up:
			reasons = append(reasons, fmt.Sprintf("source %q has not started", src.Info().Name))
		case src.Info().Kind == "kafka" && !state.Joined:
			reasons = append(reasons, fmt.Sprintf("source %q has not joined its consumer group", src.Info().Name))
		}
	}
	for _, name := range s.sinkNames() {
		if state := s.tele.Sink(name).State(); !state.Usable {
			reasons = append(reasons, fmt.Sprintf("sink %q cannot be used: %v", name, state.Err))
		}
	}
	return reasons
}

// sinkNames are those of the alerts and that of the dead letters.
func (s *stage) sinkNames() []string {
	names := make([]string, 0, len(s.routes)+1)
	for i := range s.routes {
		names = append(names, s.routes[i].Name)
	}
	return append(names, processor.DeadLetterName)
}

// statusReport is what /status answers. Fields may be added.
type statusReport struct {
	Version   string         `json:"version"`
	Go        string         `json:"go"`
	Started   time.Time      `json:"started"`
	UptimeS   int64          `json:"uptime_seconds"`
	Ready     bool           `json:"ready"`
	NotReady  []string       `json:"not_ready,omitempty"`
	LogLevel  string         `json:"log_level"`
	Sources   []sourceStatus `json:"sources"`
	Rules     rulesStatus    `json:"rules"`
	Sinks     []sinkStatus   `json:"sinks"`
	Processed statsStatus    `json:"processed"`
}

type sourceStatus struct {
	Name    string      `json:"name"`
	Kind    string      `json:"kind"`
	Group   string      `json:"group,omitempty"`
	Up      bool        `json:"up"`
	Joined  *bool       `json:"joined,omitempty"`
	Done    bool        `json:"done,omitempty"`
	Since   *time.Time  `json:"since,omitempty"`
	Records int64       `json:"records"`
	Lag     []lagStatus `json:"lag,omitempty"`
	lastError
}

type lagStatus struct {
	Topic     string   `json:"topic"`
	Partition int32    `json:"partition"`
	Messages  int64    `json:"messages"`
	Seconds   *float64 `json:"seconds"`
}

type sinkStatus struct {
	Name      string `json:"name"`
	Usable    bool   `json:"usable"`
	Published int64  `json:"published"`
	lastError
}

// lastError is the last failure, which may be over.
type lastError struct {
	LastError   string     `json:"last_error,omitempty"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty"`
}

type rulesStatus struct {
	Loaded     int           `json:"loaded"`
	LastReload *reloadStatus `json:"last_reload,omitempty"`
}

type reloadStatus struct {
	At      time.Time `json:"at"`
	Result  string    `json:"result"`
	Error   string    `json:"error,omitempty"`
	Restart []string  `json:"needs_restart,omitempty"`
}

type statsStatus struct {
	Records  uint64 `json:"records"`
	Bytes    uint64 `json:"bytes"`
	Events   uint64 `json:"events"`
	Rejected uint64 `json:"rejected"`
	Matched  uint64 `json:"matched"`
	Created  uint64 `json:"created"`
	Unknown  uint64 `json:"unknown"`
	Folded   uint64 `json:"folded"`
	Raised   uint64 `json:"raised"`
	Alerts   uint64 `json:"alerts"`
	Repeats  uint64 `json:"repeats"`
	Bad      uint64 `json:"bad"`
	Ignored  uint64 `json:"ignored"`
	Retries  uint64 `json:"retries"`
}

func (s *stage) status(running context.Context, now time.Time) *statusReport {
	reasons := s.notReady(running)
	r := &statusReport{
		Version: programVersion(), Go: runtime.Version(), Started: s.began, UptimeS: int64(now.Sub(s.began).Seconds()),
		Ready: len(reasons) == 0, NotReady: reasons, LogLevel: s.level.Level().String(),
		Rules:     rulesStatus{Loaded: int(s.loaded.Load()), LastReload: s.lastReload.Load()},
		Processed: statsStatus(s.proc.Stats()),
	}
	for i := range s.cfg.Sources {
		r.Sources = append(r.Sources, statusOfSource(s.tele.Source(s.cfg.Sources[i].Name), now))
	}
	for _, name := range s.sinkNames() {
		sink := s.tele.Sink(name)
		state := sink.State()
		r.Sinks = append(r.Sinks, sinkStatus{Name: name, Usable: state.Usable, Published: sink.Published(), lastError: errorAt(state.Err, state.At)})
	}
	return r
}

func statusOfSource(src *telemetry.Source, now time.Time) sourceStatus {
	info, state := src.Info(), src.State()
	r := sourceStatus{Name: info.Name, Kind: info.Kind, Group: info.Group, Up: state.Up, Done: state.Done, Records: src.Records(), lastError: errorAt(state.Err, state.At)}
	if !state.Since.IsZero() {
		r.Since = &state.Since
	}
	if info.Kind == "kafka" {
		r.Joined = &state.Joined
	}
	for _, l := range src.Lags(now) {
		lag := lagStatus{Topic: l.Topic, Partition: l.Partition, Messages: l.Messages}
		if l.Known {
			seconds := l.Age.Seconds()
			lag.Seconds = &seconds
		}
		r.Lag = append(r.Lag, lag)
	}
	return r
}

func errorAt(err error, at time.Time) (l lastError) {
	if err != nil {
		l.LastError, l.LastErrorAt = err.Error(), &at
	}
	return l
}
