package webhook

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/spawnwatch/spawnwatch/sources"
)

// BenchmarkSource posts batches of 400 events of 2.3 kB, one after the other, to a handler that does nothing. The
// sender is part of what is measured.
func BenchmarkSource(b *testing.B) {
	s := start(b, Config{}, Settings{}, func(context.Context, *sources.Batch) error { return nil })
	cl := client(b, nil)
	body := bytes.Repeat([]byte("x"), 400*2300)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		resp, err := cl.Post(s.url("/"), "application/json", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
}
