package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// stdin is the path of standard input.
const stdin = "-"

var (
	errEmptyPath = errors.New("expected a file, a glob or \"-\", got an empty path")
	errDirectory = errors.New("is a directory: name its files, e.g. as a glob such as DIR/*.log")
	errNoMatch   = errors.New("no file matches this glob")
)

func checkPattern(p string) error {
	if p == "" {
		return errEmptyPath
	}
	if _, err := filepath.Match(p, ""); err != nil {
		return fmt.Errorf("the glob %q is malformed: %w", p, err)
	}
	return nil
}

// target is one file to read.
type target struct {
	path string
	// regular files have a size and never make a reader wait.
	regular bool
	// order is its place among all inputs and faults.
	order int
}

// expand looks the patterns up. A file that several of them name, or reach through symbolic links, is read once, at its
// first place. Directories that a glob matches are passed over. total is 0 unless every file has a size.
func expand(patterns []string) (files []target, total int64, faults []*Fault) {
	seen := map[string]struct{}{}
	sized := true
	fault := func(path string, err error) {
		faults = append(faults, &Fault{Path: path, Err: err, order: len(files) + len(faults)})
	}
	add := func(path string, info fs.FileInfo) {
		key := path
		if path != stdin {
			if real, err := filepath.EvalSymlinks(path); err == nil {
				key = real
			}
			if abs, err := filepath.Abs(key); err == nil {
				key = abs
			}
		}
		if _, twice := seen[key]; twice {
			return
		}
		seen[key] = struct{}{}
		regular := info != nil && info.Mode().IsRegular()
		if regular {
			total += info.Size()
		}
		sized = sized && regular
		files = append(files, target{path: path, regular: regular, order: len(files) + len(faults)})
	}
	for _, p := range patterns {
		if p == stdin {
			add(p, nil)
			continue
		}
		info, err := os.Stat(p)
		switch {
		case err == nil && info.IsDir():
			fault(p, errDirectory)
		case err == nil: // a name is itself, even where it looks like a glob
			add(p, info)
		case !errors.Is(err, fs.ErrNotExist) || !strings.ContainsAny(p, `*?[\`):
			fault(p, plain(err))
		default:
			found := false
			for _, match := range matches(p) {
				info, err := os.Stat(match)
				if err != nil {
					fault(match, plain(err))
					found = true
				} else if !info.IsDir() {
					add(match, info)
					found = true
				}
			}
			if !found {
				fault(p, errNoMatch)
			}
		}
	}
	if !sized {
		total = 0
	}
	return files, total, faults
}

// matches lists what the glob matches, sorted; a malformed one, which Validate refuses, matches nothing.
func matches(glob string) []string {
	found, err := filepath.Glob(glob)
	if err != nil {
		return nil
	}
	slices.Sort(found)
	return found
}

// plain takes the operation and the path out of an error of package os, since the path stands before it anyway.
func plain(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
