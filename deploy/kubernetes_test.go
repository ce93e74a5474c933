package deploy_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	psaapi "k8s.io/pod-security-admission/api"
	psa "k8s.io/pod-security-admission/policy"
)

// The Pods pass the strictest of the Pod Security Standards, by the code that the API server runs.
func TestPodSecurity(t *testing.T) {
	template := podTemplate(t)
	evaluator, err := psa.NewEvaluator(psa.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psaapi.LevelVersion{Level: psaapi.LevelRestricted, Version: psaapi.LatestVersion()}
	for _, r := range evaluator.EvaluatePod(restricted, &template.ObjectMeta, &template.Spec) {
		if !r.Allowed {
			t.Errorf("%s: %s", r.ForbiddenReason, r.ForbiddenDetail)
		}
	}
	// It would have found something.
	template.Spec.HostNetwork = true
	found := false
	for _, r := range evaluator.EvaluatePod(restricted, &template.ObjectMeta, &template.Spec) {
		found = found || !r.Allowed
	}
	if !found {
		t.Error("the evaluation lets hostNetwork pass")
	}
}

func TestPod(t *testing.T) {
	template := podTemplate(t)
	spec := template.Spec
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		t.Error("expected no token of the service account")
	}
	if grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; grace <= stopTime {
		t.Errorf("expected a grace period above %s, got %s", stopTime, grace)
	}
	c := spec.Containers[0]
	if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
		t.Error("expected a read-only root file system")
	}
	if c.Resources.Limits.Memory().IsZero() || !c.Resources.Limits.Cpu().IsZero() {
		t.Error("expected a limit of memory, and none of CPU: throttling is lag")
	}
	for name, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		want := "/livez"
		if name == "readiness" {
			want = "/readyz"
		}
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != want || probe.HTTPGet.Port.String() != "admin" {
			t.Errorf("%s: expected a probe of %s on the port admin", name, want)
		}
	}
}

// podTemplate reads the Deployment of the base into the API's own types, strictly.
func podTemplate(t *testing.T) corev1.PodTemplateSpec {
	t.Helper()
	deployment := loose(t, "kubernetes/base/deployment.yaml")
	template := deployment["spec"].(map[string]any)["template"]
	var out corev1.PodTemplateSpec
	convert(t, template, &out)
	if out.CreationTimestamp != (metav1.Time{}) || len(out.Spec.Containers) != 1 {
		t.Fatal("expected one container")
	}
	return out
}
