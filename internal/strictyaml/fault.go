package strictyaml

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong.
type Fault struct {
	File         string
	Line, Column int
	// Path is the key: sources[0].kafka.brokers.
	Path string
	// Text says what was expected and what came.
	Text string
	// Hint says what to do, if it is clear.
	Hint string
	// Snippet is the line of the file, empty if it may hold a secret.
	Snippet string
}

// Error gives file:line:col, the key, the text, the line and a mark below the column.
func (f *Fault) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", f.File, f.Line, f.Column)
	if f.Path != "" {
		fmt.Fprintf(&b, "%s: ", f.Path)
	}
	b.WriteString(f.Text)
	if f.Hint != "" {
		fmt.Fprintf(&b, " (%s)", f.Hint)
	}
	if f.Snippet != "" {
		fmt.Fprintf(&b, "\n    %5d | %s\n          | %s^", f.Line, f.Snippet, strings.Repeat(" ", max(f.Column-1, 0)))
	}
	return b.String()
}
