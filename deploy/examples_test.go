package deploy_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// loses are the settings of Fluent Bit whose defaults lose events, and what they must be.
var loses = map[string]string{
	"input tail buffer_max_size":             "16M",
	"input tail buffer_chunk_size":           "1M",
	"input tail skip_long_lines":             "on",
	"input tail read_from_head":              "on",
	"input tail storage.type":                "filesystem",
	"input tail db":                          "*",
	"input tail key":                         "log",
	"service  storage.path":                  "*",
	"output forward require_ack_response":    "on",
	"output forward retry_limit":             "no_limits",
	"output forward net.io_timeout":          "120s",
	"output forward shared_key":              "*",
	"output kafka format":                    "raw",
	"output kafka raw_log_key":               "log",
	"output kafka retry_limit":               "no_limits",
	"output kafka rdkafka.message.max.bytes": "16777216",
}

func TestFluentBit(t *testing.T) {
	configs := map[string]map[string]string{
		"compose/fluent-bit.yaml":                fluentYAML(t, "compose/fluent-bit.yaml"),
		"examples/fluent-bit/control-plane.yaml": fluentYAML(t, "examples/fluent-bit/control-plane.yaml"),
		"examples/fluent-bit/control-plane.conf": fluentClassic(t, "examples/fluent-bit/control-plane.conf"),
		"examples/fluent-bit/kafka.yaml":         fluentYAML(t, "examples/fluent-bit/kafka.yaml"),
	}
	for path, settings := range configs {
		for key, want := range loses {
			section := key[:strings.LastIndex(key, " ")+1]
			if !slices.ContainsFunc(slices.Collect(maps.Keys(settings)), func(k string) bool { return strings.HasPrefix(k, section) }) {
				continue // it has no such input or output
			}
			if got := settings[key]; got == "" || want != "*" && got != want {
				t.Errorf("%s: %s: expected %s, got %q", path, key, want, got)
			}
		}
		for key := range settings {
			// A parser with Time_Key takes requestReceivedTimestamp out of the event.
			if strings.Contains(key, "parser") || strings.HasPrefix(key, "filter") {
				t.Errorf("%s: %s: expected the line as the API server wrote it", path, key)
			}
		}
	}
	if y, c := configs["examples/fluent-bit/control-plane.yaml"], configs["examples/fluent-bit/control-plane.conf"]; !maps.Equal(y, c) {
		for key := range y {
			if y[key] != c[key] {
				t.Errorf("%s: control-plane.yaml has %q, control-plane.conf %q", key, y[key], c[key])
			}
		}
		for key := range c {
			if _, ok := y[key]; !ok {
				t.Errorf("%s: only in control-plane.conf", key)
			}
		}
	}
}

// normal makes equal what Fluent Bit takes as equal.
func normal(value any) string {
	switch v := strings.ToLower(fmt.Sprint(value)); v {
	case "true", "yes", "on":
		return "on"
	case "false", "no", "off":
		return "off"
	default:
		return fmt.Sprint(value)
	}
}

// fluentYAML flattens a configuration: "output forward retry_limit" → "no_limits".
func fluentYAML(t *testing.T, path string) map[string]string {
	t.Helper()
	settings := map[string]string{}
	file := loose(t, path)
	for key, value := range file["service"].(map[string]any) {
		settings["service  "+strings.ToLower(key)] = normal(value)
	}
	for section, plugins := range file["pipeline"].(map[string]any) {
		kind := strings.TrimSuffix(section, "s")
		for _, p := range plugins.([]any) {
			plugin := p.(map[string]any)
			for key, value := range plugin {
				if key != "name" {
					settings[kind+" "+plugin["name"].(string)+" "+strings.ToLower(key)] = normal(value)
				}
			}
		}
	}
	return settings
}

// fluentClassic does the same with the classic format.
func fluentClassic(t *testing.T, path string) map[string]string {
	t.Helper()
	settings := map[string]string{}
	kind, name := "", ""
	for line := range strings.Lines(string(read(t, path))) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			kind, name = strings.ToLower(strings.Trim(line, "[]")), ""
		default:
			key, value, ok := strings.Cut(line, " ")
			if !ok {
				t.Fatalf("%s: expected a key and a value, got %q", path, line)
			}
			key, value = strings.ToLower(key), strings.TrimSpace(value)
			if key == "name" {
				name = value
				continue
			}
			settings[kind+" "+name+" "+key] = normal(value)
		}
	}
	return settings
}

