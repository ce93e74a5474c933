// Package file writes one line for each message, to files or to standard output.
//
// A message is durable when write(2) has returned: it survives the end of this process, not that of the machine. With
// sync each Publish ends with an fsync.
//
// A line is never followed by half of another. What a short write (a full disk) leaves of a line is cut off again, or,
// where that can't be done (a pipe, a file that others append to), ended by a line feed before anything else is written.
package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spawnwatch/spawnwatch/sinks"
)

// ErrClosedPipe is what every message fails with, for good, once nobody reads the other end of standard output or of a
// pipe any more. Package os ends the program by SIGPIPE before that happens on standard output itself, unless the
// program asked to be told of the signal instead.
var ErrClosedPipe = errors.New("the reader has closed its end of the pipe")

// Config is what a user says about a file sink.
type Config struct {
	// Path is the file to append to, made with mode 0640; "-" is standard output. It may name {cluster}, {namespace},
	// {kind}, {name}, {severity}, {outcome} and {rule}: each value makes a file of its own, folders are made (mode 0750)
	// where they are missing, and at most 64 files are open at once. In values, bytes other than A-Z a-z 0-9 . _ - become
	// "_", at most 64 bytes are used, and an unknown value is "unknown". Required.
	Path string `yaml:"path"`
	// Sync ends each write with an fsync. Default: false.
	Sync bool `yaml:"sync"`
}

// Validate reports every fault, each with its key.
func (c *Config) Validate() error {
	if c.Path == "" {
		return errors.New(`path: expected a file or "-", got nothing`)
	}
	if strings.ContainsRune(c.Path, 0) {
		return errors.New("path: expected a file, got a text with a NUL byte")
	}
	if c.Path == "-" && c.Sync {
		return errors.New("sync: standard output cannot be synced: leave sync out or give a file")
	}
	if _, err := sinks.ParseTemplate(c.Path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	return nil
}

// Sink appends lines to one stream or to files.
type Sink struct {
	// turn holds a token while nobody writes. It guards everything below it.
	turn chan struct{}
	// stream is the only output where it is not nil.
	stream *stream
	files  *files
	lines  lines
}

// New checks the configuration. A file whose path names no label is opened at once, so that a mistake shows early.
func New(cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Path == "-" {
		return NewWriter(os.Stdout, "standard output"), nil
	}
	tpl, err := sinks.ParseTemplate(cfg.Path)
	if err != nil {
		return nil, err
	}
	s := &Sink{turn: make(chan struct{}, 1), files: &files{path: tpl, sync: cfg.Sync}}
	s.turn <- struct{}{}
	if tpl.Fixed() {
		if _, err := s.files.open(cfg.Path); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// NewWriter writes to w, which errors call name. Close does not close it. A Write of w that is under way when a context
// ends is left to finish by itself; Publish writes nothing else before that.
func NewWriter(w io.Writer, name string) *Sink {
	s := &Sink{turn: make(chan struct{}, 1), stream: &stream{w: w, name: name}}
	s.turn <- struct{}{}
	return s
}

// Publish appends all of msgs, each as one line, by one write for each file.
func (s *Sink) Publish(ctx context.Context, msgs []sinks.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return sinks.AllFailed(len(msgs), false, context.Cause(ctx))
	}
	select {
	case <-s.turn:
	case <-ctx.Done():
		return sinks.AllFailed(len(msgs), false, context.Cause(ctx))
	}
	if s.stream != nil {
		return s.publishStream(ctx, msgs)
	}
	defer func() { s.turn <- struct{}{} }()
	return s.publishFiles(msgs)
}

// Close closes the files. It waits for a write under way until ctx ends.
func (s *Sink) Close(ctx context.Context) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return fmt.Errorf("a write is still under way: %w", context.Cause(ctx))
	}
	if s.stream != nil {
		return nil
	}
	return s.files.close()
}

// stream is a writer that may block: standard output, a pipe.
type stream struct {
	w    io.Writer
	name string
	torn bool
}

// written is the outcome of one write.
type written struct {
	n   int
	err error
}

