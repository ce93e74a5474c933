package enrich

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// planted is the secret that must never come out; it looks like nothing in particular.
const planted = "Zx9planted7Qw"

func TestEventHidesSecrets(t *testing.T) {
	for name, event := range map[string]string{
		"env":              `{"requestObject":{"spec":{"containers":[{"name":"a","env":[{"name":"DB_PASSWORD","value":"` + planted + `"},{"name":"B","valueFrom":{"secretKeyRef":{"name":"db","key":"k"}}}]}]}}}`,
		"env escaped key":  `{"requestObject":{"spec":{"containers":[{"\u0065nv":[{"name":"A","v\u0061lue":"` + planted + `"}]}]}}}`,
		"env value first":  `{"requestObject":{"spec":{"containers":[{"env":[{"value":"` + planted + `","name":"A"}]}]}}}`,
		"env of a cronjob": `{"responseObject":{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"initContainers":[{"env":[{"name":"A","value":"` + planted + `"}]}]}}}}}}}`,
		"json patch":       `{"requestObject":[{"op":"add","path":"/spec/containers/0/env/0/value","value":"` + planted + `"}]}`,
		"json patch whole": `{"requestObject":[{"op":"add","value":[{"name":"A","value":"` + planted + `"}],"path":"/spec/template/spec/containers/0/env"}]}`,
		"json patch data":  `{"requestObject":[{"value":"` + planted + `","op":"replace","path":"/data/password"}]}`,
		"secret":           `{"objectRef":{"resource":"secrets"},"requestObject":{"kind":"Secret","data":{"k":"` + planted + `"},"stringData":{"n":{"deep":["` + planted + `"]}}}}`,
		"secret list":      `{"responseObject":{"items":[{"data":{"k":"` + planted + `"}}]}}`,
		"last applied":     `{"requestObject":{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"spec\":{\"env\":[{\"value\":\"` + planted + `\"}]}}"}}}}`,
		"annotation array": `{"requestObject":{"metadata":{"annotations":{"x":" [\"` + planted + `\"]"}}}}`,
		"template note":    `{"requestObject":{"spec":{"template":{"metadata":{"annotations":{"y":"apiVersion: v1\nvalue: ` + planted + `"}}}}}}`,
		"flag":             `{"requestObject":{"spec":{"containers":[{"args":["--password=` + planted + `"]}]}}}`,
		"flag, next":       `{"requestObject":{"spec":{"containers":[{"command":["app","--db-password","` + planted + `"]}]}}}`,
		"shell":            `{"requestObject":{"spec":{"containers":[{"args":["-c","PGPASSWORD='` + planted + `' psql"]}]}}}`,
		"header":           `{"requestObject":{"spec":{"containers":[{"args":["-c","curl -H \"Authorization: Bearer ` + planted + `\" x"]}]}}}`,
		"url":              `{"requestObject":{"spec":{"containers":[{"args":["postgres://user:` + planted + `@db/x"]}]}}}`,
		"token member":     `{"responseObject":{"status":{"token":"` + planted + `"}}}`,
		"uri":              `{"requestURI":"/api?token=` + planted + `"}`,
		"json patch root":  `{"requestObject":[{"op":"replace","path":"","value":{"data":{"k":"` + planted + `"}}}]}`,
		"json patch twice": `{"requestObject":[{"op":"add","path":"/x","path":"/data/k","value":"` + planted + `"}]}`,
		"json patch args":  `{"requestObject":[{"op":"add","path":"/spec/containers/0/args","value":["--password","` + planted + `"]}]}`,
		"webhook's patch":  `{"annotations":{"patch.webhook.admission.k8s.io/round_0_index_0":"{\"patch\":[{\"op\":\"add\",\"path\":\"/spec/containers/0/env\",\"value\":[{\"value\":\"` + planted + `\"}]}]}"}}`,
		"header member":    `{"requestObject":{"spec":{"containers":[{"livenessProbe":{"httpGet":{"httpHeaders":[{"name":"X-Key","value":"` + planted + `"}]}}}]}}}`,
		"parameter":        `{"requestObject":{"spec":{"arguments":{"parameters":[{"name":"p","value":"` + planted + `"}]}}}}`,
		"below a password": `{"requestObject":{"spec":{"dbPassword":{"value":"` + planted + `"}}}}`,
		"list of tokens":   `{"requestObject":{"spec":{"api_token":["` + planted + `"]}}}`,
		"exec":             `{"requestURI":"/api/v1/namespaces/a/pods/b/exec?command=mysql&command=--password&command=` + planted + `"}`,
		"exec, encoded":    `{"requestURI":"/api/v1/namespaces/a/pods/b/exec?command=sh\u0026command=-c\u0026command=export+DB_PASSWORD%3D` + planted + `"}`,
		"dump":             `{"responseStatus":{"message":"Pod \"a\" is invalid: spec: Forbidden: pod updates may not change fields\n core.EnvVar{Value: \"` + planted + `\"}"}}`,
		"refused value":    `{"responseStatus":{"message":"Pod \"a\" is invalid: spec.containers[0].env[0].value: Invalid value: \"` + planted + ` x\": no"}}`,
		"refused struct":   `{"responseStatus":{"message":"Pod \"a\" is invalid: spec.x: Invalid value: core.EnvVar{Name:\"A\", Value:\"` + planted + `\"}: no"}}`,
		"cause":            `{"responseObject":{"kind":"Status","details":{"causes":[{"field":"spec.containers[0].env[0].value","message":"Invalid value: \"` + planted + `\": no"}]}}}`,
		"words":            `{"requestObject":{"spec":{"containers":[{"args":["-c","PASSWORD=\"two ` + planted + ` words\" run"]}]}}}`,
		"flag in a shell":  `{"requestObject":{"spec":{"containers":[{"args":["-c","mysql --password ` + planted + ` -h db"]}]}}}`,
		"number":           `{"requestObject":{"data":{"pin":4711}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			got := Event(nil, event)
			if !json.Valid(got) {
				t.Fatalf("no longer JSON: %s", got)
			}
			if bytes.Contains(got, []byte(planted)) || bytes.Contains(got, []byte("4711")) {
				t.Errorf("the secret is still there: %s", got)
			}
		})
	}
}

func TestEventKeepsTheRest(t *testing.T) {
	for _, event := range []string{
		`{"a":1,"b":[true,null,-1.5e3,"x\"\\y"],"c":{},"d":[],"e":""}`,
		`{"requestObject":{"spec":{"containers":[{"env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"x"}}}],"image":"nginx:1"}],"serviceAccountName":"tokenless"}}}`,
		`{"requestObject":{"metadata":{"annotations":{"team":"payments","note":"plain text"}}}}`,
		`{"requestObject":[{"op":"replace","path":"/spec/replicas","value":3}]}`,
		`{"user":{"username":"system:serviceaccount:kube-system:token-cleaner"},"data":{"outside":"kept"}}`,
		`{"objectRef":{"resource":"serviceaccounts","subresource":"token"}}`,
		`{"user":{"username":"system:serviceaccount:external-secrets:external-secrets","groups":["system:serviceaccounts:external-secrets"]}}`,
		`{"requestObject":{"spec":{"automountServiceAccountToken":false,"containers":[{"image":"quay.io/bitnami/sealed-secrets:v0.27"}]}}}`,
		`{"requestObject":{"spec":{"volumes":[{"name":"a","secret":{"secretName":"db","items":[{"key":"k","path":"p"}]}},{"projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}}]}}]}}}`,
		`{"responseStatus":{"message":"pods \"a\" is invalid: metadata.name: Invalid value: \"A_B\": a lowercase RFC 1123 subdomain"}}`,
		`{"annotations":{"authorization.k8s.io/reason":"RBAC: allowed by RoleBinding \"a/tokens\" of Role \"secrets\" to User \"u\""}}`,
		`{"requestURI":"/api/v1/namespaces/a/pods?fieldManager=kubectl-run\u0026limit=500"}`,
	} {
		if got := string(Event(nil, event)); got != event {
			t.Errorf("got  %s\nwant %s", got, event)
		}
	}
	if got := string(Event([]byte("x"), " { \"a\" :\t[ 1 , 2 ] }\n")); got != `x{"a":[1,2]}` {
		t.Errorf("white space: %s", got)
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{[]string{"sleep", "3600"}, []string{"sleep", "3600"}},
		{[]string{"--token", "abc", "--v", "2"}, []string{"--token", Redacted, "--v", "2"}},
		{[]string{"--token", "--v"}, []string{"--token", "--v"}},
		{[]string{"--api-key=k1"}, []string{"--api-key=" + Redacted}},
		{[]string{"AKIAABCDEFGHIJKLMNOP"}, []string{Redacted}},
		{[]string{"-o", "stratum+tcp://pool:3333"}, []string{"-o", "stratum+tcp://pool:3333"}},
	} {
		before := slices.Clone(c.in)
		if got := Arguments(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
		if !slices.Equal(before, c.in) {
			t.Errorf("%q was changed", before)
		}
	}
}

// FuzzEvent plants a secret as a variable's value beside whatever the fuzzer makes of the rest.
func FuzzEvent(f *testing.F) {
	f.Add(`{"x":1}`, "name")
	f.Add(`[{"env":{}}]`, "e\"nv")
	f.Add(`"text"`, "\x00")
	f.Fuzz(func(t *testing.T, filler, name string) {
		if !json.Valid([]byte(filler)) || strings.Contains(filler, planted) || strings.Contains(name, planted) {
			return
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return
		}
		event := `{"before":` + filler + `,"requestObject":{` + string(quoted) + `:` + filler + `,"spec":{"containers":[` + filler +
			`,{"env":[` + filler + `,{"name":` + string(quoted) + `,"value":"` + planted + `"}]}]},"data":{` + string(quoted) + `:"` + planted + `"}}}`
		got := Event(nil, event)
		if !json.Valid(got) {
			t.Fatalf("no longer JSON:\n%s\n%s", event, got)
		}
		if bytes.Contains(got, []byte(planted)) {
			t.Fatalf("leaked:\n%s\n%s", event, got)
		}
	})
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "author: Jane": "author: Jane", "--token-ttl 5m": "--token-ttl 5m", `token: ""`: `token: ""`,
		"quay.io/acme/sealed-secrets:v1":                "quay.io/acme/sealed-secrets:v1",
		"system:serviceaccount:external-secrets:reader": "system:serviceaccount:external-secrets:reader",
		"PGPASSWORD='two words' psql":                   "PGPASSWORD='[redacted]' psql",
		`PASSWORD="a"b"c d" run`:                        `PASSWORD="[redacted] run`,
		`{"password":"a b","user":"x"}`:                 `{"password":"[redacted]","user":"x"}`,
		`{\"password\":\"a b\",\"user\":\"x\"}`:         `{\"password\":\"[redacted]\",\"user\":\"x\"}`,
		"curl -H 'X-Auth-Token:abc' x":                  "curl -H 'X-Auth-Token:[redacted]' x",
		"AccountName=x;AccountKey=abc==;End=1":          "AccountName=x;AccountKey=[redacted]",
		"?token=abc&x=y":                                "?token=[redacted]&x=y",
		"https://u:p@host/x":                            "https://u:[redacted]@host/x",
		"eyJhbGciOi.eyJzdWIiOi.c2ln":                    Redacted,
		"Basic dXNlcjpwYXNz":                            "Basic [redacted]",
		"-----BEGIN PRIVATE KEY-----\nMII\n":            Redacted,
		"hvs.CAESIJ1234567890123456789012":              Redacted,
		"--set=auth=x --auth y":                         "--set=auth=[redacted] --auth y",
	} {
		if got := Text(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
