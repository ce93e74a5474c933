package main

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

var update = flag.Bool("update", false, "write the files that tests compare with, instead of comparing")

// golden compares got with a file, or writes it under -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./cmd/spawnwatch -run %s -update writes it)", err, t.Name())
	}
	if got != string(want) {
		t.Errorf("%s is out of date (see the difference after go test ./cmd/spawnwatch -run %s -update):\n%s", path, t.Name(), got)
	}
}

// sampleAlert is a native alert by its own encoder: a privileged Pod, made by an impersonator, with all that may be known.
func sampleAlert() *alert.Alert {
	return &alert.Alert{
		ID: "sw-7d1e8f0a4b5c6d7e8f9a0b1c2d3e4f50", Time: time.Date(2026, 11, 23, 3, 15, 30, 123456000, time.UTC), Outcome: alert.Created, Severity: alert.Critical, Score: 100,
		Title:   "privileged Pod debug-x7k created in kube-system by admin (really carol)",
		Cluster: "prod-eu-1",
		Reasons: []alert.Reason{
			{Code: alert.ReasonRuleLevel, Points: 40, Text: `rule "Workload created" is of level medium`},
			{Code: "privileged", Points: 25, Text: `container "shell" is privileged`},
			{Code: "approved", Points: -10, Text: "announced by ticket CHG-7"},
			{Code: "host_path_sensitive", Points: 25, Text: "mounts / of the node"},
		},
		Rules: []alert.Rule{{ID: "57642ebe-6603-4dfd-85ad-81e1a8ad22b5", Title: "Workload created", Level: alert.Medium}},
		Workload: &alert.Workload{
			Kind: "Pod", APIVersion: "v1", Namespace: "kube-system", Name: "debug-x7k", Detail: alert.DetailFull,
			Owner: alert.Owner{Kind: "ReplicaSet", Name: "debug-5d8"}, Root: alert.Root{Kind: "Deployment", Name: "debug"},
			NodeName: "node-1", ServiceAccount: "builder", HostPID: alert.True,
			Rights: alert.Rights{State: alert.RightsKnown, Text: "14 rights by 2 roles", Dangerous: []alert.Right{{Code: "read_secrets", Text: "may read all Secrets"}}},
			Containers: []alert.Container{
				{
					Name: "shell", Type: alert.Main, Image: alert.Image{Raw: "registry.example.com:5000/tools/shell:latest"},
					Command: []string{"sh", "-c"}, Args: []string{"nsenter -t 1 -m -u -i -n sh"},
					Security: alert.Security{Privileged: alert.True, RunAsUser: alert.Number(0), CapabilitiesAdd: []string{"SYS_ADMIN"}},
				},
				{Name: "setup", Type: alert.Init, Image: alert.Image{Raw: "busybox:1.36"}},
			},
			Volumes: []alert.Volume{{Name: "host", Type: "hostPath", Detail: "/"}, {Name: "tmp", Type: "emptyDir"}, {Name: "s", Type: "secret", Detail: "registry-login"}},
		},
		Actor: alert.Actor{
			User: "admin", ImpersonatedBy: "carol", Groups: []string{"developers", "system:authenticated"}, Type: alert.User,
			UserAgent: "kubectl/v1.36.2 (linux/amd64) kubernetes/abcdef0", SourceIPs: []string{"10.0.0.1", "203.0.113.9"},
			Grant: alert.Grant{
				Known: true, Binding: "developers", BindingKind: "RoleBinding", BindingNamespace: "kube-system", Role: "edit", RoleKind: "ClusterRole",
				Subject: "developers", SubjectKind: "Group", Scope: "kube-system",
			},
		},
		Request: alert.Request{AuditID: "4f6c1e2d-aaaa-4bbb-8ccc-1234567890ab", Verb: "create"},
		Policy: alert.Policy{
			PSSLevel:   alert.PSSPrivileged,
			Violations: []alert.Violation{{Check: "privileged", Level: alert.PSSBaseline}, {Check: "hostPathVolumes", Level: alert.PSSBaseline}, {Check: "privileged", Level: alert.PSSBaseline}},
			Intended:   alert.Intended{State: alert.IntendedNo, Deviations: []string{"registry registry.example.com:5000 is in no allow-list"}},
		},
		Network: alert.Network{
			HostNetwork: alert.True, HostPorts: []int{80},
			SourceIPs: []alert.SourceIP{{IP: "10.0.0.1", Class: alert.IPPrivate, Claimed: true}, {IP: "203.0.113.9", Class: alert.IPPublic, Network: "office"}},
		},
		Owners: alert.Owners{Team: "platform", Chat: "#platform", Runbook: "https://runbooks.example.com/debug"},
		Investigate: []alert.Step{
			{Step: 1, Question: "Around?", Command: "jq . audit.log"},
			{Step: 2, Question: "What?", Command: "kubectl --namespace=kube-system get pods/debug-x7k --output=yaml"},
			{Step: 3, Question: "Events?", Command: "kubectl --namespace=kube-system events --for=pods/debug-x7k"},
		},
		Respond: []alert.Response{
			{Step: 1, Title: "Stop it", Command: "kubectl --namespace=kube-system delete pods/debug-x7k --grace-period=0 --force"},
			{Step: 1, Title: "Revoke the binding that allowed it", Command: "kubectl --namespace=kube-system delete rolebinding/developers"},
			{Step: 6, Title: "Tell platform"},
		},
		Approval: alert.Approval{State: alert.Unapproved, Ticket: "CHG-7", Deviations: []string{"ticket CHG-7 names another namespace"}},
		Notes:    []alert.Note{{Code: "event_redacted", Text: "values that may be secret were removed"}},
	}
}

