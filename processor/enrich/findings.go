package enrich

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// finder collects findings, each code once.
type finder struct{ all []alert.Finding }

func (f *finder) add(code, text string) {
	for i := range f.all {
		if f.all[i].Code == code {
			return
		}
	}
	f.all = append(f.all, alert.Finding{Code: code, Text: text})
}

// minerWords are names of mining programs and of the protocol they speak. They are compared with whole words of an image or
// command line, so that "determiner" is none.
var minerWords = regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(xmrig|xmr-stak|minerd|cpuminer|ccminer|ethminer|cgminer|bfgminer|nbminer|t-rex-miner|phoenixminer|nanominer|lolminer|kdevtmpfsi|kinsing|monero|xmr|cryptonight|randomx|stratum[12]?\+(?:tcp|ssl|tls)|nicehash|minexmr|supportxmr|moneroocean|2miners|hashvault|nanopool)(?:[^a-z0-9]|$)`)

// minerClues are parts of all of minerWords: what holds none is not searched.
var minerClues = clueWords{"xmr", "miner", "kdevtmpfsi", "kinsing", "monero", "cryptonight", "randomx", "stratum", "nicehash", "hashvault", "nanopool"}

// shellWords open a shell towards another host.
var shellWords = regexp.MustCompile(`(?i)/dev/(?:tcp|udp)/|\b(?:nc|ncat|netcat)\b[^|;&]*\s-[a-z]*[ec]\b|\bsocat\b[^|;&]*\bexec\b|bash\s+-i\b|python[0-9.]*\s+-c\b.*\bsocket\b|mkfifo\b.*\b(?:nc|ncat|netcat|telnet)\b|\bperl\s+-e\b.*\bsocket\b`)

// shellClues are parts of all of shellWords.
var shellClues = clueWords{"/dev/", "nc", "netcat", "socat", "bash", "socket", "mkfifo"}

// clueWords are in lower case, one of which a text must hold to be worth the search by a regular expression.
type clueWords []string

func (words clueWords) in(lower string) bool {
	for _, w := range words {
		if strings.Contains(lower, w) {
			return true
		}
	}
	return false
}

// sensitivePaths are paths of a node that give it away; what lies below counts too.
var sensitivePaths = []string{
	"/etc", "/proc", "/sys", "/root", "/boot", "/dev", "/home", "/run", "/var/run", "/var/lib/kubelet", "/var/lib/etcd",
	"/var/lib/docker", "/var/lib/containerd", "/var/lib/rancher", "/opt/cni", "/usr",
}

// systemNames are parts of Kubernetes that an intruder likes to be taken for.
var systemNames = []string{
	"kube-proxy", "kube-apiserver", "kube-scheduler", "kube-controller-manager", "coredns", "kube-dns", "etcd", "metrics-server",
	"cloud-controller-manager", "calico-node", "cilium", "flannel", "konnectivity-agent", "node-local-dns", "kubelet",
}

var systemNamespaces = []string{"kube-system", "kube-public", "kube-node-lease"}

// baselineCapabilities may be added under the baseline level of the Pod Security Standards.
var baselineCapabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
	"SETUID", "SYS_CHROOT",
}

// findings says what a reviewer would object to, and what an intruder would do. The codes are those of [alert.Weights].
func (e *Enricher) findings(in *Input, a *alert.Alert) error {
	f := finder{all: a.Policy.Findings}
	actorFindings(&f, a)
	if w := a.Workload; w != nil {
		workloadFindings(&f, in, a, w)
		for i := range w.Containers {
			containerFindings(&f, in, &w.Containers[i])
		}
		for i := range w.Volumes {
			volumeFindings(&f, &w.Volumes[i])
		}
		if len(w.Rights.Dangerous) > 0 {
			f.add("dangerous_rights", "its service account "+w.ServiceAccount+" "+w.Rights.Dangerous[0].Text)
		}
	}
	switch a.Outcome {
	case alert.Unknown:
		f.add("outcome_unknown", "answered by a timeout that the client can choose: it may exist")
	case alert.Refused:
		f.add("refused", "the request was refused")
	case alert.Created, alert.Changed, alert.Observed:
	}
	a.Policy.Findings = f.all
	return nil
}

func actorFindings(f *finder, a *alert.Alert) {
	if a.Actor.Type == alert.Anonymous {
		f.add("anonymous_actor", "nobody authenticated for the request")
	}
	if a.Actor.ImpersonatedBy != "" {
		f.add("impersonation", a.Actor.ImpersonatedBy+" acted as "+a.Actor.User)
	}
	if slices.Contains(a.Actor.Groups, "system:masters") {
		f.add("masters_group", "the actor is in system:masters, past all RBAC")
	}
	if p := peer(&a.Network); p != nil && p.Class == alert.IPPublic && p.Network == "" {
		f.add("public_source", "the request came from the public address "+p.IP)
	}
}

func workloadFindings(f *finder, in *Input, a *alert.Alert, w *alert.Workload) {
	if a.Network.HostNetwork == alert.True {
		f.add("host_network", "shares the network of the node")
	}
	if w.HostPID == alert.True {
		f.add("host_pid", "shares the process table of the node")
	}
	if w.HostIPC == alert.True {
		f.add("host_ipc", "shares the IPC namespace of the node")
	}
	if len(a.Network.HostPorts) > 0 {
		f.add("host_port", "binds a port of the node")
	}
	if w.NodeName != "" && a.Actor.Type != alert.Node && !w.Controlled {
		f.add("node_pinned", "bound to node "+w.NodeName+" past the scheduler")
	}
	if w.Controlled {
		f.add("controlled", "made by a controller for its own object")
	}
	if in.View.Truncated {
		f.add("truncated", "the API server cut the event: what was created is hidden")
	}
	if slices.Contains(systemNamespaces, w.Namespace) && (a.Actor.Type == alert.User || a.Actor.Type == alert.Anonymous ||
		a.Actor.Type == alert.ServiceAccount && !strings.HasPrefix(a.Actor.User, "system:serviceaccount:kube-system:")) {
		f.add("system_namespace", "made in "+w.Namespace+" by "+a.Actor.User)
	}
	if a.Actor.Type != alert.Node && !w.Controlled {
		name := orElse(w.Name, w.GenerateName)
		like := imitates(name)
		if like == "" && !slices.Contains(systemNamespaces, w.Namespace) {
			like = lookalike(name)
		}
		if like != "" {
			f.add("lookalike_name", "its name "+name+" imitates that of "+like+", a part of the cluster")
		}
	}
	switch a.Policy.Intended.State {
	case alert.IntendedNo:
		f.add("deviates", "outside of the configured allow-lists")
	case alert.IntendedYes:
		f.add("intended", "within the allow-list entry "+a.Policy.Intended.By)
	case alert.IntendedUnknown:
	}
	if a.Approval.State == alert.Approved {
		f.add("approved", "approved by "+a.Approval.By)
	}
}

// lookalike names the system component that a name begins with.
func lookalike(name string) string {
	for _, s := range systemNames {
		if name == s || strings.HasPrefix(name, s+"-") {
			return s
		}
	}
	return ""
}

// imitates names the system component that a name is one slip away from: kube-proxi, c0redns, kubeproxy, etcdd-x is none
// (short names have too many neighbours).
func imitates(name string) string {
	if lookalike(name) != "" {
		return ""
	}
	folded := strings.Map(fold, name)
	for _, s := range systemNames {
		if len(s) < 6 {
			continue
		}
		// As many parts as the component's name has, what follows is the hash that controllers add; and all of it run together.
		if head := parts(folded, strings.Count(s, "-")+1); oneSlip(head, s) || runTogether(folded, s) {
			return s
		}
	}
	return ""
}

// fold turns digits into the letters that they are taken for.
func fold(r rune) rune {
	switch r {
	case '0':
		return 'o'
	case '1':
		return 'l'
	case '3':
		return 'e'
	case '5':
		return 's'
	case '_':
		return '-'
	}
	return unicode.ToLower(r)
}

// parts are the first n parts of a name between dashes.
func parts(name string, n int) string {
	for i := range len(name) {
		if name[i] == '-' {
			if n--; n == 0 {
				return name[:i]
			}
		}
	}
	return name
}

// runTogether tells whether name begins with s without its dashes: kubeproxy. One without dashes would be found by itself.
func runTogether(name, s string) bool {
	for i := range len(s) {
		if s[i] == '-' {
			continue
		}
		if name == "" || name[0] != s[i] {
			return false
		}
		name = name[1:]
	}
	return true
}

// oneSlip tells whether one byte changed, left out, added or swapped with its neighbour makes b of a; also whether they are
// equal.
func oneSlip(a, b string) bool {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) <= 1 && len(b) <= 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}

// maxSearched is how much of the command line of a container is searched, in bytes: 256 KiB.
const maxSearched = 256 << 10

func containerFindings(f *finder, in *Input, c *alert.Container) {
	words := c.Image.Raw
	if len(c.Command)+len(c.Args) > 0 {
		words += " " + commandLine(c, maxSearched)
	}
	lower := strings.ToLower(words)
	if minerClues.in(lower) {
		if m := minerWords.FindStringSubmatch(words); m != nil {
			f.add("miner", "container "+c.Name+": "+m[1]+" is the name of a miner or of what one talks to")
		}
	}
	if shellClues.in(lower) && shellWords.MatchString(words) {
		f.add("reverse_shell", "container "+c.Name+": its command opens a shell towards another host")
	}
	if c.Security.Privileged == alert.True {
		f.add("privileged", "container "+c.Name+" is privileged")
	}
	for _, capability := range c.Security.CapabilitiesAdd {
		if !slices.Contains(baselineCapabilities, strings.TrimPrefix(strings.ToUpper(capability), "CAP_")) {
			f.add("capability", "container "+c.Name+" adds the capability "+capability)
		}
	}
	if c.Security.RunAsUser.Known && c.Security.RunAsUser.N == 0 {
		f.add("root_user", "container "+c.Name+" runs as user 0")
	}
	if c.Image.Raw != "" && c.Image.Digest == "" && (c.Image.Tag == "" || c.Image.Tag == "latest") {
		f.add("latest_tag", "image "+c.Image.Raw+" names no fixed version")
	}
	if in.complete() && c.Type != alert.Ephemeral && (c.Resources.CPULimit == "" || c.Resources.MemoryLimit == "") {
		f.add("no_limits", "container "+c.Name+" has no limit for CPU or memory")
	}
}

func volumeFindings(f *finder, v *alert.Volume) {
	if v.Type != "hostPath" {
		return
	}
	clean := path.Clean("/" + v.Detail)
	sensitive := clean == "/" || strings.HasSuffix(clean, ".sock")
	for _, s := range sensitivePaths {
		sensitive = sensitive || clean == s || strings.HasPrefix(clean, s+"/")
	}
	if sensitive {
		f.add("host_path_sensitive", "mounts "+clean+" of the node")
		return
	}
	f.add("host_path", "mounts "+clean+" of the node")
}

// score adds the findings up; each part is a reason.
func (e *Enricher) score(_ *Input, a *alert.Alert) error {
	for i := range a.Policy.Findings {
		finding := &a.Policy.Findings[i]
		if points := alert.Points(finding.Code); points != 0 {
			a.Reasons = append(a.Reasons, alert.Reason{Code: finding.Code, Points: points, Text: finding.Text})
		}
	}
	a.Score, a.Severity = alert.Assess(a.Reasons, e.options.Thresholds)
	return nil
}
