package file

import (
	"context"
	"runtime"
	"testing"

	"github.com/spawnwatch/spawnwatch/sources"
)

// TestALongLineCostsNoMemory reads a line of 200 MB through the default limit of 16 MiB.
func TestALongLineCostsNoMemory(t *testing.T) {
	const length = 200_000_000
	s, err := New(Config{Paths: []string{"-"}}, Settings{Stdin: &endless{n: length}, Lanes: 2})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	err = s.Run(t.Context(), func(_ context.Context, b *sources.Batch) error {
		for _, r := range b.Records {
			n++
			if r.Oversized == nil || r.Oversized.Size != length {
				t.Errorf("oversized %+v, want %d bytes", r.Oversized, length)
			}
		}
		return nil
	})
	runtime.ReadMemStats(&after)
	if err != nil || n != 1 {
		t.Fatalf("%d records, %v", n, err)
	}
	if all := (after.TotalAlloc - before.TotalAlloc) >> 20; all > 64 {
		t.Errorf("%d MiB were allocated for one long line, want at most 64 (a buffer that doubles up to 16 MiB)", all)
	}
}

// TestNoAllocationPerLine reads files of one and of many blocks: what is allocated besides is a few channels per block.
func TestNoAllocationPerLine(t *testing.T) {
	line := make([]byte, 1000)
	for i := range line {
		line[i] = 'x'
	}
	line[len(line)-1] = '\n'
	perRun := func(lines int) float64 {
		content := make([]byte, 0, lines*len(line))
		for range lines {
			content = append(content, line...)
		}
		path := write(t, t.TempDir(), "audit.log", string(content))
		s, err := New(Config{Paths: []string{path}}, Settings{Lanes: 1})
		if err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(3, func() {
			if err := s.Run(context.Background(), func(context.Context, *sources.Batch) error { return nil }); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := perRun(100), perRun(20_100)
	blocks := 20_000.0 * float64(len(line)) / blockSize
	if per := (many - few) / blocks; per > 4 {
		t.Errorf("%.1f allocations per block of %d lines, want at most 4", per, blockSize/len(line))
	}
}
