package rules

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// MaxFiles is how many files [Load] reads at most.
const MaxFiles = 20_000

// Loaded is what files held: documents, and the cases beside or within them.
type Loaded struct {
	Documents
	Tests []Test
	// Files is how many rule files were read.
	Files int
}

// Load reads a rule file, or every *.yml and *.yaml below a folder, in the order of their names. NAME.test.yml holds
// cases for the rules of NAME.yml. Names that begin with a dot are skipped: editors' files, and the folders behind a
// mounted ConfigMap. Every fault is reported, joined; what has none is returned beside them.
func Load(fsys fs.FS, root string) (Loaded, error) {
	var l Loaded
	var faults []error
	err := fs.WalkDir(fsys, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			faults = append(faults, fmt.Errorf("cannot read rules: %w", err))
			return nil
		}
		if base := path.Base(name); name != root && strings.HasPrefix(base, ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() || name != root && path.Ext(name) != ".yml" && path.Ext(name) != ".yaml" {
			return nil
		}
		if l.Files++; l.Files > MaxFiles {
			return fmt.Errorf("expected at most %d rule files below %s, got more", MaxFiles, root)
		}
		if err := l.file(fsys, name); err != nil {
			faults = append(faults, err)
		}
		return nil
	})
	return l, errors.Join(append(faults, err)...)
}

func (l *Loaded) file(fsys fs.FS, name string) error {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return fmt.Errorf("cannot read rules: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil // a link to a folder, a socket
	}
	if info.Size() > MaxFile {
		return &Fault{File: name, Line: 1, Col: 1, Msg: fmt.Sprintf("expected at most %d bytes, got %d", MaxFile, info.Size()), Hint: "split the file"}
	}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return fmt.Errorf("cannot read rules: %w", err)
	}
	ext := path.Ext(name)
	if stem, ok := strings.CutSuffix(strings.TrimSuffix(name, ext), ".test"); ok {
		tests, err := ParseTests(name, data, stem+ext)
		l.Tests = append(l.Tests, tests...)
		l.Files--
		return err
	}
	docs, err := Parse(name, data)
	l.Append(docs)
	for _, r := range docs.Rules {
		l.Tests = append(l.Tests, r.Tests...)
	}
	return err
}
