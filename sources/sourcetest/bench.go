package sourcetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spawnwatch/spawnwatch/sources"
)

// bench is where one check works: a transport, what was put into it, and what came out.
type bench struct {
	h         Harness
	t         testing.TB
	transport Transport
	seed      maphash.Seed
	produced  []int // records per partition

	mu       sync.Mutex
	arrived  *sync.Cond // a call began or returned
	calls    int        // calls that have not returned
	bytes    int        // bytes lent to them
	maxBytes int
	seen     []delivery // handed over, in the order of the calls' beginning
	handled  []delivery // calls that returned nil, in the order of their return
	faults   []error
}

// delivery is one record of the suite as a handler saw it.
type delivery struct {
	partition, n int
	origin       sources.Origin
	offset       int64
}

// payload is the JSON object that the suite sends.
type payload struct {
	Partition int    `json:"partition"`
	N         int    `json:"n"`
	Pad       string `json:"pad"`
}

func newBench(t testing.TB, h Harness) *bench {
	b := &bench{h: h, t: t, seed: maphash.MakeSeed(), produced: make([]int, h.Partitions)}
	b.arrived = sync.NewCond(&b.mu)
	return b
}

func (b *bench) check(c check) error {
	b.transport = b.h.Open(b.t)
	err := c.run(b)
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(append(b.faults, err)...)
}

// produce puts count records of about size bytes into each partition.
func (b *bench) produce(count, size int) {
	pad := string(bytes.Repeat([]byte{'x'}, size))
	for p := range b.produced {
		values := make([][]byte, count)
		for i := range values {
			// Lengths differ, so that a value cut at the wrong place shows.
			v, err := json.Marshal(payload{Partition: p, N: b.produced[p], Pad: pad[:size-(i*7)%(size/2)]})
			if err != nil {
				b.t.Fatal(err)
			}
			values[i] = v
			b.produced[p]++
		}
		b.transport.Produce(b.t, p, values)
	}
}

func (b *bench) total() (n int) {
	for _, c := range b.produced {
		n += c
	}
	return n
}

