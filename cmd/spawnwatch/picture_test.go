package main

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// The alerts of the demo that stand in the README and in docs/cards.svg, by a text that is in them alone.
var pictured = []string{`"title":"Pod default/node-debugger-node-1-hvvzj created`, `"title":"Pod open-door/anon2 created`}

const picturedAlerts = "testdata/cards/pictured.jsonl"

var detectedAt = regexp.MustCompile(`"detected_at":"[^"]*"`)

// TestPicture holds the card in the README and docs/cards.svg to what the program shows.
//
//	go test ./cmd/spawnwatch -run TestPicture -update
//
// makes them anew, out of the alerts that the pipeline raises today for the sample of the demo.
func TestPicture(t *testing.T) {
	if *update {
		writePictured(t)
	}
	lines, err := os.ReadFile(picturedAlerts)
	if err != nil {
		t.Fatal(err)
	}
	var coloured strings.Builder
	plain := make([]string, 0, len(pictured))
	for line := range bytes.Lines(lines) {
		a, err := readAlert(line)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		card(style{width: 100}, &b, a)
		plain = append(plain, b.String())
		card(style{width: 100, colour: true}, &coloured, a)
	}
	if len(plain) != len(pictured) {
		t.Fatalf("%d alerts, want %d", len(plain), len(pictured))
	}
	golden(t, "../../docs/cards.svg", drawSVG(strings.TrimRight(coloured.String(), "\n")))
	checkReadme(t, "```text\n"+strings.TrimRight(plain[0], "\n")+"\n```\n")
}

// writePictured runs the sample of the demo through the pipeline.
func writePictured(t *testing.T) {
	t.Helper()
	lines, err := demoLines()
	if err != nil {
		t.Fatal(err)
	}
	r := runReplay(t, bytes.Join(lines, []byte("\n")), "-")
	if r.code != exitOK {
		t.Fatal(r.stderr)
	}
	var out []string
	for _, want := range pictured {
		for line := range strings.Lines(r.stdout) {
			if strings.Contains(line, want) {
				out = append(out, detectedAt.ReplaceAllString(line, `"detected_at":null`))
			}
		}
	}
	if err := os.WriteFile(picturedAlerts, []byte(strings.Join(out, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Between these lines of the README stands the card.
const (
	readmeCard    = "<!-- card: written by `go test ./cmd/spawnwatch -run TestPicture -update` -->\n"
	readmeCardEnd = "<!-- end of card -->\n"
)

func checkReadme(t *testing.T, want string) {
	t.Helper()
	const path = "../../README.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), readmeCard)
	got, after, ok2 := strings.Cut(rest, readmeCardEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s lacks the lines between which the card stands", path)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+readmeCard+want+readmeCardEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("the card in %s is out of date: run this test with -update", path)
	}
}

// Sizes of the picture in pixels, and its colours.
const (
	cellWidth, cellHeight = 8.4, 19
	margin                = 16
	paper, ink            = "#1e2127", "#d7dae0"
)

var sgrPattern = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// drawSVG draws what a terminal shows of text with our colours. Each run of characters stands at its column, so that the
// picture does not depend on the font.
func drawSVG(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, asTerminal(line)...)
	}
	width := 0
	for _, l := range lines {
		width = max(width, columns(sgrPattern.ReplaceAllString(l, "")))
	}
	var b strings.Builder
	w, h := float64(width)*cellWidth+2*margin, len(lines)*cellHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14">`+"\n", w, h)
	fmt.Fprintf(&b, `<title>Two alerts as spawnwatch shows them on a terminal</title>`+"\n"+`<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", paper)
	for i, line := range lines {
		drawLine(&b, line, margin+i*cellHeight)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// asTerminal breaks a line where a terminal of 100 columns does. The colour of what is longer than that ends with its label.
func asTerminal(line string) (rows []string) {
	column := 0
	start := 0
	for i := 0; i < len(line); {
		if m := sgrPattern.FindStringIndex(line[i:]); m != nil && m[0] == 0 {
			i += m[1]
			continue
		}
		r, size := utf8.DecodeRuneInString(line[i:])
		if column+runeColumns(r) > 100 {
			rows = append(rows, line[start:i])
			start, column = i, 0
		}
		column += runeColumns(r)
		i += size
	}
	return append(rows, line[start:])
}

func drawLine(b *strings.Builder, line string, top int) {
	column, sgr := 0, "0"
	for line != "" {
		text := line
		next := sgrPattern.FindStringSubmatchIndex(line)
		after := ""
		if next != nil {
			text, after = line[:next[0]], line[next[1]:]
		}
		drawRun(b, text, sgr, column, top)
		column += columns(text)
		if next != nil {
			sgr = line[next[2]:next[3]]
		}
		line = after
	}
}

func drawRun(b *strings.Builder, text, sgr string, column, top int) {
	if text == "" {
		return
	}
	x := margin + float64(column)*cellWidth
	length := float64(columns(text)) * cellWidth
	fill, extra := ink, ""
	switch sgr {
	case bold:
		extra = ` font-weight="bold"`
	case boldRed:
		fill, extra = "#f0717a", ` font-weight="bold"`
	case cyan:
		fill = "#56b6c2"
	case yellow:
		fill = "#e5c07b"
	case blue:
		fill = "#61afef"
	case dim:
		fill = "#8b919d"
	case onRed:
		fill, extra = "#ffffff", ` font-weight="bold"`
		fmt.Fprintf(b, `<rect x="%s" y="%d" width="%s" height="%d" fill="#be3a47"/>`+"\n", px(x), top, px(length), cellHeight)
	}
	if strings.TrimSpace(text) == "" {
		return
	}
	fmt.Fprintf(b, `<text x="%s" y="%d" textLength="%s" fill="%s"%s xml:space="preserve">%s</text>`+"\n",
		px(x), top+14, px(length), fill, extra, html.EscapeString(text))
}

func px(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
