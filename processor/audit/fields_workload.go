package audit

import (
	"strconv"
	"strings"
)

// The fields of a workload.
const (
	fieldName = iota
	fieldGenerateName
	fieldLabel
	fieldAnnotation
	fieldRevision
	fieldReplicas
	fieldOwnerKind
	fieldOwnerName
	fieldControlled
	fieldContainerName
	fieldContainerType
	fieldImage
	fieldEphemeralImage
	fieldCommand
	fieldPrivileged
	fieldEscalation
	fieldCapability
	fieldRunAsUser
	fieldRunAsNonRoot
	fieldSeccomp
	fieldPort
	fieldHostPort
	fieldEnvName
	fieldEnvFrom
	fieldHostNetwork
	fieldHostPID
	fieldHostIPC
	fieldVolumeType
	fieldVolume
	fieldHostPath
	fieldServiceAccount
	fieldNodeName
	fieldAutomount
)

func workloadDocs() []FieldDoc {
	return []FieldDoc{
		{"workload.name", "name of the workload; absent where the event doesn't tell it"},
		{"workload.generate_name", "prefix from which the server makes the name"},
		{"workload.label", "each label of the object, as key=value"},
		{"workload.annotation", "key of each annotation of the object"},
		{"workload.revision", "the Deployment controller's counter of changes, on ReplicaSets and Deployments"},
		{"workload.replicas", "number of replicas asked for"},
		{"workload.owner.kind", "kind of the controlling owner, else of the first one"},
		{"workload.owner.name", "name of that owner"},
		{"workload.controlled", "true where the controller of its owner made it, else false"},
		{"workload.container.name", "name of each container"},
		{"workload.container.type", "container, init or ephemeral, of each container"},
		{"workload.image", "image of each container, init and ephemeral ones included, as written"},
		{"workload.ephemeral_image", "image of each ephemeral container"},
		{"workload.command", "command and args of each container, joined by spaces"},
		{"workload.privileged", "true where any container is privileged, else false"},
		{"workload.allow_privilege_escalation", "the setting of each container that has one"},
		{"workload.capability", "each capability that a container adds"},
		{"workload.run_as_user", "user id of each container that sets one, or whose Pod does"},
		{"workload.run_as_non_root", "the setting of each container that has one, or whose Pod does"},
		{"workload.seccomp", "type of the seccomp profile of each container that has one, or whose Pod does"},
		{"workload.port", "each port that a container declares"},
		{"workload.host_port", "each port of the node that a container takes"},
		{"workload.env_name", "name of each environment variable"},
		{"workload.env_from", "each source of a whole set of variables: secret/NAME or configmap/NAME"},
		{"workload.host_network", "true where it uses the network of the node, else false"},
		{"workload.host_pid", "true where it sees the processes of the node, else false"},
		{"workload.host_ipc", "true where it shares the IPC of the node, else false"},
		{"workload.volume_type", "type of each volume: hostPath, secret, configMap …"},
		{"workload.volume", "each volume that refers to something, as type=what: secret=db, persistentVolumeClaim=data"},
		{"workload.host_path", "path of each hostPath volume"},
		{"workload.service_account", "name of the service account it runs as"},
		{"workload.node_name", "node that its maker bound it to, past the scheduler"},
		{"workload.automount_token", "the setting of automountServiceAccountToken where there is one"},
	}
}

// evalWorkload answers for creates, patches and updates of workloads only. Of a change, the object that came out of it
// counts, where the event shows it.
func (m *Model) evalWorkload(raw []string, out Adder) {
	if len(raw) < 6 {
		return
	}
	verb, ref := raw[0], referenceOf(raw[1])
	k := m.find(&ref)
	if k == nil || !writes(k, verb, &ref) {
		return
	}
	s := m.take()
	defer m.scratch.Put(s)
	mem := &s.mem
	b := m.bodiesOf(k, verb, raw[4], raw[5])
	meta := &b.metadata
	name := ref.name
	if empty(name) {
		name = meta.name
	}
	add(out, fieldName, mem.text(name))
	add(out, fieldGenerateName, mem.text(meta.generateName))
	for l := membersOf(meta.labels); l.next(); {
		if isString(l.val) {
			out.Add(fieldLabel, mem.join("=", mem.plain(l.key), mem.text(l.val)))
		}
	}
	for l := membersOf(meta.annotations); l.next(); {
		out.Add(fieldAnnotation, mem.plain(l.key))
	}
	add(out, fieldRevision, mem.text(member(meta.annotations, revisionKey)))
	if !absent(b.replicas) {
		out.Add(fieldReplicas, b.replicas)
	}
	o, owned := ownerOf(meta.owners)
	if owned {
		add(out, fieldOwnerKind, mem.text(o.kind))
		add(out, fieldOwnerName, mem.text(o.name))
	}
	user := mem.text(member(raw[2], "username"))
	out.Add(fieldControlled, strconv.FormatBool(m.isChild(k, user, !absent(raw[3]), &b, &o)))
	if b.template == "" {
		return
	}
	s.template.reset()
	s.template.read(k, &b, mem)
	s.template.add(out, s)
}

