// Package file reads audit events from files and standard input: one record a line, plain, gzip or zstd.
//
// Reading is shared by a number of lanes. Under one lock a lane reads the next block, cut at its last line feed, into a
// buffer of its own; outside of the lock it splits the block into lines and hands them to the handler, so that this work
// runs on all processors while the alerts, by [sources.Batch.After], still come out in the order of the input.
//
// Memory: each lane holds one block of 192 KiB, or up to 2 MiB once it met a line that long, and up to 4,096 records of
// 120 bytes; for the time of a longer line that line, at most twice MaxRecord while it is read. What is cut from one block
// is kept for the next, at most 192 KiB. A line above MaxRecord is hashed in passing. Decompression adds 128 KiB for gzip
// and, for zstd, the window that the file asks for, at most 128 MiB (the zstd tool makes 8 MiB at most unless told --ultra
// or --long).
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

// Config is what a user says about a file source.
type Config struct {
	// Paths are files and globs as of path.Match; "-" is standard input. Each file is read once, the matches of a glob
	// in the order of their names. Required.
	Paths []string `yaml:"paths"`
	// Follow goes on reading as files grow and are rotated. Not available yet.
	Follow bool `yaml:"follow"`
}

// Validate reports every fault, each with its key.
func (c *Config) Validate() error {
	var errs []error
	if len(c.Paths) == 0 {
		errs = append(errs, errors.New(`paths: expected at least one file, glob or "-", got none`))
	}
	for i, p := range c.Paths {
		if err := checkPattern(p); err != nil {
			errs = append(errs, fmt.Errorf("paths[%d]: %w", i, err))
		}
	}
	if c.Follow {
		errs = append(errs, errors.New("follow: growing files cannot be followed yet: let a log shipper send them to a forward source, or leave follow out to read them once"))
	}
	return errors.Join(errs...)
}

// Settings come from the program, not from the user of one source. The zero value of each is its default.
type Settings struct {
	// Name is the configured name, Cluster the cluster of the files or "".
	Name, Cluster string
	// Lanes is how many blocks are worked on at once; default: twice GOMAXPROCS, since lanes also wait for their turn
	// to publish.
	Lanes int
	// MaxRecord is the longest line, in bytes, that is passed on whole; default: [sources.DefaultMaxRecord].
	MaxRecord int
	// Drain is how long calls in hand may go on when Run's context has ended; default 20 s.
	Drain time.Duration
	// Stdin is what "-" reads; default: os.Stdin.
	Stdin io.Reader
	// Logger is told of what is worth knowing but no fault; default: nothing.
	Logger *slog.Logger
}

// Source reads files. It is made for one Run at a time.
type Source struct {
	paths    []string
	set      Settings
	read     atomic.Int64
	expected atomic.Int64
}

// New checks the configuration. Files are looked up when Run begins.
func New(cfg Config, set Settings) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if set.Lanes <= 0 {
		set.Lanes = 2 * runtime.GOMAXPROCS(0)
	}
	if set.MaxRecord <= 0 {
		set.MaxRecord = sources.DefaultMaxRecord
	}
	if set.Drain <= 0 {
		set.Drain = 20 * time.Second
	}
	if set.Stdin == nil {
		set.Stdin = os.Stdin
	}
	if set.Logger == nil {
		set.Logger = slog.New(slog.DiscardHandler)
	}
	return &Source{paths: slices.Clone(cfg.Paths), set: set}, nil
}

// Progress says how many bytes of the input were read so far, as they lie on disk, and how many there are in all: 0
// until Run has looked the files up, and wherever one of them has no size (standard input, a pipe).
func (s *Source) Progress() (read, total int64) { return s.read.Load(), s.expected.Load() }

// Fault is an input that could not be read, or not to its end. Everything before the fault was handed over.
type Fault struct {
	// Path is the file or the pattern as given.
	Path string
	// Line is the 1-based line in which reading ended, 0 where none was read.
	Line int64
	// Offset is how many bytes of the (decompressed) input were read.
	Offset int64
	// Compressed is how many bytes of a compressed file were read by then, at most, 0 for a plain one.
	Compressed int64
	Err        error

	order int
}

// Error names the file, the line and the offset.
func (f *Fault) Error() string {
	switch {
	case f.Line == 0:
		return fmt.Sprintf("%s: %v", f.Path, f.Err)
	case f.Compressed > 0:
		return fmt.Sprintf("%s:%d: byte offset %d (compressed: %d): %v", f.Path, f.Line, f.Offset, f.Compressed, f.Err)
	}
	return fmt.Sprintf("%s:%d: byte offset %d: %v", f.Path, f.Line, f.Offset, f.Err)
}

// Unwrap gives what went wrong.
func (f *Fault) Unwrap() error { return f.Err }

// Run hands over all inputs, one after the other, and returns nil or the joined [*Fault] of each input that could not be
// read to its end; the others are read nevertheless. When ctx ends first, it returns the faults met until then.
//
// A read from standard input or a pipe cannot be taken back: when ctx ends during one, Run returns and leaves the read to
// end by itself.
func (s *Source) Run(ctx context.Context, h sources.Handler) error {
	if ctx.Err() != nil {
		return nil
	}
	files, total, faults := expand(s.paths)
	s.read.Store(0)
	s.expected.Store(total)

	calls, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	// Made so that it cannot fire before the context has ended, however short the limit is.
	limit := time.AfterFunc(math.MaxInt64, func() { end(fmt.Errorf("the drain limit of %v has passed", s.set.Drain)) })
	defer limit.Stop()
	defer context.AfterFunc(ctx, func() { limit.Reset(s.set.Drain) })()

	r := newReader(files, &s.set, &s.read, reading.Done())
	lanes := make([]lane, s.set.Lanes)
	var wg sync.WaitGroup
	for i := range lanes {
		lanes[i] = lane{set: &s.set, r: r, handler: h, records: make([]sources.Record, 0, 128)}
		wg.Go(func() {
			if err := lanes[i].run(calls); err != nil {
				stopReading()
				end(err)
			}
		})
	}
	wg.Wait()
	r.close()
	faults = append(faults, r.faults...)
	for i := range lanes {
		faults = append(faults, lanes[i].faults...)
	}
	slices.SortFunc(faults, func(a, b *Fault) int { return a.order - b.order })
	all := make([]error, 0, len(faults)+1)
	for _, f := range faults {
		all = append(all, f)
	}
	if calls.Err() != nil && ctx.Err() == nil { // otherwise the calls ended because they were told to
		all = append(all, context.Cause(calls))
	}
	return errors.Join(all...)
}
