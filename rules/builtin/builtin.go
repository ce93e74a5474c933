// Package builtin carries the pack of rules that ships inside the program.
package builtin

import (
	"embed"
	"io/fs"
)

//go:embed *.yml
var files embed.FS

// Files returns the rule files of the pack.
func Files() fs.FS { return files }
