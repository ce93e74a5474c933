package audit

// read fills an empty template, in one pass over the text.
func (t *PodTemplate) read(k *kind, b *bodies, mem *arena) {
	t.From = b.from
	r := templateReader{cursor: cursor{s: b.template}, t: t, k: k, mem: mem}
	if b.template[0] == '[' {
		for r.open('['); r.element(); {
			r.spec()
		}
		return
	}
	if k.pod {
		r.spec()
		t.Spec = b.template[:r.i]
		return
	}
	r.template()
}

// templateReader reads a pod template. It goes into every value once, in the order of the text.
type templateReader struct {
	cursor
	t   *PodTemplate
	k   *kind
	mem *arena
}

// once reports whether a member is the first of its name; seen holds one bit for each name that matters.
func once(seen *uint32, bit uint) bool {
	first := *seen&(1<<bit) == 0
	*seen |= 1 << bit
	return first
}

// template reads a pod template. The path of a custom resource may as well lead to the spec itself.
func (r *templateReader) template() {
	var meta metadata
	start := r.i
	inside := false
	var seen uint32
	for ok := r.open('{'); ok; {
		var name string
		if name, ok = r.key(); !ok {
			break
		}
		switch {
		case name == "spec" && once(&seen, 0) && r.atObject():
			from := r.i
			r.spec()
			r.t.Spec, inside = r.s[from:r.i], true
		case name == "metadata" && once(&seen, 1):
			meta = r.metadata()
		default:
			r.skip()
		}
	}
	if inside {
		r.t.Labels = appendLabels(r.t.Labels, meta.labels, r.mem)
		r.t.Annotations = appendLabels(r.t.Annotations, meta.annotations, r.mem)
		return
	}
	if r.k.custom {
		r.t.Spec = r.s[start:r.i]
		r.i = start
		r.spec()
	}
}

// atObject reports whether the next value is an object.
func (c *cursor) atObject() bool { return c.i < len(c.s) && c.s[c.i] == '{' }

// text takes a string; everything else is "".
func (r *templateReader) text() string { return r.mem.text(r.skip()) }

// spec adds what a pod spec says. Custom resources may know more forms: the templates of an Argo Workflow have one
// container, or a script, and sidecars.
func (r *templateReader) spec() {
	if !r.open('{') {
		return
	}
	t := r.t
	first := len(t.Containers)
	var seen uint32
	var init, ephemeral, sidecars, container, script, account string
	var security PodSecurity
	for name, ok := r.key(); ok; name, ok = r.key() {
		switch name {
		case "containers":
			if once(&seen, 0) {
				r.containers(Main)
				continue
			}
		case "initContainers":
			keep(&init, r.skip())
			continue
		case "ephemeralContainers":
			keep(&ephemeral, r.skip())
			continue
		case "volumes":
			if once(&seen, 1) {
				r.volumes()
				continue
			}
		case "securityContext":
			if once(&seen, 2) {
				r.podSecurity(&security)
				continue
			}
		case "serviceAccountName":
			if once(&seen, 3) {
				t.ServiceAccount = r.text()
				continue
			}
		case "serviceAccount":
			keep(&account, r.skip())
			continue
		case "nodeName":
			if once(&seen, 4) {
				t.NodeName = r.text()
				continue
			}
		case "hostNetwork":
			keepFlag(&t.HostNetwork, r.skip())
			continue
		case "hostPID":
			keepFlag(&t.HostPID, r.skip())
			continue
		case "hostIPC":
			keepFlag(&t.HostIPC, r.skip())
			continue
		case "hostUsers":
			keepFlag(&t.HostUsers, r.skip())
			continue
		case "automountServiceAccountToken":
			keepFlag(&t.AutomountToken, r.skip())
			continue
		case "sidecars":
			keep(&sidecars, r.skip())
			continue
		case "container":
			keep(&container, r.skip())
			continue
		case "script":
			keep(&script, r.skip())
			continue
		}
		r.skip()
	}
	if t.ServiceAccount == "" {
		t.ServiceAccount = r.mem.text(account)
	}
	// In a fixed order, whatever that of the keys.
	r.aside(init, Init)
	r.aside(ephemeral, Ephemeral)
	if r.k.custom {
		r.aside(sidecars, Main)
		r.aside(container, Main)
		r.aside(script, Main)
	}
	t.Security = security
	for i := first; i < len(t.Containers); i++ {
		t.Containers[i].Security.inherit(&security)
	}
}

// aside reads one container or a list of them that was passed by.
func (r *templateReader) aside(raw string, as ContainerType) {
	if raw == "" {
		return
	}
	behind := r.cursor
	r.cursor = cursor{s: raw}
	if r.atObject() {
		r.container(as)
	} else {
		r.containers(as)
	}
	r.cursor = behind
}

func keepFlag(dst *Bool, raw string) {
	if *dst == Unset {
		*dst = boolOf(raw)
	}
}

func (r *templateReader) podSecurity(p *PodSecurity) {
	if !r.open('{') {
		return
	}
	var seen uint32
	for name, ok := r.key(); ok; name, ok = r.key() {
		if !r.common(p, name, &seen) {
			r.skip()
		}
	}
}

// common takes the members of a security context that Pods and containers share.
func (r *templateReader) common(p *PodSecurity, name string, seen *uint32) (taken bool) {
	switch name {
	case "runAsUser":
		if taken = once(seen, 0); taken {
			p.RunAsUser = intOf(r.skip())
		}
	case "runAsGroup":
		if taken = once(seen, 1); taken {
			p.RunAsGroup = intOf(r.skip())
		}
	case "runAsNonRoot":
		if taken = once(seen, 2); taken {
			p.RunAsNonRoot = boolOf(r.skip())
		}
	case "seccompProfile":
		if taken = once(seen, 3); taken {
			p.SeccompProfile = r.mem.text(member(r.skip(), "type"))
		}
	}
	return taken
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

// volumes reads volumes: the source of one is the member that isn't its name.
func (r *templateReader) volumes() {
	if !r.open('[') {
		return
	}
	for r.element() {
		if !r.atObject() {
			r.skip()
			continue
		}
		var v Volume
		var name, source string
		for m := membersOf(r.skip()); m.next(); {
			switch key := m.name(); {
			case key == "name":
				keep(&name, m.val)
			case v.Type == "" && isObject(m.val):
				v.Type, source = r.mem.plain(key), m.val
			}
		}
		v.Name = r.mem.text(name)
		v.Detail = volumeDetail(v.Type, source, r.mem)
		r.t.Volumes = append(r.t.Volumes, v)
	}
}

// volumeDetail finds what a volume refers to: the first of the members that tell it for this type of source.
func volumeDetail(source, raw string, mem *arena) string {
	if raw == "{}" {
		return ""
	}
	var keys [6]string
	switch source {
	case "hostPath", "nfs":
		keys[0] = "path"
	case "secret":
		keys[0] = "secretName"
	case "persistentVolumeClaim":
		keys[0] = "claimName"
	case "csi":
		keys[0] = "driver"
	case "emptyDir":
		keys[0] = "medium"
	case "projected", "downwardAPI", "ephemeral":
		return ""
	default:
		keys = [6]string{"name", "secretName", "volumeName", "volumeID", "path", "reference"}
	}
	for _, key := range keys {
		if key == "" {
			break
		}
		if d := member(raw, key); isString(d) {
			return mem.text(d)
		}
	}
	return ""
}
