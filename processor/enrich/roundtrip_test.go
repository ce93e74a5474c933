package enrich

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
)

// written runs a command that writes a file, in a real shell and in an empty folder, and returns what it wrote.
func written(t testing.TB, command, file string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rules.d"), 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", command, err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatalf("%q: %v", command, err)
	}
	return text
}

// commandWith is the command of a step that holds a word.
func commandWith(a *alert.Alert, step int, word string) string {
	for _, r := range a.Respond {
		if r.Step == step && strings.Contains(r.Command, word) {
			return r.Command
		}
	}
	return ""
}

// computed hands the fields of the audit model to the rule compiler, as the processor does.
func computed(m *audit.Model) []rules.Computed {
	var all []rules.Computed
	for _, g := range m.Fields() {
		all = append(all, rules.Computed{Names: g.Names, Needs: g.Needs, Eval: func(raw []string, out *rules.Values) { g.Eval(raw, out) }})
	}
	return all
}

// fires tells whether the rule in text matches an event.
func fires(t testing.TB, m *audit.Model, text []byte, event string) bool {
	t.Helper()
	docs, err := rules.Parse("watch.yml", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	set, err := rules.Compile(docs, computed(m), rules.Options{LogSource: rules.LogSource{Product: "kubernetes", Service: "audit"}})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	hits, _, err := set.Match([]byte(event), nil)
	if err != nil {
		t.Fatal(err)
	}
	return len(hits) == 1
}

// TestWatchRule: the rule of step 5, written by its own command, loads, fires on the event it was made of, and on no other
// actor with another image.
func TestWatchRule(t *testing.T) {
	e, m := newEnricher(t, Options{}), newModel(t)
	const spec = `{"containers":[{"name":"a","image":"nginx:1.27"},{"name":"b","image":"b:2"}]}`
	events := map[string]string{
		"plain":        pod(`"x"`, spec),
		"wildcards":    strings.NewReplacer(`"username":"alice"`, `"username":"a*\\*?\\\\b"`, `nginx:1.27`, `*:?`).Replace(pod(`"x"`, spec)),
		"quotes":       strings.Replace(pod(`"x"`, spec), `"username":"alice"`, `"username":"o'brien \"x\" $(y) é \u202e \u001b \ud83d\ude00"`, 1),
		"impersonated": strings.Replace(pod(`"x"`, spec), `"sourceIPs"`, `"impersonatedUser":{"username":"boss"},"sourceIPs"`, 1),
		"controlled": strings.NewReplacer(`"username":"alice"`, `"username":"system:serviceaccount:kube-system:replicaset-controller"`,
			`"labels":{"app":"web"}`, `"ownerReferences":[{"kind":"ReplicaSet","name":"r","controller":true}]`).Replace(pod(`"x"`, spec)),
		"refused":  strings.Replace(pod(`"x"`, spec), `"code":201`, `"code":403`, 1),
		"observed": strings.NewReplacer(`"resource":"pods"`, `"resource":"pods","subresource":"exec"`, `"code":201`, `"code":101`).Replace(pod(`"x"`, spec)),
		"no body": func() string {
			whole := pod(`"x"`, spec)
			return whole[:strings.Index(whole, `"responseObject"`)] + whole[strings.Index(whole, `"requestReceivedTimestamp"`):]
		}(),
	}
	for name, event := range events {
		t.Run(name, func(t *testing.T) {
			a := enriched(t, e, event)
			c := commandWith(a, 5, "rules.d")
			if c == "" {
				t.Fatal("no rule was made")
			}
			text := written(t, c, "rules.d/watch-"+a.ID+".yml")
			if !fires(t, m, text, event) {
				t.Errorf("does not fire on its own event:\n%s\n%s", text, event)
			}
			other := strings.NewReplacer(`"username":"alice"`, `"username":"bob"`, `nginx:1.27`, `other:1`, `"b:2"`, `"other:2"`).Replace(events["plain"])
			if fires(t, m, text, other) {
				t.Errorf("fires on something else:\n%s", text)
			}
		})
	}
	// On real events as well.
	n := 0
	for i, line := range corpus(t, "rr") {
		var v audit.View
		if err := m.Read(line, &v); err != nil {
			t.Fatal(err)
		}
		if v.Outcome == audit.Observed || i%4 > 0 {
			continue
		}
		a := base(&v, v.ID("x"))
		e.Enrich(&v, a)
		c := commandWith(a, 5, "rules.d")
		if c == "" {
			continue
		}
		n++
		start := strings.IndexByte(c, '{')
		text := strings.ReplaceAll(c[start:strings.LastIndex(c, `' > rules.d`)], `'\''`, `'`)
		if !fires(t, m, []byte(text), string(line)) {
			t.Errorf("line %d: does not fire on its own event:\n%s", i+1, text)
		}
	}
	if n < 30 {
		t.Errorf("%d rules, expected more", n)
	}
}

// TestAllowEntry: the entry of step 7, written by its own command behind another one, turns the same event into approved,
// and only such events.
func TestAllowEntry(t *testing.T) {
	for name, event := range map[string]string{
		"plain":    pod(`"x"`, `{"containers":[{"name":"a","image":"nginx:1.27"},{"name":"b","image":"ghcr.io/acme/b@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}]}`),
		"patterns": strings.Replace(pod(`"x"`, `{"containers":[{"name":"a","image":"a[*]?\\b"}]}`), `"username":"alice"`, `"username":"[a]*'\\"`, 1),
		"generated": strings.Replace(pod(`"x-12345"`, `{"containers":[{"name":"a","image":"nginx:1.27"}]}`), `"labels"`,
			`"generateName":"x-","labels"`, 1),
		"impersonated": strings.Replace(pod(`"x"`, `{"containers":[{"name":"a","image":"nginx:1.27"}]}`), `"sourceIPs"`, `"impersonatedUser":{"username":"boss"},"sourceIPs"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			a := enriched(t, newEnricher(t, Options{}), event)
			if a.Approval.State != alert.ApprovalUnknown {
				t.Fatalf("approval %+v", a.Approval)
			}
			c := commandWith(a, 7, "allow.yaml")
			text := written(t, "printf '%s\\n' '- name: earlier' '  actors: [nobody]' > allow.yaml; "+c, "allow.yaml")
			entries, err := ParseAllow(text)
			if err != nil || len(entries) != 2 {
				t.Fatalf("%d entries, %v:\n%s", len(entries), err, text)
			}
			e := newEnricher(t, Options{Allow: entries})
			after := enriched(t, e, event)
			if after.Approval.State != alert.Approved || after.Approval.By != entries[1].Name || after.Policy.Intended.State != alert.IntendedYes {
				t.Errorf("approval %+v, intended %+v", after.Approval, after.Policy.Intended)
			}
			if after.Score >= a.Score && a.Score > 0 {
				t.Errorf("score %d, before %d", after.Score, a.Score)
			}
			for what, change := range map[string][2]string{
				"image": {`"name":"a","image":"`, `"name":"a","image":"evil/`}, "actor": {`"user":{"username":"`, `"user":{"username":"x`}, "namespace": {`"namespace":"shop"`, `"namespace":"bank"`},
				"impersonation": {`"userAgent"`, `"impersonatedUser":{"username":"mallory"},"userAgent"`}, "name": {`"name":"x`, `"name":"y`},
			} {
				if what == "impersonation" && name == "impersonated" {
					continue
				}
				other := strings.ReplaceAll(event, change[0], change[1])
				if got := enriched(t, e, other); got.Approval.State != alert.Unapproved || len(got.Approval.Deviations) == 0 || got.Policy.Intended.State != alert.IntendedNo {
					t.Errorf("another %s: approval %+v", what, got.Approval)
				}
			}
		})
	}
}

// TestApprovalOrder: an entry that approves counts, also behind one that merely allows; a ticket approves as well; half a
// template is within no list of images.
func TestApprovalOrder(t *testing.T) {
	event := pod(`"x"`, `{"containers":[{"name":"a","image":"nginx:1.27"}]}`)
	e := newEnricher(t, Options{Allow: []Allow{{Name: "known", Namespaces: []string{"shop"}}, {Name: "good", Actors: []string{"al*"}, Approve: true, Reason: "r"}}})
	if a := enriched(t, e, event); a.Approval.By != "good" || a.Policy.Intended.By != "good" || a.Approval.Reason != "r" {
		t.Errorf("%+v", a.Approval)
	}
	ticket := strings.Replace(event, `"note":"x"`, `"spawnwatch.io/change-ticket":"CHG-7"`, 1)
	if a := enriched(t, newEnricher(t, Options{}), ticket); a.Approval.State != alert.Approved || a.Approval.Ticket != "CHG-7" {
		t.Errorf("%+v", a.Approval)
	}
	images := newEnricher(t, Options{Allow: []Allow{{Name: "images", Images: []string{"docker.io/**"}}}})
	if a := enriched(t, images, event); a.Policy.Intended.State != alert.IntendedYes {
		t.Errorf("%+v", a.Policy.Intended)
	}
	patch := strings.NewReplacer(`"verb":"create"`, `"verb":"patch"`, `"code":201`, `"code":200`, `"responseObject":{"kind":"Pod","apiVersion":"v1",`, `"requestObject":{`).Replace(event)
	if a := enriched(t, images, patch); a.Policy.Intended.State != alert.IntendedNo || a.Outcome != alert.Changed {
		t.Errorf("%s, %+v", a.Outcome, a.Policy.Intended)
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, value string
		want           bool
	}{
		{"a", "a", true},
		{"a*", "abc", true},
		{"a*", "a/b", false},
		{"a/**", "a/b", true},
		{"a/**", "a/b/c", true},
		{"a/**", "a", false},
		{"a/**", "ab/c", false},
		{"*/acme/**", "ghcr.io/acme/x/y:1", true},
		{"*/acme/**", "ghcr.io/evil/acme/x", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{"ghcr.io/*/**", "ghcr.io/a/b", true},
		{"ghcr.io/*/**", "ghcr.io/a", false},
	} {
		if got := matches(c.pattern, c.value); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.value, got)
		}
	}
}

// TestAdmissionPolicy: the two objects of step 4 are whole, belong together, and the expression quotes what it is given.
func TestAdmissionPolicy(t *testing.T) {
	a := enriched(t, newEnricher(t, Options{}), pod(`"x"`, `{"containers":[{"name":"a","image":"nginx:1.27"},{"name":"b","image":"q\"]) || true || c.image in [\"\u001b'\\"}]}`))
	c := commandWith(a, 4, "ValidatingAdmissionPolicy")
	if !strings.HasSuffix(c, " | kubectl apply --filename=-") {
		t.Fatalf("%q", c)
	}
	text := written(t, strings.Replace(c, "| kubectl apply --filename=-", "> policy.json", 1), "policy.json")
	var whole struct {
		APIVersion, Kind string
		Items            []struct {
			APIVersion, Kind string
			Metadata         struct{ Name string }
			Spec             struct {
				PolicyName, FailurePolicy string
				ValidationActions         []string
				MatchConstraints          struct{ ResourceRules []map[string][]string }
				Validations               []struct{ Expression, Message string }
				MatchResources            struct {
					NamespaceSelector struct{ MatchLabels map[string]string }
				}
			}
		}
	}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&whole); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	policy, binding := whole.Items[0], whole.Items[1]
	if policy.Kind != "ValidatingAdmissionPolicy" || binding.Kind != policy.Kind+"Binding" || binding.Spec.PolicyName != policy.Metadata.Name || binding.Spec.ValidationActions[0] != "Deny" ||
		binding.Spec.MatchResources.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] != "shop" || policy.Spec.FailurePolicy != "Fail" {
		t.Errorf("%s", text)
	}
	const list = `["nginx:1.27", "q\"]) || true || c.image in [\"\u001b'\\"]`
	const want = `(!has(object.spec.containers) || object.spec.containers.all(c, !has(c.image) || !(c.image in ` + list + `))) && ` +
		`(!has(object.spec.initContainers) || object.spec.initContainers.all(c, !has(c.image) || !(c.image in ` + list + `))) && ` +
		`(!has(object.spec.ephemeralContainers) || object.spec.ephemeralContainers.all(c, !has(c.image) || !(c.image in ` + list + `)))`
	if got := policy.Spec.Validations[0].Expression; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestFailures: an enricher that fails, panics or hangs leaves a note, is counted, and the alert goes out with the rest.
func TestFailures(t *testing.T) {
	event := pod(`"x"`, `{"containers":[{"name":"a","image":"nginx:1.27"}]}`)
	for name, c := range map[string]struct {
		run  func(*Input, *alert.Alert) error
		note string
	}{
		"error": {func(*Input, *alert.Alert) error { return errors.New("no luck") }, `the enricher "planted" could not do its work: no luck`},
		"panic": {func(_ *Input, a *alert.Alert) error { return errors.New(a.Rules[7].ID) }, `the enricher "planted" could not do its work: it panicked: runtime error: index out of range [7] with length 1`},
	} {
		t.Run(name, func(t *testing.T) {
			var failed []string
			e := newEnricher(t, Options{Failed: func(name string) { failed = append(failed, name) }})
			e.steps = append([]step{{"planted", c.run}}, e.steps...)
			v := view(t, newModel(t), event)
			a := base(v, "x")
			e.Enrich(v, a)
			if len(a.Notes) != 1 || a.Notes[0].Code != "enricher_failed" || a.Notes[0].Text != c.note || len(failed) != 1 || failed[0] != "planted" {
				t.Errorf("notes %+v, failed %v", a.Notes, failed)
			}
			if a.Policy.PSSLevel != alert.PSSBaseline {
				t.Error("the others did not run")
			}
			checkSteps(t, a)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var failed []string
		e := newEnricher(t, Options{Budget: 3 * time.Second, Thresholds: alert.Thresholds{Low: 1, Medium: 2, High: 3, Critical: 4}, Failed: func(name string) { failed = append(failed, name) }})
		release := make(chan struct{})
		e.steps = append(e.steps[:1:1], step{"hangs", func(_ *Input, a *alert.Alert) error {
			<-release
			a.Title = "late"
			a.Workload.Labels[0].Value = "late"
			return nil
		}})
		v := view(t, newModel(t), event)
		a := base(v, "x")
		began := time.Now()
		e.Enrich(v, a)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
		close(release)
		synctest.Wait()
		if len(a.Notes) != 1 || a.Notes[0].Code != "enrichment_timeout" || len(failed) != 1 || failed[0] != "budget" || a.Title == "late" || a.Workload.Labels[0].Value != "web" || a.Severity != alert.Critical {
			t.Errorf("notes %+v, failed %v, title %s, labels %v, severity %s", a.Notes, failed, a.Title, a.Workload.Labels, a.Severity)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for want, o := range map[string]Options{
		"thresholds:":         {Thresholds: alert.Thresholds{Low: 9, Medium: 8, High: 7, Critical: 6}},
		"allow[0]:":           {Allow: []Allow{{Name: "all"}}},
		"ticket_annotation:":  {TicketAnnotation: "--x y"},
		"owner_keys[0]: expe": {OwnerKeys: []OwnerKey{{Key: "squad", Field: "boss"}}},
		"owner_keys[1]:":      {OwnerKeys: []OwnerKey{{Key: "squad", Field: "team"}, {Key: "", Field: "team"}}},
		"event:":              {Event: "some"},
	} {
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
