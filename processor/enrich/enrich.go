// Package enrich adds to an alert what can be known about the workload, its actor and its surroundings without asking
// anybody: from the event itself and from files that were read before. One file per enricher.
package enrich
