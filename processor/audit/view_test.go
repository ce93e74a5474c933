package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestViewOfThisEvent(t *testing.T) {
	m := newModel(t)
	v := read(t, m, rich)
	want := View{
		AuditID: "a1", Level: "RequestResponse", Stage: "ResponseComplete", Verb: "create",
		RequestURI: "/apis/apps/v1/namespaces/shop/deployments?a=b&c=d", UserAgent: "kubectl/v1", Code: 201,
		SourceIPs:    []string{"203.0.113.9", "10.0.0.9"},
		ReceivedText: "2026-11-23T02:52:29.781271Z", CompletedText: "2026-11-23T02:52:29.790823Z",
		Received:  time.Date(2026, 11, 23, 2, 52, 29, 781271000, time.UTC),
		Completed: time.Date(2026, 11, 23, 2, 52, 29, 790823000, time.UTC),
		Annotations: []Label{
			{"authorization.k8s.io/decision", "allow"},
			{"authorization.k8s.io/reason", `RBAC: allowed by RoleBinding "devs/shop" of ClusterRole "edit" to ServiceAccount "bot/ci"`},
		},
		Object:  ObjectRef{Group: "apps", Version: "v1", Resource: "deployments", Namespace: "shop", Name: "cart"},
		Outcome: Created,
		Workload: Workload{
			Kind: "Deployment", APIVersion: "apps/v1", Group: "apps", Resource: "deployments", Namespace: "shop", Name: "cart",
			UID: "u-1", ResourceVersion: "77", Labels: []Label{{"app", "cart"}, {"tier", "web"}},
			Annotations: []Label{{"note", "x"}, {"deployment.kubernetes.io/revision", "3"}},
			Owner:       Owner{Kind: "Rollout", APIVersion: "argoproj.io/v1alpha1", Name: "r1", UID: "u-0", Controller: true},
			Root:        Root{Kind: "Rollout", Name: "r1"}, Replicas: Int{2, true}, Revision: Int{3, true},
			Detail: DetailFull, TemplateFrom: FromResponse,
		},
		Actor: Actor{
			Identity: Identity{Name: "system:serviceaccount:ci:bot", UID: "u9", Groups: []string{"g1", "g2"}, CredentialID: "JTI=7"},
			Type:     ServiceAccount, Namespace: "ci", Account: "bot", Impersonated: true,
			ImpersonatedBy: Identity{Name: "alice", Groups: []string{"system:masters"}},
		},
		Grant: Grant{
			Known: true, Decision: "allow", Binding: "devs", BindingKind: "RoleBinding", BindingNamespace: "shop", Role: "edit",
			RoleKind: "ClusterRole", Subject: "ci/bot", SubjectKind: "ServiceAccount", Scope: "shop",
			Reason: `RBAC: allowed by RoleBinding "devs/shop" of ClusterRole "edit" to ServiceAccount "bot/ci"`,
		},
	}
	opts := cmp.Options{cmpopts.IgnoreUnexported(View{}), cmpopts.IgnoreFields(View{}, "Event"), cmpopts.EquateEmpty()}
	if diff := cmp.Diff(&want, v, opts); diff != "" {
		t.Error(diff)
	}
	pod, ok := v.PodTemplate()
	if !ok {
		t.Fatal("no pod template")
	}
	podSecurity := PodSecurity{RunAsUser: Int{1000, true}, RunAsNonRoot: True, SeccompProfile: "RuntimeDefault"}
	wantPod := PodTemplate{
		From: FromResponse, Labels: []Label{{"app", "cart"}}, Annotations: []Label{{"t", "1"}},
		HostNetwork: True, ServiceAccount: "runner", NodeName: "node-1", AutomountToken: False, Security: podSecurity,
		Containers: []Container{
			{
				Name: "main", Type: Main, Image: "nginx:1.27", Command: []string{"sh", "-c"}, Args: []string{`sleep "9"`},
				EnvNames: []string{"TOKEN", "MODE"}, EnvFrom: []string{"secret/db", "configmap/cfg"},
				Ports:     []Port{{"http", 8080, 80, "TCP"}, {"", 9090, 0, "UDP"}},
				Resources: Resources{CPURequest: "100m", CPULimit: "2", MemoryRequest: "64Mi"},
				Security: Security{
					PodSecurity: podSecurity, Privileged: True,
					CapabilitiesAdd: []string{"SYS_ADMIN", "NET_RAW"}, CapabilitiesDrop: []string{"ALL"},
				},
			},
			{
				Name: "side", Type: Main, Image: "ghcr.io/a/b@sha256:1", Args: []string{"run"},
				Security: Security{
					PodSecurity:              PodSecurity{RunAsUser: Int{0, true}, RunAsNonRoot: True, SeccompProfile: "Unconfined"},
					AllowPrivilegeEscalation: False, ReadOnlyRootFilesystem: True,
				},
			},
			{Name: "setup", Type: Init, Image: "busybox", Security: Security{PodSecurity: podSecurity}},
			{Name: "dbg", Type: Ephemeral, Image: "netshoot", Security: Security{PodSecurity: podSecurity}},
		},
		Volumes: []Volume{
			{"sock", "hostPath", "/var/run/docker.sock"},
			{"s", "secret", "tls"},
			{"d", "persistentVolumeClaim", "data"},
			{"e", "emptyDir", ""},
			{"c", "csi", "secrets.csi"},
			{"m", "configMap", "cfg"},
			{"p", "projected", ""},
		},
	}
	if diff := cmp.Diff(&wantPod, pod, cmpopts.IgnoreFields(PodTemplate{}, "Spec"), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(pod.Spec, "{\n\"volumes\"") || !strings.HasSuffix(pod.Spec, `"RuntimeDefault"}}}`) {
		t.Errorf("spec %.40s … %s", pod.Spec, pod.Spec[len(pod.Spec)-40:])
	}
	if strings.Contains(dump(v, pod), "hush") {
		t.Error("a value of the environment left")
	}
	// The same view reads something else: nothing of the first event stays.
	if err := m.Read([]byte(`{"verb":"get"}`), v); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&View{Verb: "get", StageAbsent: true, Outcome: Observed, Actor: Actor{Type: Anonymous}, Notes: v.Notes}, v, opts); diff != "" {
		t.Error(diff)
	}
	if pod, ok := v.PodTemplate(); ok || pod != nil {
		t.Error("a pod template of an event that has none")
	}
}

