package audit

func (r *templateReader) containers(as ContainerType) {
	if !r.open('[') {
		return
	}
	for r.element() {
		if r.atObject() {
			r.container(as)
		} else {
			r.skip()
		}
	}
}

// container appends a container, in memory that an earlier one may have left.
func (r *templateReader) container(as ContainerType) {
	t := r.t
	if n := len(t.Containers); n < cap(t.Containers) {
		t.Containers = t.Containers[:n+1]
	} else {
		t.Containers = append(t.Containers, Container{})
	}
	c := &t.Containers[len(t.Containers)-1]
	c.reset(as)
	var seen uint32
	source := ""
	r.open('{')
	for name, ok := r.key(); ok; name, ok = r.key() {
		switch name {
		case "name":
			if once(&seen, 0) {
				c.Name = r.text()
				continue
			}
		case "image":
			if once(&seen, 1) {
				c.Image = r.text()
				continue
			}
		case "command":
			if once(&seen, 2) {
				c.Command = r.texts(c.Command)
				continue
			}
		case "args":
			if once(&seen, 3) {
				c.Args = r.texts(c.Args)
				continue
			}
		case "env":
			if once(&seen, 4) {
				r.env(c)
				continue
			}
		case "envFrom":
			if once(&seen, 5) {
				r.envFrom(c)
				continue
			}
		case "ports":
			if once(&seen, 6) {
				r.ports(c)
				continue
			}
		case "resources":
			if once(&seen, 7) {
				c.Resources.read(r.skip(), r.mem)
				continue
			}
		case "securityContext":
			if once(&seen, 8) {
				r.security(&c.Security)
				continue
			}
		case "source": // of a script
			keep(&source, r.skip())
			continue
		}
		r.skip()
	}
	if r.k.custom && isString(source) {
		c.Args = append(c.Args, r.mem.text(source))
	}
}

func (c *Container) reset(as ContainerType) {
	s := &c.Security
	*c = Container{
		Type: as, Command: bounded(c.Command), Args: bounded(c.Args), EnvNames: bounded(c.EnvNames),
		EnvFrom: bounded(c.EnvFrom), Ports: bounded(c.Ports),
		Security: Security{CapabilitiesAdd: bounded(s.CapabilitiesAdd), CapabilitiesDrop: bounded(s.CapabilitiesDrop)},
	}
}

// texts appends the strings of a list.
func (r *templateReader) texts(dst []string) []string {
	if !r.open('[') {
		return dst
	}
	for r.element() {
		if raw := r.skip(); isString(raw) {
			dst = append(dst, r.mem.text(raw))
		}
	}
	return dst
}

func (r *templateReader) env(c *Container) {
	if !r.open('[') {
		return
	}
	for r.element() {
		if name := member(r.skip(), "name"); isString(name) {
			c.EnvNames = append(c.EnvNames, r.mem.text(name))
		}
	}
}

func (r *templateReader) envFrom(c *Container) {
	if !r.open('[') {
		return
	}
	for r.element() {
		source := r.skip()
		for m := membersOf(source); m.next(); {
			prefix := ""
			switch m.name() {
			case "secretRef":
				prefix = "secret"
			case "configMapRef":
				prefix = "configmap"
			}
			if prefix != "" && isObject(m.val) {
				c.EnvFrom = append(c.EnvFrom, r.mem.join("/", prefix, r.mem.text(member(m.val, "name"))))
				break
			}
		}
	}
}

func (r *templateReader) ports(c *Container) {
	if !r.open('[') {
		return
	}
	for r.element() {
		if !r.atObject() {
			r.skip()
			continue
		}
		var name, port, host, protocol string
		for m := membersOf(r.skip()); m.next(); {
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
		p := Port{
			Name: r.mem.text(name), Protocol: r.mem.text(protocol),
			ContainerPort: portNumber(port), HostPort: portNumber(host),
		}
		if p.Protocol == "" {
			p.Protocol = "TCP" // the API's default
		}
		c.Ports = append(c.Ports, p)
	}
}

func portNumber(raw string) int {
	if n, ok := number(raw); ok && n > 0 && n < 1<<16 {
		return int(n)
	}
	return 0
}

func (r *Resources) read(raw string, mem *arena) {
	*r = Resources{}
	if raw == "{}" {
		return
	}
	requests, limits := member(raw, "requests"), member(raw, "limits")
	r.CPURequest, r.MemoryRequest = quantity(member(requests, "cpu"), mem), quantity(member(requests, "memory"), mem)
	r.CPULimit, r.MemoryLimit = quantity(member(limits, "cpu"), mem), quantity(member(limits, "memory"), mem)
}

// quantity is a string, or a plain number in what a client wrote by hand.
func quantity(raw string, mem *arena) string {
	if raw != "" && raw[0] >= '0' && raw[0] <= '9' {
		return raw
	}
	return mem.text(raw)
}

func (r *templateReader) security(s *Security) {
	if !r.open('{') {
		return
	}
	var seen uint32
	for name, ok := r.key(); ok; name, ok = r.key() {
		switch name {
		case "privileged":
			keepFlag(&s.Privileged, r.skip())
			continue
		case "allowPrivilegeEscalation":
			keepFlag(&s.AllowPrivilegeEscalation, r.skip())
			continue
		case "readOnlyRootFilesystem":
			keepFlag(&s.ReadOnlyRootFilesystem, r.skip())
			continue
		case "capabilities":
			if once(&seen, 8) {
				raw := r.skip()
				s.CapabilitiesAdd = appendTexts(s.CapabilitiesAdd, member(raw, "add"), r.mem)
				s.CapabilitiesDrop = appendTexts(s.CapabilitiesDrop, member(raw, "drop"), r.mem)
				continue
			}
		case "procMount":
			if once(&seen, 9) {
				s.ProcMount = r.text()
				continue
			}
		}
		if !r.common(&s.PodSecurity, name, &seen) {
			r.skip()
		}
	}
}
