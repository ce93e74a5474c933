package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spawnwatch/spawnwatch/sinks"
)

const (
	// maxOpen is how many files are open at once; the one that was not written to for longest is closed.
	maxOpen = 64
	// maxLabel is how many bytes of a label go into a path: file systems take 255 for a whole name.
	maxLabel = 64

	fileMode   = 0o640
	folderMode = 0o750
)

var errNoFile = errors.New(`expected a file, got a pipe or a socket: for standard output write "-"`)

// files are the open outputs of a sink.
type files struct {
	path   sinks.Template
	sync   bool
	opened map[string]*output
	clock  int64
	groups []group
	name   []byte
}

// group is the messages of one Publish that go to one file, in their order.
type group struct {
	path    string
	indices []int
}

// output is an open file.
type output struct {
	f    *os.File
	info os.FileInfo
	used int64
	// torn: the file ends in the middle of a line.
	torn bool
}

// group sorts messages by the file they belong to. The result is valid until the next call.
func (fs *files) group(msgs []sinks.Message) []group {
	fs.groups = fs.groups[:0]
	at := map[string]int{}
	for i := range msgs {
		fs.name = fs.path.Append(fs.name[:0], &msgs[i].Labels, appendLabel)
		g, ok := at[string(fs.name)]
		if !ok {
			g = len(fs.groups)
			path := string(fs.name)
			at[path] = g
			fs.groups = append(fs.groups, group{path: path})
		}
		fs.groups[g].indices = append(fs.groups[g].indices, i)
	}
	return fs.groups
}

// appendLabel makes a value safe inside of a file name. No value becomes "." or "..", or hides the file.
func appendLabel(dst []byte, value string) []byte {
	if value == "" {
		return append(dst, "unknown"...)
	}
	for i := range min(len(value), maxLabel) {
		c := value[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '.' && i > 0:
		default:
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}

// open gives the output at path: the one that is open, unless the file was renamed or deleted since (log rotation).
func (fs *files) open(path string) (*output, error) {
	fs.clock++
	if out := fs.opened[path]; out != nil {
		info, err := os.Stat(path)
		if err == nil && os.SameFile(info, out.info) {
			out.used = fs.clock
			return out, nil
		}
		delete(fs.opened, path)
		if err := out.f.Close(); err != nil {
			return nil, fmt.Errorf("%s: closing the file that was rotated away: %w", path, plain(err))
		}
	}
	if !fs.path.Fixed() {
		if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
			return nil, fmt.Errorf("%s: making its folder: %w", path, plain(err))
		}
	}
	if err := fs.makeRoom(); err != nil {
		return nil, err
	}
	out, err := openOutput(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, plain(err))
	}
	out.used = fs.clock
	if fs.opened == nil {
		fs.opened = map[string]*output{}
	}
	fs.opened[path] = out
	return out, nil
}

func (fs *files) makeRoom() error {
	if len(fs.opened) < maxOpen {
		return nil
	}
	oldest := ""
	for path, out := range fs.opened {
		if oldest == "" || out.used < fs.opened[oldest].used {
			oldest = path
		}
	}
	out := fs.opened[oldest]
	delete(fs.opened, oldest)
	if err := out.f.Close(); err != nil {
		return fmt.Errorf("%s: closing it to open another: %w", oldest, plain(err))
	}
	return nil
}

func (fs *files) close() error {
	var errs []error
	for path, out := range fs.opened {
		if err := out.f.Close(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, plain(err)))
		}
	}
	clear(fs.opened)
	return errors.Join(errs...)
}

// openOutput opens a regular file for appending. One that ends in the middle of a line (its last writer was killed, the
// disk was full) goes on with a new line.
func openOutput(path string) (*output, error) {
	if info, err := os.Stat(path); err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0 {
		return nil, errNoFile // opening and writing could block for ever
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, fileMode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	out := &output{f: f, info: info}
	if info.Mode().IsRegular() && info.Size() > 0 {
		out.torn = endsInsideLine(path, info)
	}
	return out, nil
}

// endsInsideLine is false where the file cannot be read: appending alone is allowed too.
func endsInsideLine(path string, info os.FileInfo) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return errors.Join(err, f.Close()) == nil && last[0] != '\n'
}

// write appends the lines by one write and mends what a failure leaves of a line.
func (out *output) write(l *lines, sync bool) written {
	n, err := out.f.Write(l.buf)
	out.torn = l.torn(n, out.torn)
	if out.torn && err != nil {
		out.mend(l.buf[:n])
	}
	if err == nil && sync {
		if err = out.f.Sync(); err != nil {
			n = 0 // nobody knows what of it the disk has: all of it is worth another try
		}
	}
	return written{n, err}
}

// mend cuts the unfinished line off again, provided that nobody has appended to the file since.
func (out *output) mend(wrote []byte) {
	whole := len(wrote)
	for whole > 0 && wrote[whole-1] != '\n' {
		whole--
	}
	end, err := out.f.Seek(0, io.SeekCurrent) // where our write ended, O_APPEND or not
	if err != nil {
		return
	}
	if info, err := out.f.Stat(); err != nil || info.Size() != end {
		return
	}
	if out.f.Truncate(end-int64(len(wrote)-whole)) == nil {
		out.torn = false
	}
}
