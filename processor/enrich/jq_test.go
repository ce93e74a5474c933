package enrich

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// TestFilters runs the jq filters of the commands on what they are meant for. kubectl is a stub that prints an object.
func TestFilters(t *testing.T) {
	jq, err := exec.LookPath("jq")
	if err != nil {
		t.Skip("jq is not installed")
	}
	gets := func(object string) func(string) string {
		dir := t.TempDir()
		script := "#!/bin/sh\ncase \"$*\" in *replace*) cat;; *) cat <<'END'\n" + object + "\nEND\nesac\n"
		if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(script), 0o777); err != nil {
			t.Fatal(err)
		}
		return func(line string) string {
			cmd := exec.Command("/bin/sh", "-c", line)
			cmd.Env = []string{"PATH=" + dir + ":" + filepath.Dir(jq) + ":/usr/bin:/bin"}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%q: %v: %s", line, err, out)
			}
			return strings.Join(strings.Fields(string(out)), "")
		}
	}
	e := newEnricher(t, Options{})
	plain := pod(`"x"`, `{"containers":[{"name":"a","image":"a:1"}],"serviceAccountName":"quiet"}`)
	account := strings.ReplaceAll(plain, `to Group \"devs\"`, `to ServiceAccount \"ci/build\"`) // in events the name comes first
	binding := `{"metadata":{"name":"devs"},"subjects":[{"kind":"Group","name":"devs"},{"kind":"User","name":"devs"},{"kind":"ServiceAccount","name":"ci","namespace":"build"},{"kind":"ServiceAccount","name":"ci","namespace":"other"}]}`
	revoke := func(event string) string {
		return gets(binding)(commandWith(enriched(t, e, event), 1, "replace --filename=-"))
	}
	if got, want := revoke(plain), `{"metadata":{"name":"devs"},"subjects":[{"kind":"User","name":"devs"},{"kind":"ServiceAccount","name":"ci","namespace":"build"},{"kind":"ServiceAccount","name":"ci","namespace":"other"}]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := revoke(account), `{"metadata":{"name":"devs"},"subjects":[{"kind":"Group","name":"devs"},{"kind":"User","name":"devs"},{"kind":"ServiceAccount","name":"ci","namespace":"other"}]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	anew := gets(`{"kind":"ServiceAccount","metadata":{"name":"quiet","namespace":"shop","uid":"u","resourceVersion":"1","creationTimestamp":"t","annotations":{"a":"b"}},"secrets":[{"name":"s"}],"imagePullSecrets":[{"name":"p"}]}`)
	if got, want := anew(commandWith(enriched(t, e, plain), 1, "replace --force")), `{"kind":"ServiceAccount","metadata":{"name":"quiet","namespace":"shop","annotations":{"a":"b"}},"imagePullSecrets":[{"name":"p"}]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	who := gets(`{"items":[{"kind":"RoleBinding","metadata":{"name":"a","namespace":"n"},"roleRef":{"kind":"ClusterRole","name":"edit"},"subjects":[{"kind":"User","name":"\u001b[31m"}]},{"kind":"RoleBinding","metadata":{"name":"b"},"roleRef":{"kind":"Role","name":"edit"}}]}`)
	if got, want := who(commandWith(enriched(t, e, plain), 3, "--arg role")), `["RoleBinding","n","a",[["User",null,"\u001b[31m"]]]`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// The search finds the event itself in its own file, and nobody else's.
	file := filepath.Join(t.TempDir(), "it's an audit.log")
	other := strings.Replace(plain, `"username":"alice"`, `"username":"bob"`, 1)
	late := strings.ReplaceAll(plain, "20:15:30", "23:15:30")
	if err := os.WriteFile(file, []byte(plain+"\n"+other+"\n"+late+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	a := enriched(t, e, plain)
	a.Origin = alert.Origin{Topic: file, Line: 1}
	if got, want := gets("")(relatedCommand(a)), `["2026-11-23T20:15:30.120000Z","create","/api/v1/namespaces/shop/pods",201,"a1"]`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