// handler is the suite's handler around work: it notes what comes, watches the loan, and spoils the bytes at its end.
func (b *bench) handler(work func(ctx context.Context, seen []delivery) error) sources.Handler {
	return func(ctx context.Context, batch *sources.Batch) error {
		got, size := b.read(batch)
		before := digest(b.seed, batch)
		b.mu.Lock()
		b.calls++
		b.bytes += size
		b.maxBytes = max(b.maxBytes, b.bytes)
		b.seen = append(b.seen, got...)
		b.arrived.Broadcast()
		b.mu.Unlock()

		err := work(ctx, got)
		if batch.After != nil && err == nil {
			select {
			case <-batch.After:
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}

		b.mu.Lock()
		if digest(b.seed, batch) != before {
			b.fault("the bytes of a batch from %+v changed before its handler returned", batch.Origin)
		}
		b.calls--
		b.bytes -= size
		if err == nil {
			b.handled = append(b.handled, got...)
		} else if ctx.Err() == nil {
			b.fault("the suite's own handler failed without an ended context: %v", err)
		}
		b.arrived.Broadcast()
		b.mu.Unlock()
		if !b.h.SharedBytes {
			spoil(batch)
		}
		return err
	}
}

// read decodes the batch and checks what holds for every one.
func (b *bench) read(batch *sources.Batch) (got []delivery, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if batch.Origin.Source != b.h.Name {
		b.fault("Origin.Source is %q, want the configured name %q", batch.Origin.Source, b.h.Name)
	}
	if len(batch.Records) == 0 {
		b.fault("a batch without records from %+v", batch.Origin)
	}
	last := map[int]int{}
	for i := range batch.Records {
		r := &batch.Records[i]
		size += len(r.Value)
		var p payload
		if err := json.Unmarshal(r.Value, &p); err != nil {
			b.fault("record %d of a batch from %+v does not decode: %v", i, batch.Origin, err)
			continue
		}
		if p.Partition < 0 || p.Partition >= len(b.produced) || p.N < 0 || p.N >= b.produced[p.Partition] {
			b.fault("record %d of partition %d was never produced", p.N, p.Partition)
			continue
		}
		if prev, ok := last[p.Partition]; ok && p.N <= prev {
			b.fault("partition %d: record %d comes after %d in one batch", p.Partition, p.N, prev)
		}
		last[p.Partition] = p.N
		got = append(got, delivery{partition: p.Partition, n: p.N, origin: batch.Origin, offset: r.Offset})
	}
	return got, size
}

// fault notes what is broken; b.mu is held.
func (b *bench) fault(format string, args ...any) {
	if len(b.faults) < 10 { // the eleventh tells nothing new
		b.faults = append(b.faults, fmt.Errorf(format, args...))
	}
}

// await waits until cond holds, looking again whenever a call begins or returns.
func (b *bench) await(what string, cond func() bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	late := false
	t := time.AfterFunc(b.h.Patience, func() {
		b.mu.Lock()
		late = true
		b.mu.Unlock()
		b.arrived.Broadcast()
	})
	defer t.Stop()
	for !cond() {
		if late {
			return fmt.Errorf("waited %v for %s: %d of %d records were handed over and %d handled, %d calls have not returned",
				b.h.Patience, what, len(b.seen), b.total(), len(b.handled), b.calls)
		}
		b.arrived.Wait()
	}
	return nil
}

// running is one Run of a source.
type running struct {
	b    *bench
	stop context.CancelFunc
	done chan error
	gone []goleak.Option
}

func (b *bench) start(h sources.Handler) *running {
	gone := append(slices.Clone(b.h.Leaks), goleak.IgnoreCurrent())
	ctx, stop := context.WithCancel(b.t.Context())
	r := &running{b: b, stop: stop, done: make(chan error, 1), gone: gone}
	s := b.transport.Source(b.t)
	go func() { r.done <- s.Run(ctx, h) }()
	return r
}

// finish ends the run, or lets it end where it ends by itself, and checks what Run owes at its return.
func (r *running) finish() error {
	if !r.b.h.Ends {
		r.stop()
	}
	return r.wait()
}

// cancel ends the run in the middle.
func (r *running) cancel() error {
	r.stop()
	return r.wait()
}

func (r *running) wait() error {
	defer r.stop()
	select {
	case err := <-r.done:
		r.b.mu.Lock()
		calls := r.b.calls
		r.b.mu.Unlock()
		var faults []error
		if err != nil {
			faults = append(faults, fmt.Errorf("Run returned %w, want nil", err))
		}
		if calls > 0 {
			faults = append(faults, fmt.Errorf("Run returned while %d handler calls had not", calls))
			if err := r.b.await("the last calls", func() bool { return r.b.calls == 0 }); err != nil {
				faults = append(faults, err)
			}
		}
		if err := goleak.Find(r.gone...); err != nil {
			faults = append(faults, fmt.Errorf("Run left goroutines behind: %w", err))
		}
		return errors.Join(faults...)
	case <-time.After(r.b.h.Patience + r.b.h.Drain):
		return fmt.Errorf("Run did not return within %v of its end", r.b.h.Patience+r.b.h.Drain)
	}
}

// acked waits until the transport counts want acknowledgements, and rejects more at once.
func (b *bench) acked(want int) error {
	if b.transport.Acked == nil {
		return nil
	}
	deadline := time.Now().Add(b.h.Patience)
	for {
		got := b.transport.Acked(b.t)
		switch {
		case got == want:
			return nil
		case got > want:
			return fmt.Errorf("%d records are acknowledged, but only %d were handled", got, want)
		case time.Now().After(deadline):
			return fmt.Errorf("%d records are acknowledged, want the %d that were handled", got, want)
		}
		b.pause(5 * time.Millisecond)
	}
}

// pause passes time, for what happens outside of this process or should not happen at all.
func (b *bench) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.t.Context().Done():
	}
}

// complete checks that every record was handled, and exactly once where once is asked for.
func (b *bench) complete(once times) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	count := map[[2]int]int{}
	for _, d := range b.handled {
		count[[2]int{d.partition, d.n}]++
	}
	for p, n := range b.produced {
		for i := range n {
			switch c := count[[2]int{p, i}]; {
			case c == 0:
				return fmt.Errorf("partition %d: record %d of %d was never handled", p, i, n)
			case c > 1 && once == exactlyOnce:
				return fmt.Errorf("partition %d: record %d was handled %d times without any failure", p, i, c)
			}
		}
	}
	return nil
}

// times says how often each record must have been handled.
type times int

// A run without failures delivers exactly once, everything else at least once.
const (
	exactlyOnce times = iota
	atLeastOnce
)

// offsetsInOrder checks that sorting by offset gives the order of production.
func (b *bench) offsetsInOrder() error {
	if !b.h.OffsetsGrow {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	sorted := slices.Clone(b.seen)
	slices.SortStableFunc(sorted, func(x, y delivery) int {
		if x.partition != y.partition {
			return x.partition - y.partition
		}
		return x.n - y.n
	})
	for i := 1; i < len(sorted); i++ {
		x, y := sorted[i-1], sorted[i]
		if x.partition == y.partition && x.n < y.n && x.origin == y.origin && x.offset >= y.offset {
			return fmt.Errorf("%+v: record %d has offset %d and record %d, produced later, %d", x.origin, x.n, x.offset, y.n, y.offset)
		}
	}
	return nil
}
