package alert

import (
	"regexp"
	"slices"
	"testing"
)

func TestSeverityOrder(t *testing.T) {
	order := append([]string{"urgent"}, Severities()...) // a word that is no severity comes before all
	for i, a := range order {
		for j, b := range order {
			if got, want := Severity(a).Less(Severity(b)), i < j; got != want {
				t.Errorf("%s < %s: got %v", a, b, got)
			}
		}
	}
	if Severity("").Less("urgent") || Severity("urgent").Less("") {
		t.Error("two words that are no severities are not equal")
	}
}

func TestAssess(t *testing.T) {
	base := func(level Severity) Reason { return Reason{Code: ReasonRuleLevel, Points: BasePoints(level)} }
	for _, c := range []struct {
		name    string
		reasons []Reason
		score   int
		sev     Severity
	}{
		{"nothing", nil, 0, Informational},
		{"informational rule", []Reason{base(Informational)}, 0, Informational},
		{"low rule", []Reason{base(Low)}, 20, Low},
		{"medium rule", []Reason{base(Medium)}, 40, Medium},
		{"high rule", []Reason{base(High)}, 60, High},
		{"critical rule", []Reason{base(Critical)}, 80, Critical},
		{"no level", []Reason{base("severe")}, 0, Informational},
		{"just below", []Reason{base(Medium), {Points: 19}}, 59, Medium},
		{"raised", []Reason{base(Medium), {Points: 25}}, 65, High},
		{"lowered", []Reason{base(Medium), {Points: -40}}, 0, Informational},
		{"never below 0", []Reason{base(Low), {Points: -40}, {Points: -40}}, 0, Informational},
		{"cut after the sum, not within", []Reason{{Points: -40}, base(High)}, 20, Low},
		{"never above 100", []Reason{base(Critical), {Points: 40}, {Points: 40}}, 100, Critical},
		{"one reason counts for 100 at most", []Reason{{Points: 1 << 40}, {Points: -100}}, 0, Informational},
	} {
		score, sev := Assess(c.reasons, DefaultThresholds())
		if score != c.score || sev != c.sev {
			t.Errorf("%s: got %d %s, want %d %s", c.name, score, sev, c.score, c.sev)
		}
	}
	if _, sev := Assess([]Reason{{Points: 50}}, Thresholds{Low: 1, Medium: 2, High: 3, Critical: 50}); sev != Critical {
		t.Errorf("own thresholds: got %s, want critical", sev)
	}
}

func TestThresholdsValidate(t *testing.T) {
	if err := DefaultThresholds().Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Thresholds{{}, {20, 20, 60, 80}, {20, 40, 40, 80}, {20, 40, 80, 80}, {20, 40, 60, 101}, {0, 40, 60, 80}, {80, 60, 40, 20}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestWeights(t *testing.T) {
	code := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	var seen []string
	for _, w := range Weights() {
		if !code.MatchString(w.Code) || slices.Contains(seen, w.Code) || w.Code == ReasonRuleLevel {
			t.Errorf("%q is no code of its own", w.Code)
		}
		if w.Points == 0 || w.Points < -MaxScore || w.Points > MaxScore || w.Text == "" {
			t.Errorf("%s: %d points, %q", w.Code, w.Points, w.Text)
		}
		if Points(w.Code) != w.Points {
			t.Errorf("%s: Points says %d, Weights %d", w.Code, Points(w.Code), w.Points)
		}
		seen = append(seen, w.Code)
	}
	if Points("nonsense") != 0 {
		t.Error("a code that is not listed has points")
	}
	Weights()[0].Points = 7
	if Weights()[0].Points == 7 {
		t.Error("a caller can change the weights")
	}
}
