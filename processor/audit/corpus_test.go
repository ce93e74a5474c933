package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"
)

// policies are the four recorded logs, each made under another audit policy.
var policies = []string{"rr", "rr-trunc", "request", "metadata"}

// root is the folder with go.mod.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("expected go.mod in a folder above, found none")
		}
		dir = filepath.Dir(dir)
	}
}

// corpus returns the lines of a recorded log.
func corpus(t testing.TB, name string) [][]byte {
	t.Helper()
	load := func() (any, error) {
		f, err := os.Open(filepath.Join(root(t), "testdata", "corpus", name+".jsonl.gz"))
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // it was only read
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, err
		}
		var lines [][]byte
		in := bufio.NewReader(z)
		for {
			line, err := in.ReadBytes('\n')
			if len(line) > 0 {
				lines = append(lines, bytes.TrimRight(line, "\n"))
			}
			if errors.Is(err, io.EOF) {
				return lines, nil
			}
			if err != nil {
				return nil, err
			}
		}
	}
	loaded, _ := logs.LoadOrStore(name, sync.OnceValues(load))
	lines, err := loaded.(func() (any, error))()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(lines.([][]byte)); n < 4000 {
		t.Fatalf("%s has %d lines, expected a whole log", name, n)
	}
	return lines.([][]byte)
}

// logs keeps what was read: the logs are 40 MB unpacked, and many tests want them.
var logs sync.Map

// truth is one object that the API server's store accepted as new.
type truth struct {
	AuditID, Class, Group, Resource, Kind, Namespace, Name, UID, EffectiveUser, Owner, GenerateName string
	Line, Code                                                                                      int
}