func native(t *testing.T, a *alert.Alert) []byte {
	t.Helper()
	encode, err := alert.Format("native")
	if err != nil {
		t.Fatal(err)
	}
	return encode(nil, a)
}

// fewFacts is what level Metadata leaves of an alert.
func fewFacts() *alert.Alert {
	return &alert.Alert{
		Outcome: alert.Unknown, Severity: alert.Medium, Score: 40, Title: "Pod may have been created in shop by system:anonymous",
		Rules:    []alert.Rule{{Title: "Workload creation with unknown outcome", Level: alert.Medium}},
		Workload: &alert.Workload{Kind: "Pod", Namespace: "shop", NameUnknown: true, GenerateName: "job-", Detail: alert.DetailNone},
		Actor:    alert.Actor{User: "system:anonymous", Type: alert.Anonymous, Groups: []string{"system:masters"}},
	}
}

func observedExec() *alert.Alert {
	return &alert.Alert{
		Outcome: alert.Observed, Severity: alert.Low, Score: 20, Title: "exec into Pod web-1 by alice",
		Actor:   alert.Actor{User: "alice", Type: alert.User, SourceIPs: []string{"10.0.0.9"}},
		Rules:   []alert.Rule{{Title: "Exec into a Pod", Level: alert.Low}},
		Request: alert.Request{Verb: "create", AuditID: "x", Object: alert.Object{Resource: "pods", Subresource: "exec", Namespace: "shop", Name: "web-1"}},
	}
}

func TestCards(t *testing.T) {
	for _, c := range []struct {
		name  string
		alert *alert.Alert
		width int
	}{
		{"privileged", sampleAlert(), 100},
		{"narrow", sampleAlert(), 50},
		{"few-facts", fewFacts(), 100},
		{"observed", observedExec(), 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := readAlert(native(t, c.alert))
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			card(style{width: c.width}, &b, a)
			golden(t, filepath.Join("testdata", "cards", c.name+".txt"), b.String())
		})
	}
}

func TestTable(t *testing.T) {
	for name, width := range map[string]int{"table": 120, "table-narrow": leastTable} {
		s := style{width: width}
		b := new(strings.Builder)
		b.WriteString(tableTitle(s))
		for _, one := range []*alert.Alert{sampleAlert(), fewFacts(), observedExec()} {
			a, err := readAlert(native(t, one))
			if err != nil {
				t.Fatal(err)
			}
			tableRow(s, b, a)
		}
		for line := range strings.Lines(b.String()) {
			if n := columns(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("%d columns, want at most %d: %s", n, width, line)
			}
		}
		golden(t, filepath.Join("testdata", "cards", name+".txt"), b.String())
	}
}

// fill puts a hostile text into every string below v, and anything into the rest.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile(r, r.IntN(40)))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(r.IntN(5)))
	case reflect.Pointer:
		if r.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(9), 9))
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i))
		}
	default:
		panic("an alert for cards has a field of a kind that is not filled: " + v.Kind().String())
	}
}

// uncoloured takes out the colours that this program writes, and nothing else.
func uncoloured(text string) string {
	var all []string
	for _, sgr := range []string{"0", bold, dim, red, yellow, blue, cyan, onRed, boldRed} {
		all = append(all, "\x1b["+sgr+"m", "")
	}
	return strings.NewReplacer(all...).Replace(text)
}

