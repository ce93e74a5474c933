package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
)

// connectLimit is how long `check --connect` waits for one peer.
const connectLimit = 10 * time.Second

func newCheck(std streams) *cobra.Command {
	var path string
	var connect bool
	cmd := &cobra.Command{
		Use:   "check -c FILE [--connect]",
		Short: "Check a configuration, its rules, and on request its connections",
		Long: `check reads the configuration and compiles the rules as run would, and reports everything
that is wrong with file, line and column. With --connect it also dials every source and
sink, and says which broker, listener, credential, stream or topic is wrong.

Exit code 0 if all is well, 1 if a peer could not be used, 3 if the configuration or a rule is wrong.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return check(cmd.Context(), std, path, connect)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "", "the configuration file (required)")
	cmd.Flags().BoolVar(&connect, "connect", false, "dial every source and sink")
	_ = cmd.MarkFlagRequired("config")
	return cmd
}

func check(ctx context.Context, std streams, path string, connect bool) error {
	cfg, err := loadConfig(path)
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	s, err := assemble(cfg, std, newLogger(std, slog.LevelInfo), nil)
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	defer closeSinks(s.routes, s.dead.Sink, closeLimit)
	fmt.Fprintf(std.out, "%s: %d sources, %d sinks: the configuration is good\n", path, len(s.sources), len(s.routes))
	if !connect {
		return nil
	}
	var errs []error
	try := func(what string, part any) {
		c, ok := part.(checker)
		if !ok {
			fmt.Fprintf(std.out, "%s: nothing to connect to\n", what)
			return
		}
		ctx, cancel := context.WithTimeout(ctx, connectLimit)
		defer cancel()
		if err := c.Check(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
			return
		}
		fmt.Fprintf(std.out, "%s: ok\n", what)
	}
	for i := range s.sources {
		try(fmt.Sprintf("source %q", s.sources[i].name), s.sources[i].source)
	}
	for i := range s.routes {
		try(fmt.Sprintf("sink %q", s.routes[i].Name), s.routes[i].Sink)
	}
	try("dead_letter", s.dead.Sink)
	if err := errors.Join(errs...); err != nil {
		return &exitError{code: exitBad, err: err}
	}
	return nil
}
