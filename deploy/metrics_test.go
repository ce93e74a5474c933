package deploy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// metric is a row of docs/metrics.md.
type metric struct {
	kind   string
	labels []string
}

// runtimeMetrics are the Go runtime's and the process' own that docs/metrics.md names.
var runtimeMetrics = []string{"process_cpu_seconds_total", "process_resident_memory_bytes", "go_memstats_heap_inuse_bytes"}

// documented reads the table of docs/metrics.md.
func documented(t *testing.T) map[string]metric {
	t.Helper()
	all := map[string]metric{}
	word := regexp.MustCompile("`(\\w+)`")
	for line := range strings.Lines(string(read(t, root+"/docs/metrics.md"))) {
		cells := strings.Split(line, "|")
		if len(cells) < 8 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`spawnwatch_") {
			continue
		}
		m := metric{kind: strings.TrimSpace(cells[3])}
		for _, l := range word.FindAllStringSubmatch(cells[5], -1) {
			m.labels = append(m.labels, l[1])
		}
		all[strings.Trim(cells[1], " `")] = m
	}
	if len(all) < 30 {
		t.Fatalf("docs/metrics.md: expected its table, found %d rows", len(all))
	}
	for _, name := range runtimeMetrics {
		if !strings.Contains(string(read(t, root+"/docs/metrics.md")), "`"+name+"`") {
			t.Errorf("docs/metrics.md does not name %s", name)
		}
		all[name] = metric{kind: "counter"}
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b(?:spawnwatch|go|process)_[a-z0-9_]+`)
	// matcher finds a metric with what stands in its braces, grouping the labels of by, on and without.
	matcher    = regexp.MustCompile(`\b((?:spawnwatch|go|process)_[a-z0-9_]+)\{([^}]*)\}`)
	labelName  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`\b(?:by|on|without|ignoring)\s*\(([^)]*)\)`)
	labelOfAll = []string{"instance", "job"}
)

// faultsOf says which metrics and labels of a PromQL expression are not documented.
func faultsOf(all map[string]metric, expr string) (faults []string) {
	usable := slices.Clone(labelOfAll)
	base := func(name string) string {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if b, ok := strings.CutSuffix(name, suffix); ok && all[b].kind == "histogram" {
				return b
			}
		}
		return name
	}
	names := metricName.FindAllString(expr, -1)
	if len(names) == 0 {
		faults = append(faults, "names no metric")
	}
	for _, name := range names {
		m, ok := all[base(name)]
		switch {
		case !ok:
			faults = append(faults, name+" is not in docs/metrics.md")
		case m.kind == "histogram" && base(name) == name:
			faults = append(faults, name+" is a histogram: expected its _bucket, _sum or _count")
		}
		usable = append(usable, m.labels...)
		if strings.HasSuffix(name, "_bucket") {
			usable = append(usable, "le")
		}
	}
	for _, m := range matcher.FindAllStringSubmatch(expr, -1) {
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(append(slices.Clone(labelOfAll), all[base(m[1])].labels...), l[1]) {
				faults = append(faults, m[1]+" has no label "+l[1])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, l := range strings.Split(g[1], ",") {
			if l = strings.TrimSpace(l); l != "" && !slices.Contains(usable, l) {
				faults = append(faults, "no metric of the expression has the label "+l)
			}
		}
	}
	return faults
}

func TestFaultsOf(t *testing.T) {
	all := documented(t)
	for expr, want := range map[string]string{
		`sum by (source) (rate(spawnwatch_records_total{instance="a"}[5m]))`:              "",
		`histogram_quantile(0.9, sum by (le) (spawnwatch_delivery_delay_seconds_bucket))`: "",
		`spawnwatch_record_total`:                   "spawnwatch_record_total is not in docs/metrics.md",
		`spawnwatch_records_total{topic="x"}`:       "spawnwatch_records_total has no label topic",
		`sum by (topic) (spawnwatch_records_total)`: "no metric of the expression has the label topic",
		`spawnwatch_delivery_delay_seconds`:         "spawnwatch_delivery_delay_seconds is a histogram: expected its _bucket, _sum or _count",
		`spawnwatch_records_total_count`:            "spawnwatch_records_total_count is not in docs/metrics.md",
		`up`:                                        "names no metric",
		`go_goroutines`:                             "go_goroutines is not in docs/metrics.md",
		`histogram_quantile(0.9, sum by (le, stage) (spawnwatch_publish_duration_seconds_bucket))`: "no metric of the expression has the label stage",
	} {
		if got := strings.Join(faultsOf(all, expr), "; "); got != want {
			t.Errorf("%s: got %q, expected %q", expr, got, want)
		}
	}
}

// panel is what a dashboard holds that is held to something here.
type panel struct {
	ID      int
	Title   string
	Type    string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr string }
}

func TestDashboard(t *testing.T) {
	var board struct {
		Title, UID string
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
		Panels []panel
	}
	if err := json.Unmarshal(read(t, "grafana/spawnwatch.json"), &board); err != nil {
		t.Fatal(err)
	}
	all, queries := documented(t), 0
	used := map[string]bool{}
	ids := map[int]bool{}
	cells := map[[2]int]string{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q: its id %d is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken || x >= 24 {
					t.Fatalf("panel %q lies over %q or beyond the edge", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks nothing", p.Title)
		}
		for _, target := range p.Targets {
			queries++
			expr := strings.NewReplacer("$__range", "1h", "$__interval", "1m", "$instance", ".*").Replace(target.Expr)
			for _, fault := range faultsOf(all, expr) {
				t.Errorf("panel %q: %s: %s", p.Title, target.Expr, fault)
			}
			for _, name := range metricName.FindAllString(expr, -1) {
				used[strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")] = true
			}
		}
	}
	for _, v := range board.Templating.List {
		if v.Name != "datasource" {
			for _, fault := range faultsOf(all, fmt.Sprint(v.Query)) {
				t.Errorf("variable %s: %s", v.Name, fault)
			}
		}
	}
	if queries < 40 {
		t.Errorf("expected the dashboard's queries, found %d", queries)
	}
	// What is measured can be seen: a metric that no panel shows is one that nobody looks at.
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !used[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// ruleFile is a rule file of Prometheus.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

func TestAlertRules(t *testing.T) {
	var rules ruleFile
	decode(t, "prometheus/alerts.yaml", &rules)
	var operator struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct{ Name string }
		Spec       ruleFile
	}
	decode(t, "kubernetes/components/monitoring/prometheusrule.yaml", &operator)
	if !reflect.DeepEqual(rules, operator.Spec) {
		t.Error("kubernetes/components/monitoring/prometheusrule.yaml: expected the rules of prometheus/alerts.yaml")
	}
	all, n := documented(t), 0
	tests, manual := string(read(t, "prometheus/alerts_test.yaml")), string(read(t, root+"/docs/operations.md"))
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			n++
			for _, fault := range faultsOf(all, r.Expr) {
				t.Errorf("%s: %s", r.Alert, fault)
			}
			if s := r.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s: expected the severity critical or warning, got %q", r.Alert, s)
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: expected a summary and a description", r.Alert)
			}
			if strings.Count(tests, "alertname: "+r.Alert) < 2 {
				t.Errorf("%s: expected tests in which it fires and in which it does not", r.Alert)
			}
			if !strings.Contains(manual, "`"+r.Alert+"`") {
				t.Errorf("docs/operations.md does not say what to do about %s", r.Alert)
			}
		}
	}
	if n < 10 {
		t.Errorf("expected the alert rules, found %d", n)
	}
}