// publishStream writes in a goroutine, which gives the turn back. s.lines belongs to it until then.
func (s *Sink) publishStream(ctx context.Context, msgs []sinks.Message) error {
	s.lines.reset(s.stream.torn)
	for i := range msgs {
		s.lines.add(i, msgs[i].Value)
	}
	done := make(chan error, 1)
	go func() {
		n, err := s.stream.w.Write(s.lines.buf)
		if err == nil && n < len(s.lines.buf) {
			err = io.ErrShortWrite
		}
		s.stream.torn = s.lines.torn(n, s.stream.torn)
		done <- s.lines.failures(written{n, err}, s.stream.name)
		s.lines.shrink()
		s.turn <- struct{}{}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return sinks.AllFailed(len(msgs), false, fmt.Errorf("%s: the write has not finished: %w", s.stream.name, context.Cause(ctx)))
	}
}

// publishFiles sorts the messages by file and writes each group. A message fails on its own account only.
func (s *Sink) publishFiles(msgs []sinks.Message) error {
	var failed []sinks.Failure
	for _, g := range s.files.group(msgs) {
		failed = append(failed, s.publishFile(g.path, g.indices, msgs)...)
	}
	if len(failed) == 0 {
		return nil
	}
	slices.SortFunc(failed, func(a, b sinks.Failure) int { return a.Index - b.Index })
	return &sinks.PublishError{Failures: failed}
}

func (s *Sink) publishFile(path string, indices []int, msgs []sinks.Message) []sinks.Failure {
	out, err := s.files.open(path)
	if err != nil {
		failed := make([]sinks.Failure, len(indices))
		for i, index := range indices {
			failed[i] = sinks.Failure{Index: index, Err: err}
		}
		return failed
	}
	s.lines.reset(out.torn)
	for _, i := range indices {
		s.lines.add(i, msgs[i].Value)
	}
	defer s.lines.shrink()
	var pe *sinks.PublishError
	if errors.As(s.lines.failures(out.write(&s.lines, s.files.sync), path), &pe) {
		return pe.Failures
	}
	return nil
}

// lines is what one write consists of.
type lines struct {
	buf []byte
	// index and end of each message's line.
	index, end []int
}

// keepBuffer is how large a buffer stays for the next write, 1 MiB.
const keepBuffer = 1 << 20

// reset begins a write. A torn line is ended first.
func (l *lines) reset(torn bool) {
	l.buf, l.index, l.end = l.buf[:0], l.index[:0], l.end[:0]
	if torn {
		l.buf = append(l.buf, '\n')
	}
}

// add appends a line. Line feeds inside, which JSON allows between its tokens only, become spaces.
func (l *lines) add(index int, value []byte) {
	from := len(l.buf)
	l.buf = append(l.buf, value...)
	for rest := l.buf[from:]; ; {
		at := bytes.IndexByte(rest, '\n')
		if at < 0 {
			break
		}
		rest[at] = ' '
		rest = rest[at+1:]
	}
	l.buf = append(l.buf, '\n')
	l.index = append(l.index, index)
	l.end = append(l.end, len(l.buf))
}

func (l *lines) shrink() {
	if cap(l.buf) > keepBuffer {
		l.buf = nil
	}
}

// torn says whether the last of the first n bytes stands inside a line; before says it of the state before the write.
func (l *lines) torn(n int, before bool) bool {
	if n <= 0 {
		return before
	}
	return l.buf[min(n, len(l.buf))-1] != '\n'
}

// failures reports the lines that are not wholly among the bytes written.
func (l *lines) failures(w written, name string) error {
	if w.err == nil {
		return nil
	}
	err, permanent := fmt.Errorf("%s: %w", name, plain(w.err)), false
	if errors.Is(w.err, syscall.EPIPE) || errors.Is(w.err, io.ErrClosedPipe) {
		err, permanent = fmt.Errorf("%s: %w", name, ErrClosedPipe), true
	}
	var pe sinks.PublishError
	for i, end := range l.end {
		if end > w.n {
			pe.Failures = append(pe.Failures, sinks.Failure{Index: l.index[i], Err: err, Permanent: permanent})
		}
	}
	if len(pe.Failures) == 0 {
		return nil // the writer complained after it had taken everything
	}
	return &pe
}

// plain takes the path out of an error of package os, since the name stands before it anyway.
func plain(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return err
}