func expected(t testing.TB, name string) []truth {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "testdata", "corpus", name+".expected.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var all []truth
	for dec := json.NewDecoder(bytes.NewReader(text)); dec.More(); {
		var one truth
		if err := dec.Decode(&one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

func newModel(t testing.TB) *Model {
	t.Helper()
	m, err := NewModel(Options{Workloads: []CustomWorkload{
		{Group: "argoproj.io", Resource: "rollouts", Kind: "Rollout", Template: "spec.template"},
		{Group: "argoproj.io", Resource: "workflows", Kind: "Workflow", Template: "spec.templates"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func read(t testing.TB, m *Model, event string) *View {
	t.Helper()
	v := new(View)
	if err := m.Read([]byte(event), v); err != nil {
		t.Fatal(err)
	}
	foldsAlike(t, m, v, event)
	return v
}

// TestCreationsOfTheStore holds what Read says against what the store of the API server accepted.
func TestCreationsOfTheStore(t *testing.T) {
	m := newModel(t)
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			lines := corpus(t, policy)
			want := make(map[int]truth)
			for _, e := range expected(t, policy) {
				if e.Class != "podtemplate" {
					want[e.Line] = e
				}
			}
			var v View
			created, unknown := 0, 0
			ids := make(map[string]int)
			for i, line := range lines {
				if err := m.Read(line, &v); err != nil {
					t.Fatalf("line %d: %v", i+1, err)
				}
				if v.Stage == "RequestReceived" && v.Outcome != Observed {
					t.Errorf("line %d: RequestReceived is %s", i+1, v.Outcome)
				}
				e, stored := want[i+1]
				if v.Outcome == Created != (stored && e.Code == 201) {
					t.Errorf("line %d: outcome %s, code %d, stored %v: %.300s", i+1, v.Outcome, v.Code, stored, line)
					continue
				}
				if v.Outcome == Unknown {
					unknown++
				}
				if stored && e.Code != 201 && v.Outcome != Unknown {
					t.Errorf("line %d: answered %d but stored, outcome %s", i+1, e.Code, v.Outcome)
				}
				if !stored {
					continue
				}
				created++
				id := v.ID("c1")
				if other, twice := ids[id]; twice {
					t.Errorf("lines %d and %d have the id %s", other, i+1, id)
				}
				ids[id] = i + 1
				checkStored(t, i+1, policy, &v, &e)
			}
			if created != len(want) {
				t.Errorf("%d of %d creations found", created, len(want))
			}
			if unknown < 3 || unknown > 60 {
				t.Errorf("%d attempts of unknown outcome", unknown)
			}
		})
	}
}

// checkStored compares a view with the truth, as far as the policy lets the event know it.
func checkStored(t *testing.T, line int, policy string, v *View, e *truth) {
	t.Helper()
	w := &v.Workload
	if w.Kind != e.Kind || w.Group != e.Group || w.Resource != e.Resource || w.Namespace != e.Namespace {
		t.Errorf("line %d: %s %s %s %s, want %+v", line, w.Group, w.Resource, w.Kind, w.Namespace, e)
	}
	if v.Actor.Name != e.EffectiveUser {
		t.Errorf("line %d: actor %q, want %q", line, v.Actor.Name, e.EffectiveUser)
	}
	if w.NameUnknown != (w.Name == "") || w.Name != "" && w.Name != e.Name {
		t.Errorf("line %d: name %q (unknown %v), want %q", line, w.Name, w.NameUnknown, e.Name)
	}
	if w.UID != "" && w.UID != e.UID {
		t.Errorf("line %d: uid %q, want %q", line, w.UID, e.UID)
	}
	event := v.Event
	response := gjson.Get(event, "responseObject").Exists()
	request := gjson.Get(event, "requestObject").Exists()
	if e.Code == 201 && response && (w.Name != e.Name || w.UID != e.UID) {
		t.Errorf("line %d: name %q uid %q, want %q %q", line, w.Name, w.UID, e.Name, e.UID)
	}
	if e.GenerateName == "" && w.Name != e.Name && e.Code == 201 {
		t.Errorf("line %d: a given name is not told: want %q", line, e.Name)
	}
	if !response && !request {
		if w.Detail != DetailNone {
			t.Errorf("line %d: detail %s without a body", line, w.Detail)
		}
		return
	}
	if v.Truncated {
		t.Errorf("line %d: truncated, but there is a body", line)
	}
	if e.GenerateName != "" && w.GenerateName != e.GenerateName {
		t.Errorf("line %d: generateName %q, want %q", line, w.GenerateName, e.GenerateName)
	}
	got := ""
	if w.Owner.Kind != "" {
		got = w.Owner.Kind + "/" + w.Owner.Name
	}
	if got != e.Owner {
		t.Errorf("line %d: owner %q, want %q", line, got, e.Owner)
	}
	if e.Kind == "Workflow" && !strings.Contains(v.Event, `"templates":`) {
		return // one workflow of the logs has none
	}
	pod, ok := v.PodTemplate()
	if !ok || len(pod.Containers) == 0 || pod.Containers[0].Image == "" {
		t.Errorf("line %d (%s): no pod template: %+v", line, policy, pod)
	}
}

// TestChildrenOfTheLogs holds folding against the truth: a child is what a controller's identity made, with an owner.
func TestChildrenOfTheLogs(t *testing.T) {
	m := newModel(t)
	pairs := map[string]string{
		"deployment-controller": "ReplicaSet", "replicaset-controller": "Pod", "statefulset-controller": "Pod",
		"daemon-set-controller": "Pod", "job-controller": "Pod", "cronjob-controller": "Job", "replication-controller": "Pod",
	}
	for _, policy := range policies {
		folded, alone := 0, 0
		var v View
		for i, line := range corpus(t, policy) {
			if err := m.Read(line, &v); err != nil {
				t.Fatal(err)
			}
			if v.Outcome != Created {
				continue
			}
			name, ok := strings.CutPrefix(gjson.GetBytes(line, "user.username").Str, "system:serviceaccount:kube-system:")
			want := ok && pairs[name] == v.Workload.Kind && !v.Truncated && !gjson.GetBytes(line, "impersonatedUser").Exists()
			if v.Folds != want {
				t.Errorf("%s line %d: folds %v, want %v: %s by %s", policy, i+1, v.Folds, want, v.Workload.Kind, v.Actor.Name)
			}
			if v.Folds {
				folded++
			} else {
				alone++
			}
		}
		if folded < 50 || alone < 50 {
			t.Errorf("%s: %d folded, %d alone", policy, folded, alone)
		}
	}
}

// TestWebhookBodies: the events that the audit webhook posted say the same as those in the log.
func TestWebhookBodies(t *testing.T) {
	m := newModel(t)
	folder := filepath.Join(root(t), "testdata", "corpus", "webhook")
	index, err := os.ReadFile(filepath.Join(folder, "expected.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	bodies, creations := 0, 0
	for dec := json.NewDecoder(bytes.NewReader(index)); dec.More(); {
		var want struct {
			File      string
			Creations []truth
		}
		if err := dec.Decode(&want); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(filepath.Join(folder, want.File+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(z)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		bodies++
		left := want.Creations
		for _, item := range gjson.GetBytes(body, "items").Array() {
			v := read(t, m, item.Raw)
			if v.Outcome != Created {
				continue
			}
			creations++
			w := v.Workload
			i := slices.IndexFunc(left, func(c truth) bool { // two may share an auditID
				return c.AuditID == v.AuditID && (c.Name == w.Name || w.NameUnknown && v.Truncated)
			})
			if i < 0 {
				t.Errorf("%s: %s %s/%s is too many", want.File, w.Kind, w.Namespace, w.Name)
				continue
			}
			if c := left[i]; c.Kind != w.Kind || c.Namespace != w.Namespace || c.UID != w.UID && !v.Truncated {
				t.Errorf("%s: %+v, want %+v", want.File, w, c)
			}
			left = slices.Delete(left, i, i+1)
		}
		if len(left) > 0 {
			t.Errorf("%s: missed %+v", want.File, left)
		}
	}
	if bodies < 10 || creations < 10 {
		t.Errorf("%d bodies with %d creations", bodies, creations)
	}
}
