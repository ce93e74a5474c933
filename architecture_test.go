// Package spawnwatch_test holds what is true of the house as a whole.
package spawnwatch_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/spawnwatch/spawnwatch"

// mayImport says which of our packages a package may import; "x/*" covers every package below x. The longest matching
// key counts. A package that is not covered by any key may not exist: whoever adds a room adds its door here.
var mayImport = map[string][]string{
	"sources":             {},
	"sources/sourcetest":  {"sources"},
	"sources/*":           {"sources"},
	"sources/forward":     {"sources", "internal/listen"},
	"sources/kafka":       {"sources", "internal/kafkaconn"},
	"sources/nats":        {"sources", "internal/natsconn"},
	"sources/webhook":     {"sources", "internal/listen"},
	"sinks":               {},
	"sinks/sinktest":      {"sinks"},
	"sinks/*":             {"sinks"},
	"sinks/kafka":         {"sinks", "internal/kafkaconn"},
	"sinks/nats":          {"sinks", "internal/natsconn"},
	"rules":               {},
	"rules/builtin":       {},
	"internal/kafkaconn":  {},
	"internal/listen":     {},
	"internal/certtest":   {},
	"internal/natsconn":   {},
	"internal/natsdemo":   {},
	"internal/strictyaml": {},
	"internal/telemetry":  {"processor", "sources", "sinks"},
	"internal/otlptest":   {},
	"processor/envelope":  {},
	"processor/audit":     {},
	"processor/alert":     {},
	"processor/enrich":    {"processor/alert", "processor/audit"},
	"processor":           {"rules", "sources", "sinks", "processor/*"},
	"cmd/spawnwatch":      {"*"},
	"deploy":              {},
	"test/*":              {"*"},
}

// mayImportInTests is what the tests of a package may import besides.
var mayImportInTests = map[string][]string{
	"sources/*":          {"sources/sourcetest", "internal/natsdemo"},
	"sources/forward":    {"sources/sourcetest", "internal/certtest"},
	"sources/webhook":    {"sources/sourcetest", "internal/certtest"},
	"sources/kafka":      {"sources/sourcetest", "internal/certtest"},
	"sinks/*":            {"sinks/sinktest", "internal/natsdemo"},
	"rules":              {"rules/builtin"},
	"processor":          {"rules/builtin", "sources/*", "sinks/*"},
	"processor/enrich":   {"rules", "rules/builtin"},
	"internal/listen":    {"internal/certtest"},
	"internal/telemetry": {"rules", "rules/builtin", "processor/*", "internal/otlptest"},
	"test/*":             {"*"},
}

// only names third-party modules that may be imported in some places alone.
var only = map[string][]string{
	"github.com/segmentio/kafka-go":  {"sources/kafka", "sinks/kafka", "internal/kafkaconn"},
	"github.com/nats-io/nats.go":     {"sources/nats", "sinks/nats", "internal/natsconn"},
	"github.com/nats-io/nats-server": {"internal/natsdemo"},
}

// pure packages see no context, clock, log, file or network.
var pure = []string{"rules", "processor/envelope", "processor/audit", "processor/alert"}

var impure = []string{"context", "log", "log/slog", "net", "net/http", "os", "os/exec", "os/signal", "syscall"}

// pureExcept are the files through which a pure package is loaded.
var pureExcept = []string{"rules/load.go"}

func TestImports(t *testing.T) {
	n := 0
	walkGo(t, func(file string, imports []string) {
		n++
		for _, fault := range importFaults(file, imports) {
			t.Errorf("%s %s", file, fault)
		}
	})
	if n < 20 {
		t.Errorf("read %d Go files, expected the whole house", n)
	}
}

