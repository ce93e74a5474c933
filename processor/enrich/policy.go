package enrich

import (
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// policy says which level of the Pod Security Standards the workload reaches, and what admission wrote into the event.
func (e *Enricher) policy(in *Input, a *alert.Alert) error {
	a.Policy.PSSLevel = alert.PSSUnknown
	for i := range in.View.Annotations {
		n := &in.View.Annotations[i]
		if kind, ok := admissionType(n.Key); ok {
			a.Policy.Admission = append(a.Policy.Admission, alert.Admission{Type: kind, Source: n.Key, Detail: Text(n.Value)})
		}
	}
	if in.Template == nil || in.Template.Spec == "" || a.Workload == nil {
		return nil
	}
	level, violations, err := e.security.evaluate(in.Template.Annotations, []byte(in.Template.Spec))
	if err != nil {
		return err
	}
	a.Policy.PSSLevel, a.Policy.EvaluatedVersion, a.Policy.Violations = level, podSecurityVersion, violations
	return nil
}

// admissionType sorts the annotations that admission leaves in an audit event; ok is false for those of others.
func admissionType(key string) (alert.AdmissionType, bool) {
	switch {
	case key == "pod-security.kubernetes.io/audit-violations", key == "validation.policy.admission.k8s.io/validation_failure":
		return alert.AdmissionViolation, true
	case key == "pod-security.kubernetes.io/exempt":
		return alert.AdmissionExempt, true
	case key == "pod-security.kubernetes.io/error", strings.HasPrefix(key, "failed-open.mutation.webhook.admission.k8s.io/"),
		strings.HasPrefix(key, "failed-open.validation.webhook.admission.k8s.io/"), strings.HasPrefix(key, "failed-open.validating.webhook.admission.k8s.io/"):
		return alert.AdmissionFailure, true
	case strings.HasPrefix(key, "patch.webhook.admission.k8s.io/"), strings.HasPrefix(key, "mutation.webhook.admission.k8s.io/"):
		return alert.AdmissionMutation, true
	case strings.HasPrefix(key, "pod-security.kubernetes.io/"), strings.Contains(key, ".admission.k8s.io/"):
		return alert.AdmissionInfo, true
	}
	return "", false
}
