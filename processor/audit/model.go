// Package audit knows what one Kubernetes audit event (audit.k8s.io/v1) says: whether it created a workload, which one,
// who did it, and by which grant.
//
// There are two ways in, and both give the same answers. [Model.Read] fills a [View] for an event that matched a rule;
// [Model.Fields] offers the same facts as computed fields, which rules match on before anything is read in full.
//
// What counts as a creation was measured against the store of a real API server:
//
//   - created: answered 201 to a create, to a patch (a server-side apply that creates) or to an update (create on
//     update) of a workload resource in its own API group, without a subresource, and not a dry run
//   - unknown: such a request was answered 504, or 500 with a timeout in its message: the object may well exist
//   - refused: such a request was answered by another error. A conflict (409) on a patch or update is not counted:
//     it says that the object is there already
//   - changed: a patch or update of an existing workload was answered 200 and touches what it runs
//   - observed: everything else, dry runs included
//
// The package is pure: no context, clock, log, file or network.
package audit

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Options extends what a [Model] knows. The zero value is good.
type Options struct {
	// Workloads are custom resources that run containers.
	Workloads []CustomWorkload
	// Controllers are identities, beside those of the API server's own controllers, whose children fold.
	Controllers []Controller
}

// CustomWorkload is a custom resource that counts as a workload.
type CustomWorkload struct {
	// Group is its API group ("argoproj.io"), Resource its plural name ("rollouts"), Kind its kind ("Rollout").
	Group, Resource, Kind string
	// Template is the dotted path of its pod template, of its pod spec, or of a list of such ("spec.template"); empty
	// where it has none: its containers are then unknown.
	Template string
}

// Controller is an identity that makes children for objects of its own.
type Controller struct {
	// User is the user name it authenticates as: "system:serviceaccount:argo-rollouts:argo-rollouts".
	User string
	// Owner and Child are the kinds of the owner and of what is made for it ("Rollout", "ReplicaSet"); empty: any.
	Owner, Child string
}

// Model knows which resources are workloads and which identities are controllers. It is immutable and safe for
// concurrent use.
type Model struct {
	kinds       []kind
	controllers map[string][]Controller
	fields      []FieldGroup
	scratch     sync.Pool // of *scratch
}

// kind is a kind of workload.
type kind struct {
	group, resource, kind string
	// template is the path of the pod template or pod spec.
	template []string
	// extensions: it was served by the group extensions as well (until Kubernetes 1.16).
	extensions bool
	// custom: it was configured.
	custom bool
	// pod: it is the Pod itself.
	pod bool
}

func builtinKinds() []kind {
	template := []string{"spec", "template"}
	return []kind{
		{group: "", resource: "pods", kind: "Pod", template: []string{"spec"}, pod: true},
		{group: "apps", resource: "deployments", kind: "Deployment", template: template, extensions: true},
		{group: "apps", resource: "replicasets", kind: "ReplicaSet", template: template, extensions: true},
		{group: "apps", resource: "statefulsets", kind: "StatefulSet", template: template},
		{group: "apps", resource: "daemonsets", kind: "DaemonSet", template: template, extensions: true},
		{group: "batch", resource: "jobs", kind: "Job", template: template},
		{group: "batch", resource: "cronjobs", kind: "CronJob", template: []string{"spec", "jobTemplate", "spec", "template"}},
		{group: "", resource: "replicationcontrollers", kind: "ReplicationController", template: template},
	}
}

// sharedCredential is who all controllers are where they don't use one service account each
// (kube-controller-manager --use-service-account-credentials=false).
const sharedCredential = "system:kube-controller-manager"

// builtinControllers are the controllers of kube-controller-manager that make workloads, each with the only pair of
// kinds it may make.
func builtinControllers() []Controller {
	const account = "system:serviceaccount:kube-system:"
	list := []Controller{
		{User: account + "deployment-controller", Owner: "Deployment", Child: "ReplicaSet"},
		{User: account + "replicaset-controller", Owner: "ReplicaSet", Child: "Pod"},
		{User: account + "statefulset-controller", Owner: "StatefulSet", Child: "Pod"},
		{User: account + "daemon-set-controller", Owner: "DaemonSet", Child: "Pod"},
		{User: account + "job-controller", Owner: "Job", Child: "Pod"},
		{User: account + "cronjob-controller", Owner: "CronJob", Child: "Job"},
		{User: account + "replication-controller", Owner: "ReplicationController", Child: "Pod"},
	}
	for _, c := range list[:7] {
		list = append(list, Controller{User: sharedCredential, Owner: c.Owner, Child: c.Child})
	}
	return list
}

