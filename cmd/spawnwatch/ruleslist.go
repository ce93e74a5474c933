package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
)

func newRulesList(std streams) *cobra.Command {
	o := ruleOptions{builtin: true}
	attack := false
	cmd := &cobra.Command{
		Use:   "list [flags] [PATH...]",
		Short: "List rules: id, level, title, tags, file",
		Long: `list shows the built-in pack and the rules of each PATH. With --attack it shows instead which
techniques of ATT&CK the rules tag, and which rules tag each.`,
		Example: `  spawnwatch rules list --context
  spawnwatch rules list --attack --builtin=false rules.d`,
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
			all := slices.SortedFunc(slices.Values(set.Rules()), func(a, b *rules.Rule) int {
				return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
			})
			if attack {
				return listTechniques(std, all)
			}
			return listRules(std, all)
		},
	}
	packFlags(cmd, &o)
	cmd.Flags().BoolVar(&attack, "attack", false, "list techniques of ATT&CK, each with its rules")
	return cmd
}

func listRules(std streams, all []*rules.Rule) error {
	w := tabwriter.NewWriter(std.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tLEVEL\tTITLE\tTAGS\tFILE")
	for _, r := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(orDash(r.ID)), orDash(r.Level), printable(r.Title),
			printable(orDash(strings.Join(r.Tags, ","))), printable(r.File))
	}
	return written(w.Flush())
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// listTechniques shows what the rules cover. Sigma doesn't tell which of a rule's tactics belongs to which of its
// techniques, so all of them stand beside each.
func listTechniques(std streams, all []*rules.Rule) error {
	type line struct{ tactics, rules []string }
	techniques := map[string]*line{}
	for _, r := range all {
		var ids, tactics []string
		for _, tag := range r.Tags {
			name, ok := strings.CutPrefix(strings.ToLower(tag), "attack.")
			switch {
			case !ok:
			case len(name) > 1 && name[0] == 't' && name[1] >= '0' && name[1] <= '9':
				ids = append(ids, strings.ToUpper(name))
			case len(name) > 1 && (name[0] == 'g' || name[0] == 's') && name[1] >= '0' && name[1] <= '9':
				// A group or a piece of software.
			default:
				tactics = append(tactics, strings.ReplaceAll(name, "_", "-"))
			}
		}
		if len(ids) == 0 {
			ids = []string{"-"}
		}
		for _, id := range ids {
			l := techniques[id]
			if l == nil {
				l = &line{}
				techniques[id] = l
			}
			l.rules = append(l.rules, r.Title)
			for _, t := range tactics {
				if !slices.Contains(l.tactics, t) {
					l.tactics = append(l.tactics, t)
				}
			}
		}
	}
	w := tabwriter.NewWriter(std.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "TECHNIQUE\tTACTICS\tRULES")
	for _, id := range slices.Sorted(maps.Keys(techniques)) {
		l := techniques[id]
		for i, title := range l.rules {
			if i > 0 {
				id, l.tactics = "", nil
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", printable(id), printable(strings.Join(l.tactics, ",")), printable(title))
		}
	}
	return written(w.Flush())
}

func newRulesFields(std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "fields",
		Short: "List the fields that rules may use: of the event, computed, aliases",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			aliases := processor.Aliases()
			values := processor.Vocabulary(aliases).Values
			w := tabwriter.NewWriter(std.out, 0, 8, 2, ' ', 0)
			row := func(name, kind, text string) {
				// A long list of values, such as status codes, is no help.
				const most = 14
				if v := values[name]; v != nil && len(v) <= most && kind == "event" {
					text = strings.TrimSuffix(text+": "+strings.Join(v, ", "), ": ")
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", name, kind, strings.TrimPrefix(text, ": "))
			}
			fmt.Fprintln(w, "FIELD\tKIND\tWHAT IT HOLDS")
			for _, f := range processor.EventFields() {
				row(f.Name, "event", f.Text)
			}
			for _, f := range audit.FieldDocs() {
				row(f.Name, "computed", f.Text)
			}
			for _, alias := range slices.Sorted(maps.Keys(aliases)) {
				row(alias, "alias", "the same as "+strings.Join(aliases[alias], ", "))
			}
			return written(w.Flush())
		},
	}
}
