package enrich

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"
)

// maxFile is the largest team file or allow-list that is read, in bytes: 4 MiB, some 20,000 entries.
const maxFile = 4 << 20

// ParseTeams reads a team file: YAML or JSON, a map from a namespace (or a prefix, "shop-*") to its [Team]. An unknown
// key is an error with its line, and so is an entry that names nobody. An empty file names no team.
func ParseTeams(data []byte) (map[string]Team, error) {
	teams := map[string]Team{}
	if err := load(data, &teams); err != nil {
		return nil, fmt.Errorf("expected a map such as {shop: {team: checkout, chat: \"#checkout\"}}: %w", err)
	}
	var errs []error
	for namespace, t := range teams {
		if t == (Team{}) {
			errs = append(errs, fmt.Errorf("namespace %q: expected at least one of team, contact, chat, runbook, got none", namespace))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return teams, nil
}

// ParseAllow reads an allow-list: YAML or JSON, a list of [Allow]. An unknown key is an error with its line; so is an
// entry that would allow everything, or has a pattern that cannot be read. An empty file allows nothing.
func ParseAllow(data []byte) ([]Allow, error) {
	var entries []Allow
	if err := load(data, &entries); err != nil {
		return nil, fmt.Errorf("expected a list of entries such as [{name: ci, actors: [\"system:serviceaccount:ci:*\"], approve: true}]: %w", err)
	}
	var errs []error
	for i := range entries {
		if err := entries[i].Validate(); err != nil {
			errs = append(errs, fmt.Errorf("entry %d (%q): %w", i+1, entries[i].Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return entries, nil
}

// load decodes the one document of a file.
func load(data []byte, into any) error {
	if len(data) > maxFile {
		return fmt.Errorf("the file has %d bytes, at most %d are read: split it", len(data), maxFile)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithKnownFields(), yaml.WithUniqueKeys())
	if err != nil {
		return err
	}
	switch err := loader.Load(into); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	var next yaml.Node
	if err := loader.Load(&next); !errors.Is(err, io.EOF) {
		return errors.New("expected one document, got several (---)")
	}
	return nil
}