func dump(v *View, p *PodTemplate) string {
	p.Spec, v.Event = "", ""
	return cmp.Diff(nil, *p) + cmp.Diff(nil, v.Workload)
}

func TestReadRefusesWhatIsNoObject(t *testing.T) {
	m := newModel(t)
	v := read(t, m, rich)
	for _, bad := range []string{"", " ", "null", "[]", `"x"`, "7"} {
		if err := m.Read([]byte(bad), v); err == nil {
			t.Errorf("%q was read", bad)
		}
		if v.AuditID != "" || v.Outcome != "" {
			t.Errorf("%q left %+v", bad, v)
		}
	}
}

// replaced changes rich; every old text must be there.
func replaced(t *testing.T, pairs ...string) string {
	t.Helper()
	s := rich
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			t.Fatalf("%q is not there to be replaced", pairs[i])
		}
		s = strings.Replace(s, pairs[i], pairs[i+1], 1)
	}
	return s
}

func noteCodes(v *View) string {
	codes := make([]string, len(v.Notes))
	for i, n := range v.Notes {
		codes[i] = n.Code
	}
	return strings.Join(codes, " ")
}

func TestNotesSayWhatIsMissing(t *testing.T) {
	m := newModel(t)
	const (
		stage = `"stage":"ResponseComplete",`
		code  = `"code":201`
		ref   = `"objectRef":{"resource":"deployments","namespace":"shop","name":"cart","apiGroup":"apps","apiVersion":"v1"}`
		head  = `{"verb":"create",` + stage + `"level":"Request",` + ref + `,"responseStatus":{"code":201}`
	)
	for name, c := range map[string]struct{ event, notes string }{
		"all is there":     {rich, ""},
		"no stage":         {replaced(t, stage, ""), NoteStageAbsent},
		"null stage":       {replaced(t, stage, `"stage":null,`), NoteStageAbsent},
		"timeout":          {replaced(t, code, `"code":504`), NoteOutcomeUnknown},
		"no group":         {replaced(t, `"apiGroup":"apps",`, ""), NoteGroupAbsent},
		"dry run":          {replaced(t, `?a=b`, `?dryRun=All`), ""},
		"no body":          {head + `}`, NoteNoObject},
		"truncated":        {head + `,"annotations":{"audit.k8s.io/truncated":"true"}}`, NoteTruncated},
		"no name":          {strings.Replace(head, `"name":"cart",`, "", 1) + `}`, NoteNameUnknown + " " + NoteNoObject},
		"as requested":     {head + `,"requestObject":{"kind":"Deployment","metadata":{"name":"cart"},"spec":{"template":{"spec":{"containers":[]}}}}}`, NoteAsRequested},
		"patch only":       {strings.NewReplacer("create", "patch", "201", "200").Replace(head) + `,"requestObject":{"spec":{"template":{"spec":{"containers":[]}}}}}`, NotePatchOnly},
		"too many to read": {replaced(t, `?a=b`, `?dryRun=All`+strings.Repeat("&", 10_001)), NoteTooManyParameters},
	} {
		v := read(t, m, c.event)
		if got := noteCodes(v); got != c.notes {
			t.Errorf("%s: notes %q, want %q", name, got, c.notes)
		}
		for _, n := range v.Notes {
			if !strings.HasSuffix(n.Text, ".") {
				t.Errorf("%s: %q is no sentence", name, n.Text)
			}
		}
	}
	v := read(t, m, rich)
	v.MarkTruncated()
	v.MarkTruncated()
	if !v.Truncated || noteCodes(v) != NoteTruncated {
		t.Errorf("marked: %v %q", v.Truncated, noteCodes(v))
	}
}

