package enrich

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
)

// podSecurity evaluates pod templates against the Pod Security Standards with the very checks that the API server's
// admission plugin runs (KEP-2579), each in its newest version.
type podSecurity struct {
	checks []podSecurityCheck
}

type podSecurityCheck struct {
	id    policy.CheckID
	level alert.PSSLevel
	check policy.CheckPodFn
}

func newPodSecurity() *podSecurity {
	p := &podSecurity{}
	for _, c := range policy.DefaultChecks() {
		newest := c.Versions[len(c.Versions)-1]
		level := alert.PSSBaseline
		if c.Level == api.LevelRestricted {
			level = alert.PSSRestricted
		}
		p.checks = append(p.checks, podSecurityCheck{c.ID, level, newest.CheckPod})
	}
	slices.SortFunc(p.checks, func(a, b podSecurityCheck) int { return strings.Compare(string(a.id), string(b.id)) })
	return p
}

// version is what the checks evaluate: always the newest that is built in.
const podSecurityVersion = api.VersionLatest

// evaluate returns the strictest level that a Pod with these annotations and spec (JSON) reaches, and every check that
// fails.
func (p *podSecurity) evaluate(annotations []audit.Label, spec []byte) (alert.PSSLevel, []alert.Violation, error) {
	var pod corev1.PodSpec
	if err := json.Unmarshal(spec, &pod); err != nil {
		return alert.PSSUnknown, nil, fmt.Errorf("the spec of the Pod does not have the form that Kubernetes gives it: %w", err)
	}
	// The checks read annotations (AppArmor), and take no nil.
	meta := &metav1.ObjectMeta{Annotations: make(map[string]string, len(annotations))}
	for _, a := range annotations {
		if _, twice := meta.Annotations[a.Key]; !twice {
			meta.Annotations[a.Key] = a.Value
		}
	}
	reached := alert.PSSRestricted
	var violations []alert.Violation
	for _, c := range p.checks {
		result := c.check(meta, &pod)
		if result.Allowed {
			continue
		}
		violations = append(violations, alert.Violation{Check: string(c.id), Level: c.level, Detail: detail(result)})
		switch {
		case c.level == alert.PSSBaseline:
			reached = alert.PSSPrivileged
		case reached == alert.PSSRestricted:
			reached = alert.PSSBaseline
		}
	}
	return reached, violations, nil
}

// detail is the reason with the values at fault, as admission words it.
func detail(r policy.CheckResult) string {
	if r.ForbiddenDetail == "" {
		return r.ForbiddenReason
	}
	return r.ForbiddenReason + " (" + r.ForbiddenDetail + ")"
}