// add adds what a template says.
func (t *PodTemplate) add(out Adder, s *scratch) {
	privileged := false
	for i := range t.Containers {
		c := &t.Containers[i]
		add(out, fieldContainerName, c.Name)
		out.Add(fieldContainerType, string(c.Type))
		add(out, fieldImage, c.Image)
		if c.Type == Ephemeral {
			add(out, fieldEphemeralImage, c.Image)
		}
		add(out, fieldCommand, c.commandLine(s))
		for _, name := range c.EnvNames {
			out.Add(fieldEnvName, name)
		}
		for _, from := range c.EnvFrom {
			out.Add(fieldEnvFrom, from)
		}
		for _, p := range c.Ports {
			addNumber(out, fieldPort, int64(p.ContainerPort), &s.mem)
			addNumber(out, fieldHostPort, int64(p.HostPort), &s.mem)
		}
		privileged = privileged || c.Security.Privileged == True
		c.Security.add(out, &s.mem)
	}
	for _, f := range [...]struct {
		field int
		yes   bool
	}{
		{fieldPrivileged, privileged},
		{fieldHostNetwork, t.HostNetwork == True},
		{fieldHostPID, t.HostPID == True},
		{fieldHostIPC, t.HostIPC == True},
	} {
		// What a patch doesn't mention stays as it was, which is unknown.
		if f.yes || t.From != FromPatch {
			out.Add(f.field, strconv.FormatBool(f.yes))
		}
	}
	for i := range t.Volumes {
		v := &t.Volumes[i]
		add(out, fieldVolumeType, v.Type)
		if v.Detail == "" {
			continue
		}
		out.Add(fieldVolume, s.mem.join("=", v.Type, v.Detail))
		if v.Type == "hostPath" {
			out.Add(fieldHostPath, v.Detail)
		}
	}
	add(out, fieldServiceAccount, t.ServiceAccount)
	add(out, fieldNodeName, t.NodeName)
	addFlag(out, fieldAutomount, t.AutomountToken)
}

func (s *Security) add(out Adder, mem *arena) {
	addFlag(out, fieldEscalation, s.AllowPrivilegeEscalation)
	for _, c := range s.CapabilitiesAdd {
		out.Add(fieldCapability, c)
	}
	if s.RunAsUser.Known {
		if s.RunAsUser.N == 0 {
			out.Add(fieldRunAsUser, "0")
		} else {
			addNumber(out, fieldRunAsUser, s.RunAsUser.N, mem)
		}
	}
	addFlag(out, fieldRunAsNonRoot, s.RunAsNonRoot)
	add(out, fieldSeccomp, s.SeccompProfile)
}

// commandLine joins command and args; a single word is lent as it is.
func (c *Container) commandLine(s *scratch) string {
	if len(c.Command)+len(c.Args) == 0 {
		return ""
	}
	s.joined = append(append(bounded(s.joined), c.Command...), c.Args...)
	if len(s.joined) == 1 {
		return s.joined[0]
	}
	return s.mem.join(" ", s.joined...)
}

// addNumber adds what is not 0.
func addNumber(out Adder, field int, n int64, mem *arena) {
	if n == 0 {
		return
	}
	mem.room(20)
	start := len(mem.buf)
	mem.buf = strconv.AppendInt(mem.buf, n, 10)
	out.Add(field, lend(mem.buf[start:len(mem.buf):len(mem.buf)]))
}

func addFlag(out Adder, field int, b Bool) {
	switch b {
	case True:
		out.Add(field, "true")
	case False:
		out.Add(field, "false")
	case Unset:
	}
}

// kindPins are what a kind needs. A rule may spell it in any case.
func (m *Model) kindPins(name string) []Pin {
	resource := Pin{Path: "objectRef.resource"}
	for i := range m.kinds {
		if strings.EqualFold(m.kinds[i].kind, name) {
			resource.Values = append(resource.Values, m.kinds[i].resource)
		}
	}
	if resource.Values == nil {
		return nil
	}
	return append(m.writePins()[1:], resource)
}