// The kubeconfig of the webhook reaches the Service of the overlay, at the path that its configuration takes.
func TestWebhookKubeconfig(t *testing.T) {
	var k struct {
		APIVersion, Kind string
		Clusters         []struct {
			Name    string
			Cluster struct {
				Server string
				CA     string `yaml:"certificate-authority"`
			}
		}
		Users []struct {
			Name string
			User struct {
				Cert string `yaml:"client-certificate"`
				Key  string `yaml:"client-key"`
			}
		}
		Contexts []struct {
			Name    string
			Context struct{ Cluster, User string }
		}
		Current string `yaml:"current-context"`
	}
	if err := yamlLoose(read(t, "examples/audit-webhook.kubeconfig"), &k); err != nil {
		t.Fatal(err)
	}
	if len(k.Clusters) != 1 || len(k.Users) != 1 || len(k.Contexts) != 1 {
		t.Fatal("expected one cluster, user and context")
	}
	c := k.Contexts[0]
	if k.Current != c.Name || c.Context.Cluster != k.Clusters[0].Name || c.Context.User != k.Users[0].Name {
		t.Errorf("the context does not lead to the cluster and the user: %+v", k)
	}
	svc := loose(t, "kubernetes/overlays/webhook/service.yaml")
	port := svc["spec"].(map[string]any)["ports"].([]any)[0].(map[string]any)["port"]
	cfg := loose(t, "kubernetes/overlays/webhook/spawnwatch.yaml")
	hook := cfg["sources"].([]any)[0].(map[string]any)["webhook"].(map[string]any)
	want := fmt.Sprintf("https://%s.spawnwatch.svc:%v%s", svc["metadata"].(map[string]any)["name"], port, hook["path"])
	if got := k.Clusters[0].Cluster.Server; got != want {
		t.Errorf("expected the server %s, got %s", want, got)
	}
	if k.Clusters[0].Cluster.CA == "" || k.Users[0].User.Cert == "" || k.Users[0].User.Key == "" {
		t.Error("expected both sides to prove who they are")
	}
}

// The flags of the kind cluster name files that are mounted, twice: into the node, and from there into the API server's Pod.
func TestKind(t *testing.T) {
	var cluster struct {
		Kind       string
		APIVersion string `yaml:"apiVersion"`
		Name       string
		Nodes      []struct {
			Role        string
			ExtraMounts []struct {
				HostPath      string `yaml:"hostPath"`
				ContainerPath string `yaml:"containerPath"`
				ReadOnly      bool   `yaml:"readOnly"`
			} `yaml:"extraMounts"`
			KubeadmConfigPatches []string `yaml:"kubeadmConfigPatches"`
		}
	}
	decode(t, "examples/kind/cluster.yaml", &cluster)
	if cluster.Kind != "Cluster" || cluster.APIVersion != "kind.x-k8s.io/v1alpha4" || len(cluster.Nodes) != 1 {
		t.Fatalf("expected a kind cluster of one node, got %+v", cluster)
	}
	var patch struct {
		Kind      string
		APIServer struct {
			ExtraArgs    map[string]string `yaml:"extraArgs"`
			ExtraVolumes []struct {
				Name, PathType      string
				HostPath, MountPath string
				ReadOnly            bool
			} `yaml:"extraVolumes"`
		} `yaml:"apiServer"`
	}
	node := cluster.Nodes[0]
	text := regexp.MustCompile(`(hostPath|mountPath|readOnly|pathType):`).ReplaceAllStringFunc(node.KubeadmConfigPatches[0], strings.ToLower)
	if err := yamlLoose([]byte(text), &patch); err != nil {
		t.Fatal(err)
	}
	within := func(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
	for _, flag := range []string{"audit-policy-file", "audit-log-path"} {
		path := patch.APIServer.ExtraArgs[flag]
		inPod, inNode := false, false
		for _, v := range patch.APIServer.ExtraVolumes {
			if within(path, v.MountPath) {
				inPod = true
				path = v.HostPath + strings.TrimPrefix(path, v.MountPath)
				if flag == "audit-log-path" && v.ReadOnly {
					t.Error("the audit log cannot be written")
				}
				break
			}
		}
		for _, m := range node.ExtraMounts {
			inNode = inNode || within(path, m.ContainerPath)
		}
		if path == "" || !inPod || !inNode {
			t.Errorf("%s: expected a file that is mounted into the node and the Pod, got %q (Pod %v, node %v)", flag, path, inPod, inNode)
		}
	}
	if node.ExtraMounts[0].HostPath != "./deploy/examples/audit-policy.yaml" {
		t.Errorf("expected the example's policy, got %s", node.ExtraMounts[0].HostPath)
	}
}

// What stands between a cloud and Kafka hands the message on as it is, and acknowledges to the end.
func TestVector(t *testing.T) {
	for _, path := range []string{"examples/cloud/eks-vector.yaml", "examples/cloud/gke-vector.yaml"} {
		file := loose(t, path)
		sources := file["sources"].(map[string]any)
		for name, s := range file["sinks"].(map[string]any) {
			sink := s.(map[string]any)
			for _, in := range sink["inputs"].([]any) {
				if _, ok := sources[in.(string)]; !ok {
					t.Errorf("%s: sink %s: there is no source %v", path, name, in)
				}
			}
			if codec := sink["encoding"].(map[string]any)["codec"]; codec != "text" {
				t.Errorf("%s: sink %s: expected the codec text, got %v", path, name, codec)
			}
			if ack := sink["acknowledgements"].(map[string]any)["enabled"]; ack != true {
				t.Errorf("%s: sink %s: expected acknowledgements", path, name)
			}
		}
	}
}
