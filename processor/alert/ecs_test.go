package alert

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ecsFields are the fields of ECS 9 that are written, with their type; "[]" marks those that ECS normalises to a list.
var ecsFields = map[string]string{
	"@timestamp": "text", "ecs.version": "text", "message": "text",
	"event.kind": "text", "event.category": "[]text", "event.type": "[]text", "event.outcome": "text", "event.module": "text",
	"event.dataset": "text", "event.provider": "text", "event.id": "text", "event.action": "text", "event.severity": "number",
	"event.risk_score": "number", "event.reason": "text", "event.start": "text", "event.end": "text", "event.created": "text",
	"observer.vendor": "text", "observer.product": "text", "observer.type": "text",
	"orchestrator.type": "text", "orchestrator.cluster.name": "text", "orchestrator.namespace": "text", "orchestrator.api_version": "text",
	"orchestrator.resource.type": "text", "orchestrator.resource.name": "text", "orchestrator.resource.id": "text",
	"orchestrator.resource.parent.type": "text", "orchestrator.resource.label": "[]text",
	"rule.id": "text", "rule.name": "text", "rule.reference": "text",
	"threat.framework": "text", "threat.tactic.id": "[]text", "threat.tactic.name": "[]text", "threat.technique.id": "[]text",
	"threat.technique.name": "[]text", "threat.technique.subtechnique.id": "[]text", "threat.technique.subtechnique.name": "[]text",
	"user.name": "text", "user.id": "text", "user.effective.name": "text", "user.effective.id": "text",
	"source.address": "text", "source.ip": "text", "user_agent.original": "text", "related.user": "[]text", "related.ip": "[]text",
	"url.original": "text", "url.path": "text", "url.query": "text",
	"http.request.id": "text", "http.request.method": "text", "http.response.status_code": "number",
	"container.name": "text", "container.image.name": "text", "container.image.tag": "[]text", "container.image.hash.all": "[]text",
	"container.security_context.privileged": "flag",
}

// flat gives the fields of a document but for our own object.
func flat(t *testing.T, a *Alert) map[string]any {
	t.Helper()
	out := map[string]any{}
	var walk func(path string, v map[string]any)
	walk = func(path string, v map[string]any) {
		for k, x := range v {
			if inner, ok := x.(map[string]any); ok {
				if path+k != "spawnwatch" {
					walk(path+k+".", inner)
				}
				continue
			}
			out[path+k] = x
		}
	}
	walk("", numbers(decode(t, AppendECS(nil, a))).(map[string]any))
	return out
}

func TestECSFields(t *testing.T) {
	seen := map[string]bool{}
	all := samples()
	all["zero"] = &Alert{}
	sub := typical()
	sub.Attack = []Technique{{"T1053.007", "Container Orchestration Job", "execution", "TA0002"}}
	all["subtechnique"] = sub
	for name, a := range all {
		for path, v := range flat(t, a) {
			seen[path] = true
			if got := ecsType(v); got != ecsFields[path] && got != "[]" {
				t.Errorf("%s: %s is %s, ECS has %q", name, path, got, ecsFields[path])
			}
		}
	}
	for path := range ecsFields {
		if !seen[path] {
			t.Errorf("no sample has %s: is it ever written?", path)
		}
	}
}

func ecsType(v any) string {
	switch x := v.(type) {
	case string:
		return "text"
	case float64:
		return "number"
	case bool:
		return "flag"
	case []any:
		if len(x) == 0 {
			return "[]"
		}
		return "[]" + ecsType(x[0])
	}
	return "nothing that ECS has"
}

