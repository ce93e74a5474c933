package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
)

func newRulesCheck(std streams) *cobra.Command {
	o := ruleOptions{}
	strict := false
	cmd := &cobra.Command{
		Use:   "check [flags] [PATH...]",
		Short: "Report every fault in rule files, with file, line and column",
		Long: `check parses and compiles rule files and folders as replay and run would, and reports every
fault it finds. It warns of what is allowed and can never match: a field that does not
occur in audit events, a value that its field never has, a selection that the condition
does not use. Without PATH it checks the rules that ship with the program.

Exit code 0 if all is well, 3 if a rule is wrong (with --strict also after a warning).`,
		Example: `  spawnwatch rules check rules.d
  spawnwatch rules check --strict --builtin rules.d`,
		RunE: func(_ *cobra.Command, args []string) error {
			o.paths = args
			if len(args) == 0 {
				o.builtin, o.context = true, true
			}
			return checkRules(std, o, strict)
		},
	}
	packFlags(cmd, &o)
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 3 after a warning too")
	return cmd
}

func checkRules(std streams, o ruleOptions, strict bool) error {
	model, err := audit.NewModel(audit.Options{})
	if err != nil {
		return err
	}
	places, err := readRules(o)
	docs, options := places.documents(), o.compileOptions()
	set, compileErr := rules.Compile(docs, processor.ComputedFields(model), options)
	faults := unjoin(errors.Join(err, compileErr))
	for _, fault := range faults {
		fmt.Fprintln(std.err, printable(fault.Error()))
	}
	warnings := rules.Lint(docs, processor.Vocabulary(options.Aliases))
	for _, w := range warnings {
		fmt.Fprintf(std.err, "warning: %s\n", printable(w.Error()))
	}
	for i := range places {
		if p := &places[i]; p.Files == 0 && err == nil {
			fmt.Fprintf(std.err, "warning: %s: expected rules in files *.yml or *.yaml, found none\n", printable(p.root))
		}
	}
	good := 0
	if set != nil {
		good = len(set.Rules())
		for _, r := range set.LeftOut() {
			fmt.Fprintf(std.err, "note: %s:%d: left out: its logsource is not product kubernetes, service audit\n", printable(r.File), r.Line)
		}
	}
	if len(faults) > 0 {
		return &exitError{code: exitConfig, err: fmt.Errorf("%s, %s", count(len(faults), "fault"), count(len(warnings), "warning"))}
	}
	if strict && len(warnings) > 0 {
		return &exitError{code: exitConfig, err: errors.New(count(len(warnings), "warning"))}
	}
	_, err = fmt.Fprintf(std.out, "%s, no fault, %s\n", count(good, "rule"), count(len(warnings), "warning"))
	return written(err)
}

// count writes a number with its noun: "1 rule", "no rules", "3 rules".
func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
