package enrich

import (
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
)

// podSecurity evaluates pod templates against the Pod Security Standards with the very checks that the API server's
// admission plugin runs (KEP-2579), each in its newest version.
type podSecurity struct {
	checks []podSecurityCheck
}

type podSecurityCheck struct {
	id    policy.CheckID
	level alert.PSSLevel
	check policy.CheckPodFn
}

// newPodSecurity orders the checks as the API server reports them: baseline first, by their ids.
func newPodSecurity() *podSecurity {
	p := &podSecurity{}
	for _, c := range policy.DefaultChecks() {
		newest := c.Versions[len(c.Versions)-1]
		level := alert.PSSBaseline
		if c.Level == api.LevelRestricted {
			level = alert.PSSRestricted
		}
		p.checks = append(p.checks, podSecurityCheck{c.ID, level, newest.CheckPod})
	}
	slices.SortFunc(p.checks, func(a, b podSecurityCheck) int {
		if a.level != b.level {
			return strings.Compare(string(a.level), string(b.level)) // "baseline" before "restricted"
		}
		return strings.Compare(string(a.id), string(b.id))
	})
	return p
}

// podSecurityVersion is what the checks evaluate: always the newest that is built in.
const podSecurityVersion = api.VersionLatest

// evaluate returns the strictest level that a Pod with this template reaches, and every check that fails. The annotations
// are those of the Pod. A template that has not the form of one, as a custom resource may hold, is a misfit for the reason
// given.
func (p *podSecurity) evaluate(annotations []audit.Label, t *audit.PodTemplate) (level alert.PSSLevel, violations []alert.Violation, misfit string) {
	pod, err := podOf(t)
	if err != nil {
		return alert.PSSUnknown, nil, "its pod template has not the form that Kubernetes gives it: " + err.Error()
	}
	// The checks read annotations (AppArmor), and take no nil.
	var meta metav1.ObjectMeta
	for _, a := range annotations {
		if strings.HasPrefix(a.Key, appArmorPrefix) {
			if meta.Annotations == nil {
				meta.Annotations = make(map[string]string)
			}
			if _, twice := meta.Annotations[a.Key]; !twice {
				meta.Annotations[a.Key] = a.Value
			}
		}
	}
	reached := alert.PSSRestricted
	for _, c := range p.checks {
		result := c.check(&meta, pod)
		if result.Allowed {
			continue
		}
		violations = append(violations, alert.Violation{Check: string(c.id), Level: c.level, Detail: detail(result)})
		switch {
		case c.level == alert.PSSBaseline:
			reached = alert.PSSPrivileged
		case reached == alert.PSSRestricted:
			reached = alert.PSSBaseline
		}
	}
	return reached, violations, ""
}

// appArmorPrefix begins the only annotations that the checks read.
const appArmorPrefix = "container.apparmor.security.beta.kubernetes.io/"

// detail is the reason with the values at fault, as admission words it.
func detail(r policy.CheckResult) string {
	if r.ForbiddenDetail == "" {
		return r.ForbiddenReason
	}
	return r.ForbiddenReason + " (" + r.ForbiddenDetail + ")"
}

// securitySpec is the part of a pod spec that the checks read. Decoding the rest, above all quantities and environments,
// takes longer than all checks together.
type securitySpec struct {
	HostNetwork                                     bool
	HostPID                                         bool
	HostIPC                                         bool
	HostUsers                                       *bool
	OS                                              *corev1.PodOS
	SecurityContext                                 *corev1.PodSecurityContext
	Containers, InitContainers, EphemeralContainers []securityContainer
}

type securityContainer struct {
	Name                                        string
	SecurityContext                             *corev1.SecurityContext
	LivenessProbe, ReadinessProbe, StartupProbe *securityHandler
	Lifecycle                                   *struct{ PostStart, PreStop *securityHandler }
	Ports                                       []struct{ HostPort int32 }
}

// securityHandler is a probe or a lifecycle handler, of which only the host matters.
type securityHandler struct {
	HTTPGet, TCPSocket *struct{ Host string }
}

func podOf(t *audit.PodTemplate) (*corev1.PodSpec, error) {
	var s securitySpec
	if err := json.Unmarshal([]byte(t.Spec), &s); err != nil {
		return nil, err
	}
	pod := &corev1.PodSpec{
		HostNetwork: s.HostNetwork, HostPID: s.HostPID, HostIPC: s.HostIPC, HostUsers: s.HostUsers, OS: s.OS, SecurityContext: s.SecurityContext,
		InitContainers: containersOf(s.InitContainers), Containers: containersOf(s.Containers),
	}
	for _, c := range containersOf(s.EphemeralContainers) {
		pod.EphemeralContainers = append(pod.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon(c)})
	}
	for i := range t.Volumes {
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: t.Volumes[i].Name, VolumeSource: volumeSource(&t.Volumes[i])})
	}
	return pod, nil
}

