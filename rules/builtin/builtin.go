// Package builtin carries the rules that ship inside the program, each with its cases beside it.
package builtin

import (
	"embed"
	"io/fs"
)

//go:embed *.yml
var pack embed.FS

//go:embed context/*.yml
var context embed.FS

// Files returns the pack that is on by default: workloads that were created or changed, and what is wrong with them.
func Files() fs.FS { return pack }

// Context returns the pack that is off by default: what else happens around workloads, such as an exec, rights that are
// granted, secrets that are read. Alone these say little; beside an alert they tell its story.
func Context() fs.FS {
	sub, err := fs.Sub(context, "context")
	if err != nil { // only for a name that is no path
		panic(err)
	}
	return sub
}
