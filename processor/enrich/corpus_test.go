package enrich

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
)

// logNames are the recorded logs, each made under another audit policy.
var logNames = []string{"rr", "rr-trunc", "request", "metadata"}

var logs sync.Map

// corpus returns the lines of a recorded log.
func corpus(t testing.TB, name string) [][]byte {
	t.Helper()
	load := sync.OnceValues(func() ([][]byte, error) {
		packed, err := os.ReadFile(filepath.Join("..", "..", "testdata", "corpus", name+".jsonl.gz"))
		if err != nil {
			return nil, err
		}
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		var lines [][]byte
		for in := bufio.NewReader(z); ; {
			line, err := in.ReadBytes('\n')
			if line = bytes.TrimRight(line, "\n"); len(line) > 0 {
				lines = append(lines, line)
			}
			if errors.Is(err, io.EOF) {
				return lines, nil
			}
			if err != nil {
				return nil, err
			}
		}
	})
	found, _ := logs.LoadOrStore(name, load)
	lines, err := found.(func() ([][]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) < 4000 {
		t.Fatalf("%s has %d lines, expected a whole log", name, len(lines))
	}
	return lines
}

func newModel(t testing.TB) *audit.Model {
	t.Helper()
	m, err := audit.NewModel(audit.Options{Workloads: []audit.CustomWorkload{
		{Group: "argoproj.io", Resource: "rollouts", Kind: "Rollout", Template: "spec.template"},
		{Group: "argoproj.io", Resource: "workflows", Kind: "Workflow", Template: "spec.templates"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newEnricher(t testing.TB, o Options) *Enricher {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// base is the alert that an event says of itself, as far as enrichment builds on it.
func base(v *audit.View, id string) *alert.Alert {
	a := &alert.Alert{
		ID: id, Time: v.Completed, Outcome: alert.Outcome(v.Outcome), Title: string(v.Outcome) + " " + v.Object.Name,
		Rules:   []alert.Rule{{ID: "57642ebe-6603-4dfd-85ad-81e1a8ad22b5", Title: "Workload created", Level: alert.Medium, Tags: []string{"attack.execution", "attack.t1610"}}},
		Reasons: []alert.Reason{{Code: alert.ReasonRuleLevel, Points: 40, Text: "Workload created"}},
		Actor: alert.Actor{
			User: v.Actor.Name, Groups: v.Actor.Groups, ImpersonatedBy: v.Actor.ImpersonatedBy.Name, UserAgent: v.UserAgent, SourceIPs: v.SourceIPs,
			Type: alert.ActorType(v.Actor.Type),
			Grant: alert.Grant{
				Known: v.Grant.Known, Binding: v.Grant.Binding, BindingKind: v.Grant.BindingKind, BindingNamespace: v.Grant.BindingNamespace, Role: v.Grant.Role,
				RoleKind: v.Grant.RoleKind, Subject: v.Grant.Subject, SubjectKind: v.Grant.SubjectKind, Scope: v.Grant.Scope, Reason: v.Grant.Reason,
			},
		},
		Request: alert.Request{
			AuditID: v.AuditID, Verb: v.Verb, URI: v.RequestURI, Stage: v.Stage, Message: v.StatusMessage, Level: v.Level, ReceivedAt: v.Received, CompletedAt: v.Completed,
			Object: alert.Object{Group: v.Object.Group, Version: v.Object.Version, Resource: v.Object.Resource, Subresource: v.Object.Subresource, Namespace: v.Object.Namespace, Name: v.Object.Name},
		},
		Origin: alert.Origin{Source: "audit", Topic: "k8s-audit", Partition: 0, Offset: 1},
	}
	if v.Code != 0 {
		a.Request.Code = alert.Number(int64(v.Code))
	}
	if w := &v.Workload; v.Outcome != audit.Observed {
		a.Workload = &alert.Workload{
			Kind: w.Kind, APIVersion: w.APIVersion, Namespace: w.Namespace, Name: w.Name, NameUnknown: w.NameUnknown, GenerateName: w.GenerateName, UID: w.UID,
			Detail: alert.Detail(w.Detail), Owner: alert.Owner{Kind: w.Owner.Kind, Name: w.Owner.Name, UID: w.Owner.UID}, Root: alert.Root(w.Root),
			Controlled: w.Controlled, Replicas: alert.Int(w.Replicas),
		}
		for _, l := range w.Labels {
			a.Workload.Labels = append(a.Workload.Labels, alert.Label(l))
		}
	}
	return a
}

// view reads an event.
func view(t testing.TB, m *audit.Model, event string) *audit.View {
	t.Helper()
	if !gjson.Valid(event) {
		t.Fatalf("not JSON: %.300s", event)
	}
	v := new(audit.View)
	if err := m.Read([]byte(event), v); err != nil {
		t.Fatal(err)
	}
	return v
}

// enriched is the whole alert about an event.
func enriched(t testing.TB, e *Enricher, event string) *alert.Alert {
	t.Helper()
	v := view(t, newModel(t), event)
	a := base(v, v.ID("test"))
	e.Enrich(v, a)
	for _, n := range a.Notes {
		if n.Code == "enricher_failed" || n.Code == "enrichment_timeout" {
			t.Errorf("%s: %s", n.Code, n.Text)
		}
	}
	return a
}

// TestEveryEventOfTheLogs runs the whole pipeline over all writes of workloads in all logs: nothing fails, every step has
// an entry, and what comes out is valid.
func TestEveryEventOfTheLogs(t *testing.T) {
	e, m := newEnricher(t, Options{Budget: time.Minute}), newModel(t)
	outcomes := map[alert.Outcome]int{}
	for _, name := range logNames {
		for i, line := range corpus(t, name) {
			if bytes.Contains(line, []byte(`"resource":"leases"`)) || raceEnabled && i%4 > 0 {
				continue
			}
			var v audit.View
			if err := m.Read(line, &v); err != nil {
				t.Fatal(err)
			}
			if v.Outcome == audit.Observed && i%48 > 0 {
				continue
			}
			a := base(&v, v.ID("test"))
			e.Enrich(&v, a)
			outcomes[a.Outcome]++
			for _, n := range a.Notes {
				t.Errorf("%s:%d: %s: %s", name, i+1, n.Code, n.Text)
			}
			checkSteps(t, a)
		}
	}
	for _, o := range []alert.Outcome{alert.Created, alert.Unknown, alert.Refused, alert.Changed, alert.Observed} {
		if outcomes[o] < 5 {
			t.Errorf("%d alerts with outcome %s, expected more", outcomes[o], o)
		}
	}
}

// checkSteps holds that all fifteen steps say something.
func checkSteps(t testing.TB, a *alert.Alert) {
	t.Helper()
	var asked, prepared [9]bool
	for _, s := range a.Investigate {
		asked[s.Step] = true
		if s.Question == "" || s.Answer == "" {
			t.Errorf("investigate %d of %q says nothing: %+v", s.Step, a.Title, s)
		}
	}
	for _, r := range a.Respond {
		prepared[r.Step] = true
		if r.Title == "" {
			t.Errorf("respond %d of %q says nothing: %+v", r.Step, a.Title, r)
		}
	}
	for step := 1; step <= 8; step++ {
		if !asked[step] {
			t.Errorf("%q: investigate %d is missing", a.Title, step)
		}
		if step <= 7 && !prepared[step] {
			t.Errorf("%q: respond %d is missing", a.Title, step)
		}
	}
}
