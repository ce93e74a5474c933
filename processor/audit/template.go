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

// read fills an empty template.
func (t *PodTemplate) read(k *kind, b *bodies, mem *arena) {
	t.From = b.from
	if b.template[0] == '[' {
		for e := elementsOf(b.template); e.next(); {
			t.readSpec(e.val, k.custom, mem)
		}
		return
	}
	spec := b.template
	if inside := member(spec, "spec"); !k.pod && isObject(inside) {
		spec = inside
		meta := metadataOf(member(b.template, "metadata"))
		t.Labels = appendLabels(t.Labels, meta.labels, mem)
		t.Annotations = appendLabels(t.Annotations, meta.annotations, mem)
	}
	t.Spec = spec
	t.readSpec(spec, k.custom, mem)
}

// rawSpec holds the raw members of a pod spec.
type rawSpec struct {
	main, init, ephemeral, sidecars, container, script string
	volumes, security, account, oldAccount             string
}

// readSpec adds what a pod spec says. Custom resources may know more forms: Argo's templates have one container, or a
// script, and sidecars.
func (t *PodTemplate) readSpec(raw string, custom bool, mem *arena) {
	var s rawSpec
	for m := membersOf(raw); m.next(); {
		switch m.name() {
		case "containers":
			keep(&s.main, m.val)
		case "initContainers":
			keep(&s.init, m.val)
		case "ephemeralContainers":
			keep(&s.ephemeral, m.val)
		case "sidecars":
			keep(&s.sidecars, m.val)
		case "container":
			keep(&s.container, m.val)
		case "script":
			keep(&s.script, m.val)
		case "volumes":
			keep(&s.volumes, m.val)
		case "securityContext":
			keep(&s.security, m.val)
		case "serviceAccountName":
			keep(&s.account, m.val)
		case "serviceAccount":
			keep(&s.oldAccount, m.val)
		case "nodeName":
			if t.NodeName == "" {
				t.NodeName = mem.text(m.val)
			}
		case "hostNetwork":
			keepFlag(&t.HostNetwork, m.val)
		case "hostPID":
			keepFlag(&t.HostPID, m.val)
		case "hostIPC":
			keepFlag(&t.HostIPC, m.val)
		case "hostUsers":
			keepFlag(&t.HostUsers, m.val)
		case "automountServiceAccountToken":
			keepFlag(&t.AutomountToken, m.val)
		}
	}
	for _, account := range [...]string{s.account, s.oldAccount} {
		if t.ServiceAccount == "" {
			t.ServiceAccount = mem.text(account)
		}
	}
	t.Security.read(s.security, mem)
	t.addContainers(s.main, Main, mem)
	t.addContainers(s.init, Init, mem)
	t.addContainers(s.ephemeral, Ephemeral, mem)
	if custom {
		t.addContainers(s.sidecars, Main, mem)
		for _, one := range [...]string{s.container, s.script} {
			if isObject(one) {
				t.addContainer(one, Main, mem)
			}
		}
	}
	for e := elementsOf(s.volumes); e.next(); {
		if isObject(e.val) {
			t.Volumes = append(t.Volumes, volumeOf(e.val, mem))
		}
	}
}

func keepFlag(dst *Bool, raw string) {
	if *dst == Unset {
		*dst = boolOf(raw)
	}
}

func (p *PodSecurity) read(raw string, mem *arena) {
	var user, group, nonRoot, seccomp string
	for m := membersOf(raw); m.next(); {
		switch m.name() {
		case "runAsUser":
			keep(&user, m.val)
		case "runAsGroup":
			keep(&group, m.val)
		case "runAsNonRoot":
			keep(&nonRoot, m.val)
		case "seccompProfile":
			keep(&seccomp, m.val)
		}
	}
	*p = PodSecurity{
		RunAsUser: intOf(user), RunAsGroup: intOf(group), RunAsNonRoot: boolOf(nonRoot),
		SeccompProfile: mem.text(member(seccomp, "type")),
	}
}

// inherit takes from the Pod what a container doesn't set itself.
func (p *PodSecurity) inherit(pod *PodSecurity) {
	if !p.RunAsUser.Known {
		p.RunAsUser = pod.RunAsUser
	}
	if !p.RunAsGroup.Known {
		p.RunAsGroup = pod.RunAsGroup
	}
	if p.RunAsNonRoot == Unset {
		p.RunAsNonRoot = pod.RunAsNonRoot
	}
	if p.SeccompProfile == "" {
		p.SeccompProfile = pod.SeccompProfile
	}
}

func (t *PodTemplate) addContainers(raw string, as ContainerType, mem *arena) {
	for e := elementsOf(raw); e.next(); {
		if isObject(e.val) {
			t.addContainer(e.val, as, mem)
		}
	}
}

// addContainer appends a container in memory that an earlier one may have left.
func (t *PodTemplate) addContainer(raw string, as ContainerType, mem *arena) {
	if n := len(t.Containers); n < cap(t.Containers) {
		t.Containers = t.Containers[:n+1]
	} else {
		t.Containers = append(t.Containers, Container{})
	}
	c := &t.Containers[len(t.Containers)-1]
	c.reset(as)

	var name, image, command, args, env, envFrom, ports, resources, security, source string
	for m := membersOf(raw); m.next(); {
		switch m.name() {
		case "name":
			keep(&name, m.val)
		case "image":
			keep(&image, m.val)
		case "command":
			keep(&command, m.val)
		case "args":
			keep(&args, m.val)
		case "env":
			keep(&env, m.val)
		case "envFrom":
			keep(&envFrom, m.val)
		case "ports":
			keep(&ports, m.val)
		case "resources":
			keep(&resources, m.val)
		case "securityContext":
			keep(&security, m.val)
		case "source":
			keep(&source, m.val)
		}
	}
	c.Name, c.Image = mem.text(name), mem.text(image)
	c.Command, c.Args = appendTexts(c.Command, command, mem), appendTexts(c.Args, args, mem)
	if isString(source) { // of a script, which is what runs
		c.Args = append(c.Args, mem.text(source))
	}
	for e := elementsOf(env); e.next(); {
		if n := member(e.val, "name"); isString(n) {
			c.EnvNames = append(c.EnvNames, mem.text(n))
		}
	}
	for e := elementsOf(envFrom); e.next(); {
		if from := envFromOf(e.val, mem); from != "" {
			c.EnvFrom = append(c.EnvFrom, from)
		}
	}
	for e := elementsOf(ports); e.next(); {
		if isObject(e.val) {
			c.Ports = append(c.Ports, portOf(e.val, mem))
		}
	}
	c.Resources.read(resources, mem)
	c.Security.read(security, &t.Security, mem)
}

