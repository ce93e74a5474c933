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
