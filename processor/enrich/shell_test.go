package enrich

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// hostile are names that nobody should have.
func hostile() []string {
	names := []string{
		"plain-name", "", "-rf", "--kubeconfig=/tmp/x", "a'b", `a"b`, `a\`, "a`touch pwned`b", "$(touch pwned)", "${HOME}", "$'\\x41'", "a;touch pwned;",
		"a\ntouch pwned\n", "a\r\ntouch pwned", "a\x00b", "\x1b[31mred\x1b]0;title\x07", "a|touch pwned", "a&&touch pwned", "a>pwned", "<pwned", "*", "?", "[a]", "~root",
		"{a,b}", "#comment", "!history", "%s%n%d", `%s\n`, "a b\tc", "ünïcödé-名前", "a\u202egnp", "\u2028touch pwned", "\u200b", "\ufeff", "\xff\xfe", "''", `'"'"'`, `\'`, "a=b", "=", "'; touch pwned; '",
		"x' && touch pwned && echo '", "-- --help", "-e", "\U000e0041",
	}
	return append(names, strings.Repeat("a'$(touch pwned)", 64<<10))
}

// stubs writes programs that note down how they were called, into a folder of their own, and returns it. Each call is one
// record: the name and the arguments, all behind one another with a NUL behind each, and one more at the end.
func stubs(t testing.TB) (bin, record string) {
	t.Helper()
	dir := t.TempDir()
	record = filepath.Join(dir, "record")
	bin = filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kubectl", "jq", "grep", "zcat"} {
		script := "#!/bin/sh\n{ printf '%s\\000' " + name + "; for a in \"$@\"; do printf '%s\\000' \"$a\"; done; printf '\\001\\000'; } >>" + record + "." + name + "\nif [ " + name + " != kubectl ] || [ \"$1\" = apply ]; then while read -r line; do :; done; fi\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return bin, record
}

// run executes one command line in an empty folder and returns what was called, by program, and which files appeared.
func run(t testing.TB, bin, record, line string) (calls [][]string, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rules.d"), 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + bin, "HOME=" + dir}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%q: %v: %s", line, err, out)
	}
	for _, name := range []string{"kubectl", "jq", "grep", "zcat"} {
		text, err := os.ReadFile(record + "." + name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for call := range strings.SplitSeq(strings.TrimSuffix(string(text), "\x01\x00"), "\x01\x00") {
			calls = append(calls, strings.Split(strings.TrimSuffix(call, "\x00"), "\x00"))
		}
		if err := os.Remove(record + "." + name); err != nil {
			t.Fatal(err)
		}
	}
	files = map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir+"/")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return calls, files
}

// seen is what is left of text by quoting: everything that can be seen.
func seen(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || invisible(r) {
			return -1
		}
		return r
	}, text)
}

// TestCommand: what a command line was made of arrives as that, word by word.
func TestCommand(t *testing.T) {
	bin, record := stubs(t)
	for _, name := range hostile() {
		line := command("kubectl", "--namespace="+name, "get", name, "--", name)
		if len(name) > maxCommand {
			if line != "" {
				t.Errorf("a command of %d bytes", len(line))
			}
			continue
		}
		calls, files := run(t, bin, record, line)
		want := [][]string{{"kubectl", "--namespace=" + seen(name), "get", seen(name), "--", seen(name)}}
		if len(calls) != 1 || !slices.Equal(calls[0], want[0]) || len(files) > 0 {
			t.Errorf("%q:\ngot  %q, files %v\nwant %q", line, calls, files, want)
		}
	}
}

