package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/sources"
	"github.com/spawnwatch/spawnwatch/sources/sourcetest"
)

// got is a record as a test compares it.
type got struct {
	Path   string
	Value  string
	Line   int64
	Offset int64
	Size   int64 // of an oversized record
}

// collect runs a source over the paths and gives everything in the order in which it was handled.
func collect(t *testing.T, set Settings, paths ...string) ([]got, error) {
	t.Helper()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, err := New(Config{Paths: paths}, set)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all []got
	err = s.Run(t.Context(), sourcetest.Lend(func(ctx context.Context, b *sources.Batch) error {
		select {
		case <-b.After:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, r := range b.Records {
			g := got{Path: filepath.Base(b.Origin.Topic), Value: string(r.Value), Line: r.Line, Offset: r.Offset}
			if r.Oversized != nil {
				g.Size = r.Oversized.Size
			}
			all = append(all, g)
		}
		return nil
	}))
	return all, err
}

func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func closed(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func gzipped(t testing.TB, parts ...string) string {
	t.Helper()
	var out bytes.Buffer
	for _, p := range parts {
		z := gzip.NewWriter(&out)
		if _, err := io.WriteString(z, p); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func zstded(t testing.TB, parts ...string) string {
	t.Helper()
	var out bytes.Buffer
	for _, p := range parts {
		z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(z, p); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestLines(t *testing.T) {
	skippable := "\x50\x2a\x4d\x18\x04\x00\x00\x00junk"
	for name, c := range map[string]struct {
		content string
		want    []got
	}{
		"empty":                {"", nil},
		"one line feed":        {"\n", nil},
		"plain":                {"{}\n{\"a\":1}\n", []got{{Value: "{}", Line: 1}, {Value: `{"a":1}`, Line: 2, Offset: 3}}},
		"no last line feed":    {"{}\n[]", []got{{Value: "{}", Line: 1}, {Value: "[]", Line: 2, Offset: 3}}},
		"shorter than magic":   {"{}", []got{{Value: "{}", Line: 1}}},
		"carriage returns":     {"{}\r\n\r\n[]\r\n1\r", []got{{Value: "{}", Line: 1}, {Value: "[]", Line: 3, Offset: 6}, {Value: "1", Line: 4, Offset: 10}}},
		"blank lines":          {"\n  \t\n{}\n\n\n []\n", []got{{Value: "{}", Line: 3, Offset: 5}, {Value: " []", Line: 6, Offset: 10}}},
		"byte order mark":      {"\xef\xbb\xbf{}\n[]\n", []got{{Value: "{}", Line: 1, Offset: 3}, {Value: "[]", Line: 2, Offset: 6}}},
		"binary":               {"\x00\xff\x00\n{}\n", []got{{Value: "\x00\xff\x00", Line: 1}, {Value: "{}", Line: 2, Offset: 4}}},
		"gzip":                 {gzipped(t, "{}\n[]\n"), []got{{Value: "{}", Line: 1}, {Value: "[]", Line: 2, Offset: 3}}},
		"gzip members":         {gzipped(t, "{}\n[", "]\n", "", "1"), []got{{Value: "{}", Line: 1}, {Value: "[]", Line: 2, Offset: 3}, {Value: "1", Line: 3, Offset: 6}}},
		"gzip of nothing":      {gzipped(t, ""), nil},
		"zstd frames":          {zstded(t, "{}\n[", "]\n1"), []got{{Value: "{}", Line: 1}, {Value: "[]", Line: 2, Offset: 3}, {Value: "1", Line: 3, Offset: 6}}},
		"zstd skippable first": {skippable + zstded(t, "{}\n"), []got{{Value: "{}", Line: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, t.TempDir(), "audit.log", c.content)
			for _, lanes := range []int{1, 3} {
				all, err := collect(t, Settings{Lanes: lanes}, path)
				if err != nil {
					t.Fatal(err)
				}
				for i := range c.want {
					c.want[i].Path = "audit.log"
				}
				if d := cmp.Diff(c.want, all); d != "" {
					t.Errorf("%d lanes: (-want +got)\n%s", lanes, d)
				}
			}
		})
	}
}

// TestBlocks reads a text of many blocks, with lines from nothing to several blocks, and compares it with a plain split.
func TestBlocks(t *testing.T) {
	var text strings.Builder
	var want []got
	lengths := []int{0, 1, 17, 700, 4000, 70_000, blockSize - 1, blockSize, blockSize + 1, 5 * blockSize, 3, 3 << 20, 2}
	for i := range 400 {
		n := lengths[i%len(lengths)]
		if i >= 2*len(lengths) {
			n %= 5000 // enough of the long ones
		}
		line := strings.Repeat(string(rune('a'+i%26)), n)
		if n > 0 {
			want = append(want, got{Path: "big.log", Value: line, Line: int64(i + 1), Offset: int64(text.Len())})
		}
		text.WriteString(line)
		text.WriteByte('\n')
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"plain": text.String(), "gzip": gzipped(t, text.String()), "zstd": zstded(t, text.String())} {
		t.Run(name, func(t *testing.T) {
			all, err := collect(t, Settings{Lanes: 4}, write(t, dir, "big.log", content))
			if err != nil {
				t.Fatal(err)
			}
			if len(all) != len(want) {
				t.Fatalf("%d records, want %d", len(all), len(want))
			}
			for i := range want {
				if all[i] != want[i] {
					t.Fatalf("record %d: line %d offset %d (%d bytes), want line %d offset %d (%d bytes)", i,
						all[i].Line, all[i].Offset, len(all[i].Value), want[i].Line, want[i].Offset, len(want[i].Value))
				}
			}
		})
	}
}

func TestTinyLinesComeInBoundedBatches(t *testing.T) {
	const n = 3*maxRecords + 5
	path := write(t, t.TempDir(), "tiny.log", strings.Repeat("1\n", n))
	s, err := New(Config{Paths: []string{path}}, Settings{Lanes: 2})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	next := int64(1)
	err = s.Run(t.Context(), func(_ context.Context, b *sources.Batch) error {
		<-b.After
		mu.Lock()
		defer mu.Unlock()
		if len(b.Records) > maxRecords {
			t.Errorf("a batch of %d records", len(b.Records))
		}
		for _, r := range b.Records {
			if r.Line != next || r.Offset != 2*(next-1) {
				t.Fatalf("line %d at %d, want line %d", r.Line, r.Offset, next)
			}
			next++
		}
		return nil
	})
	if err != nil || next != n+1 {
		t.Errorf("%d lines, %v", next-1, err)
	}
}

func TestOversized(t *testing.T) {
	const limit = 300_000
	for name, c := range map[string]struct {
		length int
		ending string
		large  bool
	}{
		"at the limit":                   {limit, "\n", false},
		"at the limit, CRLF":             {limit, "\r\n", false},
		"at the limit, at the end":       {limit, "", false},
		"one above":                      {limit + 1, "\n", true},
		"one above, CRLF":                {limit + 1, "\r\n", true},
		"one above, at the end":          {limit + 1, "", true},
		"far above":                      {20*limit + 7, "\n", true},
		"far above, CRLF":                {20*limit + 7, "\r\n", true},
		"far above, at the end":          {20*limit + 7, "", true},
		"far above, CR at the end":       {20*limit + 7, "\r", true},
		"carriage returns in the middle": {-(9 * limit), "\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			n, unit := c.length, "x"
			if n < 0 {
				n, unit = -n/4, "\r\rab"
			}
			long := strings.Repeat(unit, n)
			content := "{}\n" + long + c.ending
			if strings.HasSuffix(c.ending, "\n") {
				content += "[]\n1\n"
			}
			path := write(t, t.TempDir(), "audit.log", content)
			s, err := New(Config{Paths: []string{path}}, Settings{Lanes: 2, MaxRecord: limit})
			if err != nil {
				t.Fatal(err)
			}
			seen := map[int64]bool{}
			var mu sync.Mutex
			err = s.Run(t.Context(), func(_ context.Context, b *sources.Batch) error {
				mu.Lock()
				defer mu.Unlock()
				for _, r := range b.Records {
					seen[r.Line] = true
					if r.Line != 2 {
						if r.Oversized != nil || len(r.Value) > 2 {
							t.Errorf("line %d: %d bytes, oversized %v", r.Line, len(r.Value), r.Oversized)
						}
						continue
					}
					if r.Offset != 3 {
						t.Errorf("the long line is at %d, want 3", r.Offset)
					}
					if !c.large {
						if r.Oversized != nil || string(r.Value) != long {
							t.Errorf("a line of the limit came as %d bytes, oversized %v", len(r.Value), r.Oversized)
						}
						continue
					}
					want := sources.Oversized{Size: int64(len(long)), SHA256: sha256.Sum256([]byte(long))}
					if r.Oversized == nil || *r.Oversized != want {
						t.Errorf("oversized %+v, want %+v", r.Oversized, want)
					}
					if string(r.Value) != long[:sources.OversizedKeep] {
						t.Errorf("%d bytes were kept, want the first %d", len(r.Value), sources.OversizedKeep)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if want := 2 + 2*strings.Count(c.ending, "\n"); len(seen) != want {
				t.Errorf("%d lines were seen, want %d", len(seen), want)
			}
		})
	}
}

// endless is n bytes without a line feed.
type endless struct{ n int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), e.n))
	for i := range p[:n] {
		p[i] = '['
	}
	e.n -= int64(n)
	return n, nil
}

func TestBrokenCompression(t *testing.T) {
	text := strings.Repeat(`{"kind":"Event","verb":"create"}`+"\n", 40_000) + `{"last":true}`
	flip := func(s string, at int) string {
		b := []byte(s)
		b[at] ^= 0xff
		return string(b)
	}
	zip, zst := gzipped(t, text), zstded(t, text)
	for name, c := range map[string]struct {
		content string
		want    string
		opens   bool // fails only after it was opened
	}{
		"gzip cut":           {zip[:len(zip)/2], "the gzip data is truncated", true},
		"gzip without sum":   {zip[:len(zip)-8], "the gzip data is truncated", true},
		"gzip wrong sum":     {flip(zip, len(zip)-6), "the gzip data is corrupt", true},
		"gzip garbage after": {zip + "garbage garbage", "the gzip data is corrupt", true},
		"gzip header only":   {zip[:6], "the gzip data is truncated", false},
		"zstd cut":           {zst[:len(zst)-20], "the zstd data is truncated", true},
		"zstd wrong sum":     {flip(zst, len(zst)-1), "the zstd data is corrupt", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			bad, fine := write(t, dir, "bad.gz", c.content), write(t, dir, "fine.log", "{}\n")
			all, err := collect(t, Settings{Lanes: 3}, bad, fine)
			var f *Fault
			if !errors.As(err, &f) || !strings.Contains(f.Error(), c.want) || f.Path != bad {
				t.Fatalf("the error is %v, want one about %s with %q", err, bad, c.want)
			}
			if last := all[len(all)-1]; last.Path != "fine.log" {
				t.Errorf("the next file was not read: the last record is %+v", last)
			}
			if !c.opens {
				if f.Line != 0 {
					t.Errorf("nothing was read, but the fault names line %d", f.Line)
				}
				return
			}
			values := make([]string, len(all)-1)
			for i := range values {
				values[i] = all[i].Value
			}
			rebuilt := strings.Join(values, "\n")
			if f.Compressed == 0 || f.Compressed > int64(len(c.content)) || f.Offset > int64(len(text)) ||
				!strings.HasPrefix(text, rebuilt) || int64(strings.Count(text[:f.Offset], "\n"))+1 != f.Line {
				t.Errorf("the fault %v does not fit the %d bytes that were handed over", f, len(rebuilt))
			}
			if f.Offset > 0 && len(rebuilt) < int(f.Offset)-1 {
				t.Errorf("%d bytes were read, but only %d handed over", f.Offset, len(rebuilt))
			}
		})
	}
}

func TestMissingInputs(t *testing.T) {
	dir := t.TempDir()
	fine := write(t, dir, "fine.log", "{}\n")
	if err := os.Mkdir(filepath.Join(dir, "folder.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	all, err := collect(t, Settings{}, filepath.Join(dir, "none.log"), filepath.Join(dir, "folder.log"), filepath.Join(dir, "*.gz"), fine)
	want := fmt.Sprintf("%[1]s/none.log: no such file or directory\n%[1]s/folder.log: %[2]v\n%[1]s/*.gz: %[3]v", dir, errDirectory, errNoMatch)
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the missing file is no fs.ErrNotExist")
	}
	if len(all) != 1 || all[0].Path != "fine.log" {
		t.Errorf("the readable file gave %+v", all)
	}
}

func TestUnreadableFile(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read every file")
	}
	path := write(t, t.TempDir(), "secret.log", "{}\n")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(t, Settings{}, path); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want a permission error", err)
	}
}

func TestGlobsAreSortedAndEachFileReadOnce(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.log", "a.log", "c.log", "odd[1].log"} {
		write(t, dir, name, "\""+name+"\"\n")
	}
	if err := os.Symlink(filepath.Join(dir, "a.log"), filepath.Join(dir, "z.log")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	all, err := collect(t, Settings{Lanes: 2}, filepath.Join(dir, "c.log"), filepath.Join(dir, "[a-z].log"), filepath.Join(dir, "odd[1].log"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range all {
		names = append(names, g.Path)
	}
	if d := cmp.Diff([]string{"c.log", "a.log", "b.log", "odd[1].log"}, names); d != "" {
		t.Error(d)
	}
}

func TestStandardInput(t *testing.T) {
	all, err := collect(t, Settings{Stdin: strings.NewReader(gzipped(t, "{}\n[]"))}, "-", "-")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]got{{Path: "-", Value: "{}", Line: 1}, {Path: "-", Value: "[]", Line: 2, Offset: 3}}, all); d != "" {
		t.Error(d)
	}
}

// TestStandardInputIsReadAsItComes: a line is worked on while its writer is silent, and the end of the context ends a
// Run that waits for more.
func TestStandardInputIsReadAsItComes(t *testing.T) {
	r, w := io.Pipe()
	s, err := New(Config{Paths: []string{"-"}}, Settings{Stdin: r, Lanes: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	lines, done := make(chan string), make(chan error)
	go func() {
		done <- s.Run(ctx, func(_ context.Context, b *sources.Batch) error {
			for _, rec := range b.Records {
				lines <- string(rec.Value)
			}
			return nil
		})
	}()
	for _, line := range []string{`{"n":1}`, `{"n":2}`} {
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-lines:
			if got != line {
				t.Errorf("got %q, want %q", got, line)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the line was not worked on while its writer was silent")
		}
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Run did not end with its context while the input was silent")
	}
	closed(t, w)
	goleak.VerifyNone(t)
}

func TestReadErrorNamesLineAndOffset(t *testing.T) {
	broken := errors.New("input/output error")
	in := io.MultiReader(strings.NewReader("{}\n[]\n{\"cut\":"), failing{broken})
	all, err := collect(t, Settings{Stdin: in}, "-")
	if len(all) != 3 || all[2].Value != `{"cut":` {
		t.Errorf("records %+v, want the cut line too", all)
	}
	if err == nil || err.Error() != "-:3: byte offset 13: input/output error" || !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestHandlerErrorEndsTheRun(t *testing.T) {
	path := write(t, t.TempDir(), "audit.log", strings.Repeat(strings.Repeat("x", 100)+"\n", 50_000))
	s, err := New(Config{Paths: []string{path}}, Settings{Lanes: 3})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err = s.Run(t.Context(), func(ctx context.Context, b *sources.Batch) error {
		if b.Records[0].Offset == 0 {
			return broken
		}
		select {
		case <-b.After:
			t.Error("a batch was let through although the first one failed")
		case <-ctx.Done():
		}
		return context.Cause(ctx)
	})
	if !errors.Is(err, broken) {
		t.Errorf("Run returned %v, want %v", err, broken)
	}
}

func TestProgressReachesItsTotal(t *testing.T) {
	dir := t.TempDir()
	a, b := write(t, dir, "a.log", strings.Repeat("{}\n", 1000)), write(t, dir, "b.gz", gzipped(t, "{}\n"))
	s, err := New(Config{Paths: []string{a, b}}, Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), func(context.Context, *sources.Batch) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if read, total := s.Progress(); read != total || read <= 3000 {
		t.Errorf("read %d of %d", read, total)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, `paths: expected at least one file`},
		{Config{Paths: []string{"a", ""}}, `paths[1]: expected a file`},
		{Config{Paths: []string{"a[", "-"}}, `paths[0]: the glob "a[" is malformed`},
		{Config{Paths: []string{"a"}, Follow: true}, `follow: growing files cannot be followed yet`},
	} {
		if _, err := New(c.cfg, Settings{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.cfg, err, c.want)
		}
	}
}
