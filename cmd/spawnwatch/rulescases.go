package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
)

// caseOptions are the flags of `rules test`.
type caseOptions struct {
	rules   ruleOptions
	junit   string
	verbose bool
}

func newRulesTest(std streams) *cobra.Command {
	var o caseOptions
	cmd := &cobra.Command{
		Use:   "test [flags] [PATH...]",
		Short: "Run the cases beside rules",
		Long: `test runs the cases of rules: those in NAME.test.yml beside NAME.yml, and those that a rule
holds itself under tests. Each case has a name, an event (or a file with an event a line),
whether the rule should match, and values that fields should have. Without PATH it tests
the rules that ship with the program.

Exit code 0 if every case came out as expected, 1 if one did not or there was none, 3 if a
rule or a case is wrong.`,
		Example: `  spawnwatch rules test rules.d
  spawnwatch rules test --junit results.xml rules.d
  spawnwatch rules test -v rules.d/exec.yml`,
		RunE: func(_ *cobra.Command, args []string) error {
			o.rules.paths = withCases(args)
			if len(args) == 0 {
				o.rules.builtin, o.rules.context = true, true
			}
			return testRules(std, o)
		},
	}
	packFlags(cmd, &o.rules)
	cmd.Flags().StringVar(&o.junit, "junit", "", "write the results to this file in the XML form of JUnit; - is standard output")
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "show the cases that came out as expected too")
	return cmd
}

// withCases adds to each rule file the file of its cases, and to each file of cases the rules it is for.
func withCases(paths []string) []string {
	var all []string
	seen := map[string]bool{}
	add := func(p string) {
		if !seen[p] {
			seen[p] = true
			all = append(all, p)
		}
	}
	for _, p := range paths {
		add(p)
		ext := path.Ext(p)
		if ext != ".yml" && ext != ".yaml" {
			continue
		}
		stem := strings.TrimSuffix(p, ext)
		other, ok := strings.CutSuffix(stem, ".test")
		if ok {
			other += ext
		} else {
			other = stem + ".test" + ext
		}
		if info, err := os.Stat(other); err == nil && info.Mode().IsRegular() {
			add(other)
		}
	}
	return all
}

func testRules(std streams, o caseOptions) error {
	model, err := audit.NewModel(audit.Options{})
	if err != nil {
		return err
	}
	places, err := readRules(o.rules)
	options := o.rules.compileOptions()
	for i := range places {
		options.Fields = append(options.Fields, rules.TestFields(places[i].Tests)...)
	}
	set, compileErr := rules.Compile(places.documents(), processor.ComputedFields(model), options)
	if faults := unjoin(errors.Join(err, compileErr)); len(faults) > 0 {
		for _, fault := range faults {
			fmt.Fprintln(std.err, printable(fault.Error()))
		}
		return &exitError{code: exitConfig, err: errors.New(count(len(faults), "fault"))}
	}
	var results []rules.TestResult
	for i := range places {
		results = append(results, rules.RunTests(set, places[i].Tests, places[i].fsys)...)
	}
	report := caseReport{results: results, titles: map[string]string{}}
	for _, r := range set.Rules() {
		report.titles[r.Key()] = r.Title
	}
	return report.write(std, o)
}

// caseReport is what became of all cases.
type caseReport struct {
	results []rules.TestResult
	// titles are those of all rules, by key.
	titles map[string]string
}

func (r *caseReport) failed() (n int) {
	for i := range r.results {
		if !r.results[i].OK {
			n++
		}
	}
	return n
}

// untested counts the rules without a case.
func (r *caseReport) untested() int {
	tested := map[string]bool{}
	for i := range r.results {
		tested[r.results[i].Rule] = true
	}
	n := 0
	for key := range r.titles {
		if !tested[key] {
			n++
		}
	}
	return n
}

func (r *caseReport) write(std streams, o caseOptions) error {
	if o.junit != "" {
		if err := r.writeJUnit(std.out, o.junit); err != nil {
			return &exitError{code: exitBad, err: err}
		}
	}
	out := std.out
	if o.junit == "-" {
		out = std.err // standard output is the document's
	}
	st := styleOf(out)
	for i := range r.results {
		res := &r.results[i]
		at := printable(fmt.Sprintf("%s:%d:%d", res.Test.File, res.Test.Line, res.Test.Col))
		what := printable(r.title(res)) + ": " + printable(res.Test.Name)
		switch {
		case !res.OK:
			fmt.Fprintf(out, "%s %s: %s: %s\n", st.paint(boldRed, "FAIL"), at, what, printable(res.Detail))
			if res.Explain.Text != "" || len(res.Explain.Kids) > 0 {
				writeTree(out, st, &res.Explain, "     ")
			}
		case o.verbose:
			fmt.Fprintf(out, "%s   %s: %s\n", st.paint(green, "ok"), at, what)
		}
	}
	failed := r.failed()
	_, err := fmt.Fprintf(out, "%s of %s, %d failed, %s without a case\n",
		count(len(r.results), "case"), count(len(r.titles), "rule"), failed, count(r.untested(), "rule"))
	switch {
	case err != nil && !isGone(err):
		return &exitError{code: exitBad, err: err}
	case len(r.results) == 0:
		return &exitError{code: exitBad, err: errors.New("there is no case: write some into NAME.test.yml beside NAME.yml")}
	case failed > 0:
		return &exitError{code: exitBad}
	}
	return nil
}

func (r *caseReport) title(res *rules.TestResult) string {
	if t := r.titles[res.Rule]; t != "" {
		return t
	}
	return res.Rule
}
