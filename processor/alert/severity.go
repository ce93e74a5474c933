package alert

import "fmt"

// Severity is how much an alert, or the level of a rule, asks for attention. The words are those of Sigma.
type Severity string

const (
	// Informational is for the record.
	Informational Severity = "informational"
	// Low can wait for a quiet hour.
	Low Severity = "low"
	// Medium is for today.
	Medium Severity = "medium"
	// High is for now.
	High Severity = "high"
	// Critical wakes somebody.
	Critical Severity = "critical"
)

// Severities lists all severities, the lowest first.
func Severities() []string {
	return []string{string(Informational), string(Low), string(Medium), string(High), string(Critical)}
}

// Less reports whether s is lower than other. A word that is no severity is lower than every severity.
func (s Severity) Less(other Severity) bool { return s.rank() < other.rank() }

func (s Severity) rank() int {
	switch s {
	case Informational:
		return 1
	case Low:
		return 2
	case Medium:
		return 3
	case High:
		return 4
	case Critical:
		return 5
	default:
		return 0
	}
}

// MaxScore is the highest score. The sum of all reasons is cut to 0 … MaxScore.
const MaxScore = 100

// ReasonRuleLevel is the code of the reason that every score starts from: the level of the highest rule.
const ReasonRuleLevel = "rule_level"

// BasePoints are the points a score starts from, by the level of the highest rule that matched: informational 0, low 20,
// medium 40, high 60, critical 80. A word that is no level counts as informational.
func BasePoints(level Severity) int { return 20 * max(level.rank()-1, 0) }

// Thresholds are the lowest scores at which a severity is reached; what is below Low is informational.
type Thresholds struct {
	Low, Medium, High, Critical int
}

// DefaultThresholds are 20, 40, 60 and 80: an alert without findings has the severity of its rule.
func DefaultThresholds() Thresholds { return Thresholds{Low: 20, Medium: 40, High: 60, Critical: 80} }

// Validate reports thresholds that are out of range or out of order.
func (t Thresholds) Validate() error {
	if t.Low < 1 || t.Medium <= t.Low || t.High <= t.Medium || t.Critical <= t.High || t.Critical > MaxScore {
		return fmt.Errorf("expected 1 ≤ low < medium < high < critical ≤ %d, got %d, %d, %d, %d",
			MaxScore, t.Low, t.Medium, t.High, t.Critical)
	}
	return nil
}

// Severity is the severity of a score.
func (t Thresholds) Severity(score int) Severity {
	switch {
	case score >= t.Critical:
		return Critical
	case score >= t.High:
		return High
	case score >= t.Medium:
		return Medium
	case score >= t.Low:
		return Low
	default:
		return Informational
	}
}

// Assess adds the points of the reasons up, cuts the sum to 0 … [MaxScore], and says which severity that is.
func Assess(reasons []Reason, t Thresholds) (score int, s Severity) {
	for i := range reasons {
		score += max(-MaxScore, min(MaxScore, reasons[i].Points))
	}
	score = max(0, min(MaxScore, score))
	return score, t.Severity(score)
}

// Weight is what one finding adds to a score, or takes from it.
type Weight struct {
	Code   string
	Points int
	// Text says when it applies.
	Text string
}

// Weights lists every finding that counts, with its points. Each counts once in an alert, however many containers show it.
func Weights() []Weight {
	w := make([]Weight, len(weights))
	copy(w, weights[:])
	return w
}

// Points are the points of a finding, 0 for a code that is not in [Weights].
func Points(code string) int {
	for i := range weights {
		if weights[i].Code == code {
			return weights[i].Points
		}
	}
	return 0
}

// weights is never written to.
var weights = [...]Weight{
	{"anonymous_actor", 40, "nobody authenticated for the request"},
	{"miner", 40, "image, command or arguments are those of a cryptocurrency miner"},
	{"reverse_shell", 40, "command or arguments open a shell towards another host"},
	{"privileged", 25, "a container is privileged"},
	{"host_path_sensitive", 25, "mounts the node's root, its /etc, /proc, kubelet state or a container runtime socket"},
	{"dangerous_rights", 20, "its service account may read secrets, exec, impersonate, escalate, bind or create Pods"},
	{"host_pid", 15, "shares the process table of the node"},
	{"lookalike_name", 15, "its name imitates that of a system component"},
	{"host_network", 10, "shares the network of the node"},
	{"host_path", 10, "mounts another path of the node"},
	{"capability", 10, "adds a capability beyond the baseline of the Pod Security Standards"},
	{"impersonation", 10, "the actor acted as somebody else"},
	{"public_source", 10, "the request came from a public address"},
	{"system_namespace", 10, "made in kube-system, kube-public or kube-node-lease by a person or an outside program"},
	{"deviates", 10, "outside of the configured allow-lists"},
	{"truncated", 10, "the API server cut the event: what was created is hidden"},
	{"outcome_unknown", 10, "answered by a timeout that the client can choose"},
	{"host_ipc", 5, "shares the IPC namespace of the node"},
	{"host_port", 5, "binds a port of the node"},
	{"root_user", 5, "a container runs as user 0 by its own wish"},
	{"node_pinned", 5, "bound to a node past the scheduler"},
	{"latest_tag", 5, "an image without a tag, or with the tag latest"},
	{"no_limits", 5, "a container without limits for CPU or memory"},
	{"masters_group", 5, "the actor is in system:masters, past all RBAC"},
	{"refused", -10, "the request was refused"},
	{"controlled", -20, "made by a controller for an object that alerted by itself"},
	{"intended", -20, "within the configured allow-lists"},
	{"approved", -40, "approved by an allow-list entry or a change ticket"},
}