func TestForms(t *testing.T) {
	m := newModel(t)
	const head = `{"stage":"ResponseComplete","verb":"create","objectRef":{"resource":"pods","namespace":"n"},"responseStatus":{"code":201},`
	const asked = `"requestObject":{"kind":"Pod","apiVersion":"v1","metadata":{"generateName":"p-","uid":"forged"},"spec":{"containers":[{"image":"asked"}]}},`
	const meta = `"metadata":{"name":"p-x","generateName":"p-","uid":"u7","ownerReferences":[{"kind":"Job","name":"j"}]}`
	for name, c := range map[string]struct {
		rest             string
		name, uid, image string
		from             From
		version          string
	}{
		"whole":            {asked + `"responseObject":{"kind":"Pod","apiVersion":"v1",` + meta + `,"spec":{"containers":[{"image":"stored"}]}}`, "p-x", "u7", "stored", FromResponse, "v1"},
		"metadata only":    {asked + `"responseObject":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",` + meta + `}`, "p-x", "u7", "asked", FromRequest, "v1"},
		"table":            {asked + `"responseObject":{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"name":"no"},"rows":[{"cells":["x"],"object":{"kind":"PartialObjectMetadata",` + meta + `}}]}`, "p-x", "u7", "asked", FromRequest, "v1"},
		"table of objects": {asked + `"responseObject":{"rows":[{"object":{"kind":"Pod","apiVersion":"v1",` + meta + `,"spec":{"containers":[{"image":"stored"}]}}}],"kind":"Table"}`, "p-x", "u7", "stored", FromResponse, "v1"},
		"empty table":      {asked + `"responseObject":{"kind":"Table","rows":[]}`, "", "", "asked", FromRequest, "v1"},
		"status":           {asked + `"responseObject":{"kind":"Status","metadata":{"name":"no"}}`, "", "", "asked", FromRequest, "v1"},
		"request only":     {asked + `"responseObject":null`, "", "", "asked", FromRequest, "v1"},
		"null everything":  {`"requestObject":null,"responseObject":null`, "", "", "", FromNowhere, ""},
		"strange bodies":   {`"requestObject":[1,{}],"responseObject":"x"`, "", "", "", FromNowhere, ""},
	} {
		v := read(t, m, head+c.rest+"}")
		w := v.Workload
		image := ""
		if pod, ok := v.PodTemplate(); ok {
			image = pod.Containers[0].Image
		}
		if w.Name != c.name || w.UID != c.uid || image != c.image || w.TemplateFrom != c.from || w.NameUnknown != (c.name == "") || w.APIVersion != c.version {
			t.Errorf("%s: %q %q %q %d %q, want %+v", name, w.Name, w.UID, image, w.TemplateFrom, w.APIVersion, c)
		}
		if c.from != FromNowhere && w.GenerateName != "p-" {
			t.Errorf("%s: generateName %q", name, w.GenerateName)
		}
	}
}

