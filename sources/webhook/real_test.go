package webhook

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestRealBatches posts what a real API server posted, plain and compressed: the bytes must come through as they are.
func TestRealBatches(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "corpus", "webhook", "*.json.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d batches (%v)", len(files), err)
	}
	k := &keeper{}
	s := start(t, Config{}, Settings{}, k.handle)
	cl := client(t, nil)
	for _, file := range files {
		compressed, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := gzip.NewReader(bytes.NewReader(compressed))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, resp := range []int{
			post(t, cl, s.url("/"), bytes.NewReader(plain), "Content-Type", "application/json").StatusCode,
			post(t, cl, s.url("/"), bytes.NewReader(compressed), "Content-Encoding", "gzip").StatusCode,
		} {
			if resp != 200 {
				t.Errorf("%s: got %d", file, resp)
			}
		}
		for _, got := range k.records[len(k.records)-2:] {
			if got != string(plain) {
				t.Errorf("%s: got %d bytes, want %d", file, len(got), len(plain))
			}
		}
	}
}