// hostileAlert has the name wherever an event can carry one.
func hostileAlert(t testing.TB, e *Enricher, name, kind string) *alert.Alert {
	t.Helper()
	quoted, err := json.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	n := string(quoted)
	spec := `{"containers":[{"name":` + n + `,"image":` + n + `,"command":[` + n + `],"args":[` + n + `],"env":[{"name":` + n + `,"value":"x"}],"ports":[{"name":` + n + `,"containerPort":1}]}],` +
		`"serviceAccountName":` + n + `,"nodeName":` + n + `,"volumes":[{"name":` + n + `,"hostPath":{"path":` + n + `}}]}`
	if kind == "deployment" {
		spec = `{"template":{"metadata":{"labels":{"app":` + n + `}},"spec":` + spec + `}}`
	}
	event := pod(n, spec)
	event = strings.Replace(event, `"username":"alice"`, `"username":`+n, 1)
	event = strings.Replace(event, `"labels":{"app":"web"}`, `"labels":{"app":`+n+`,"team":`+n+`},"generateName":`+n+`,"ownerReferences":[{"kind":`+n+`,"name":`+n+`,"controller":true}]`, 1)
	event = strings.Replace(event, `"userAgent":"kubectl/v1.36.2"`, `"userAgent":`+n, 1)
	switch kind {
	case "impersonated":
		event = strings.Replace(event, `"sourceIPs"`, `"impersonatedUser":{"username":`+n+`},"sourceIPs"`, 1)
	case "observed":
		event = strings.Replace(event, `"objectRef":{"resource":"pods","namespace":"shop"`, `"objectRef":{"resource":`+n+`,"subresource":`+n+`,"namespace":`+n, 1)
	case "namespace":
		event = strings.Replace(event, `"namespace":"shop","name"`, `"namespace":`+n+`,"name"`, 1)
	case "deployment":
		event = strings.Replace(event, `"resource":"pods"`, `"resource":"deployments","apiGroup":"apps"`, 1)
	}
	a := enriched(t, e, event)
	a.Title, a.ID = string(a.Outcome)+" "+name, "00112233445566778899aabbccddeeff"
	g := &a.Actor.Grant
	g.Binding, g.Role, g.Subject, g.BindingNamespace, g.Reason = name, name, name, name, name
	a.Origin = alert.Origin{Topic: name, Line: 7}
	if name == "" {
		g.Known = false
	}
	a.Investigate, a.Respond = nil, nil
	in := inputOf(view(t, newModel(t), event))
	for _, step := range []func(*Input, *alert.Alert) error{e.investigate, e.respond} {
		if err := step(in, a); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// TestNoCommandBreaksOut runs every command of alerts about hostile names in a real shell: nothing but the programs that
// were meant is called, no flag comes out of a name, no file appears but those that are written on purpose.
func TestNoCommandBreaksOut(t *testing.T) {
	bin, record := stubs(t)
	e := newEnricher(t, Options{Budget: time.Minute})
	commands, withName := 0, 0
	ran := map[string]bool{}
	for i, name := range hostile() {
		for _, kind := range []string{"created", "impersonated", "observed", "namespace", "deployment"} {
			if kind != "created" && i%4 > 0 { // every command is a process or more
				continue
			}
			a := hostileAlert(t, e, name, kind)
			for _, line := range commandsOf(a) {
				if line == "" || ran[line] {
					continue
				}
				ran[line] = true
				commands++
				if strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) || invisible(r) }) || len(line) > 4*maxCommand {
					t.Errorf("%q holds what must not reach a terminal", line)
				}
				calls, files := run(t, bin, record, strings.ReplaceAll(line, "/var/log/kubernetes/audit/*.log", "log"))
				for _, call := range calls {
					if slices.ContainsFunc(call, func(word string) bool { return name != "" && strings.Contains(word, seen(name)) && seen(name) != "" }) {
						withName++
					}
					checkFlags(t, line, name, call)
				}
				for file, text := range files {
					if file != "allow.yaml" && file != "rules.d/watch-"+a.ID+".yml" {
						t.Errorf("%q wrote %s: %q", line, file, text)
					}
				}
				if len(calls) == 0 && len(files) == 0 {
					t.Errorf("%q did nothing", line)
				}
			}
		}
	}
	t.Logf("%d commands, %d words held the name", commands, withName)
	if commands < 200 || withName < 200 {
		t.Errorf("%d commands, %d with the name: expected more", commands, withName)
	}
}

// flags are those that the commands use on purpose.
var flags = []string{
	"--namespace", "--output", "--sort-by", "--all-containers", "--prefix", "--tail", "--filename", "--for", "--dry-run", "--overwrite", "--list", "--as", "--as-group",
	"--all-namespaces", "--arg", "--type", "--patch", "--replicas", "--now", "--cascade", "--force", "--subresource", "-ac", "-F", "-e", "-f", "--",
}

// checkFlags holds that no word of a call is a flag but those that are meant, unless it cannot be taken for one: behind --,
// or as a value.
func checkFlags(t testing.TB, line, name string, call []string) {
	t.Helper()
	for i := 1; i < len(call); i++ {
		word := call[i]
		if word == "--" {
			return
		}
		switch {
		case call[0] == "jq" && i >= 2 && call[i-2] == "--arg", call[0] == "jq" && i >= 3 && call[i-3] == "--arg":
			continue // a name and a value
		case call[0] == "grep" && call[i-1] == "-e":
			continue
		}
		flag, _, _ := strings.Cut(word, "=")
		if strings.HasPrefix(word, "-") && !slices.Contains(flags, flag) {
			t.Errorf("%q (name %.40q): the word %.60q of %.200q is a flag that nobody meant", line, name, word, call)
		}
	}
}

func commandsOf(a *alert.Alert) []string {
	var all []string
	for i := range a.Investigate {
		all = append(all, a.Investigate[i].Command)
	}
	for i := range a.Respond {
		all = append(all, a.Respond[i].Command)
	}
	return all
}

// TestForgedOwner: what a Pod says of its owner has nobody else's Deployment deleted.
func TestForgedOwner(t *testing.T) {
	e := newEnricher(t, Options{})
	forged := strings.Replace(pod(`"x"`, `{"containers":[{"name":"a","image":"a:1"}]}`), `"labels":{"app":"web"}`,
		`"labels":{"app":"web","pod-template-hash":"1"},"ownerReferences":[{"kind":"ReplicaSet","name":"victim-1","uid":"u","controller":true}]`, 1)
	for _, line := range commandsOf(enriched(t, e, forged)) {
		if strings.Contains(line, "victim") {
			t.Errorf("the owner is taken as true: %s", line)
		}
	}
	honest := strings.Replace(forged, `"username":"alice"`, `"username":"system:serviceaccount:kube-system:replicaset-controller"`, 1)
	a := enriched(t, e, honest)
	if !slices.ContainsFunc(commandsOf(a), func(line string) bool { return strings.Contains(line, "delete deployment/victim ") }) {
		t.Errorf("the owner's Deployment is not deleted: %q", commandsOf(a))
	}
}

// TestLine: JSON for a command keeps every character through the shell.
func TestLine(t *testing.T) {
	bin, record := stubs(t)
	for _, name := range hostile() {
		text, err := line(map[string]string{"a": name})
		if err != nil {
			t.Fatal(err)
		}
		c := command("printf", "%s", text)
		if c == "" {
			continue
		}
		_, files := run(t, bin, record, c+" > out")
		var back map[string]string
		if err := json.Unmarshal([]byte(files["out"]), &back); err != nil {
			t.Fatalf("%q: %v", files["out"], err)
		}
		if want := strings.ToValidUTF8(name, "\ufffd"); back["a"] != want && bytes.Count([]byte(name), []byte{0xff}) == 0 {
			t.Errorf("got %q, want %q", back["a"], want)
		}
	}
}