// NewModel makes a model. It reports every fault of the options at once.
func NewModel(o Options) (*Model, error) {
	m := &Model{kinds: builtinKinds(), controllers: make(map[string][]Controller)}
	var errs []error
	for i, w := range o.Workloads {
		k, err := m.custom(w)
		if err != nil {
			errs = append(errs, fmt.Errorf("workloads[%d]: %w", i, err))
			continue
		}
		m.kinds = append(m.kinds, k)
	}
	for _, c := range builtinControllers() {
		m.controllers[c.User] = append(m.controllers[c.User], c)
	}
	for i, c := range o.Controllers {
		if c.User == "" {
			errs = append(errs, fmt.Errorf("controllers[%d]: expected the user name it authenticates as, got none", i))
			continue
		}
		m.controllers[c.User] = append(m.controllers[c.User], c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.scratch.New = func() any { return new(scratch) }
	m.fields = m.fieldGroups()
	return m, nil
}

func (m *Model) custom(w CustomWorkload) (kind, error) {
	k := kind{group: w.Group, resource: w.Resource, kind: w.Kind, custom: true}
	switch {
	case w.Group == "":
		return k, fmt.Errorf("expected an API group such as argoproj.io, got none (resource %q)", w.Resource)
	case w.Resource == "" || strings.ToLower(w.Resource) != w.Resource || strings.ContainsAny(w.Resource, "/. "):
		return k, fmt.Errorf("expected the plural name of a resource in lower case, such as rollouts, got %q (group %s)", w.Resource, w.Group)
	case w.Kind == "":
		return k, fmt.Errorf("expected the kind of %s.%s, such as Rollout, got none", w.Resource, w.Group)
	}
	for i := range m.kinds {
		if m.kinds[i].group == w.Group && m.kinds[i].resource == w.Resource {
			return k, fmt.Errorf("%s.%s is a workload already; remove this entry", w.Resource, w.Group)
		}
	}
	if w.Template != "" {
		k.template = strings.Split(w.Template, ".")
		for _, part := range k.template {
			if part == "" {
				return k, fmt.Errorf("expected the dotted path of a pod template, such as spec.template, got %q", w.Template)
			}
		}
	}
	return k, nil
}

// find returns the kind of workload that an objectRef names, nil for everything else.
//
// The group decides. Where the event names none it is the core group; but real servers serve no deployments there, so a
// shortened event that left the group out still counts. In events of 2017 (audit v1alpha1) the group stands in
// objectRef.apiVersion.
func (m *Model) find(r *reference) *kind {
	if empty(r.resource) {
		return nil
	}
	group := r.group
	old := ""
	if empty(group) {
		if before, _, both := strings.Cut(inner(r.version), "/"); both {
			old = before
		}
	}
	for i := range m.kinds {
		k := &m.kinds[i]
		if !textIs(r.resource, k.resource) {
			continue
		}
		switch {
		case !empty(group):
			if !textIs(group, k.group) && (!k.extensions || !textIs(group, "extensions")) {
				continue
			}
		case old != "":
			if old != k.group && (!k.extensions || old != "extensions") {
				continue
			}
		case k.custom:
			continue
		}
		return k
	}
	return nil
}

// reference holds the raw members of objectRef.
type reference struct {
	resource, subresource, group, version, namespace, name, uid string
}

func referenceOf(raw string) (r reference) {
	for m := membersOf(raw); m.next(); {
		switch m.name() {
		case "resource":
			keep(&r.resource, m.val)
		case "subresource":
			keep(&r.subresource, m.val)
		case "apiGroup":
			keep(&r.group, m.val)
		case "apiVersion":
			keep(&r.version, m.val)
		case "namespace":
			keep(&r.namespace, m.val)
		case "name":
			keep(&r.name, m.val)
		case "uid":
			keep(&r.uid, m.val)
		}
	}
	return r
}

// keep holds that of duplicate keys the first wins.
func keep(dst *string, val string) {
	if *dst == "" {
		*dst = val
	}
}
