package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/sources"
)

func ownRule(title string) string {
	return "title: " + title + "\nid: 0c9ff6a2-3c43-4f9c-9a3c-6a1a6cf4b1a0\nlogsource: {product: kubernetes, service: audit}\nlevel: low\n" +
		"detection:\n  s: {verb: create, objectRef.resource: pods, objectRef.subresource: null, responseStatus.code: 201}\n  condition: s\n"
}

// reloadable is a stage in this process whose source is the test.
type reloadable struct {
	*stage
	dir string
	log lockedBuffer
}

// newReloadable writes a configuration with one rule of its own into dir, as put says, and assembles it.
func newReloadable(t *testing.T, dir string, put func(name, text string)) *reloadable {
	t.Helper()
	r := &reloadable{dir: dir}
	put("spawnwatch.yaml", r.config("info", dir))
	path := filepath.Join(dir, "spawnwatch.yaml")
	cfg, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	r.stage = assembleTest(t, cfg, path, &r.log)
	return r
}

func (r *reloadable) config(level, dir string) string {
	return fmt.Sprintf(`
sources: [{name: in, file: {paths: [none.jsonl]}}]
sinks: [{name: out, file: {path: %[1]q}}]
dead_letter: {file: {path: %[2]q}}
rules: {builtin: false, paths: [%[3]q]}
enrich: {teams_file: %[4]q}
log: {level: %[5]s}
`, filepath.Join(dir, "out.jsonl"), filepath.Join(dir, "dead.jsonl"), filepath.Join(dir, "rules"), filepath.Join(dir, "teams.yaml"), level)
}

func assembleTest(t *testing.T, cfg *config, path string, log io.Writer) *stage {
	t.Helper()
	level := new(slog.LevelVar)
	std := streams{in: strings.NewReader(""), out: io.Discard, err: log}
	tele, err := startTelemetry(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s, err := assemble(cfg, std, newLogger(std, level), tele)
	if err != nil {
		t.Fatal(err)
	}
	s.path, s.level, s.began = path, level, time.Now()
	s.live.Store(cfg)
	t.Cleanup(func() {
		closeSinks(s.routes, s.dead.Sink, closeLimit)
		if err := closeTelemetry(tele); err != nil {
			t.Error(err)
		}
	})
	return s
}

func writeTo(t *testing.T, dir string) func(name, text string) {
	return func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		// In one step: a file that is half written is not what is tested.
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

// titles of the rules in all alerts so far, with the severity.
func (r *reloadable) titles(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, "out.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for line := range bytes.Lines(data) {
		var a alertLine
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		titles = append(titles, a.Rules[0].Title)
	}
	return titles
}

// TestReloadUnderLoad swaps good and bad rules while batches are worked on: nothing is lost, every alert is by a good rule,
// what is bad changes nothing, and nothing is left running.
func TestReloadUnderLoad(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	put := writeTo(t, dir)
	put("rules/own.yml", ownRule("First"))
	put("teams.yaml", "{}\n")
	r := newReloadable(t, dir, put)
	stop := r.reloadOnChange(t.Context())
	defer stop()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	var sent atomic.Int64
	base := creation(t)
	for w := range 4 {
		load.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				b := &sources.Batch{Origin: sources.Origin{Source: "in", Partition: -1}, Records: []sources.Record{{Value: another(base, fmt.Sprintf("load-%d-%d", w, i))}}}
				if err := r.sources[0].handler(context.Background(), b); err != nil {
					t.Errorf("worker %d: %v", w, err)
					return
				}
				sent.Add(1)
			}
		})
	}
	reloads := func(result string) func() bool {
		before := r.lastReload.Load()
		return func() bool {
			now := r.lastReload.Load()
			return now != nil && now != before && now.Result == result
		}
	}
	more := func() func() bool {
		before := sent.Load()
		return func() bool { return sent.Load() > before+20 }
	}
	wait := func(what string, ok func() bool) { t.Helper(); eventually(t, what, ok, r.log.String) }
	wait("work under the first rule", more())

	ok := reloads("failed")
	put("rules/own.yml", "title: [")
	wait("a refusal", ok)
	if !strings.Contains(r.lastReload.Load().Error, "own.yml") {
		t.Errorf("the error does not name the file: %s", r.lastReload.Load().Error)
	}
	wait("work under the last good rules", more())

	ok = reloads("ok")
	put("rules/own.yml", ownRule("Second"))
	wait("a reload", ok)
	wait("work under the second rule", more())

	ok = reloads("failed")
	put("teams.yaml", "teams: [")
	wait("a refusal of the teams", ok)
	ok = reloads("ok")
	put("teams.yaml", "{}\n")
	wait("the teams", ok)

	ok = reloads("ok")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	wait("a reload on SIGHUP", ok)
	cancel()
	load.Wait()

	titles := r.titles(t)
	if int64(len(titles)) != sent.Load() {
		t.Errorf("%d alerts for %d creations", len(titles), sent.Load())
	}
	if turn := slices.Index(titles, "Second"); turn < 0 || titles[0] != "First" {
		t.Errorf("the first alert is by %s, the second rule came %d", titles[0], turn)
	}
	for _, title := range titles {
		if title != "First" && title != "Second" {
			t.Fatalf("an alert by %q", title)
		}
	}
}

