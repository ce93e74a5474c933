package alert

func appendWorkload(dst []byte, w *Workload) []byte {
	dst = appendWorkloadFacts(dst, w)
	dst = array(dst, `,"containers":`, w.Containers, appendContainer)
	return append(dst, '}')
}

// appendWorkloadFacts appends all but the containers, and leaves the object open.
func appendWorkloadFacts(dst []byte, w *Workload) []byte {
	dst = str(dst, `{"kind":`, w.Kind)
	dst = str(dst, `,"api_version":`, w.APIVersion)
	dst = str(dst, `,"namespace":`, w.Namespace)
	dst = str(dst, `,"name":`, w.Name)
	dst = boolean(dst, `,"name_unknown":`, w.NameUnknown)
	dst = str(dst, `,"generate_name":`, w.GenerateName)
	dst = str(dst, `,"uid":`, w.UID)
	dst = labels(dst, `,"labels":`, w.Labels)
	dst = word(dst, `,"detail":`, string(w.Detail), "none")
	dst = str(dst, `,"owner":{"kind":`, w.Owner.Kind)
	dst = str(dst, `,"name":`, w.Owner.Name)
	dst = str(dst, `,"uid":`, w.Owner.UID)
	dst = str(dst, `},"root":{"kind":`, w.Root.Kind)
	dst = str(dst, `,"name":`, w.Root.Name)
	dst = boolean(dst, `},"controlled":`, w.Controlled)
	dst = number(dst, `,"replicas":`, w.Replicas)
	dst = str(dst, `,"service_account":`, w.ServiceAccount)
	dst = word(dst, `,"service_account_rights":{"state":`, string(w.Rights.State), "unknown")
	dst = str(dst, `,"text":`, w.Rights.Text)
	dst = array(dst, `,"dangerous":`, w.Rights.Dangerous, appendRight)
	dst = str(dst, `},"node_name":`, w.NodeName)
	dst = tristate(dst, `,"host_pid":`, w.HostPID)
	dst = tristate(dst, `,"host_ipc":`, w.HostIPC)
	dst = tristate(dst, `,"automount_token":`, w.AutomountToken)
	return array(dst, `,"volumes":`, w.Volumes, appendVolume)
}

func appendRight(dst []byte, r *Right) []byte {
	dst = str(dst, `{"code":`, r.Code)
	dst = str(dst, `,"scope":`, r.Scope)
	dst = str(dst, `,"role":`, r.Role)
	dst = str(dst, `,"binding":`, r.Binding)
	dst = str(dst, `,"text":`, r.Text)
	return append(dst, '}')
}

func appendContainer(dst []byte, c *Container) []byte {
	dst = str(dst, `{"name":`, c.Name)
	dst = str(dst, `,"type":`, string(c.Type))
	dst = str(dst, `,"image":{"raw":`, c.Image.Raw)
	dst = str(dst, `,"registry":`, c.Image.Registry)
	dst = str(dst, `,"repository":`, c.Image.Repository)
	dst = str(dst, `,"tag":`, c.Image.Tag)
	dst = str(dst, `,"digest":`, c.Image.Digest)
	dst = strs(dst, `},"command":`, c.Command)
	dst = strs(dst, `,"args":`, c.Args)
	dst = strs(dst, `,"env_names":`, c.EnvNames)
	dst = strs(dst, `,"env_from":`, c.EnvFrom)
	dst = array(dst, `,"ports":`, c.Ports, appendPort)
	dst = str(dst, `,"resources":{"cpu_request":`, c.Resources.CPURequest)
	dst = str(dst, `,"cpu_limit":`, c.Resources.CPULimit)
	dst = str(dst, `,"memory_request":`, c.Resources.MemoryRequest)
	dst = str(dst, `,"memory_limit":`, c.Resources.MemoryLimit)
	dst = tristate(dst, `},"security":{"privileged":`, c.Security.Privileged)
	dst = tristate(dst, `,"allow_privilege_escalation":`, c.Security.AllowPrivilegeEscalation)
	dst = tristate(dst, `,"run_as_non_root":`, c.Security.RunAsNonRoot)
	dst = tristate(dst, `,"read_only_root_filesystem":`, c.Security.ReadOnlyRootFilesystem)
	dst = number(dst, `,"run_as_user":`, c.Security.RunAsUser)
	dst = number(dst, `,"run_as_group":`, c.Security.RunAsGroup)
	dst = strs(dst, `,"capabilities_add":`, c.Security.CapabilitiesAdd)
	dst = strs(dst, `,"capabilities_drop":`, c.Security.CapabilitiesDrop)
	dst = str(dst, `,"seccomp_profile":`, c.Security.SeccompProfile)
	return append(dst, `}}`...)
}

func appendPort(dst []byte, p *Port) []byte {
	dst = str(dst, `{"name":`, p.Name)
	dst = integer(dst, `,"container_port":`, int64(p.Port))
	dst = integer(dst, `,"host_port":`, int64(p.HostPort))
	dst = str(dst, `,"protocol":`, p.Protocol)
	return append(dst, '}')
}

func appendVolume(dst []byte, v *Volume) []byte {
	dst = str(dst, `{"name":`, v.Name)
	dst = str(dst, `,"type":`, v.Type)
	dst = str(dst, `,"detail":`, v.Detail)
	return append(dst, '}')
}