func TestECS(t *testing.T) {
	s := samples()
	sub := small()
	sub.Attack = []Technique{
		{"T1053.007", "Container Orchestration Job", "execution", "TA0002"},
		{"T1610", "Deploy Container", "execution", "TA0002"},
		{"", "", "persistence", "TA0003"},
	}
	s["subtechnique"] = sub
	second := typical()
	slices.Reverse(second.Workload.Containers)
	s["second"] = second
	for _, c := range []struct {
		sample, field string
		want          any
	}{
		{"small", "@timestamp", "2026-11-23T20:15:30.123456Z"},
		{"bare", "@timestamp", "2026-11-23T20:15:31Z"}, // when it was seen: the event has no time
		{"small", "event.type", []any{"creation"}},
		{"small", "event.outcome", "success"},
		{"small", "event.severity", 3.0},
		{"small", "user.name", "alice"},
		{"small", "user.effective.name", nil},
		{"small", "source.ip", "10.1.2.3"},
		{"small", "orchestrator.resource.label", []any{"app.kubernetes.io/name:web", "team:checkout"}},
		{"small", "url.query", "fieldManager=kubectl-create"},
		{"small", "http.request.method", "POST"},
		{"small", "container.security_context.privileged", nil},
		{"small", "container.image.name", "docker.io/library/nginx"},
		{"small", "container.image.hash.all", nil},
		{"enriched", "user.name", "carol"},
		{"enriched", "user.effective.name", "admin"},
		{"enriched", "user.effective.id", "u-17"},
		{"enriched", "user.id", nil},
		{"enriched", "source.ip", "203.0.113.9"},
		{"enriched", "related.ip", []any{"10.0.0.1", "203.0.113.9"}},
		{"enriched", "related.user", []any{"admin", "carol"}},
		{"enriched", "container.security_context.privileged", true},
		{"second", "container.name", "shell"}, // the privileged one, wherever it stands
		{"second", "container.image.tag", []any{"latest"}},
		{"enriched", "threat.technique.id", []any{"T1610", "T1611"}},
		{"subtechnique", "threat.technique.id", []any{"T1053", "T1610"}},
		{"subtechnique", "threat.technique.name", []any{"Deploy Container"}},
		{"subtechnique", "threat.technique.subtechnique.id", []any{"T1053.007"}},
		{"subtechnique", "threat.technique.subtechnique.name", []any{"Container Orchestration Job"}},
		{"subtechnique", "threat.tactic.name", []any{"execution", "persistence"}},
		{"refused", "event.type", []any{"denied"}},
		{"refused", "event.outcome", "failure"},
		{"refused", "http.response.status_code", 403.0},
		{"unknown", "event.type", []any{"creation"}},
		{"unknown", "event.outcome", "unknown"},
		{"changed", "event.type", []any{"change"}},
		{"observed", "event.type", []any{"info"}},
		{"observed", "orchestrator.resource.type", "pods"},
		{"observed", "orchestrator.resource.name", "web-1"},
		{"nameless", "orchestrator.resource.name", nil},
		{"hostile", "orchestrator.cluster.name", "prod eu/1:?#%"},
	} {
		if diff := cmp.Diff(c.want, flat(t, s[c.sample])[c.field]); diff != "" {
			t.Errorf("%s of %s (-want +got):\n%s", c.field, c.sample, diff)
		}
	}
}

// TestECSTypes: ECS names the types that may stand in event.type for its two categories.
func TestECSTypes(t *testing.T) {
	expected := strings.Fields("access change creation deletion info allowed denied")
	for _, o := range append(Outcomes(), "") {
		a := small()
		a.Outcome = Outcome(o)
		for _, kind := range flat(t, a)["event.type"].([]any) {
			if !slices.Contains(expected, kind.(string)) {
				t.Errorf("%s: event.type %v is not expected for its categories", o, kind)
			}
		}
	}
}

func TestECSKeepsNative(t *testing.T) {
	a := typical()
	native := decode(t, AppendNative(nil, a)).(map[string]any)
	kept := decode(t, AppendECS(nil, a)).(map[string]any)["spawnwatch"].(map[string]any)
	for key, want := range native {
		switch key {
		case "id", "time", "detected_at", "score", "title", "cluster", "attack", "novelty": // in fields of ECS, or reserved
			continue
		}
		if diff := cmp.Diff(want, kept[key]); diff != "" {
			t.Errorf("spawnwatch.%s (-native +kept):\n%s", key, diff)
		}
	}
}
