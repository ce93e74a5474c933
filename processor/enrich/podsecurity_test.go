package enrich

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
)

// overridden are checks of baseline that the API server leaves out where it checks for restricted, since a stricter one
// takes their place.
func overridden() []string {
	var all []string
	for _, c := range policy.DefaultChecks() {
		for _, id := range c.Versions[len(c.Versions)-1].OverrideCheckIDs {
			all = append(all, string(id))
		}
	}
	return all
}

// TestAgreesWithTheServer compares every verdict with what the API server itself wrote into the event.
func TestAgreesWithTheServer(t *testing.T) {
	const annotation = "pod-security.kubernetes.io/audit-violations"
	e, m, left := newEnricher(t, Options{}), newModel(t), overridden()
	for _, name := range logNames {
		compared, unseen := 0, 0
		for i, line := range corpus(t, name) {
			if !bytes.Contains(line, []byte(annotation)) {
				continue
			}
			var v audit.View
			if err := m.Read(line, &v); err != nil {
				t.Fatal(err)
			}
			wrote := find(v.Annotations, annotation)
			if wrote == "" || v.Outcome == audit.Observed { // a dry run
				continue
			}
			a := base(&v, "x")
			if err := e.policy(inputOf(&v), a); err != nil {
				t.Fatal(err)
			}
			if a.Policy.PSSLevel == alert.PSSUnknown {
				unseen++
				continue
			}
			compared++
			_, list, ok := strings.Cut(wrote, `would violate PodSecurity "restricted:latest": `)
			if !ok {
				t.Fatalf("%s:%d: the annotation is about another level: %s", name, i+1, wrote)
			}
			var ours []string
			for _, violation := range a.Policy.Violations {
				if !slices.Contains(left, violation.Check) {
					ours = append(ours, violation.Detail)
				}
			}
			if got := strings.Join(ours, ", "); got != list {
				t.Errorf("%s:%d:\nours   %s\nserver %s", name, i+1, got, list)
			}
		}
		t.Logf("%s: %d compared, %d without a template", name, compared, unseen)
		if want := map[string]int{"rr": 55, "rr-trunc": 55, "request": 50, "metadata": 0}[name]; compared < want || compared > 0 && unseen > 10 {
			t.Errorf("%s: compared %d, %d without a template: expected at least %d", name, compared, unseen, want)
		}
	}
}

// TestDecodesWhatTheChecksRead holds the short decoder against the API's own types, check by check, over every template of
// the logs and over templates made to fail.
func TestDecodesWhatTheChecksRead(t *testing.T) {
	p := newPodSecurity()
	compare := func(name, spec string, v *audit.View) {
		t.Helper()
		in := inputOf(v)
		var whole corev1.PodSpec
		if err := json.Unmarshal([]byte(spec), &whole); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		short, err := podOf(in.Template)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		meta := &metav1.ObjectMeta{}
		for _, c := range p.checks {
			if want, got := c.check(meta, &whole), c.check(meta, short); want.Allowed != got.Allowed || want.ForbiddenDetail != got.ForbiddenDetail || want.ForbiddenReason != got.ForbiddenReason {
				t.Errorf("%s: %s: got %+v, want %+v", name, c.id, got, want)
			}
		}
	}
	m := newModel(t)
	n := 0
	for _, name := range []string{"rr", "request"} {
		for _, line := range corpus(t, name) {
			if !bytes.Contains(line, []byte(`"containers"`)) || len(line) > 64<<10 {
				continue
			}
			var v audit.View
			if err := m.Read(line, &v); err != nil {
				t.Fatal(err)
			}
			if in := inputOf(&v); v.Outcome != audit.Observed && in.unjudged() == "" {
				n++
				compare(name, in.Template.Spec, &v)
			}
		}
	}
	if n < 400 {
		t.Errorf("%d templates, expected more", n)
	}
	failed := map[string]bool{}
	for _, spec := range failing {
		v := view(t, m, pod(`"x"`, spec))
		compare(spec, spec, v)
		_, violations, misfit := p.evaluate(nil, inputOf(v).Template)
		if misfit != "" {
			t.Fatal(misfit)
		}
		for _, violation := range violations {
			failed[violation.Check] = true
		}
	}
	for _, c := range p.checks {
		if !failed[string(c.id)] && c.id != "appArmorProfile" {
			t.Errorf("no template fails %s: the comparison says nothing about it", c.id)
		}
	}
}

