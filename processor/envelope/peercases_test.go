package envelope

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// peerCase is a case that another project tests its own rules with.
type peerCase struct {
	Source, Case, File, Envelope, Why string
	Line                              int
	Creation                          any `json:"workload_creation"`
}

// builtinWorkloads are the resources whose creation counts, as group/resource.
var builtinWorkloads = []string{
	"/pods", "/replicationcontrollers", "apps/deployments", "apps/replicasets", "apps/statefulsets", "apps/daemonsets",
	"batch/jobs", "batch/cronjobs",
	// Where Deployments, DaemonSets and ReplicaSets lived until Kubernetes 1.16; one of Falco's traces is of 2018.
	"extensions/deployments", "extensions/daemonsets", "extensions/replicasets",
}

// created applies the criterion of the cases' README to an unwrapped event: a successful creation of a workload, no
// subresource, no dry run, complete or without a stage. The samples are shortened by hand: an absent group is read
// from the resource.
func (v *view) created() bool {
	if v.Stage != "" && v.Stage != "ResponseComplete" || v.ObjectRef.Subresource != "" || strings.Contains(v.RequestURI, "dryRun=All") {
		return false
	}
	if v.ResponseStatus.Status == "Failure" {
		return false
	}
	if c := v.code(); !(v.Verb == "create" && c/100 == 2 || (v.Verb == "patch" || v.Verb == "update") && c == 201) {
		return false
	}
	return slices.ContainsFunc(builtinWorkloads, func(w string) bool {
		group, resource, _ := strings.Cut(w, "/")
		return resource == v.ObjectRef.Resource && (group == v.ObjectRef.APIGroup || v.ObjectRef.APIGroup == "")
	})
}

// notEvents are the cases that hold no audit event, with what the Reader makes of them.
var notEvents = map[string]string{
	"fal_01_003":                     string(Foreign), // {"kind": 0}
	"GCP.K8s.IOC.Activity: triggers": string(Foreign), // an operation without a protoPayload
	"GCP.K8s.IOC.Activity: ignore":   string(Foreign),
}

func TestPeerCases(t *testing.T) {
	index := readFile(t, "peercases", "index.jsonl")
	files := map[string][][]byte{}
	n, events := 0, 0
	for line := range bytes.Lines(index) {
		var c peerCase
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		if files[c.File] == nil {
			files[c.File] = bytes.Split(readFile(t, "peercases", c.File), []byte("\n"))
		}
		record := files[c.File][c.Line-1]
		n++
		t.Run(c.Source+"/"+c.Case, func(t *testing.T) {
			rec := readAll(record)
			if reason, none := notEvents[c.Case]; none {
				if len(rec.faults) != 1 || string(rec.faults[0].Reason) != reason || len(rec.events) > 0 {
					t.Fatalf("events %d, faults %v; want one fault, %s", len(rec.events), rec.faults, reason)
				}
				return
			}
			switch {
			case len(rec.ignored) == 1 && len(rec.events)+len(rec.faults) == 0:
				if c.Creation != false {
					t.Fatalf("ignored as %s, but workload_creation is %v (%s)", rec.ignored[0], c.Creation, c.Why)
				}
				return
			case len(rec.events) != 1 || len(rec.faults) > 0:
				t.Fatalf("%d events, faults %v, ignored %v; want one event", len(rec.events), rec.faults, rec.ignored)
			}
			events++
			it := rec.events[0]
			if f := Check(it.Event); f != nil {
				t.Fatalf("the event is refused: %v", f)
			}
			v := firstWins(t, it.Event)
			want := c.Creation
			if want == "unknown" {
				want = false // a create without a response code: nothing says that it succeeded
			}
			if got := v.created(); got != want {
				t.Errorf("created is %v, want %v (%s)\n%s", got, c.Creation, c.Why, it.Event)
			}
			switch {
			case strings.HasPrefix(c.Envelope, "aks"):
				if it.Wrapper != AKS || bytes.Contains(record, []byte("managedClusters/cluster\"")) && it.Cluster != "cluster" {
					t.Errorf("wrapper %q, cluster %q; want AKS's", it.Wrapper, it.Cluster)
				}
			case c.Envelope == "gke-cloudaudit":
				if it.Wrapper != GKE || !it.Rebuilt {
					t.Errorf("wrapper %q, rebuilt %v; want a rebuilt event of GKE", it.Wrapper, it.Rebuilt)
				}
			case c.Envelope == "raw":
				if it.Wrapper != Bare || !bytes.Equal(it.Event, record) {
					t.Errorf("a bare event was changed, or came out of a wrapper %q", it.Wrapper)
				}
			}
		})
	}
	t.Logf("%d cases, %d audit events", n, events)
}
