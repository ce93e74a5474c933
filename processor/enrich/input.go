package enrich

import (
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
)

// Input is the event that an alert is about.
type Input struct {
	View *audit.View
	// Template is the pod template, nil where the event shows none.
	Template *audit.PodTemplate
	// misfit says why the template could not be judged although it is there.
	misfit string
}

func inputOf(v *audit.View) *Input {
	in := &Input{View: v}
	if v.Outcome == audit.Observed {
		return in
	}
	if t, ok := v.PodTemplate(); ok {
		in.Template = t
	}
	return in
}

// complete tells whether all that the workload runs is in sight: a patch names only what it changes, and a custom
// resource may keep its containers where nobody looks.
func (in *Input) complete() bool {
	return in.Template != nil && in.Template.From != audit.FromPatch && len(in.Template.Containers) > 0
}

// label is a label of the workload, else of its pod template.
func (in *Input) label(key string) string {
	if value := find(in.View.Workload.Labels, key); value != "" {
		return value
	}
	if in.Template != nil {
		return find(in.Template.Labels, key)
	}
	return ""
}

// annotation is an annotation of the workload, else of its pod template.
func (in *Input) annotation(key string) string {
	if value := find(in.View.Workload.Annotations, key); value != "" {
		return value
	}
	if in.Template != nil {
		return find(in.Template.Annotations, key)
	}
	return ""
}

func find(labels []audit.Label, key string) string {
	for i := range labels {
		if labels[i].Key == key {
			return labels[i].Value
		}
	}
	return ""
}

// describe fills in what the workload will run, from its pod template.
func (e *Enricher) describe(in *Input, a *alert.Alert) error {
	t, w := in.Template, a.Workload
	if t == nil || w == nil {
		return nil
	}
	w.ServiceAccount, w.NodeName = t.ServiceAccount, t.NodeName
	if w.ServiceAccount == "" && in.complete() {
		// What a Pod without a service account runs as (admission plugin ServiceAccount).
		w.ServiceAccount = "default"
	}
	w.HostPID, w.HostIPC, w.AutomountToken = alert.Bool(t.HostPID), alert.Bool(t.HostIPC), alert.Bool(t.AutomountToken)
	a.Network.HostNetwork = alert.Bool(t.HostNetwork)
	w.Containers = make([]alert.Container, 0, len(t.Containers))
	for i := range t.Containers {
		w.Containers = append(w.Containers, containerOf(&t.Containers[i]))
	}
	w.Volumes = make([]alert.Volume, 0, len(t.Volumes))
	for _, v := range t.Volumes {
		w.Volumes = append(w.Volumes, alert.Volume(v))
	}
	return nil
}

func containerOf(c *audit.Container) alert.Container {
	s := &c.Security
	out := alert.Container{
		Name: c.Name, Type: alert.ContainerType(c.Type), Image: alert.Image{Raw: c.Image},
		Command: c.Command, Args: c.Args, EnvNames: c.EnvNames, EnvFrom: c.EnvFrom, Resources: alert.Resources(c.Resources),
		Security: alert.Security{
			Privileged: alert.Bool(s.Privileged), AllowPrivilegeEscalation: alert.Bool(s.AllowPrivilegeEscalation),
			RunAsNonRoot: alert.Bool(s.RunAsNonRoot), ReadOnlyRootFilesystem: alert.Bool(s.ReadOnlyRootFilesystem),
			RunAsUser: alert.Int(s.RunAsUser), RunAsGroup: alert.Int(s.RunAsGroup),
			CapabilitiesAdd: s.CapabilitiesAdd, CapabilitiesDrop: s.CapabilitiesDrop, SeccompProfile: s.SeccompProfile,
		},
	}
	for _, p := range c.Ports {
		out.Ports = append(out.Ports, alert.Port{Name: p.Name, Port: p.ContainerPort, HostPort: p.HostPort, Protocol: strings.ToUpper(p.Protocol)})
	}
	return out
}
