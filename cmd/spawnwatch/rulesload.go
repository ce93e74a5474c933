package main

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/rules/builtin"
)

// ruleOptions say which rules are loaded, and how they are read.
type ruleOptions struct {
	builtin bool
	context bool
	paths   []string
	disable []string
	levels  map[string]string
	// aliases and placeholders are added to those of the program.
	aliases      map[string][]string
	placeholders map[string][]string
	// withoutCases leaves out the cases beside the built-in rules: parsing them would be half of a start.
	withoutCases bool
}

func ruleOptionsOf(cfg *config) ruleOptions {
	r := &cfg.Rules
	return ruleOptions{
		builtin: r.Builtin, context: r.Context, paths: r.Paths, disable: r.Disable, levels: r.Levels,
		aliases: r.Aliases, placeholders: r.Placeholders,
	}
}

// compileOptions are the options of the program with those of the user.
func (o *ruleOptions) compileOptions() rules.Options {
	options := processor.RuleOptions()
	options.Disable, options.Levels, options.Placeholders = o.disable, o.levels, o.placeholders
	maps.Copy(options.Aliases, o.aliases)
	return options
}

// loadRules reads and compiles rules. Every fault of every file is reported.
func loadRules(model *audit.Model, o ruleOptions) (*rules.Set, error) {
	o.withoutCases = true
	found, err := readRules(o)
	set, compileErr := rules.Compile(found.documents(), processor.ComputedFields(model), o.compileOptions())
	if err := errors.Join(err, compileErr); err != nil {
		return nil, err
	}
	return set, nil
}

// rulePlace is one place that rules come from.
type rulePlace struct {
	// fsys has the files under the names that messages show.
	fsys fs.FS
	root string
	rules.Loaded
}

type rulePlaces []rulePlace

func (p rulePlaces) documents() (docs rules.Documents) {
	for i := range p {
		docs.Append(p[i].Documents)
	}
	return docs
}

// readRules reads every place that o names. What has no fault is returned beside the faults.
func readRules(o ruleOptions) (rulePlaces, error) {
	var places rulePlaces
	if o.builtin {
		places = append(places, rulePlace{fsys: mountedFS{"builtin", builtin.Files(), o.withoutCases}, root: "builtin"})
	}
	if o.context {
		places = append(places, rulePlace{fsys: mountedFS{"builtin/context", builtin.Context(), o.withoutCases}, root: "builtin/context"})
	}
	for _, p := range o.paths {
		places = append(places, rulePlace{fsys: diskFS{}, root: filepath.ToSlash(filepath.Clean(p))})
	}
	var errs []error
	for i := range places {
		var err error
		places[i].Loaded, err = rules.Load(places[i].fsys, places[i].root)
		errs = append(errs, err)
	}
	return places, errors.Join(errs...)
}

// diskFS opens files by their names as the user wrote them, relative or absolute, so that messages repeat these.
type diskFS struct{}

// Open implements [fs.FS].
func (diskFS) Open(name string) (fs.File, error) { return os.Open(filepath.FromSlash(name)) }

// mountedFS shows the files of an embedded pack below a name.
type mountedFS struct {
	at   string
	pack fs.FS
	// withoutCases hides NAME.test.yml.
	withoutCases bool
}

// ReadDir implements [fs.ReadDirFS].
func (m mountedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	inner := "."
	if name != m.at {
		inner = strings.TrimPrefix(name, m.at+"/")
	}
	entries, err := fs.ReadDir(m.pack, inner)
	if m.withoutCases {
		entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && !isRuleFile(e.Name()) })
	}
	return entries, err
}

// Open implements [fs.FS].
func (m mountedFS) Open(name string) (fs.File, error) {
	if name == m.at {
		return m.pack.Open(".")
	}
	inner, ok := strings.CutPrefix(name, m.at+"/")
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return m.pack.Open(inner)
}

// isRuleFile tells rules from what stands beside them: cases and other files.
func isRuleFile(name string) bool {
	ext := path.Ext(name)
	return (ext == ".yml" || ext == ".yaml") && !strings.HasSuffix(strings.TrimSuffix(name, ext), ".test")
}
