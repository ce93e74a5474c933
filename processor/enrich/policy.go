package enrich

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
)

// policy says which level of the Pod Security Standards the workload reaches, and what admission wrote into the event.
func (e *Enricher) policy(in *Input, a *alert.Alert) error {
	a.Policy.PSSLevel = alert.PSSUnknown
	for i := range in.View.Annotations {
		n := &in.View.Annotations[i]
		if kind, ok := admissionType(n.Key); ok {
			a.Policy.Admission = append(a.Policy.Admission, alert.Admission{Type: kind, Source: n.Key, Detail: admissionDetail(n)})
		}
	}
	if a.Workload == nil || in.unjudged() != "" {
		return nil
	}
	annotations := in.Template.Annotations
	if in.View.Workload.Kind == "Pod" {
		annotations = in.View.Workload.Annotations
	}
	level, violations, misfit := e.security.evaluate(annotations, in.Template)
	if misfit != "" {
		in.misfit = misfit
		return nil
	}
	a.Policy.PSSLevel, a.Policy.EvaluatedVersion, a.Policy.Violations = level, podSecurityVersion, violations
	return nil
}

// unjudged says why no level of the Pod Security Standards can be told; "" where one can. Half a template would get a
// verdict that is too kind.
func (in *Input) unjudged() string {
	switch t := in.Template; {
	case in.View.Truncated:
		return "the API server cut the object out of the event"
	case t == nil && in.View.Workload.Detail == audit.DetailNone:
		return "the event does not show the object"
	case t == nil:
		return "the event does not show the pod template"
	case t.From == audit.FromPatch:
		return "the event shows only a patch, not the object that came out of it"
	case t.Spec == "", len(t.Containers) == 0:
		return "the custom resource keeps its containers in another form than a pod template"
	case !gjson.Get(t.Spec, "containers").IsArray():
		return "the pod template lists no containers where Kubernetes does"
	}
	return in.misfit
}

// admissionType sorts the annotations that admission leaves in an audit event; ok is false for those of others.
func admissionType(key string) (kind alert.AdmissionType, ok bool) {
	switch {
	case key == "pod-security.kubernetes.io/audit-violations", key == "validation.policy.admission.k8s.io/validation_failure":
		return alert.AdmissionViolation, true
	case key == "pod-security.kubernetes.io/exempt":
		return alert.AdmissionExempt, true
	case key == "pod-security.kubernetes.io/error", strings.HasPrefix(key, "failed-open.mutation.webhook.admission.k8s.io/"),
		strings.HasPrefix(key, "failed-open.validation.webhook.admission.k8s.io/"), strings.HasPrefix(key, "failed-open.validating.webhook.admission.k8s.io/"):
		return alert.AdmissionFailure, true
	case strings.HasPrefix(key, webhookPatch), strings.HasPrefix(key, "mutation.webhook.admission.k8s.io/"):
		return alert.AdmissionMutation, true
	case strings.HasPrefix(key, "pod-security.kubernetes.io/"), strings.Contains(key, ".admission.k8s.io/"):
		return alert.AdmissionInfo, true
	}
	return "", false
}

// webhookPatch begins the annotations that hold the patch of a mutating webhook.
const webhookPatch = "patch.webhook.admission.k8s.io/"

// maxPaths bounds how many operations of a webhook's patch an alert names.
const maxPaths = 20

// admissionDetail is the text of the annotation. Of a webhook's patch only the webhook and the places are kept: what it
// wrote there may be secret.
func admissionDetail(n *audit.Label) string {
	if !strings.HasPrefix(n.Key, webhookPatch) {
		return Text(n.Value)
	}
	if !gjson.Valid(n.Value) {
		return "a patch that cannot be read"
	}
	parsed := gjson.Parse(n.Value)
	words := []string{Text(parsed.Get("webhook").String()) + ":"}
	for i, op := range parsed.Get("patch").Array() {
		if i == maxPaths {
			words = append(words, "…")
			break
		}
		words = append(words, op.Get("op").String()+" "+Text(op.Get("path").String()))
	}
	return strings.Join(words, " ")
}
