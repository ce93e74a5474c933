// Package deploy_test holds the files of this folder to what they depend on: the program that reads them, each other, and docs/metrics.md.
package deploy_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// root is the root of the repository, as seen by the tests.
const root = ".."

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// decode reads one YAML document into v and refuses keys that v does not know.
func decode(t *testing.T, path string, v any) {
	t.Helper()
	if err := yaml.Load(read(t, path), v, yaml.WithKnownFields()); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// loose reads one YAML document of a shape that others define.
func loose(t *testing.T, path string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := yaml.Unmarshal(read(t, path), &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// convert turns what YAML gave into a type with JSON tags, strictly.
func convert(t *testing.T, from, to any) {
	t.Helper()
	data, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		t.Fatal(err)
	}
}

// program builds spawnwatch once for a test.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spawnwatch")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/spawnwatch")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the program does not build: %v\n%s", err, out)
	}
	return path
}

// files lists the files of a folder by the end of their names.
func files(t *testing.T, dir, suffix string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, suffix) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s has no files that end in %s: %v", dir, suffix, errors.Join(err))
	}
	return paths
}

// yamlLoose reads YAML and lets pass what v does not know.
func yamlLoose(data []byte, v any) error { return yaml.Unmarshal(data, v) }