func containersOf(from []securityContainer) []corev1.Container {
	all := make([]corev1.Container, len(from))
	for i := range from {
		c, out := &from[i], &all[i]
		out.Name, out.SecurityContext = c.Name, c.SecurityContext
		out.LivenessProbe, out.ReadinessProbe, out.StartupProbe = c.LivenessProbe.probe(), c.ReadinessProbe.probe(), c.StartupProbe.probe()
		if l := c.Lifecycle; l != nil {
			out.Lifecycle = &corev1.Lifecycle{PostStart: l.PostStart.lifecycle(), PreStop: l.PreStop.lifecycle()}
		}
		for _, p := range c.Ports {
			out.Ports = append(out.Ports, corev1.ContainerPort{HostPort: p.HostPort})
		}
	}
	return all
}

func (h *securityHandler) actions() (get *corev1.HTTPGetAction, socket *corev1.TCPSocketAction) {
	if h.HTTPGet != nil {
		get = &corev1.HTTPGetAction{Host: h.HTTPGet.Host}
	}
	if h.TCPSocket != nil {
		socket = &corev1.TCPSocketAction{Host: h.TCPSocket.Host}
	}
	return get, socket
}

func (h *securityHandler) probe() *corev1.Probe {
	if h == nil {
		return nil
	}
	get, socket := h.actions()
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get, TCPSocket: socket}}
}

func (h *securityHandler) lifecycle() *corev1.LifecycleHandler {
	if h == nil {
		return nil
	}
	get, socket := h.actions()
	return &corev1.LifecycleHandler{HTTPGet: get, TCPSocket: socket}
}

// volumeSource holds nothing but which source it is. One of a type that is not known here stays empty, which the checks
// call an unknown type, and restricted.
func volumeSource(v *audit.Volume) (s corev1.VolumeSource) {
	switch v.Type {
	case "configMap":
		s.ConfigMap = &corev1.ConfigMapVolumeSource{}
	case "csi":
		s.CSI = &corev1.CSIVolumeSource{}
	case "downwardAPI":
		s.DownwardAPI = &corev1.DownwardAPIVolumeSource{}
	case "emptyDir":
		s.EmptyDir = &corev1.EmptyDirVolumeSource{}
	case "ephemeral":
		s.Ephemeral = &corev1.EphemeralVolumeSource{}
	case "image":
		s.Image = &corev1.ImageVolumeSource{}
	case "persistentVolumeClaim":
		s.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{}
	case "projected":
		s.Projected = &corev1.ProjectedVolumeSource{}
	case "secret":
		s.Secret = &corev1.SecretVolumeSource{}
	case "hostPath":
		s.HostPath = &corev1.HostPathVolumeSource{Path: v.Detail}
	case "gcePersistentDisk":
		s.GCEPersistentDisk = &corev1.GCEPersistentDiskVolumeSource{}
	case "awsElasticBlockStore":
		s.AWSElasticBlockStore = &corev1.AWSElasticBlockStoreVolumeSource{}
	case "gitRepo":
		s.GitRepo = &corev1.GitRepoVolumeSource{}
	case "nfs":
		s.NFS = &corev1.NFSVolumeSource{}
	case "iscsi":
		s.ISCSI = &corev1.ISCSIVolumeSource{}
	case "glusterfs":
		s.Glusterfs = &corev1.GlusterfsVolumeSource{}
	case "rbd":
		s.RBD = &corev1.RBDVolumeSource{}
	case "flexVolume":
		s.FlexVolume = &corev1.FlexVolumeSource{}
	case "cinder":
		s.Cinder = &corev1.CinderVolumeSource{}
	case "cephfs":
		s.CephFS = &corev1.CephFSVolumeSource{}
	case "flocker":
		s.Flocker = &corev1.FlockerVolumeSource{}
	case "fc":
		s.FC = &corev1.FCVolumeSource{}
	case "azureFile":
		s.AzureFile = &corev1.AzureFileVolumeSource{}
	case "vsphereVolume":
		s.VsphereVolume = &corev1.VsphereVirtualDiskVolumeSource{}
	case "quobyte":
		s.Quobyte = &corev1.QuobyteVolumeSource{}
	case "azureDisk":
		s.AzureDisk = &corev1.AzureDiskVolumeSource{}
	case "photonPersistentDisk":
		s.PhotonPersistentDisk = &corev1.PhotonPersistentDiskVolumeSource{}
	case "portworxVolume":
		s.PortworxVolume = &corev1.PortworxVolumeSource{}
	case "scaleIO":
		s.ScaleIO = &corev1.ScaleIOVolumeSource{}
	case "storageos":
		s.StorageOS = &corev1.StorageOSVolumeSource{}
	}
	return s
}
