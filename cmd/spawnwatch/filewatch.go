package main

import (
	"context"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleTime is how long files must be left alone before they are read: one save is several events.
	settleTime = 300 * time.Millisecond
	// settlingLimit is how long they may keep changing before they are read nevertheless.
	settlingLimit = 5 * time.Second
	// lookEvery is how often files are looked at without an event: network file systems tell nothing.
	lookEvery = 15 * time.Second
	// maxFollowed is how many symbolic links are followed from one file.
	maxFollowed = 40
	// maxWatched is how many files below the folders are looked at.
	maxWatched = 20_000
	// maxFolders is how many folders are watched; files in others are looked at every lookEvery.
	maxFolders = 1000
)

// fileWatch tells when files have changed. Folders are watched, not files: editors and the kubelet put new files (or a
// new target of a symbolic link) in the place of old ones. Events only say that it is time to look; whether something
// has changed is decided by the files themselves.
type fileWatch struct {
	logger *slog.Logger
	// events is nil where the system offers none.
	events *fsnotify.Watcher
	near   nearby
	paths  []string
	seen   map[string]fs.FileInfo
}

func newFileWatch(logger *slog.Logger) *fileWatch {
	w := &fileWatch{logger: logger}
	events, err := fsnotify.NewWatcher()
	if err != nil {
		logger.Warn("changes of files are noticed late: the system cannot tell of them", "every", lookEvery, "error", err)
		return w
	}
	w.events = events
	return w
}

func (w *fileWatch) close() {
	if w.events != nil {
		_ = w.events.Close() // nothing is owed
	}
}

// follow watches these files and folders from now on. What was seen of them before still counts.
func (w *fileWatch) follow(paths []string) {
	w.paths = paths
	if w.seen == nil {
		w.look()
	}
	if w.events == nil {
		return
	}
	w.near = nearby{paths: map[string]bool{}, folders: map[string]bool{}}
	for _, p := range paths {
		w.near.add(p)
	}
	want := maps.Clone(w.near.folders)
	for p := range w.near.paths {
		want[filepath.Dir(p)] = true
	}
	for _, have := range w.events.WatchList() {
		if !want[have] {
			_ = w.events.Remove(have) // it may be gone
		}
		delete(want, have)
	}
	for folder := range want {
		if err := w.events.Add(folder); err != nil {
			w.logger.Debug("a folder cannot be watched; its files are looked at now and then", "folder", folder, "every", lookEvery, "error", err)
		}
	}
}

// nearby is what an event must be about to be worth a look: the folder of a file may also be where others write all the
// time.
type nearby struct {
	// paths are the files, and all symbolic links on the way to them.
	paths map[string]bool
	// folders are those in which every entry counts.
	folders map[string]bool
}

// add follows a path from the root, one name after the other, through all its symbolic links: a mounted ConfigMap is
// changed by a link in the middle, ..data.
func (n *nearby) add(path string) {
	path, err := filepath.Abs(path)
	if err != nil {
		return // it is looked at without events
	}
	at, rest := string(filepath.Separator), strings.TrimPrefix(path, string(filepath.Separator))
	for followed := 0; rest != ""; {
		if followed > maxFollowed {
			return // links in a circle, which the reload tells
		}
		var name string
		name, rest, _ = strings.Cut(rest, string(filepath.Separator))
		at = filepath.Join(at, name)
		target, err := os.Readlink(at)
		if err != nil {
			continue
		}
		n.paths[at] = true
		followed++
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(at), target)
		}
		at, rest = string(filepath.Separator), strings.TrimPrefix(filepath.Join(target, rest), string(filepath.Separator))
	}
	n.paths[at] = true
	if info, err := os.Stat(at); err != nil || !info.IsDir() {
		return
	}
	_ = filepath.WalkDir(at, func(p string, d fs.DirEntry, err error) error {
		if len(n.folders) >= maxFolders {
			return fs.SkipAll
		}
		if err == nil && d.IsDir() {
			n.folders[p] = true
		}
		return nil // what cannot be read is told by the reload
	})
}

// has reports whether the entry of a folder that an event names is one that counts.
func (n *nearby) has(name string) bool {
	return n.paths[name] || n.folders[name] || n.folders[filepath.Dir(name)]
}

// look remembers what is there now.
func (w *fileWatch) look() { w.seen = w.state() }

// changed reports whether something else is there than at the last look.
func (w *fileWatch) changed() bool {
	return !maps.EqualFunc(w.seen, w.state(), func(a, b fs.FileInfo) bool {
		if a == nil || b == nil {
			return a == nil && b == nil
		}
		return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	})
}

// state describes every file: what a link leads to counts, not the link. A missing file is nil.
func (w *fileWatch) state() map[string]fs.FileInfo {
	state := map[string]fs.FileInfo{}
	for _, p := range w.paths {
		info, err := os.Stat(p)
		switch {
		case err != nil:
			state[p] = nil
		case !info.IsDir():
			state[p] = info
		default:
			w.below(state, p)
		}
	}
	return state
}

// below adds the rule files below a folder: those that rules.Load reads, and their cases.
func (w *fileWatch) below(state map[string]fs.FileInfo, folder string) {
	root := os.DirFS(folder) // which follows the folder itself, if it is a link
	_ = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // the reload tells
		case name != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir(), path.Ext(name) != ".yml" && path.Ext(name) != ".yaml":
			return nil
		case len(state) >= maxWatched:
			return fs.SkipAll
		}
		if info, err := fs.Stat(root, name); err == nil {
			state[path.Join(folder, name)] = info
		}
		return nil
	})
}

// notices are the channels that tell when it may be time to look; nil where there are none.
func (w *fileWatch) notices() (<-chan fsnotify.Event, <-chan error) {
	if w.events == nil {
		return nil, nil
	}
	return w.events.Events, w.events.Errors
}

// run calls reload after files have changed and were left alone for a while, until ctx ends.
func (w *fileWatch) run(ctx context.Context, hangup <-chan os.Signal, reload func(trigger string)) {
	events, errs := w.notices()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var due <-chan time.Time
	var since time.Time
	settle := func() {
		if due == nil {
			since = time.Now()
		}
		if time.Since(since) < settlingLimit {
			due = time.After(settleTime)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			reload("SIGHUP")
		case e, open := <-events:
			switch {
			case !open:
				events = nil
			case w.near.has(e.Name):
				settle()
			}
		case err, open := <-errs:
			if !open {
				errs = nil
				continue
			}
			// Events were lost; the files themselves tell what happened.
			w.logger.DebugContext(ctx, "events of files were lost", "error", err)
			settle()
		case <-tick.C:
			if due == nil && w.changed() {
				settle()
			}
		case <-due:
			if due = nil; w.changed() {
				reload("file change")
			}
		}
	}
}
