package envelope

import (
	"strings"
	"testing"
)

// TestGKE compares rebuilt events byte for byte.
func TestGKE(t *testing.T) {
	const head = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":`
	for _, c := range []struct{ name, record, cluster, want string }{
		{
			"a Deployment created",
			`{"insertId":"i-1","labels":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: \"x\""},
			"logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","operation":{"first":true,"id":"op-1","last":true,"producer":"k8s.io"},
			"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","authenticationInfo":{"principalEmail":"dana@example.com"},
			"authorizationInfo":[{"granted":true,"permission":"io.k8s.apps.v1.deployments.create"}],"methodName":"io.k8s.apps.v1.deployments.create",
			"request":{"@type":"apps.k8s.io/v1.Deployment","kind":"Deployment"},"requestMetadata":{"callerIp":"203.0.113.7","callerSuppliedUserAgent":"kubectl/v1.36"},
			"resourceName":"apps/v1/namespaces/shop/deployments/web","response":{"kind":"Deployment","metadata":{"uid":"u-1"}},"serviceName":"k8s.io","status":{"code":0}},
			"receiveTimestamp":"2026-11-23T01:02:05Z","resource":{"labels":{"cluster_name":"prod","location":"eu","project_id":"p"},"type":"k8s_cluster"},
			"timestamp":"2026-11-23T01:02:03.5Z"}`,
			"prod",
			head + `"RequestResponse","auditID":"op-1","stage":"ResponseComplete","verb":"create","user":{"username":"dana@example.com"},` +
				`"sourceIPs":["203.0.113.7"],"userAgent":"kubectl/v1.36","objectRef":{"resource":"deployments","namespace":"shop","name":"web","apiGroup":"apps","apiVersion":"v1"},` +
				`"responseStatus":{"metadata":{},"code":201},"requestObject":{"@type":"apps.k8s.io/v1.Deployment","kind":"Deployment"},` +
				`"responseObject":{"kind":"Deployment","metadata":{"uid":"u-1"}},"requestReceivedTimestamp":"2026-11-23T01:02:03.5Z","stageTimestamp":"2026-11-23T01:02:03.5Z",` +
				`"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: \"x\""}}`,
		},
		{
			"refused by the API server: its own code counts",
			`{"insertId":"i-2","protoPayload":{"methodName":"io.k8s.core.v1.pods.create","resourceName":"core/v1/namespaces/a/pods/b","serviceName":"k8s.io",
			"response":{"kind":"Status","status":"Failure","message":"exists","reason":"AlreadyExists","code":409},"status":{"code":10,"message":"other"}}}`,
			"",
			head + `"RequestResponse","auditID":"i-2","verb":"create","objectRef":{"resource":"pods","namespace":"a","name":"b","apiVersion":"v1"},` +
				`"responseStatus":{"metadata":{},"status":"Failure","message":"exists","reason":"AlreadyExists","code":409},` +
				`"responseObject":{"kind":"Status","status":"Failure","message":"exists","reason":"AlreadyExists","code":409}}`,
		},
		{
			"refused, by the gRPC code alone",
			`{"protoPayload":{"methodName":"io.k8s.batch.v1.jobs.create","resourceName":"batch/v1/namespaces/a/jobs/b","status":{"code":7,"message":"no"}}}`,
			"",
			head + `"Metadata","verb":"create","objectRef":{"resource":"jobs","namespace":"a","name":"b","apiGroup":"batch","apiVersion":"v1"},` +
				`"responseStatus":{"metadata":{},"status":"Failure","message":"no","code":403}}`,
		},
		{
			"denied, with no status",
			`{"protoPayload":{"methodName":"io.k8s.core.v1.pods.create","authorizationInfo":[{"granted":true},{"granted":false}]}}`,
			"",
			head + `"Metadata","verb":"create","objectRef":{"resource":"pods","apiVersion":"v1"},"responseStatus":{"metadata":{},"status":"Failure","code":403}}`,
		},
		{
			"a failure without a code stays one",
			`{"protoPayload":{"methodName":"io.k8s.core.v1.pods.create","response":{"status":"Failure"}}}`,
			"",
			head + `"RequestResponse","verb":"create","objectRef":{"resource":"pods","apiVersion":"v1"},"responseStatus":{"metadata":{},"status":"Failure"},"responseObject":{"status":"Failure"}}`,
		},
		{
			"a Pod's own status is no outcome",
			`{"protoPayload":{"methodName":"io.k8s.core.v1.pods.create","response":{"status":{"phase":"Pending"}},"status":{}}}`,
			"",
			head + `"RequestResponse","verb":"create","objectRef":{"resource":"pods","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201},"responseObject":{"status":{"phase":"Pending"}}}`,
		},
		{
			"a patch: 200 or 201 is not known",
			`{"protoPayload":{"methodName":"io.k8s.apps.v1.deployments.patch","resourceName":"apps/v1/namespaces/a/deployments/b","status":{}}}`,
			"",
			head + `"Metadata","verb":"patch","objectRef":{"resource":"deployments","namespace":"a","name":"b","apiGroup":"apps","apiVersion":"v1"}}`,
		},
		{
			"a subresource: no 201 is made up",
			`{"protoPayload":{"methodName":"io.k8s.core.v1.pods.exec.create","resourceName":"core/v1/namespaces/a/pods/b/exec","operation":{}},"operation":{"id":"o","first":true}}`,
			"",
			head + `"Metadata","auditID":"o","stage":"ResponseStarted","verb":"create","objectRef":{"resource":"pods","namespace":"a","name":"b","apiVersion":"v1","subresource":"exec"}}`,
		},
		{
			"a group with dots",
			`{"protoPayload":{"methodName":"io.k8s.authorization.rbac.v1.clusterroles.create","resourceName":"rbac.authorization.k8s.io/v1/clusterroles/x"}}`,
			"",
			head + `"Metadata","verb":"create","objectRef":{"resource":"clusterroles","name":"x","apiGroup":"rbac.authorization.k8s.io","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201}}`,
		},
		{
			"a custom resource",
			`{"protoPayload":{"methodName":"io.argoproj.v1alpha1.rollouts.create","serviceName":"k8s.io","resourceName":"argoproj.io/v1alpha1/namespaces/a/rollouts/r"}}`,
			"",
			head + `"Metadata","verb":"create","objectRef":{"resource":"rollouts","namespace":"a","name":"r","apiGroup":"argoproj.io","apiVersion":"v1alpha1"},"responseStatus":{"metadata":{},"code":201}}`,
		},
		{
			"a name that was generated later",
			`{"protoPayload":{"methodName":"io.k8s.core.v1.pods.create","resourceName":"core/v1/namespaces/a/pods"}}`,
			"",
			head + `"Metadata","verb":"create","objectRef":{"resource":"pods","namespace":"a","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201}}`,
		},
		{
			"a namespace", `{"protoPayload":{"methodName":"io.k8s.core.v1.namespaces.create","resourceName":"core/v1/namespaces/a"}}`, "",
			head + `"Metadata","verb":"create","objectRef":{"resource":"namespaces","name":"a","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201}}`,
		},
		{
			"a path", `{"protoPayload":{"methodName":"io.k8s.get","resourceName":"readyz"}}`, "",
			head + `"Metadata","requestURI":"/readyz","verb":"get","responseStatus":{"metadata":{},"code":200}}`,
		},
		{
			"escapes and hostile names stay JSON",
			`{"protoPayload":{"methodName":"io.k8s.core.v1.pods.cre\"ate","resourceName":"core\/v1\/namespaces\/a\u0022,\\\/pods\/\u0001\u007f","authenticationInfo":{"principalEmail":"d\"\u00e9"}}}`, "",
			head + `"Metadata","verb":"cre\"ate","user":{"username":"d\"\u00e9"},"objectRef":{"resource":"pods","namespace":"a\",\\","name":"\u0001\u007f","apiVersion":"v1"}}`,
		},
		{
			"Pub/Sub push",
			`{"message":{"data":"` + b64(`{"protoPayload":{"methodName":"io.k8s.get","resourceName":"/x"},"resource":{"labels":{"cluster_name":"c"}}}`) + `","messageId":"1","publishTime":"t"},"subscription":"s"}`,
			"c",
			head + `"Metadata","requestURI":"/x","verb":"get","responseStatus":{"metadata":{},"code":200}}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := readAll([]byte(c.record))
			if len(rec.events) != 1 || len(rec.faults) > 0 {
				t.Fatalf("events %d, faults %v, ignored %v; want one event", len(rec.events), rec.faults, rec.ignored)
			}
			it := rec.events[0]
			if string(it.Event) != c.want {
				t.Errorf("\n got %s\nwant %s", it.Event, c.want)
			}
			if f := Check(it.Event); f != nil {
				t.Errorf("the rebuilt event is refused: %v", f)
			}
			if it.Wrapper != GKE || !it.Rebuilt || it.Cluster != c.cluster || it.Index != -1 || string(it.Raw) != c.record {
				t.Errorf("item %+v; want a rebuilt one of cluster %q with the whole record", it, c.cluster)
			}
		})
	}
}

func TestGKECodes(t *testing.T) {
	for code, want := range map[string]int{
		`0`: 201, `null`: 201, `"0"`: 201, `1`: 504, `2`: 500, `3`: 400, `4`: 504, `5`: 404, `6`: 409, `7`: 403, `8`: 429, `9`: 400, `10`: 409,
		`11`: 400, `12`: 501, `13`: 500, `14`: 503, `15`: 500, `16`: 401, `17`: 500, `"7"`: 403, `201`: 201, `409`: 409, `504`: 504,
		`"PERMISSION_DENIED"`: 0, `-1`: 0, `1.5`: 0, `{}`: 0,
	} {
		rec := readAll([]byte(`{"protoPayload":{"methodName":"io.k8s.core.v1.pods.create","status":{"code":` + code + `}}}`))
		if len(rec.events) != 1 {
			t.Fatalf("code %s: %v", code, rec.faults)
		}
		v := firstWins(t, rec.events[0].Event)
		if failed := want != 201; v.code() != want || (v.ResponseStatus.Status == "Failure") != failed {
			t.Errorf("code %s: %d %q; want %d", code, v.code(), v.ResponseStatus.Status, want)
		}
	}
}

func TestMethodNames(t *testing.T) {
	for _, name := range []string{
		"io.k8s", "io.k8s.", "io.k8s.v1.pods.create", "io.k8s.core.pods.create", "io.k8s.core.v1.create", "io.k8s.core.v1..create",
		"io.k8s.core.v1.pods.", "io.k8s.core.vx.pods.create", "io.k8s.core.v1gamma1.pods.create", "io.k8s." + strings.Repeat("a.", 40) + "v1.pods.create",
	} {
		rec := readAll([]byte(`{"protoPayload":{"serviceName":"k8s.io","methodName":"` + name + `"}}`))
		if len(rec.events)+len(rec.faults) > 0 || len(rec.ignored) != 1 {
			t.Errorf("%s: %+v; want it ignored", name, rec)
		}
	}
	for name, want := range map[string]string{
		"v1": "yes", "v2beta1": "yes", "v1alpha13": "yes", "v12": "yes", "v": "", "va": "", "v1beta": "", "v1alpha": "", "v1rc1": "", "w1": "", "v1beta1x": "",
	} {
		if got := isVersion([]byte(name)); got != (want == "yes") {
			t.Errorf("isVersion(%q) = %v", name, got)
		}
	}
}
