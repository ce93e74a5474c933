package strictyaml

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type level string

func (l *level) UnmarshalText(b []byte) error {
	if s := string(b); s != "low" && s != "high" {
		return errors.New("it is neither low nor high")
	}
	*l = level(b)
	return nil
}

type common struct {
	Name string `yaml:"name"`
}

type tls struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

type keyed struct{ key, text string }

func (k keyed) Error() string { return k.text }
func (k keyed) Key() string   { return k.key }

func (t *tls) Validate() error {
	if t.Cert != "" && t.Key == "" {
		return errors.Join(keyed{"cert", "a certificate needs its key"})
	}
	return nil
}

type config struct {
	Workers int               `yaml:"workers"`
	Drain   time.Duration     `yaml:"drain"`
	Level   level             `yaml:"level"`
	Builtin bool              `yaml:"builtin"`
	Brokers []string          `yaml:"brokers"`
	TLS     *tls              `yaml:"tls"`
	Labels  map[string]string `yaml:"labels"`
	Token   string            `yaml:"token"`
	Ratio   float64           `yaml:"ratio"`
}

type exported struct {
	Common common `yaml:",inline"`
	Rest   string `yaml:"rest"`
}

func testEnv() Environment {
	vars := map[string]string{"BROKER": "kafka:9092", "EMPTY": "", "SECRET": "hunter2"}
	return Environment{
		LookUp: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		ReadFile: func(path string) ([]byte, error) {
			if path == "/run/secrets/token" {
				return []byte("t0ken\n"), nil
			}
			return nil, os.ErrNotExist
		},
	}
}

func TestDecode(t *testing.T) {
	got := config{Builtin: true, Workers: 3, Drain: time.Second}
	err := Decode("c.yaml", []byte(`
drain: 20s
level: high
brokers: ["${BROKER}", "${NONE:-fallback:1}", "${EMPTY:-e}", "a$$b"]
tls: {cert: c, key: k}
labels: &l {a: "1"}
token: ${file:/run/secrets/token}
ratio: 0.5
`), &got, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		Builtin: true, Workers: 3, Drain: 20 * time.Second, Level: "high", Ratio: 0.5,
		Brokers: []string{"kafka:9092", "fallback:1", "e", "a$b"}, TLS: &tls{"c", "k"},
		Labels: map[string]string{"a": "1"}, Token: "t0ken",
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tls{})); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeInline(t *testing.T) {
	var got exported
	if err := Decode("c.yaml", []byte("name: n\nrest: r\n"), &got, testEnv()); err != nil {
		t.Fatal(err)
	}
	if got.Common.Name != "n" || got.Rest != "r" {
		t.Errorf("got %+v", got)
	}
}

func TestDecodeEmpty(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n"} {
		var c config
		if err := Decode("c.yaml", []byte(text), &c, testEnv()); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestFaults checks position, text and hint of each fault; all of a file are reported together.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown key", "workrs: 1\n", `c.yaml:1:1: unknown key "workrs" (did you mean "workers"?)`},
		{"nothing near", "zzzzzzzzzz: 1\n", `known keys: workers, drain`},
		{"twice", "workers: 1\nworkers: 2\n", `c.yaml:2:1: the key "workers" stands here twice, first in line 1`},
		{"type", "workers: many\n", `c.yaml:1:10: workers: expected a whole number, got "many": invalid syntax`},
		{"range", "workers: 99999999999999999999\n", `value out of range`},
		{"negative duration", "drain: -1s\n", `expected a duration such as 20s or 5m, got "-1s": it is negative`},
		{"own text", "level: middle\n", `c.yaml:1:8: level: expected text, got "middle": it is neither low nor high`},
		{"scalar for list", "brokers: k:9092\n", `expected a list, got "k:9092" (write it as a list: [k:9092])`},
		{"list for map", "tls: [1]\n", `expected a map with the keys cert, key, got a list`},
		{"map for scalar", "workers: {a: 1}\n", `expected a whole number, got a map`},
		{"list item", "brokers: [a, [b]]\n", `c.yaml:1:14: brokers[1]: expected text, got a list`},
		{"nested", "tls:\n  cret: x\n", `c.yaml:2:3: tls: unknown key "cret" (did you mean "cert"?)`},
		{"validator", "tls:\n  cert: x\n", `c.yaml:2:9: tls.cert: a certificate needs its key`},
		{"unset", "brokers: ['${NOPE}']\n", `the environment variable NOPE is not set; set it, or give a default: ${NOPE:-…}`},
		{"brace", "brokers: ['${NOPE']\n", `expected a closing brace behind "${NOPE"`},
		{"file", "token: ${file:/nowhere}\n", `${file:/nowhere} cannot be read`},
		{"syntax", "workers: [1\n", `not valid YAML`},
		{"not finite", "ratio: .nan\n", `expected a number`},
		{"top", "- a\n", `expected a map with the keys workers`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var dst config
			err := Decode("c.yaml", []byte(c.yaml), &dst, testEnv())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestAllFaultsTogether(t *testing.T) {
	var c config
	err := Decode("c.yaml", []byte("workers: x\nlevel: y\nnope: z\n"), &c, testEnv())
	if n := len(leaves(err)); n != 3 {
		t.Errorf("%d faults, want 3: %v", n, err)
	}
	if !strings.Contains(err.Error(), "    1 | workers: x\n          |          ^") {
		t.Errorf("no snippet with a mark:\n%v", err)
	}
}

func TestSecretsAreNotRepeated(t *testing.T) {
	for _, text := range []string{"workers: ${SECRET}\n", "token: {a: hunter2}\n", "token: [hunter2]\n"} {
		var c config
		err := Decode("c.yaml", []byte(text), &c, testEnv())
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestSecretsBesideAFaultAreNotRepeated: what stands in the same line is not what is wrong, but would be shown.
func TestSecretsBesideAFaultAreNotRepeated(t *testing.T) {
	for _, text := range []string{
		`labels: {a: b, password: hunter2}` + "\n" + `tls: {Cert: x, shared_key: hunter2}`,
		`tls: {cert: c, "token": hunter2}`,
		`tls: {url: "nats://u:hunter2@host:4222", what: x}`,
		`{token: hunter2, nothing: [}`,
	} {
		var c config
		err := Decode("c.yaml", []byte(text+"\n"), &c, testEnv())
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestLimits(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i <= 'k'; i++ {
		prev := string(i - 1)
		bomb += string(i) + ": &" + string(i) + " [" + strings.Repeat("*"+prev+",", 8) + "*" + prev + "]\n"
	}
	for name, text := range map[string]string{
		"bytes": strings.Repeat("#", MaxBytes+1),
		"flow":  strings.Repeat("[", 100_000),
		"block": deepBlock(MaxDepth + 10),
		"bomb":  bomb,
	} {
		var c config
		if err := Decode("c.yaml", []byte(text), &c, testEnv()); err == nil || !strings.Contains(err.Error(), "expected at most") {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

func deepBlock(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func FuzzDecode(f *testing.F) {
	f.Add("workers: 1\nbrokers: [a]\n")
	f.Add("tls: {cert: *a}\n")
	f.Add("a: &a {b: *a}\n")
	f.Fuzz(func(t *testing.T, text string) {
		var c config
		if err := Decode("c.yaml", []byte(text), &c, testEnv()); err != nil && err.Error() == "" {
			t.Error("a fault without a text")
		}
	})
}
