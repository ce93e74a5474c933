package rules

import (
	"strings"

	"go.yaml.in/yaml/v4"
)

var correlationTypes = []string{
	"event_count", "value_count", "temporal", "temporal_ordered", "value_sum", "value_avg", "value_percentile", "value_median",
}

// correlation checks a correlation document (Sigma specification 2.1, Correlation Rules) and refuses it: rules that
// need state across events are not evaluated, and one that is ignored in silence would be worse than none.
func (d *document) correlation(pairs []pair) {
	hasTitle := false
	for _, p := range pairs {
		switch p.key {
		case "title":
			hasTitle = true
			d.title(p.node)
		case "correlation":
			d.correlationBody(p)
		}
	}
	if !hasTitle {
		d.fault(d.root, "", "expected a title, got none")
	}
	d.fault(d.root, "the rules it refers to work on their own", "expected a rule or a filter, got a correlation: correlations are not evaluated")
}

func (d *document) correlationBody(p pair) {
	n := p.node
	if n.Kind != yaml.MappingNode {
		d.fault(p.position, "", "expected a mapping for correlation, got %s", kindName(n))
		return
	}
	have := map[string]pair{}
	for _, p := range d.pairs(n) {
		have[p.key] = p
	}
	kind := ""
	if t, ok := have["type"]; !ok || isNull(t.node) {
		d.fault(n, didYouMean("", correlationTypes), "expected a type in correlation, got none")
	} else {
		kind = d.oneOf(t, correlationTypes)
	}
	if r, ok := have["rules"]; !ok || isNull(r.node) {
		d.fault(n, "", "expected the rules of the correlation, got none")
	} else if r.node.Kind != yaml.ScalarNode {
		d.texts(r)
	}
	if t, ok := have["timespan"]; !ok {
		d.fault(n, "for example 5m", "expected a timespan in correlation, got none")
	} else if !isTimespan(t.node.Value) {
		d.fault(t.position, "a number and s, m, h or d", "expected a timespan, got %s", kindName(t.node))
	}
	if _, ok := have["condition"]; !ok && kind != "" && !strings.HasPrefix(kind, "temporal") {
		d.fault(n, "for example condition: {gte: 10}", "expected a condition for %s, got none", kind)
	}
}

func isTimespan(s string) bool {
	if len(s) < 2 || !strings.ContainsRune("smhd", rune(s[len(s)-1])) {
		return false
	}
	for _, c := range s[:len(s)-1] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
