package main

import (
	"github.com/spf13/cobra"
)

func newRules(std streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Check, test, explain and list rules",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRulesCheck(std), newRulesTest(std), newRulesExplain(std), newRulesList(std), newRulesFields(std))
	return cmd
}

// packFlags adds the flags that choose the rules that ship with the program. What o holds is the default.
func packFlags(cmd *cobra.Command, o *ruleOptions) {
	cmd.Flags().BoolVar(&o.builtin, "builtin", o.builtin, "with the built-in pack")
	cmd.Flags().BoolVar(&o.context, "context", o.context, "with the context rules (in run and replay they are off by default)")
}

// written turns what became of the last write into the end of a command: a reader that has gone has seen enough.
func written(err error) error {
	if err == nil || isGone(err) {
		return nil
	}
	return &exitError{code: exitBad, err: err}
}
