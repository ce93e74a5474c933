package enrich

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocs holds docs/enrichment.md against the code: every enricher, right, owner key and limit is in it.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "enrichment.md"))
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	var words []string
	e := newEnricher(t, Options{})
	at := 0
	for _, s := range e.steps { // in their order
		row := "\n| " + s.name + " | "
		if i := strings.Index(doc[at:], row); i < 0 {
			t.Errorf("the enricher %q is missing, or out of order", s.name)
		} else {
			at += i
		}
	}
	for _, d := range e.dangers {
		words = append(words, "`"+d.code+"`")
	}
	for _, k := range e.ownerKeys {
		if !strings.Contains(k.key, "fluxcd.io") && !strings.Contains(k.key, "tracking-id") { // "their own labels and annotations"
			words = append(words, "`"+k.key+"`")
		}
	}
	words = append(words,
		e.options.TicketAnnotation, fmt.Sprintf("| time for one alert | %d s |", int(e.options.Budget.Seconds())), fmt.Sprintf("| command | %d KiB |", maxCommand>>10),
		fmt.Sprintf("| deviations from an allow-list in an alert | %d |", maxDeviations), fmt.Sprintf("| images in a command or an answer | %d |", maxImages),
		fmt.Sprintf("| dangerous rights in an alert | %d,", maxRights), fmt.Sprintf("| %d KiB of each container |", maxSearched>>10),
		fmt.Sprintf("| team file, allow-list | %d MiB |", maxFile>>20), fmt.Sprintf("| snapshot | %d MiB |", maxSnapshot>>20),
	)
	for _, w := range words {
		if !strings.Contains(doc, w) {
			t.Errorf("docs/enrichment.md does not say %s", w)
		}
	}
}
