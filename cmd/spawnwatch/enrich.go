package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/enrich"
)

// enrichConfig is what a user says about enrichment. All of it is optional.
type enrichConfig struct {
	// Mode is full (default), or none: alerts hold only what their event says of itself, at a small part of the cost.
	Mode string `yaml:"mode"`
	// Networks are address ranges of one's own by name: {office: [203.0.113.0/24]}.
	Networks map[string][]string `yaml:"networks"`
	// TeamsFile is a YAML file that maps namespaces (or prefixes, "shop-*") to their teams.
	TeamsFile string `yaml:"teams_file"`
	// AllowFiles are YAML files with allow-list entries.
	AllowFiles []string `yaml:"allow_files"`
	// TicketAnnotation is the annotation of a workload that holds a change ticket; default spawnwatch.io/change-ticket.
	TicketAnnotation string `yaml:"ticket_annotation"`
	// Thresholds are the lowest scores of the severities.
	Thresholds thresholdsConfig `yaml:"thresholds"`
	// Event says what becomes of the audit event in the alert: redacted (default), full or none.
	Event string `yaml:"event"`
	// RBACSnapshot is a file that `kubectl get clusterroles,clusterrolebindings,roles,rolebindings -A -o json` printed.
	RBACSnapshot string `yaml:"rbac_snapshot"`
	// SnapshotCluster is the cluster whose roles rbac_snapshot holds; empty: it is taken for every cluster.
	SnapshotCluster string `yaml:"snapshot_cluster"`
	// OwnerKeys are labels and annotations of one's own that tell about owners, tried before those in common use.
	OwnerKeys []enrich.OwnerKey `yaml:"owner_keys"`
}

// The modes of enrichment.
const (
	enrichFull = "full"
	enrichNone = "none"
)

// thresholdsConfig are the lowest scores (1 to 100) at which a severity is reached.
type thresholdsConfig struct {
	// Low is the lowest score of severity low; default 20.
	Low int `yaml:"low"`
	// Medium is the lowest score of severity medium; default 40.
	Medium int `yaml:"medium"`
	// High is the lowest score of severity high; default 60.
	High int `yaml:"high"`
	// Critical is the lowest score of severity critical; default 80.
	Critical int `yaml:"critical"`
}

// Validate implements [strictyaml.Validator].
func (c *enrichConfig) Validate() error {
	_, err := enrich.ParseNetworks(c.Networks)
	if err != nil {
		err = &keyError{"networks", err}
	}
	return errors.Join(err,
		oneOf("mode", c.Mode, enrichFull, enrichNone),
		oneOf("event", c.Event, string(enrich.EventRedacted), string(enrich.EventFull), string(enrich.EventNone)),
		alert.Thresholds(c.Thresholds).Validate())
}

// newEnricher reads the files that enrichment needs. failed is told of enrichers that fail; nil: nobody is.
func newEnricher(cfg *config, failed func(enricher string)) (*enrich.Enricher, error) {
	c := &cfg.Enrich
	networks, err := enrich.ParseNetworks(c.Networks)
	if err != nil {
		return nil, err
	}
	o := enrich.Options{
		Networks: networks, TicketAnnotation: c.TicketAnnotation, Thresholds: alert.Thresholds(c.Thresholds), Event: enrich.EventMode(c.Event),
		OwnerKeys: c.OwnerKeys, SnapshotCluster: c.SnapshotCluster, Failed: failed,
	}
	var errs []error
	if c.TeamsFile != "" {
		o.Teams, err = parseFile(c.TeamsFile, enrich.ParseTeams)
		errs = append(errs, err)
	}
	for _, path := range c.AllowFiles {
		entries, err := parseFile(path, enrich.ParseAllow)
		errs = append(errs, err)
		o.Allow = append(o.Allow, entries...)
	}
	var snapshot *enrich.Snapshot
	if c.RBACSnapshot != "" {
		snapshot, err = parseFile(c.RBACSnapshot, enrich.ParseSnapshot)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	e, err := enrich.New(o)
	if err != nil {
		return nil, fmt.Errorf("enrich: %w", err)
	}
	e.SetSnapshot(snapshot)
	return e, nil
}

// parseFile reads a file and says whose fault it is when that goes wrong.
func parseFile[T any](path string, parse func([]byte) (T, error)) (T, error) {
	var none T
	data, err := os.ReadFile(path)
	if err != nil {
		return none, err
	}
	parsed, err := parse(data)
	if err != nil {
		return none, fmt.Errorf("%s: %w", path, err)
	}
	return parsed, nil
}
