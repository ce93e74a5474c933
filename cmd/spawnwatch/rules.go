package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/rules/builtin"
)

// ruleOptions say which rules are loaded.
type ruleOptions struct {
	builtin bool
	paths   []string
	disable []string
}

func ruleOptionsOf(cfg *config) ruleOptions {
	return ruleOptions{builtin: cfg.Rules.Builtin, paths: cfg.Rules.Paths, disable: cfg.Rules.Disable}
}

// loadRules reads and compiles rules. Every fault of every file is reported.
func loadRules(model *audit.Model, o ruleOptions) (*rules.Set, error) {
	docs, err := readRules(o)
	options := processor.RuleOptions()
	options.Disable = o.disable
	set, compileErr := rules.Compile(docs, processor.ComputedFields(model), options)
	if err := errors.Join(err, compileErr); err != nil {
		return nil, err
	}
	return set, nil
}

func readRules(o ruleOptions) (docs rules.Documents, err error) {
	var errs []error
	if o.builtin {
		pack, err := readFolder(builtin.Files(), ".", "builtin/")
		docs.Append(pack)
		errs = append(errs, err)
	}
	for _, p := range o.paths {
		info, err := os.Stat(p)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("rules: %w", err))
		case info.IsDir():
			found, err := readFolder(os.DirFS(p), ".", filepath.ToSlash(p)+"/")
			docs.Append(found)
			errs = append(errs, err)
		default:
			found, err := readRuleFile(os.DirFS(filepath.Dir(p)), filepath.Base(p), p)
			docs.Append(found)
			errs = append(errs, err)
		}
	}
	return docs, errors.Join(errs...)
}

// readFolder reads every rule file below root; shown is put before its name in messages.
func readFolder(fsys fs.FS, root, shown string) (docs rules.Documents, err error) {
	var errs []error
	walkErr := fs.WalkDir(fsys, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && name != root {
				return fs.SkipDir
			}
			return nil
		}
		if !isRuleFile(name) {
			return nil
		}
		found, err := readRuleFile(fsys, name, shown+name)
		docs.Append(found)
		errs = append(errs, err)
		return nil
	})
	return docs, errors.Join(append(errs, walkErr)...)
}

// isRuleFile tells rules from what stands beside them: tests and other files.
func isRuleFile(name string) bool {
	ext := path.Ext(name)
	return (ext == ".yml" || ext == ".yaml") && !strings.HasSuffix(strings.TrimSuffix(name, ext), ".test")
}

func readRuleFile(fsys fs.FS, name, shown string) (rules.Documents, error) {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return rules.Documents{}, fmt.Errorf("rules: %w", err)
	}
	return rules.Parse(shown, data)
}

func newRules(std streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Check, list and test rules",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRulesCheck(std), newRulesList(std), newRulesFields(std))
	return cmd
}

func newRulesCheck(std streams) *cobra.Command {
	o := ruleOptions{}
	cmd := &cobra.Command{
		Use:   "check [flags] [PATH...]",
		Short: "Report every fault in rule files, with file, line and column",
		Long: `check parses and compiles rule files and folders as replay and run would, and reports every
fault it finds. Without PATH it checks the built-in pack.

Exit code 0 if all is well, 3 if a rule is wrong.`,
		RunE: func(_ *cobra.Command, args []string) error {
			o.paths = args
			o.builtin = o.builtin || len(args) == 0
			model, err := audit.NewModel(audit.Options{})
			if err != nil {
				return err
			}
			set, err := loadRules(model, o)
			if err != nil {
				for _, e := range unjoin(err) {
					fmt.Fprintln(std.err, e)
				}
				return &exitError{code: exitConfig, err: fmt.Errorf("%d faults", len(unjoin(err)))}
			}
			for _, r := range set.Rules() {
				for _, w := range r.Warnings {
					fmt.Fprintf(std.err, "warning: %v\n", w)
				}
			}
			_, err = fmt.Fprintf(std.out, "%d rules, no fault\n", len(set.Rules()))
			return err
		},
	}
	cmd.Flags().BoolVar(&o.builtin, "builtin", false, "check them together with the built-in pack")
	return cmd
}

func newRulesList(std streams) *cobra.Command {
	o := ruleOptions{}
	cmd := &cobra.Command{
		Use:   "list [flags] [PATH...]",
		Short: "List rules: id, level, title, file",
		RunE: func(_ *cobra.Command, args []string) error {
			o.paths = args
			model, err := audit.NewModel(audit.Options{})
			if err != nil {
				return err
			}
			set, err := loadRules(model, o)
			if err != nil {
				return &exitError{code: exitConfig, err: err}
			}
			all := slices.Clone(set.Rules())
			slices.SortFunc(all, func(a, b *rules.Rule) int { return strings.Compare(a.File+a.ID, b.File+b.ID) })
			w := tabwriter.NewWriter(std.out, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tLEVEL\tTITLE\tTAGS\tFILE")
			for _, r := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(r.ID), r.Level, printable(r.Title), printable(strings.Join(r.Tags, ",")), r.File)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&o.builtin, "builtin", true, "list the built-in pack too")
	return cmd
}

func newRulesFields(std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "fields",
		Short: "List the computed fields that rules may use beside those of the audit event",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			w := tabwriter.NewWriter(std.out, 0, 8, 2, ' ', 0)
			for _, f := range audit.FieldDocs() {
				fmt.Fprintf(w, "%s\t%s\n", f.Name, f.Text)
			}
			for _, alias := range slices.Sorted(maps.Keys(processor.Aliases())) {
				fmt.Fprintf(w, "%s\talias of %s\n", alias, strings.Join(processor.Aliases()[alias], ", "))
			}
			return w.Flush()
		},
	}
}
