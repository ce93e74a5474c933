package main

import (
	_ "embed"

	"github.com/spf13/cobra"
)

// exampleConfig is a complete, commented configuration. TestExampleConfig holds it to what the program reads.
//
//go:embed config.example.yaml
var exampleConfig string

// configSchema is the JSON Schema of the configuration, written by TestConfigSchema out of the Config structs and their
// comments, so that the program needs no sources for it.
//
//go:embed config.schema.json
var configSchema string

func newConfigCommand(std streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print a commented configuration, or a JSON Schema of it",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "example",
		Short: "Print a complete, commented configuration to start from",
		Example: `  spawnwatch config example > spawnwatch.yaml
  spawnwatch check -c spawnwatch.yaml`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return printText(std, exampleConfig)
		},
	}, &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema (2020-12) of the configuration, for editors",
		Long: `schema prints a JSON Schema of the configuration. An editor with a YAML language server
uses it when the first line of the file names it:

  # yaml-language-server: $schema=spawnwatch.schema.json`,
		Example: `  spawnwatch config schema > spawnwatch.schema.json`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return printText(std, configSchema)
		},
	})
	return cmd
}

func printText(std streams, text string) error {
	if _, err := std.out.Write([]byte(text)); err != nil && !isGone(err) {
		return &exitError{code: exitBad, err: err}
	}
	return nil
}