// TestReloadConfig: level and rules are taken up, and what needs a restart is said and left.
func TestReloadConfig(t *testing.T) {
	dir := t.TempDir()
	put := writeTo(t, dir)
	put("rules/own.yml", ownRule("Own"))
	put("teams.yaml", "{}\n")
	r := newReloadable(t, dir, put)
	changed := strings.Replace(r.config("debug", dir), "sources: [{name: in,", "processor: {workers: 3}\ncluster: other\nsources: [{name: in2,", 1)
	changed = strings.Replace(changed, "builtin: false,", "builtin: true, children: alert,", 1)
	put("spawnwatch.yaml", changed)
	r.reload(t.Context(), "test")
	last := r.lastReload.Load()
	if last.Result != "ok" || !slices.Equal(last.Restart, []string{"cluster", "sources", "rules.children", "processor.workers"}) {
		t.Errorf("%+v", last)
	}
	if r.level.Level() != slog.LevelDebug || r.loaded.Load() < 2 {
		t.Errorf("level %s, %d rules: the change was not taken up", r.level.Level(), r.loaded.Load())
	}
	if !strings.Contains(r.log.String(), "need a restart") {
		t.Errorf("nobody is told: %s", r.log.String())
	}
	for _, bad := range []string{"sources: [", "log: {level: loud}\n" + changed, strings.Replace(changed, "level: debug", "level: loud", 1), ""} {
		put("spawnwatch.yaml", bad)
		r.reload(t.Context(), "test")
		if last := r.lastReload.Load(); last.Result != "failed" || last.Error == "" || r.level.Level() != slog.LevelDebug {
			t.Errorf("%q: %+v", bad, last)
		}
	}
}

// TestReloadConfigMap swaps the symbolic link of a mounted ConfigMap, as the kubelet does: the rules lie behind ..data, and
// no file that the configuration names is ever written.
func TestReloadConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, title string) {
		put := writeTo(t, filepath.Join(dir, name))
		put("own.yml", ownRule(title))
	}
	version("rules/..2026_01", "Before")
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..2026_01", "rules/..data")
	link(filepath.Join("..data", "own.yml"), "rules/own.yml")
	put := writeTo(t, dir)
	put("teams.yaml", "{}\n")
	r := newReloadable(t, dir, put)
	stop := r.reloadOnChange(t.Context())
	defer stop()
	send := func(id string) {
		t.Helper()
		b := &sources.Batch{Origin: sources.Origin{Source: "in", Partition: -1}, Records: []sources.Record{{Value: another(creation(t), id)}}}
		if err := r.sources[0].handler(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	send("one")
	for _, next := range []string{"..2026_02", "..2026_03"} {
		before := r.lastReload.Load()
		version("rules/"+next, "After "+next)
		link(next, "rules/..data_tmp")
		if err := os.Rename(filepath.Join(dir, "rules/..data_tmp"), filepath.Join(dir, "rules/..data")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a reload", func() bool { now := r.lastReload.Load(); return now != before && now.Result == "ok" }, r.log.String)
		send(next)
	}
	if got := strings.Join(r.titles(t), ", "); got != "Before, After ..2026_02, After ..2026_03" {
		t.Errorf("alerts by %s", got)
	}
}

// TestFileWatchSeesNothing: what does not concern the files causes no reload.
func TestFileWatchSeesNothing(t *testing.T) {
	dir := t.TempDir()
	put := writeTo(t, dir)
	put("rules/own.yml", "x")
	put("other.txt", "x")
	w := newFileWatch(slog.New(slog.DiscardHandler))
	defer w.close()
	w.follow([]string{filepath.Join(dir, "rules"), filepath.Join(dir, "missing.yaml")})
	for _, c := range []struct {
		name   string
		change func()
		want   bool
	}{
		{"nothing", func() {}, false},
		{"a file beside", func() { put("other.txt", "y") }, false},
		{"an editor's file", func() { put("rules/.own.yml.swp", "y") }, false},
		{"no rule", func() { put("rules/readme.md", "y") }, false},
		{"a rule", func() { put("rules/own.yml", "yy") }, true},
		{"a new rule", func() { put("rules/deep/new.yaml", "y") }, true},
		{"a rule less", func() { _ = os.Remove(filepath.Join(dir, "rules/own.yml")) }, true},
		{"a missing file comes", func() { put("missing.yaml", "y") }, true},
		{"and goes", func() { _ = os.Remove(filepath.Join(dir, "missing.yaml")) }, true},
	} {
		c.change()
		if got := w.changed(); got != c.want {
			t.Errorf("%s: changed %v, want %v", c.name, got, c.want)
		}
		w.look()
	}
}

// TestNearby: links on the way count, and so does everything in a folder of rules, but not what lies beside a file.
func TestNearby(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put := writeTo(t, dir)
	put("mount/..v1/spawnwatch.yaml", "x")
	put("rules/deep/own.yml", "x")
	for name, target := range map[string]string{
		"mount/..data": "..v1", "mount/spawnwatch.yaml": "..data/spawnwatch.yaml", "loop": "loop", "there": filepath.Join(dir, "rules"),
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	n := nearby{paths: map[string]bool{}, folders: map[string]bool{}}
	for _, p := range []string{"mount/spawnwatch.yaml", "there", "loop", "missing.yaml"} {
		n.add(filepath.Join(dir, p))
	}
	for name, want := range map[string]bool{
		"mount/spawnwatch.yaml": true, "mount/..data": true, "mount/..v1/spawnwatch.yaml": true, "mount/other": false, "mount/..v1/other": false,
		"there": true, "rules": true, "rules/new.yml": true, "rules/deep/new.yml": true, "missing.yaml": true, "elsewhere": false,
	} {
		if got := n.has(filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
