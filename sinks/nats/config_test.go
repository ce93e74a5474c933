package nats

import (
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/internal/natsconn"
	"github.com/spawnwatch/spawnwatch/sinks"
)

func TestValidate(t *testing.T) {
	url := natsconn.Access{URL: "nats://localhost:4222"}
	for _, c := range []struct {
		name string
		cfg  Config
		want []string // nil: it is right
	}{
		{"least", Config{Access: url, Subject: "alerts"}, nil},
		{"all", Config{Access: url, Subject: "k8s.{cluster}.{namespace}.{severity}", Mode: JetStream, Stream: "ALERTS", Create: true}, nil},
		{"core", Config{Access: url, Subject: "alerts.{rule}", Mode: Core}, nil},
		{"nothing", Config{}, []string{"url: expected the address", "subject: expected a subject"}},
		{"placeholder", Config{Access: url, Subject: "a.{severty}"}, []string{"subject: template", "{severity}"}},
		{"wildcard", Config{Access: url, Subject: "a.*"}, []string{"subject: expected a subject to publish to"}},
		{"tail", Config{Access: url, Subject: "a.>"}, []string{"subject: expected a subject to publish to"}},
		{"empty word", Config{Access: url, Subject: "a..b"}, []string{"subject:", "word 2 is empty"}},
		{"space", Config{Access: url, Subject: "a b"}, []string{"subject:", "without spaces"}},
		{"the server's", Config{Access: url, Subject: "$JS.API.{name}"}, []string{"subject:", "belong to the server"}},
		{"endless", Config{Access: url, Subject: strings.Repeat("{name}.", 20) + "x"}, []string{"subject: expected a subject of at most 2048 bytes"}},
		{"mode", Config{Access: url, Subject: "a", Mode: "jestream"}, []string{`mode: expected jetstream or core, got "jestream"`}},
		{"core with stream", Config{Access: url, Subject: "a", Mode: Core, Stream: "S", Create: true}, []string{"stream: mode core", "create: mode core"}},
		{"create what", Config{Access: url, Subject: "a", Create: true}, []string{"stream: expected the name"}},
		{"name", Config{Access: url, Subject: "a", Stream: "a.b"}, []string{"stream: expected a name"}},
	} {
		err := c.cfg.Validate()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: Validate = %v, want faults: %v", c.name, err, c.want)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v\nshould say %q", c.name, err, w)
			}
		}
		if _, err := New(c.cfg, Settings{Name: "x"}); (err == nil) != (c.want == nil) {
			t.Errorf("%s: New = %v", c.name, err)
		}
	}
}

func TestPattern(t *testing.T) {
	for text, want := range map[string]string{
		"alerts":                      "alerts",
		"k8s.alerts.{severity}":       "k8s.alerts.*",
		"{cluster}.a-{namespace}-b.c": "*.*.c",
		"{kind}{name}":                "*",
	} {
		tpl, err := sinks.ParseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := pattern(tpl); got != want {
			t.Errorf("pattern of %q is %q, want %q", text, got, want)
		}
	}
}

func FuzzSubject(f *testing.F) {
	f.Add("kube-system", "high")
	f.Add("a.b", "*")
	f.Add("\r\nPUB x 1", "> \x00")
	f.Add("", strings.Repeat("ä", 300))
	tpl, err := sinks.ParseTemplate("alerts.{namespace}.x-{severity}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, namespace, severity string) {
		got := string(tpl.Append(nil, &sinks.Labels{Namespace: namespace, Severity: severity}, cleanToken))
		if err := natsconn.CheckSubject(got); err != nil {
			t.Errorf("%q and %q: %v", namespace, severity, err)
		}
		if strings.ContainsAny(got, "*>") || strings.Count(got, ".") != 2 || !natsconn.Covers(pattern(tpl), got) {
			t.Errorf("%q and %q come to %q", namespace, severity, got)
		}
	})
}
