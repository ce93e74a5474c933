package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// corpus holds real audit logs, each with the truth that came from the API server's own store.
const corpus = "../../testdata/corpus"

// alertLine is what these tests read of an alert: names that are frozen.
type alertLine struct {
	Schema   string `json:"schema"`
	ID       string `json:"id"`
	Outcome  string `json:"outcome"`
	Severity string `json:"severity"`
	Title    string `json:"title"`
	Rules    []struct {
		ID    string `json:"id"`
		Title string `json:"title"`
	} `json:"rules"`
	Workload *struct {
		Kind        string `json:"kind"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		NameUnknown bool   `json:"name_unknown"`
		UID         string `json:"uid"`
		Controlled  bool   `json:"controlled"`
	} `json:"workload"`
	Actor struct {
		User string `json:"user"`
	} `json:"actor"`
	Request struct {
		AuditID string `json:"audit_id"`
		Code    int    `json:"code"`
	} `json:"request"`
	Origin struct {
		Topic  string `json:"topic"`
		Offset int64  `json:"offset"`
		Line   int64  `json:"line"`
	} `json:"origin"`
	Notes []struct {
		Code string `json:"code"`
	} `json:"notes"`
}

type truth struct {
	AuditID       string `json:"auditID"`
	Class         string `json:"class"`
	Kind          string `json:"kind"`
	Namespace     string `json:"namespace"`
	Name          string `json:"name"`
	UID           string `json:"uid"`
	EffectiveUser string `json:"effectiveUser"`
	Owner         string `json:"owner"`
	Line          int64  `json:"line"`
	Code          int    `json:"code"`
}

// replayed is the outcome of one command line.
type replayed struct {
	code   int
	alerts []alertLine
	stdout string
	stderr string
}

func runReplay(t *testing.T, stdin []byte, args ...string) replayed {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(append([]string{"replay", "-o", "json"}, args...), streams{in: bytes.NewReader(stdin), out: &out, err: &errs})
	r := replayed{code: code, stdout: out.String(), stderr: errs.String()}
	lines := bufio.NewScanner(&out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var a alertLine
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatalf("standard output holds a line that is no alert: %v: %.200s", err, lines.Bytes())
		}
		r.alerts = append(r.alerts, a)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return r
}

func readTruth(t *testing.T, name string) []truth {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(corpus, name+".expected.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var all []truth
	for line := range bytes.Lines(data) {
		var e truth
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func readLines(t *testing.T, name string) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join(corpus, name+".jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 64<<20)
	var all [][]byte
	for lines.Scan() {
		all = append(all, bytes.Clone(lines.Bytes()))
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

var logs = []string{"rr", "rr-trunc", "request", "metadata"}

// customResources is a configuration that counts the custom resources of the corpus as workloads.
func customResources(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spawnwatch.yaml")
	text := "workloads:\n" +
		"  - {group: argoproj.io, resource: rollouts, kind: Rollout, template: spec.template}\n" +
		"  - {group: argoproj.io, resource: workflows, kind: Workflow}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCreations holds the alerts of every log against what the store of the API server accepted.
func TestCreations(t *testing.T) {
	for _, name := range logs {
		for _, custom := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/custom=%v", name, custom), func(t *testing.T) {
				args := []string{"--children", "alert", "--enrich", "none", filepath.Join(corpus, name+".jsonl.gz")}
				classes := []string{"workload"}
				if custom {
					args = append(args, "-c", customResources(t))
					classes = append(classes, "thirdparty-workload")
				}
				r := runReplay(t, nil, args...)
				if r.code != exitOK {
					t.Fatalf("exit %d: %s", r.code, r.stderr)
				}
				checkCreations(t, r.alerts, readTruth(t, name), classes, readLines(t, name))
			})
		}
	}
}

func checkCreations(t *testing.T, alerts []alertLine, want []truth, classes []string, lines [][]byte) {
	t.Helper()
	created := map[int64]alertLine{}
	unknown := map[int64]alertLine{}
	for _, a := range alerts {
		switch a.Outcome {
		case "created":
			if _, twice := created[a.Origin.Line]; twice {
				t.Errorf("line %d alerts twice", a.Origin.Line)
			}
			created[a.Origin.Line] = a
		case "unknown":
			unknown[a.Origin.Line] = a
			if a.Request.Code != 504 && a.Request.Code != 500 {
				t.Errorf("line %d: outcome unknown with code %d", a.Origin.Line, a.Request.Code)
			}
		}
	}
	expected := map[int64]bool{}
	for _, e := range want {
		if !slices.Contains(classes, e.Class) {
			continue
		}
		got, ok := unknown[e.Line]
		if e.Code == 201 {
			expected[e.Line] = true
			got, ok = created[e.Line]
		}
		if !ok {
			t.Errorf("line %d: %s %s/%s (code %d) raised no alert", e.Line, e.Kind, e.Namespace, e.Name, e.Code)
			continue
		}
		checkIdentity(t, got, e, lines[e.Line-1])
	}
	for line, a := range created {
		if !expected[line] {
			t.Errorf("line %d: alert %q for what the store did not accept", line, a.Title)
		}
	}
}

// checkIdentity wants everything right that the line makes knowable.
func checkIdentity(t *testing.T, a alertLine, e truth, line []byte) {
	t.Helper()
	w := a.Workload
	if w == nil {
		t.Errorf("line %d: no workload in the alert", e.Line)
		return
	}
	if w.Kind != e.Kind || w.Namespace != e.Namespace || a.Actor.User != e.EffectiveUser || a.Request.AuditID != e.AuditID {
		t.Errorf("line %d: got %s in %q by %q (%s), want %s in %q by %q (%s)", e.Line,
			w.Kind, w.Namespace, a.Actor.User, a.Request.AuditID, e.Kind, e.Namespace, e.EffectiveUser, e.AuditID)
	}
	if inLine := bytes.Contains(line, fmt.Appendf(nil, `"name":%q`, e.Name)); inLine || w.Name != "" {
		if w.Name != e.Name || w.NameUnknown {
			t.Errorf("line %d: got name %q (unknown %v), want %q", e.Line, w.Name, w.NameUnknown, e.Name)
		}
	} else if !w.NameUnknown {
		t.Errorf("line %d: the name is not in the log, but name_unknown is not set", e.Line)
	}
	if inLine := bytes.Contains(line, fmt.Appendf(nil, `"uid":%q`, e.UID)); inLine && w.UID != e.UID {
		t.Errorf("line %d: got uid %q, want %q", e.Line, w.UID, e.UID)
	}
}

// TestFold wants one alert for each creation that no controller made for its own object, and the rest counted.
func TestFold(t *testing.T) {
	controllers := []string{
		"deployment-controller", "replicaset-controller", "statefulset-controller", "daemon-set-controller",
		"job-controller", "cronjob-controller", "replication-controller",
	}
	for _, name := range logs {
		t.Run(name, func(t *testing.T) {
			r := runReplay(t, nil, "--enrich", "none", filepath.Join(corpus, name+".jsonl.gz"))
			got := map[int64]bool{}
			for _, a := range r.alerts {
				if a.Outcome == "created" {
					got[a.Origin.Line] = true
				}
			}
			folded := 0
			for _, e := range readTruth(t, name) {
				if e.Class != "workload" || e.Code != 201 {
					continue
				}
				child := false
				for _, c := range controllers {
					child = child || e.EffectiveUser == "system:serviceaccount:kube-system:"+c && e.Owner != ""
				}
				if child {
					folded++
				}
				if got[e.Line] == child {
					t.Errorf("line %d: %s %s/%s by %s: alert %v, child of a controller %v", e.Line, e.Kind, e.Namespace, e.Name, e.EffectiveUser, got[e.Line], child)
				}
			}
			if folded == 0 || !strings.Contains(r.stderr, "children of controllers folded") {
				t.Errorf("%d folded in the truth; summary: %s", folded, r.stderr)
			}
		})
	}
}

// TestWebhookBodies wants the same alerts from the bodies that the API server posted as from its log.
func TestWebhookBodies(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(corpus, "webhook/expected.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(data) {
		var body struct {
			File      string  `json:"file"`
			Creations []truth `json:"creations"`
		}
		if err := json.Unmarshal(line, &body); err != nil {
			t.Fatal(err)
		}
		r := runReplay(t, nil, "--children", "alert", "--enrich", "none", filepath.Join(corpus, "webhook", body.File+".gz"))
		if r.code != exitOK {
			t.Errorf("%s: exit %d: %s", body.File, r.code, r.stderr)
		}
		var got, want, unnamed []string
		for _, a := range r.alerts {
			if a.Outcome == "created" {
				got = append(got, a.Workload.Kind+" "+a.Workload.Namespace+"/"+a.Workload.Name+" "+a.Request.AuditID)
				if a.Workload.NameUnknown {
					unnamed = append(unnamed, a.Request.AuditID)
				}
			}
		}
		for _, e := range body.Creations {
			if slices.Contains([]string{"Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController"}, e.Kind) {
				if slices.Contains(unnamed, e.AuditID) {
					e.Name = ""
				}
				want = append(want, e.Kind+" "+e.Namespace+"/"+e.Name+" "+e.AuditID)
				n++
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", body.File, got, want)
		}
	}
	if n == 0 {
		t.Error("the expected list holds no creation")
	}
}

type trap struct {
	Name     string `json:"name"`
	Record   string `json:"record"`
	Verdict  string `json:"verdict"`
	Workload string `json:"workload"`
	Why      string `json:"why"`
}

// TestTraps runs every record that fools a careless matcher.
func TestTraps(t *testing.T) {
	data, err := os.ReadFile("../../../shared/traps/cases.jsonl")
	if err != nil {
		t.Skipf("the trap cases are not part of a plain clone: %v", err)
	}
	for line := range bytes.Lines(data) {
		var c trap
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		record, err := base64.StdEncoding.DecodeString(c.Record)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsRune(record, '\n') {
			continue // not one line: TestTrapsThroughHandler has it
		}
		t.Run(c.Name, func(t *testing.T) { checkTrap(t, c, record) })
	}
}

func checkTrap(t *testing.T, c trap, record []byte) {
	t.Helper()
	dead := filepath.Join(t.TempDir(), "dead.jsonl")
	r := runReplay(t, record, "--enrich", "none", "--dead-letter", dead, "-")
	alerts := 0
	for _, a := range r.alerts {
		if a.Outcome != "created" && a.Outcome != "unknown" {
			continue
		}
		alerts++
		if a.Workload.Name != c.Workload {
			t.Errorf("workload %q, want %q", a.Workload.Name, c.Workload)
		}
		if unknown := slices.Contains([]string{"timeout-504", "no-stage-504", "code-500-deadline"}, c.Name); unknown != (a.Outcome == "unknown") {
			t.Errorf("outcome %s", a.Outcome)
		}
	}
	wantAlerts, wantDead := 0, strings.Contains(c.Verdict, "dead-letter")
	if strings.HasPrefix(c.Verdict, "alert") {
		wantAlerts = 1
	}
	if alerts != wantAlerts {
		t.Errorf("%d alerts, want %d: %s\n%s", alerts, wantAlerts, c.Why, r.stderr)
	}
	letters, _ := os.ReadFile(dead)
	if gotDead := len(letters) > 0; gotDead != wantDead {
		t.Errorf("dead letter %v, want %v: %s\n%s", gotDead, wantDead, c.Why, letters)
	}
	if wantDead {
		checkLetter(t, c, record, letters)
	}
	wantCode := exitOK
	if wantDead {
		wantCode = exitBad
	}
	if r.code != wantCode {
		t.Errorf("exit %d, want %d", r.code, wantCode)
	}
}

func checkLetter(t *testing.T, c trap, record, letters []byte) {
	t.Helper()
	var l struct {
		Schema string `json:"schema"`
		Reason string `json:"reason"`
		Detail string `json:"detail"`
		Size   int    `json:"size"`
		Record string `json:"record_b64"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(letters), &l); err != nil {
		t.Fatalf("expected exactly one dead letter: %v\n%.300s", err, letters)
	}
	kept, err := base64.StdEncoding.DecodeString(l.Record)
	if err != nil {
		t.Fatal(err)
	}
	whole := c.Verdict == "dead-letter"
	if l.Schema != "spawnwatch.deadletter/v1" || l.Reason == "" || l.Detail == "" || l.Size != len(kept) ||
		(whole && !bytes.Equal(kept, record)) || !bytes.Contains(record, kept) {
		t.Errorf("dead letter %.300s does not hold the original bytes", letters)
	}
}