// TestImportsSeesAViolation plants violations, so that the rule itself cannot rot.
func TestImportsSeesAViolation(t *testing.T) {
	for _, c := range []struct {
		file, imports string
		fine          bool
	}{
		{file: "sources/file/file.go", imports: module + "/sinks"},
		{file: "sources/file/file.go", imports: module + "/sources", fine: true},
		{file: "sources/file/file_test.go", imports: module + "/sources/sourcetest", fine: true},
		{file: "sources/file/file.go", imports: module + "/sources/sourcetest"},
		{file: "sources/forward/tls_test.go", imports: module + "/internal/certtest", fine: true},
		{file: "sources/forward/forward.go", imports: module + "/internal/certtest"},
		{file: "sources/kafka/fetch.go", imports: "github.com/segmentio/kafka-go/protocol", fine: true},
		{file: "sources/nats/nats.go", imports: "github.com/segmentio/kafka-go"},
		{file: "rules/match.go", imports: module + "/processor/audit"},
		{file: "rules/match.go", imports: "context"},
		{file: "rules/load.go", imports: "os", fine: true},
		{file: "processor/worker.go", imports: module + "/sinks/kafka"},
		{file: "processor/envelope/read.go", imports: module + "/processor/audit"},
		{file: "processor/audit/view.go", imports: "os"},
		{file: "common/common.go", imports: "fmt"},
		{file: "cmd/spawnwatch/components.go", imports: module + "/sources/kafka", fine: true},
	} {
		if got := len(importFaults(c.file, []string{c.imports})) == 0; got != c.fine {
			t.Errorf("%s importing %s: allowed %v, want %v", c.file, c.imports, got, c.fine)
		}
	}
}

func importFaults(file string, imports []string) (faults []string) {
	dir, test := path.Dir(file), strings.HasSuffix(file, "_test.go")
	allowed, known := lookUp(mayImport, dir)
	inTests, knownInTests := lookUp(mayImportInTests, dir)
	if dir == "." && test {
		return nil
	}
	if !known && !(test && knownInTests) {
		return []string{"is in a folder that the house does not know: see mayImport"}
	}
	if test {
		allowed = append(slices.Clone(allowed), inTests...)
	}
	for _, imported := range imports {
		if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
			if ours != dir && !slices.ContainsFunc(allowed, func(a string) bool { return covers(a, ours) }) {
				faults = append(faults, "must not import "+ours)
			}
		}
		for prefix, places := range only {
			if (imported == prefix || strings.HasPrefix(imported, prefix+"/")) && !slices.Contains(places, dir) && !test && !strings.HasPrefix(dir, "test/") {
				faults = append(faults, "must not import "+imported)
			}
		}
		if !test && slices.Contains(pure, dir) && slices.Contains(impure, imported) && !slices.Contains(pureExcept, file) {
			faults = append(faults, "is pure and must not import "+imported)
		}
	}
	return faults
}

// lookUp finds the longest key that covers dir.
func lookUp(m map[string][]string, dir string) (allowed []string, ok bool) {
	best := -1
	for key, v := range m {
		if covers(key, dir) && len(key) > best {
			best, allowed, ok = len(key), v, true
		}
	}
	if exact, found := m[dir]; found {
		return exact, true
	}
	return allowed, ok
}

func covers(pattern, dir string) bool {
	if pattern == "*" {
		return true
	}
	if below, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(dir, below+"/")
	}
	return pattern == dir
}

// TestNoInit holds that nothing runs before main asks for it.
func TestNoInit(t *testing.T) {
	walkGo(t, func(file string, _ []string) {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(src), "\nfunc init()") {
			t.Errorf("%s has an init function", file)
		}
	})
}

// walkGo parses the imports of every Go file of the house, in this process: a test that asked the go command would be
// answered from its cache and miss a new violation.
func walkGo(t *testing.T, visit func(file string, imports []string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); p != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "vendor") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		imports := make([]string, len(f.Imports))
		for i, spec := range f.Imports {
			if imports[i], err = strconv.Unquote(spec.Path.Value); err != nil {
				return err
			}
		}
		visit(filepath.ToSlash(p), imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