// failing are pod specs, each of which fails some check.
var failing = []string{
	`{"containers":[{"name":"a"}],"hostNetwork":true,"hostPID":true,"hostIPC":true}`,
	`{"containers":[{"name":"a","securityContext":{"privileged":true,"procMount":"Unmasked","capabilities":{"add":["SYS_ADMIN"]}}}]}`,
	`{"containers":[{"name":"a","securityContext":{"procMount":"Unmasked"}}],"hostUsers":false}`,
	`{"containers":[{"name":"a","ports":[{"containerPort":1,"hostPort":80}],"livenessProbe":{"httpGet":{"host":"10.0.0.1","port":"http"}},"lifecycle":{"preStop":{"tcpSocket":{"host":"h","port":1}}}}]}`,
	`{"containers":[{"name":"a"}],"initContainers":[{"name":"b","securityContext":{"runAsUser":0,"seLinuxOptions":{"type":"x","user":"u"},"seccompProfile":{"type":"Unconfined"}}}]}`,
	`{"containers":[{"name":"a"}],"ephemeralContainers":[{"name":"b","securityContext":{"privileged":true,"windowsOptions":{"hostProcess":true}}}]}`,
	`{"containers":[{"name":"a"}],"securityContext":{"sysctls":[{"name":"kernel.msgmax","value":"1"}],"runAsUser":0,"seccompProfile":{"type":"Unconfined"},"appArmorProfile":{"type":"Unconfined"}}}`,
	`{"containers":[{"name":"a"}],"os":{"name":"windows"},"securityContext":{"windowsOptions":{"hostProcess":true}}}`,
	`{"containers":[{"name":"a"}],"volumes":[{"name":"a","hostPath":{"path":"/"}},{"name":"b","nfs":{"server":"s","path":"/"}},{"name":"c","emptyDir":{}},{"name":"d","glusterfs":{"endpoints":"e","path":"p"}},{"name":"e","rbd":{"image":"i","monitors":[]}},{"name":"f","iscsi":{"targetPortal":"t","iqn":"i","lun":0}},{"name":"g","cephfs":{"monitors":[]}},{"name":"h","fc":{}},{"name":"i","azureDisk":{"diskName":"d","diskURI":"u"}},{"name":"j","azureFile":{"secretName":"s","shareName":"x"}},{"name":"k","flexVolume":{"driver":"d"}},{"name":"l","gitRepo":{"repository":"r"}},{"name":"m","vsphereVolume":{"volumePath":"v"}},{"name":"n","storageos":{}},{"name":"o","image":{"reference":"r"}}]}`,
	`{"containers":[{"name":"a"}],"volumes":[{"name":"a","gcePersistentDisk":{"pdName":"p"}},{"name":"b","awsElasticBlockStore":{"volumeID":"v"}},{"name":"c","cinder":{"volumeID":"v"}},{"name":"d","flocker":{}},{"name":"e","quobyte":{"registry":"r","volume":"v"}},{"name":"f","photonPersistentDisk":{"pdID":"p"}},{"name":"g","portworxVolume":{"volumeID":"v"}},{"name":"h","scaleIO":{"gateway":"g","system":"s","secretRef":null}},{"name":"i","csi":{"driver":"d"}},{"name":"j","ephemeral":{}},{"name":"k","downwardAPI":{}},{"name":"l","projected":{"sources":[]}},{"name":"m","persistentVolumeClaim":{"claimName":"c"}},{"name":"n","secret":{}},{"name":"o","configMap":{}}]}`,
}

// pod is an event about a created Pod; name is JSON, spec a pod spec.
func pod(name, spec string) string {
	return `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"a1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods",` +
		`"verb":"create","user":{"username":"alice","groups":["devs","system:authenticated"]},"sourceIPs":["10.1.2.3"],"userAgent":"kubectl/v1.36.2",` +
		`"objectRef":{"resource":"pods","namespace":"shop","name":` + name + `,"apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201},` +
		`"responseObject":{"kind":"Pod","apiVersion":"v1","metadata":{"name":` + name + `,"namespace":"shop","uid":"u-1","annotations":{"note":"x"},"labels":{"app":"web"}},"spec":` + spec + `},` +
		`"requestReceivedTimestamp":"2026-11-23T20:15:30.100000Z","stageTimestamp":"2026-11-23T20:15:30.120000Z",` +
		`"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by RoleBinding \"devs/shop\" of ClusterRole \"edit\" to Group \"devs\""}}`
}