func (c *Container) reset(as ContainerType) {
	s := &c.Security
	*c = Container{
		Type: as, Command: bounded(c.Command), Args: bounded(c.Args), EnvNames: bounded(c.EnvNames),
		EnvFrom: bounded(c.EnvFrom), Ports: bounded(c.Ports),
		Security: Security{CapabilitiesAdd: bounded(s.CapabilitiesAdd), CapabilitiesDrop: bounded(s.CapabilitiesDrop)},
	}
}

func envFromOf(raw string, mem *arena) string {
	for m := membersOf(raw); m.next(); {
		prefix := ""
		switch m.name() {
		case "secretRef":
			prefix = "secret"
		case "configMapRef":
			prefix = "configmap"
		default:
			continue
		}
		if isObject(m.val) {
			return mem.join("/", prefix, mem.text(member(m.val, "name")))
		}
	}
	return ""
}

func portOf(raw string, mem *arena) (p Port) {
	var name, port, host, protocol string
	for m := membersOf(raw); m.next(); {
		switch m.name() {
		case "name":
			keep(&name, m.val)
		case "containerPort":
			keep(&port, m.val)
		case "hostPort":
			keep(&host, m.val)
		case "protocol":
			keep(&protocol, m.val)
		}
	}
	p = Port{Name: mem.text(name), Protocol: mem.text(protocol), ContainerPort: portNumber(port), HostPort: portNumber(host)}
	if p.Protocol == "" {
		p.Protocol = "TCP" // the API's default
	}
	return p
}

func portNumber(raw string) int {
	if n, ok := number(raw); ok && n > 0 && n < 1<<16 {
		return int(n)
	}
	return 0
}

func (r *Resources) read(raw string, mem *arena) {
	*r = Resources{}
	if raw == "" || raw == "{}" {
		return
	}
	requests, limits := member(raw, "requests"), member(raw, "limits")
	r.CPURequest, r.MemoryRequest = quantity(member(requests, "cpu"), mem), quantity(member(requests, "memory"), mem)
	r.CPULimit, r.MemoryLimit = quantity(member(limits, "cpu"), mem), quantity(member(limits, "memory"), mem)
}

// quantity is a string, or a plain number in what a client wrote by hand.
func quantity(raw string, mem *arena) string {
	if raw != "" && (raw[0] >= '0' && raw[0] <= '9') {
		return raw
	}
	return mem.text(raw)
}

func (s *Security) read(raw string, pod *PodSecurity, mem *arena) {
	var capabilities, mount string
	if raw != "" && raw != "{}" {
		s.PodSecurity.read(raw, mem)
		for m := membersOf(raw); m.next(); {
			switch m.name() {
			case "privileged":
				keepFlag(&s.Privileged, m.val)
			case "allowPrivilegeEscalation":
				keepFlag(&s.AllowPrivilegeEscalation, m.val)
			case "readOnlyRootFilesystem":
				keepFlag(&s.ReadOnlyRootFilesystem, m.val)
			case "capabilities":
				keep(&capabilities, m.val)
			case "procMount":
				keep(&mount, m.val)
			}
		}
		s.ProcMount = mem.text(mount)
		if capabilities != "" {
			s.CapabilitiesAdd = appendTexts(s.CapabilitiesAdd, member(capabilities, "add"), mem)
			s.CapabilitiesDrop = appendTexts(s.CapabilitiesDrop, member(capabilities, "drop"), mem)
		}
	}
	s.PodSecurity.inherit(pod)
}

// volumeOf reads a volume: its source is the one member that isn't its name.
func volumeOf(raw string, mem *arena) (v Volume) {
	var name, source string
	for m := membersOf(raw); m.next(); {
		switch key := m.name(); {
		case key == "name":
			keep(&name, m.val)
		case v.Type == "" && isObject(m.val):
			v.Type, source = mem.plain(key), m.val
		}
	}
	v.Name = mem.text(name)
	for _, key := range volumeDetail(v.Type) {
		if d := member(source, key); isString(d) {
			v.Detail = mem.text(d)
			break
		}
	}
	return v
}

// volumeDetail says which member of a volume's source tells what it refers to.
func volumeDetail(source string) []string {
	switch source {
	case "hostPath", "nfs":
		return pathKeys[:]
	case "secret":
		return secretKeys[:]
	case "persistentVolumeClaim":
		return claimKeys[:]
	case "csi":
		return driverKeys[:]
	case "emptyDir":
		return mediumKeys[:]
	}
	return otherKeys[:]
}

var (
	pathKeys   = [...]string{"path"}
	secretKeys = [...]string{"secretName"}
	claimKeys  = [...]string{"claimName"}
	driverKeys = [...]string{"driver"}
	mediumKeys = [...]string{"medium"}
	otherKeys  = [...]string{"name", "secretName", "volumeName", "volumeID", "path", "reference"}
)
