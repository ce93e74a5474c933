package audit

// PodTemplate is what a workload runs, whatever its kind: the spec of a Pod, the template of a Deployment, the template
// inside the jobTemplate of a CronJob.
type PodTemplate struct {
	// From says where it stands, and so how much it says: a patch names only what it changes.
	From From
	// Spec is the raw pod spec, for those who want to decode it themselves; "" where the template is a list.
	Spec string
	// Labels and Annotations are those of the template; empty for a Pod, whose own they are.
	Labels, Annotations []Label

	Containers []Container
	Volumes    []Volume

	HostNetwork, HostPID, HostIPC Bool
	// HostUsers false means a user namespace of its own.
	HostUsers      Bool
	ServiceAccount string
	// NodeName is the node it was bound to by its maker, past the scheduler.
	NodeName       string
	AutomountToken Bool
	Security       PodSecurity
}

// ContainerType is the role of a container in its Pod.
type ContainerType string

// The types of containers.
const (
	Main      ContainerType = "container"
	Init      ContainerType = "init"
	Ephemeral ContainerType = "ephemeral"
)

// Container is one container.
type Container struct {
	Name string
	Type ContainerType
	// Image is the reference as written.
	Image         string
	Command, Args []string
	// EnvNames are names only: values are never read.
	EnvNames []string
	// EnvFrom are sources of whole sets of variables: "secret/NAME", "configmap/NAME".
	EnvFrom   []string
	Ports     []Port
	Resources Resources
	Security  Security
}

// Port is a port that a container declares.
type Port struct {
	Name          string
	ContainerPort int
	// HostPort is the port on the node, 0 for none.
	HostPort int
	Protocol string
}

// Resources are quantities as written ("500m", "64Mi"), "" where not set.
type Resources struct {
	CPURequest, CPULimit, MemoryRequest, MemoryLimit string
}

// PodSecurity is what the security context of a Pod sets for all its containers.
type PodSecurity struct {
	RunAsUser, RunAsGroup Int
	RunAsNonRoot          Bool
	// SeccompProfile is its type: RuntimeDefault, Unconfined, Localhost; "" where not set.
	SeccompProfile string
}

// Security is the security context that holds for a container: its own, else its Pod's.
type Security struct {
	PodSecurity
	Privileged, AllowPrivilegeEscalation, ReadOnlyRootFilesystem Bool
	CapabilitiesAdd, CapabilitiesDrop                            []string
	// ProcMount is "" where not set.
	ProcMount string
}

// Volume is a volume.
type Volume struct {
	Name string
	// Type is the key of its source: hostPath, secret, configMap, emptyDir …
	Type string
	// Detail is the path, name, claim or server that it refers to, "" where it has none.
	Detail string
}

// PodTemplate reads the pod template of the workload; ok is false where the event shows none. The result belongs to the
// View and is valid until it is filled again.
func (v *View) PodTemplate() (t *PodTemplate, ok bool) {
	if v.Outcome == Observed || v.bodies.template == "" {
		return nil, false
	}
	t = &v.template
	if t.From == FromNowhere {
		t.read(v.kind, &v.bodies, &v.mem)
	}
	return t, true
}

// reset empties the template and keeps its memory.
func (t *PodTemplate) reset() {
	if cap(t.Containers) > maxKept {
		t.Containers = nil
	}
	*t = PodTemplate{
		Labels: bounded(t.Labels), Annotations: bounded(t.Annotations),
		Containers: t.Containers[:0], Volumes: bounded(t.Volumes),
	}
}
