package alert

// Workload is what was created or changed.
type Workload struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"api_version"`
	Namespace  string `json:"namespace"`
	// Name is "" where the event does not tell it; NameUnknown then is set.
	Name        string `json:"name"`
	NameUnknown bool   `json:"name_unknown"`
	// GenerateName is the prefix the client asked for.
	GenerateName string  `json:"generate_name"`
	UID          string  `json:"uid"`
	Labels       []Label `json:"labels"`
	// Detail says how much of the object the event showed. Unless it is full, empty lists below mean "unknown".
	Detail Detail `json:"detail"`
	Owner  Owner  `json:"owner"`
	// Root is the topmost owner, as far as the event tells.
	Root Root `json:"root"`
	// Controlled: a controller made it on behalf of its owner.
	Controlled bool `json:"controlled"`
	Replicas   Int  `json:"replicas"`
	// ServiceAccount is the name of the account it runs as, "" where unknown.
	ServiceAccount string `json:"service_account"`
	// Rights is what that account may do.
	Rights Rights `json:"service_account_rights"`
	// NodeName is the node it was bound to by its maker, past the scheduler; "" for most.
	NodeName       string      `json:"node_name"`
	HostPID        Bool        `json:"host_pid"`
	HostIPC        Bool        `json:"host_ipc"`
	AutomountToken Bool        `json:"automount_token"`
	Containers     []Container `json:"containers"`
	Volumes        []Volume    `json:"volumes"`
}

// Detail says how much of a workload the event showed. The zero value is written as none.
type Detail string

const (
	// DetailFull: the pod template was there.
	DetailFull Detail = "full"
	// DetailMetadata: only the metadata of the object.
	DetailMetadata Detail = "metadata"
	// DetailNone: no object at all, because of the audit level or because the event was truncated.
	DetailNone Detail = "none"
)

// Owner is the controlling owner, all "" where there is none.
type Owner struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// Root is the topmost owner, all "" where there is none.
type Root struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Rights is what a service account may do, from a snapshot of the cluster's roles.
type Rights struct {
	State RightsState `json:"state"`
	// Text says it in words: how many rights of which roles, or why it is unknown.
	Text string `json:"text"`
	// Dangerous are the rights that lead further.
	Dangerous []Right `json:"dangerous"`
}

// RightsState says whether the rights of a service account are known. The zero value is written as unknown.
type RightsState string

const (
	// RightsKnown: from a snapshot of the cluster's roles.
	RightsKnown RightsState = "known"
	// RightsUnknown: no snapshot, or the account is unknown.
	RightsUnknown RightsState = "unknown"
)

// Right is one dangerous right.
type Right struct {
	// Code is a fixed word: read_secrets, exec, escalate …
	Code string `json:"code"`
	// Scope is "cluster" or the name of one namespace.
	Scope string `json:"scope"`
	// Role and Binding give it: "ClusterRole/admin", "RoleBinding/prod/admins".
	Role    string `json:"role"`
	Binding string `json:"binding"`
	Text    string `json:"text"`
}

// Container is one container of a pod template.
type Container struct {
	Name  string        `json:"name"`
	Type  ContainerType `json:"type"`
	Image Image         `json:"image"`
	// Command and Args as given, redacted where they hold what looks like a secret.
	Command []string `json:"command"`
	Args    []string `json:"args"`
	// EnvNames are names only: values never leave.
	EnvNames []string `json:"env_names"`
	// EnvFrom are the sources of whole sets of variables: "secret/NAME", "configmap/NAME".
	EnvFrom   []string  `json:"env_from"`
	Ports     []Port    `json:"ports"`
	Resources Resources `json:"resources"`
	Security  Security  `json:"security"`
}

// ContainerType is the role of a container in its Pod.
type ContainerType string

const (
	// Main runs as long as the Pod.
	Main ContainerType = "container"
	// Init runs before the main containers (or beside them as a sidecar).
	Init ContainerType = "init"
	// Ephemeral was added to a running Pod.
	Ephemeral ContainerType = "ephemeral"
)

// Image is the reference of an image, as written and in its parts.
type Image struct {
	Raw string `json:"raw"`
	// Registry to Digest are "" where Raw could not be parsed; Tag and Digest also where there is none.
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	Digest     string `json:"digest"`
}

// Port is a port a container declares.
type Port struct {
	Name string `json:"name"`
	Port int    `json:"container_port"`
	// HostPort is the port on the node, 0 for none.
	HostPort int `json:"host_port"`
	// Protocol is TCP, UDP or SCTP.
	Protocol string `json:"protocol"`
}

// Resources are Kubernetes quantities as written ("500m", "64Mi"), "" where not set.
type Resources struct {
	CPURequest    string `json:"cpu_request"`
	CPULimit      string `json:"cpu_limit"`
	MemoryRequest string `json:"memory_request"`
	MemoryLimit   string `json:"memory_limit"`
}

// Security is the security context that holds for a container: its own, else its Pod's.
type Security struct {
	Privileged               Bool     `json:"privileged"`
	AllowPrivilegeEscalation Bool     `json:"allow_privilege_escalation"`
	RunAsNonRoot             Bool     `json:"run_as_non_root"`
	ReadOnlyRootFilesystem   Bool     `json:"read_only_root_filesystem"`
	RunAsUser                Int      `json:"run_as_user"`
	RunAsGroup               Int      `json:"run_as_group"`
	CapabilitiesAdd          []string `json:"capabilities_add"`
	CapabilitiesDrop         []string `json:"capabilities_drop"`
	// SeccompProfile is its type: RuntimeDefault, Unconfined, Localhost; "" where not set.
	SeccompProfile string `json:"seccomp_profile"`
}

// Volume is a volume of a pod template.
type Volume struct {
	Name string `json:"name"`
	// Type is the key of its source: hostPath, secret, configMap, emptyDir …
	Type string `json:"type"`
	// Detail is the path, name or claim it refers to.
	Detail string `json:"detail"`
}
