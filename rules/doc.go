// Package rules is a Sigma 2.1 engine for JSON events: it parses rules and filters, compiles them into an immutable
// [Set], and matches events given as bytes.
//
// It knows nothing of what the events are about. The caller hands in computed fields ([Computed]), aliases, guards and
// placeholders. How each point that the specification leaves open is read is written down in docs/rules.md and pinned by
// tests.
//
// The matcher walks the top-level keys of an event once. Every field path used by any rule has a slot; the walk descends
// only into objects that some slot needs. From the rules' own conditions follows, at compile time, which values of a
// field leave which rules possible (a gate). As soon as no rule is possible any more the walk stops.
package rules
