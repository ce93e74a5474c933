package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// scenes are the requests of testdata/corpus/rr.jsonl.gz that the demo shows, in the order of the log. A name that ends
// with * stands for all that begin with it.
var scenes = []struct {
	resource, namespace, name string
	code                      int
	why                       string
}{
	{"deployments", "team-a", "web", 201, "everyday work"},
	{"replicasets", "team-a", "web-*", 201, "its child, which folds"},
	{"pods", "team-a", "web-7d876db474-*", 201, "its grandchildren, which fold"},
	{"deployments", "team-a", "", 403, "somebody tries what is not allowed"},
	{"cronjobs", "batch-jobs", "tick", 201, "comes back every minute"},
	{"pods", "default", "node-debugger-node-1-*", 201, "kubectl debug node: a shell on a node"},
	{"pods", "team-a", "p-priv", 201, "privileged"},
	{"pods", "team-a", "p-sock", 201, "holds the socket of the container runtime"},
	{"deployments", "team-a", "kube-dns-helper", 201, "a miner under the name of a system component"},
	{"pods", "edge-cases", "slow-0", 504, "answered by a timeout: it may exist"},
	{"deployments", "team-a", "asuser", 201, "made by impersonation"},
	{"pods", "open-door", "anon2", 201, "made by nobody in particular"},
	{"pods", "kube-system", "shadow", 201, "a backdoor's service account reaches into kube-system"},
	{"daemonsets", "kube-system", "shadow-ds", 201, "and onto every node"},
}

// between is how many other lines of the log stand between two scenes, so that the stage has something to pass over, and
// longest how long they may be.
const (
	between = 12
	longest = 3000
)

// TestDemoSample holds demodata/audit.jsonl.gz to what the scenes choose from the corpus.
//
//	go test ./cmd/spawnwatch -run TestDemoSample -update
func TestDemoSample(t *testing.T) {
	want := chooseSample(t)
	if *update {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(want); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("demodata/audit.jsonl.gz", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d lines, %d bytes, packed %d", bytes.Count(want, []byte("\n")), len(want), b.Len())
		return
	}
	lines, err := demoLines()
	if err != nil {
		t.Fatal(err)
	}
	got := append(bytes.Join(lines, []byte("\n")), '\n')
	if !bytes.Equal(got, want) {
		t.Error("demodata/audit.jsonl.gz is not what the scenes choose: run this test with -update")
	}
}

// chooseSample picks the scenes, and evenly some of what stands between them.
func chooseSample(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	var others [][]byte
	found := make([]int, len(scenes))
	for _, line := range readLines(t, "rr") {
		scene := sceneOf(t, line)
		if scene < 0 {
			if len(line) <= longest && !attemptsWorkload(t, line) {
				others = append(others, line)
			}
			continue
		}
		found[scene]++
		step := max(len(others)/between, 1)
		for i := 0; i < len(others); i += step {
			out.Write(others[i])
			out.WriteByte('\n')
		}
		others = others[:0]
		out.Write(line)
		out.WriteByte('\n')
	}
	for i, n := range found {
		if n == 0 {
			t.Fatalf("the corpus holds no %+v", scenes[i])
		}
	}
	return out.Bytes()
}

// attemptsWorkload tells requests that would alert: the scenes alone are to.
func attemptsWorkload(t *testing.T, line []byte) bool {
	t.Helper()
	var e struct {
		Verb      string `json:"verb"`
		ObjectRef struct {
			Resource string `json:"resource"`
		} `json:"objectRef"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		t.Fatal(err)
	}
	return slices.Contains([]string{"create", "update", "patch"}, e.Verb) &&
		slices.Contains([]string{"pods", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs", "replicationcontrollers"}, e.ObjectRef.Resource)
}

// sceneOf is the index of the scene that a line shows, or -1.
func sceneOf(t *testing.T, line []byte) int {
	t.Helper()
	var e struct {
		Stage     string `json:"stage"`
		Verb      string `json:"verb"`
		ObjectRef struct {
			Resource, Subresource, Namespace, Name string
		} `json:"objectRef"`
		ResponseStatus struct {
			Code int `json:"code"`
		} `json:"responseStatus"`
		ResponseObject struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		} `json:"responseObject"`
	}
	var wrongType *json.UnmarshalTypeError // a Table has a list where others have metadata
	if err := json.Unmarshal(line, &e); err != nil && !errors.As(err, &wrongType) {
		t.Fatalf("%v in %.100s", err, line)
	}
	if e.Verb != "create" || e.Stage != "ResponseComplete" || e.ObjectRef.Subresource != "" {
		return -1
	}
	name := e.ObjectRef.Name
	if name == "" {
		name = e.ResponseObject.Metadata.Name
	}
	for i, s := range scenes {
		if s.resource != e.ObjectRef.Resource || s.namespace != e.ObjectRef.Namespace || s.code != e.ResponseStatus.Code {
			continue
		}
		prefix, some := strings.CutSuffix(s.name, "*")
		if name == s.name || some && strings.HasPrefix(name, prefix) {
			return i
		}
	}
	return -1
}

// TestScenesAreTold keeps the demo worth watching: a few lines among many, each kind once.
func TestScenesAreTold(t *testing.T) {
	lines, err := demoLines()
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]bool, len(scenes))
	told := 0
	for _, line := range lines {
		if i := sceneOf(t, line); i >= 0 {
			seen[i] = true
			told++
		}
	}
	if slices.Contains(seen, false) {
		t.Errorf("a scene is missing: %v", seen)
	}
	if told*5 > len(lines) || len(lines) > 400 || len(demoAudit) > 128<<10 {
		t.Errorf("%d scenes in %d lines, %d bytes packed", told, len(lines), len(demoAudit))
	}
}
