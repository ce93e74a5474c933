package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const goodConfig = `
cluster: prod-eu-1
sources:
  - name: audit
    kafka: {brokers: ["kafka:9092"], topics: [k8s-audit], group: spawnwatch}
  - nats: {url: "nats://127.0.0.1:4222", stream: AUDIT}
  - forward: {listen: "127.0.0.1:24224"}
    foreign: count
  - webhook: {listen: "127.0.0.1:8443", path: /audit}
  - file: {paths: [a.jsonl]}
rules: {builtin: true, paths: [], disable: [], children: fold, controllers: ["system:serviceaccount:argo:rollouts"]}
workloads:
  - {group: argoproj.io, resource: rollouts, kind: Rollout, template: spec.template}
sinks:
  - name: siem
    kafka: {brokers: ["kafka:9092"], topic: "k8s.alerts.{severity}"}
    format: ocsf
    min_severity: low
  - nats: {url: "nats://127.0.0.1:4222", subject: "k8s.alerts.{cluster}"}
  - file: {path: "-"}
dead_letter: {kafka: {brokers: ["kafka:9092"], topic: k8s-audit.dead}}
processor: {workers: 0, validate: candidates, drain: 20s, max_record: 16MiB}
admin: {listen: "127.0.0.1:9464"}
`

func readText(t *testing.T, text string) (*config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return loadConfig(path)
}

func TestConfig(t *testing.T) {
	cfg, err := readText(t, goodConfig)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Cluster != "prod-eu-1" || len(cfg.Sources) != 5 || len(cfg.Sinks) != 3 || cfg.Processor.MaxRecord != 16<<20 || cfg.Processor.Drain != 20*time.Second {
		t.Errorf("%+v", cfg)
	}
	if cfg.Sources[1].Name != "nats" || cfg.Sinks[2].Name != "file" || cfg.Sinks[1].Format != "native" {
		t.Errorf("defaults: %+v, %+v", cfg.Sources, cfg.Sinks)
	}
}

// TestConfigDefaults: what is not said has its documented default.
func TestConfigDefaults(t *testing.T) {
	cfg, err := readText(t, "sources: [{file: {paths: [a]}}]\nsinks: [{file: {path: '-'}}]\ndead_letter: {file: {path: d}}\n")
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.Rules.Builtin || cfg.Rules.Children != "fold" || cfg.Processor.Validation != "candidates" || cfg.Admin.Listen != "127.0.0.1:9464" || cfg.Enrich.Event != "redacted" {
		t.Errorf("%+v", cfg)
	}
}

