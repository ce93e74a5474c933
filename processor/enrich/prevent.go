package enrich

import (
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// prevent is step 4: the namespace's level of the Pod Security Standards, and a policy that refuses the very case.
func prevent(r *responses, a *alert.Alert) {
	w := a.Workload
	if w == nil {
		return
	}
	if level := raisedLevel(a); level != "" && isName253(w.Namespace) && !contains(systemNamespaces, w.Namespace) {
		r.add(4, "Prevent its like: let the namespace enforce the "+level+" level of the Pod Security Standards (first with --dry-run=server: it lists what would break)",
			command("kubectl", "label", "--overwrite", "namespace/"+w.Namespace, "pod-security.kubernetes.io/enforce="+level))
	}
	r.add(4, "Prevent it: a ValidatingAdmissionPolicy that refuses these images in this namespace", preventCommand(a, w))
}

// raisedLevel is the lowest level that would have refused the workload; "" where it reaches all of them, where its level is
// unknown, and where the namespace enforces that much already (admission writes this into the event).
func raisedLevel(a *alert.Alert) string {
	wanted := ""
	switch a.Policy.PSSLevel {
	case alert.PSSPrivileged:
		wanted = "baseline"
	case alert.PSSBaseline:
		wanted = "restricted"
	case alert.PSSRestricted, alert.PSSUnknown:
		return ""
	}
	for i := range a.Policy.Admission {
		if n := &a.Policy.Admission[i]; n.Source == enforcePolicy {
			switch enforced, _, _ := strings.Cut(n.Detail, ":"); enforced {
			case wanted, "restricted":
				return ""
			}
		}
	}
	return wanted
}

// enforcePolicy is the annotation in which admission tells the level that the namespace enforces: "baseline:latest".
const enforcePolicy = "pod-security.kubernetes.io/enforce-policy"

// The objects of admissionregistration.k8s.io/v1 (KEP-3488), as much of them as is needed.
type admissionPolicy struct {
	APIVersion string              `json:"apiVersion"`
	Kind       string              `json:"kind"`
	Metadata   metadata            `json:"metadata"`
	Spec       admissionPolicySpec `json:"spec"`
}

type admissionPolicySpec struct {
	FailurePolicy    string `json:"failurePolicy"`
	MatchConstraints struct {
		ResourceRules []resourceRule `json:"resourceRules"`
	} `json:"matchConstraints"`
	Validations []admissionValidation `json:"validations"`
}

type resourceRule struct {
	APIGroups   []string `json:"apiGroups"`
	APIVersions []string `json:"apiVersions"`
	Operations  []string `json:"operations"`
	Resources   []string `json:"resources"`
}

type admissionValidation struct {
	Expression string `json:"expression"`
	Message    string `json:"message"`
}

type admissionBinding struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       struct {
		PolicyName        string   `json:"policyName"`
		ValidationActions []string `json:"validationActions"`
		MatchResources    struct {
			NamespaceSelector selector `json:"namespaceSelector"`
		} `json:"matchResources"`
	} `json:"spec"`
}

type list struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Items      []any  `json:"items"`
}

// preventCommand applies a policy that refuses the images of this workload in this resource and this namespace, wherever
// the pod template of the kind is. "" for custom resources, whose form is not known well enough.
func preventCommand(a *alert.Alert, w *alert.Workload) string {
	spec, has := templatePath(w.Kind)
	o, images := &a.Request.Object, imagesOf(a)
	if spec == "" || len(images) == 0 || o.Resource == "" || o.Version == "" || !isName253(w.Namespace) {
		return ""
	}
	quoted := make([]string, len(images))
	for i, image := range images {
		text, err := line(image) // a JSON string is a literal of CEL as well
		if err != nil {
			return ""
		}
		quoted[i] = text
	}
	refused := "[" + strings.Join(quoted, ", ") + "]"
	lists := []string{"containers", "initContainers"}
	resources := []string{o.Resource}
	if w.Kind == "Pod" {
		lists, resources = append(lists, "ephemeralContainers"), append(resources, "pods/ephemeralcontainers")
	}
	checks := make([]string, len(lists))
	for i, name := range lists {
		field := spec + "." + name
		checks[i] = "(" + has + "!has(" + field + ") || " + field + ".all(c, !has(c.image) || !(c.image in " + refused + ")))"
	}
	name := metadata{Name: "spawnwatch-" + a.ID}
	policy := &admissionPolicy{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicy", Metadata: name}
	policy.Spec.FailurePolicy = "Fail"
	policy.Spec.MatchConstraints.ResourceRules = []resourceRule{{
		APIGroups: []string{o.Group}, APIVersions: []string{o.Version}, Operations: []string{"CREATE", "UPDATE"}, Resources: resources,
	}}
	policy.Spec.Validations = []admissionValidation{{Expression: strings.Join(checks, " && "), Message: "refused after alert " + a.ID}}
	binding := &admissionBinding{APIVersion: policy.APIVersion, Kind: "ValidatingAdmissionPolicyBinding", Metadata: name}
	binding.Spec.PolicyName, binding.Spec.ValidationActions = name.Name, []string{"Deny"}
	// Every namespace has this label (KEP-2161).
	binding.Spec.MatchResources.NamespaceSelector.MatchLabels = map[string]string{"kubernetes.io/metadata.name": w.Namespace}
	return apply(&list{APIVersion: "v1", Kind: "List", Items: []any{policy, binding}})
}

// templatePath is where the spec of the Pod stands in an object of a kind, as a CEL expression, and what must be there for
// that to be read.
func templatePath(kind string) (spec, has string) {
	switch kind {
	case "Pod":
		return "object.spec", ""
	case "CronJob":
		return "object.spec.jobTemplate.spec.template.spec", ""
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job":
		return "object.spec.template.spec", ""
	case "ReplicationController": // whose template is optional
		return "object.spec.template.spec", "!has(object.spec.template) || !has(object.spec.template.spec) || "
	default:
		return "", ""
	}
}
