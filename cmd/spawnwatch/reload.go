package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/strictyaml"
)

// reloadOnChange reads rules and settings again on SIGHUP and when one of their files changes. The function it returns ends
// that.
func (s *stage) reloadOnChange(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	files := newFileWatch(s.logger)
	files.follow(s.filesOf(s.live.Load()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer files.close()
		files.run(ctx, hangup, func(trigger string) {
			files.look() // what changes from here on is another reload
			s.reload(ctx, trigger)
			files.follow(s.filesOf(s.live.Load()))
		})
	}()
	return func() {
		signal.Stop(hangup)
		cancel()
		<-ended
	}
}

// filesOf lists the files and folders that a reload reads.
func (s *stage) filesOf(cfg *config) []string {
	files := append([]string{s.path}, cfg.Rules.Paths...)
	files = append(files, cfg.Enrich.AllowFiles...)
	for _, f := range []string{cfg.Enrich.TeamsFile, cfg.Enrich.RBACSnapshot} {
		if f != "" {
			files = append(files, f)
		}
	}
	return slices.DeleteFunc(files, func(f string) bool { return f == "" })
}

// reload reads the configuration, the rules and what enrichment needs, and takes them up together, between two batches
// for each worker, or not at all.
func (s *stage) reload(ctx context.Context, trigger string) {
	restart, err := s.takeUp()
	s.tele.Reloaded(err)
	last := &reloadStatus{At: time.Now(), Result: "ok", Restart: restart}
	if err != nil {
		last.Result, last.Error = "failed", err.Error()
	}
	s.lastReload.Store(last)
	if err != nil {
		s.logger.ErrorContext(ctx, "nothing was reloaded: the last good ones stay", "trigger", trigger, "error", err)
		return
	}
	s.logger.InfoContext(ctx, "rules reloaded", "trigger", trigger, "rules", s.loaded.Load(), "log_level", s.level.Level())
	if len(restart) > 0 {
		s.logger.WarnContext(ctx, "some changes of the configuration need a restart: until then the old values hold", "keys", restart)
	}
}

// takeUp returns the keys whose change needs a restart.
func (s *stage) takeUp() (restart []string, err error) {
	cfg, err := loadConfig(s.path)
	if err != nil {
		return nil, err
	}
	// What needs a restart stays as it was when the program started.
	next := *s.cfg
	next.Log, next.Enrich, next.Rules = cfg.Log, cfg.Enrich, cfg.Rules
	next.Rules.Children, next.Rules.Controllers = s.cfg.Rules.Children, s.cfg.Rules.Controllers
	set, rulesErr := loadRules(s.model, ruleOptionsOf(&next))
	enricher, enrichErr := newEnricher(&next, s.tele.EnricherFailed)
	level, levelErr := next.Log.level()
	if err := errors.Join(rulesErr, enrichErr, levelErr); err != nil {
		return nil, err
	}
	s.proc.SetRules(set)
	s.enricher.current.Store(enricher)
	s.level.Set(level)
	s.countRules(set)
	s.live.Store(&next)
	return differences(reflect.ValueOf(next), reflect.ValueOf(*cfg), ""), nil
}

// differences lists the keys in which two configurations differ: sections by their keys, lists as a whole.
func differences(a, b reflect.Value, path string) (keys []string) {
	t := a.Type()
	for i := range t.NumField() {
		key, _ := strictyaml.Key(t.Field(i))
		if key == "" || reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			continue
		}
		if a.Field(i).Kind() == reflect.Struct {
			keys = append(keys, differences(a.Field(i), b.Field(i), path+key+".")...)
			continue
		}
		keys = append(keys, path+key)
	}
	return keys
}