// TestNoVerdictFromLess: what is not seen whole gets no level.
func TestNoVerdictFromLess(t *testing.T) {
	e := newEnricher(t, Options{})
	whole := pod(`"x"`, `{"containers":[{"name":"a","image":"a:1"}]}`)
	for name, c := range map[string]struct{ event, because string }{
		"patch": {
			strings.NewReplacer(`"verb":"create"`, `"verb":"patch"`, `"code":201`, `"code":200`, `"responseObject":{"kind":"Pod","apiVersion":"v1",`, `"requestObject":{`).Replace(whole), "only a patch",
		},
		"metadata":  {whole[:strings.Index(whole, `"responseObject"`)] + whole[strings.Index(whole, `"requestReceivedTimestamp"`):], "does not show the object"},
		"truncated": {strings.Replace(whole, `"annotations":{"auth`, `"annotations":{"audit.k8s.io/truncated":"true","auth`, 1), "cut"},
		"another form": {
			strings.NewReplacer(`"resource":"pods"`, `"resource":"workflows","apiGroup":"argoproj.io"`, `"spec":{"containers":[{"name":"a","image":"a:1"}]}`,
				`"spec":{"templates":[{"container":{"name":"a","image":"a:1","securityContext":{"privileged":true}}}]}`).Replace(whole), "another form",
		},
		"no Pod at all": {
			strings.NewReplacer(`"resource":"pods"`, `"resource":"rollouts","apiGroup":"argoproj.io"`, `"spec":{"containers":[{"name":"a","image":"a:1"}]}`,
				`"spec":{"template":{"spec":{"hostPID":"yes","containers":[{"name":"a"}]}}}`).Replace(whole), "not the form",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := enriched(t, e, c.event)
			if a.Policy.PSSLevel != alert.PSSUnknown || len(a.Policy.Violations) > 0 {
				t.Errorf("got level %s, %v", a.Policy.PSSLevel, a.Policy.Violations)
			}
			if answer := a.Investigate[3].Answer; !strings.Contains(answer, "unknown, because") || !strings.Contains(answer, c.because) {
				t.Errorf("answer %q, want %q", answer, c.because)
			}
		})
	}
	if a := enriched(t, e, whole); a.Policy.PSSLevel != alert.PSSBaseline {
		t.Errorf("the whole Pod: %s", a.Policy.PSSLevel)
	}
}

// TestAppArmorAnnotation: a Pod's own annotations count, and a template's.
func TestAppArmorAnnotation(t *testing.T) {
	e := newEnricher(t, Options{})
	event := strings.Replace(pod(`"x"`, `{"containers":[{"name":"a","image":"a:1"}]}`), `"note":"x"`, `"container.apparmor.security.beta.kubernetes.io/a":"unconfined"`, 1)
	if a := enriched(t, e, event); a.Policy.PSSLevel != alert.PSSPrivileged || a.Policy.Violations[0].Check != "appArmorProfile" {
		t.Errorf("got %s, %v", a.Policy.PSSLevel, a.Policy.Violations)
	}
}

func TestLevels(t *testing.T) {
	e := newEnricher(t, Options{})
	for spec, want := range map[string]alert.PSSLevel{
		`{"containers":[{"name":"a"}]}`: alert.PSSBaseline,
		`{"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},"containers":[{"name":"a","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}`: alert.PSSRestricted,
		`{"hostPID":true,"containers":[{"name":"a"}]}`: alert.PSSPrivileged,
	} {
		if got := enriched(t, e, pod(`"x"`, spec)).Policy; got.PSSLevel != want || got.EvaluatedVersion != api.VersionLatest {
			t.Errorf("%s: got %s %s, want %s", spec, got.PSSLevel, got.EvaluatedVersion, want)
		}
	}
}
