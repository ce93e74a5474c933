package main

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// style is how the reader of an output wants its text.
type style struct {
	// width in columns: longer text is wrapped or cut there.
	width int
	// colour is off for files and pipes, dumb terminals, and wherever NO_COLOR is set (https://no-color.org).
	colour bool
}

// The width that is used where none can be asked for, and the bounds of what is used of a terminal, in columns.
const (
	defaultWidth = 100
	minWidth     = 40
	maxWidth     = 140
)

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// styleOf asks w what it can do.
func styleOf(w io.Writer) style {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(w) {
		return style{width: defaultWidth}
	}
	return style{
		width:  terminalWidth(f),
		colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
	}
}

// terminalWidth is asked again before each use: windows are resized.
func terminalWidth(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return defaultWidth
	}
	return min(max(width, minWidth), maxWidth)
}

// Parameters of SGR, the control function that colours text (ECMA-48, 8.3.117).
const (
	bold    = "1"
	dim     = "2"
	red     = "31"
	yellow  = "33"
	blue    = "34"
	cyan    = "36"
	onRed   = "1;97;41"
	boldRed = "1;31"
)

func (s style) paint(sgr, text string) string {
	if !s.colour || strings.TrimSpace(text) == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

func severityColour(severity string) string {
	switch severity {
	case "critical":
		return onRed
	case "high":
		return boldRed
	case "medium":
		return yellow
	case "low":
		return blue
	default:
		return dim
	}
}