// TestWrongConfigs: each is refused with its place, and with words that help.
func TestWrongConfigs(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		want           []string
	}{
		{"unknown key", "cluster: prod", "clutser: prod", []string{"c.yaml:2:1", `unknown key "clutser"`, `"cluster"`}},
		{"unknown key of an adapter", "group: spawnwatch", "groups: spawnwatch", []string{"c.yaml:5:", `"groups"`, `did you mean "group"`}},
		{"wrong type", "workers: 0", "workers: many", []string{"processor.workers", "expected a whole number"}},
		{"scalar for a list", `brokers: ["kafka:9092"], topics`, `brokers: "kafka:9092", topics`, []string{"sources[0].kafka.brokers", "expected a list"}},
		{"no brokers", `brokers: ["kafka:9092"], topics`, `brokers: [], topics`, []string{"sources[0].kafka.brokers", "at least one broker"}},
		{"half a client certificate", ", group: spawnwatch", ", group: spawnwatch, tls: {cert: c.pem}", []string{"sources[0].kafka.tls.key:", "tls.cert"}},
		{"SASL mechanism", ", group: spawnwatch", ", group: spawnwatch, sasl: {mechanism: GSSAPI, username: u, password: p}", []string{"sources[0].kafka.sasl.mechanism:", "SCRAM-SHA-256"}},
		{"no group", ", group: spawnwatch", "", []string{"sources[0].kafka", "consumer group"}},
		{"two kinds", "    foreign: count", "    file: {paths: [x]}", []string{"sources[2]", "exactly one of", "forward and file"}},
		{"no kind", "  - file: {path: \"-\"}", "  - name: empty", []string{"sinks[2]", "exactly one of", "got none"}},
		{"unknown kind", "  - file: {path: \"-\"}", "  - kinesis: {}", []string{`unknown key "kinesis"`}},
		{"foreign", "foreign: count", "foreign: drop", []string{"sources[2].foreign", "dead_letter, count"}},
		{"format", "format: ocsf", "format: xml", []string{"sinks[0].format", "native"}},
		{"severity", "min_severity: low", "min_severity: urgent", []string{"sinks[0].min_severity", "critical"}},
		{"children", "children: fold", "children: both", []string{"rules.children", "fold, alert"}},
		{"duration", "drain: 20s", "drain: 20", []string{"processor.drain", "a duration such as 20s"}},
		{"drain out of range", "drain: 20s", "drain: 10h", []string{"processor.drain", "1s to 1h"}},
		{"size", "max_record: 16MiB", "max_record: big", []string{"processor.max_record", "16MiB"}},
		{"size out of range", "max_record: 16MiB", "max_record: 1KiB", []string{"processor.max_record", "64KiB to 1GiB"}},
		{"template", "k8s.alerts.{severity}", "k8s.alerts.{sevrity}", []string{"sinks[0].kafka.topic", "severity"}},
		{"listen", "listen: \"127.0.0.1:9464\"", "listen: nowhere", []string{"admin.listen", "host:port"}},
		{"same name twice", "  - nats: {url: \"nats://127.0.0.1:4222\", stream: AUDIT}", "  - nats: {url: \"nats://127.0.0.1:4222\", stream: AUDIT}\n    name: audit", []string{"name", "audit"}},
		{"no workload kind", "resource: rollouts, kind: Rollout", "resource: rollouts", []string{"workloads[0]", "kind is required"}},
		{"no dead letter", "dead_letter: {kafka: {brokers: [\"kafka:9092\"], topic: k8s-audit.dead}}", "", []string{"dead_letter", "required"}},
		{"no sources", "sources:", "# sources:", []string{"c.yaml"}},
		{"unset variable", "cluster: prod-eu-1", "cluster: ${SPAWNWATCH_TEST_UNSET}", []string{"SPAWNWATCH_TEST_UNSET", "is not set"}},
		{"follow", "paths: [a.jsonl]", "paths: [a.jsonl], follow: true", []string{"follow"}},
		{"not YAML", "cluster: prod-eu-1", "cluster: [", []string{"not valid YAML"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(goodConfig, c.from, c.to, 1)
			if text == goodConfig {
				t.Fatal("the fault was not planted")
			}
			_, err := readText(t, text)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

// TestAllFaultsInOneGo: nobody mends one fault to learn of the next.
func TestAllFaultsInOneGo(t *testing.T) {
	text := strings.NewReplacer("clusters", "", "workers: 0", "workers: many", "format: ocsf", "format: xml", "foreign: count", "foreign: drop").Replace(goodConfig)
	_, err := readText(t, text)
	for _, want := range []string{"processor.workers", "sinks[0].format", "sources[2].foreign"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("does not speak of %s: %v", want, err)
		}
	}
}

// TestSecretsStayHidden: what came out of a variable, or stands at a secret key, is never repeated.
func TestSecretsStayHidden(t *testing.T) {
	t.Setenv("SPAWNWATCH_TEST_SECRET", "hunter2")
	for _, text := range []string{
		strings.Replace(goodConfig, "workers: 0", "workers: ${SPAWNWATCH_TEST_SECRET}", 1),
		strings.Replace(goodConfig, `stream: AUDIT`, `stream: AUDIT, password: {x: hunter2}`, 1),
		strings.Replace(goodConfig, `stream: AUDIT`, `stream: AUDIT, user: u, password: "hunter2", token: "hunter2"`, 1),
	} {
		if _, err := readText(t, text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{"16MiB": 16 << 20, "64KiB": 64 << 10, "1GiB": 1 << 30, "5MB": 5e6, "5 kB": 5e3, "7": 7, "7B": 7, "0": 0} {
		var b byteSize
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q: %d, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.5MiB", "99999999999GiB", "MiB"} {
		var b byteSize
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: accepted as %d", text, b)
		}
	}
}