// TestNothingRawReachesTheTerminal fills alerts with what terminals mind: every line that comes out holds visible
// characters alone, keeps to the width, and stands under a label of ours.
func TestNothingRawReachesTheTerminal(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		var a cardAlert
		fill(r, reflect.ValueOf(&a).Elem())
		if r.IntN(3) > 0 {
			a.Severity = "high"
		}
		width := minWidth + r.IntN(maxWidth-minWidth)
		var plain, coloured, row strings.Builder
		card(style{width: width}, &plain, &a)
		card(style{width: width, colour: true}, &coloured, &a)
		if uncoloured(coloured.String()) != plain.String() {
			t.Fatalf("the coloured card says something else:\n%q\n%q", coloured.String(), plain.String())
		}
		checkCard(t, plain.String(), width)

		tableRow(style{width: max(width, leastTable)}, &row, &a)
		line, ok := strings.CutSuffix(row.String(), "\n")
		mustBeSafe(t, line)
		if !ok || columns(line) > max(width, leastTable) {
			t.Fatalf("row of %d columns, want %d: %q", columns(line), max(width, leastTable), line)
		}
	}
}

var labels = []string{"", "when", "who", "in truth", "from", "allowed", "what", "owned by", "image", "runs as", "mounts", "reachable", "why", "rule", "policy", "owner", "approval", "audit id", "note", "look", "find", "stop", "revoke"}

func checkCard(t *testing.T, text string, width int) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n\n"), "\n")
	for i, line := range lines {
		mustBeSafe(t, line)
		if i == 0 {
			continue // the badge and the title
		}
		head, _ := splitAt(line, labelColumns)
		label := strings.TrimSpace(head)
		known := i == 1 // a wrapped title
		for _, l := range labels {
			known = known || l == label
		}
		if !known {
			t.Fatalf("line %d has the label %q: %q", i, label, line)
		}
		if command := label == "look" || label == "find" || label == "stop" || label == "revoke"; !command && columns(line) > width {
			t.Fatalf("line %d takes %d columns of %d: %q", i, columns(line), width, line)
		}
	}
}

// TestHugeAlert: a card stays a card whatever the size of what it is about.
func TestHugeAlert(t *testing.T) {
	a := sampleAlert()
	long := strings.Repeat("x", 1<<20)
	a.Title, a.Actor.User, a.Actor.UserAgent = long, long, long
	w := a.Workload
	for range 1000 {
		w.Containers = append(w.Containers, alert.Container{Image: alert.Image{Raw: "i"}, Args: []string{"hidden"}})
		a.Reasons = append(a.Reasons, alert.Reason{Code: "c", Points: 1, Text: "t"})
		a.Notes = append(a.Notes, alert.Note{Text: "n"})
	}
	a.Respond[0].Command = "kubectl " + long
	parsed, err := readAlert(native(t, a))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	card(style{width: 80}, &b, parsed)
	if n := strings.Count(b.String(), "\n"); n > 70 {
		t.Errorf("%d lines", n)
	}
	for _, want := range []string{"1,048,", "and 996 more containers", "and 994 more reasons", "and 997 more notes", "too long for a card"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the card does not say %q:\n%s", want, b.String())
		}
	}
}

func TestCardAlertNamesAreThoseOfTheFormat(t *testing.T) {
	var inFormat map[string]any
	if err := json.Unmarshal(native(t, sampleAlert()), &inFormat); err != nil {
		t.Fatal(err)
	}
	checkNames(t, "", reflect.TypeFor[cardAlert](), inFormat)
}

// checkNames wants every field of a struct in an alert that has them all.
func checkNames(t *testing.T, path string, typ reflect.Type, value any) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Pointer:
		checkNames(t, path, typ.Elem(), value)
	case reflect.Slice:
		if list, ok := value.([]any); ok && len(list) > 0 {
			checkNames(t, path+"[]", typ.Elem(), list[0])
		}
	case reflect.Struct:
		object, ok := value.(map[string]any)
		if !ok {
			t.Errorf("%s is no object in the format", path)
			return
		}
		for f := range typ.Fields() {
			name := f.Tag.Get("json")
			inside, ok := object[name]
			if !ok {
				t.Errorf("the format has no %s.%s", path, name)
				continue
			}
			checkNames(t, path+"."+name, f.Type, inside)
		}
	default: // a value
	}
}