func TestRoots(t *testing.T) {
	m := newModel(t)
	for _, c := range []struct{ owners, labels, kind, name string }{
		{`[{"kind":"ReplicaSet","name":"web-7d8","controller":true}]`, `{"pod-template-hash":"7d8"}`, "Deployment", "web"},
		{`[{"kind":"ReplicaSet","name":"web-7d8","controller":true}]`, `{"pod-template-hash":"other"}`, "ReplicaSet", "web-7d8"},
		{`[{"kind":"ReplicaSet","name":"web-7d8","controller":true}]`, `{}`, "ReplicaSet", "web-7d8"},
		{`[{"kind":"ReplicaSet","name":"-7d8","controller":true}]`, `{"pod-template-hash":"7d8"}`, "ReplicaSet", "-7d8"},
		{`[{"kind":"Node","name":"n1"},{"kind":"Job","name":"j","controller":true}]`, `{}`, "Job", "j"},
		{`[{"kind":"Workflow","name":"w"},{"kind":"Job","name":"j","controller":false}]`, `{}`, "Workflow", "w"},
		{`[]`, `{"pod-template-hash":"7d8"}`, "", ""},
		{`[7]`, `{}`, "", ""},
	} {
		v := read(t, m, `{"verb":"create","objectRef":{"resource":"pods"},"responseStatus":{"code":201},"responseObject":{"kind":"Pod","metadata":{"labels":`+c.labels+`,"ownerReferences":`+c.owners+`}}}`)
		if r := v.Workload.Root; r.Kind != c.kind || r.Name != c.name {
			t.Errorf("%s %s: root %+v, want %s %s", c.owners, c.labels, r, c.kind, c.name)
		}
	}
}

func TestIDs(t *testing.T) {
	m := newModel(t)
	id := func(cluster, event string) string { return read(t, m, event).ID(cluster) }
	base := id("c1", rich)
	if len(base) != 32 || base != id("c1", strings.Replace(rich, `"userAgent":"kubectl/v1"`, `"userAgent":"x"`, 1)) {
		t.Errorf("%q is not an id by what identifies alone", base)
	}
	seen := map[string]string{base: "base"}
	for name, other := range map[string]string{
		"cluster":   id("c2", rich),
		"auditID":   id("c1", replaced(t, `"auditID":"a1"`, `"auditID":"a2"`)),
		"received":  id("c1", replaced(t, "29.781271Z", "29.781272Z")),
		"resource":  id("c1", replaced(t, `"resource":"deployments"`, `"resource":"statefulsets"`)),
		"namespace": id("c1", replaced(t, `"namespace":"shop","name":"cart","apiGroup"`, `"namespace":"shop2","name":"cart","apiGroup"`)),
		"uid":       id("c1", replaced(t, `"uid":"u-1"`, `"uid":"u-2"`)),
		"name":      id("c1", replaced(t, `"uid":"u-1",`, ``)),
		"moved":     id("c1a", replaced(t, `"auditID":"a1"`, `"auditID":"1"`)),
		"absent":    id("c1", `{"verb":"get"}`),
	} {
		if seen[other] != "" {
			t.Errorf("%s and %s have one id", name, seen[other])
		}
		seen[other] = name
	}
	// The stages of one request that creates nothing.
	exec := `{"auditID":"e","stage":"ResponseStarted","verb":"create","objectRef":{"resource":"pods","namespace":"n","name":"p","subresource":"exec"},"responseStatus":{"code":101},"requestReceivedTimestamp":"t1","stageTimestamp":"t2"}`
	if a, b := id("c", exec), id("c", strings.NewReplacer("ResponseStarted", "ResponseComplete", "t2", "t3").Replace(exec)); a != b {
		t.Error("two stages of one request have two ids")
	}
	// At level Metadata two generated names under one auditID in one microsecond are still two.
	nameless := `{"auditID":"e","stage":"ResponseComplete","verb":"create","objectRef":{"resource":"pods","namespace":"n"},"responseStatus":{"code":201},"requestReceivedTimestamp":"t1","stageTimestamp":"t2"}`
	if a, b := id("c", nameless), id("c", strings.Replace(nameless, "t2", "t3", 1)); a == b {
		t.Error("two creations have one id")
	}
}
