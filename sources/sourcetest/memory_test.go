package sourcetest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

// flaw is one way in which the source in memory breaks the contract.
type flaw int

const (
	none flaw = iota
	loses
	repeats
	misorders
	misnames
	readsOn
	returnsEarly
	endsCallsAtOnce
	endsCallsTooLate
	acksUnhandled
	forgetsLastAck
	skipsUnhandled
	leaks
	failsOnStop
	delaysOrder
)

const (
	memoryDrain   = 200 * time.Millisecond
	memoryWindow  = 3 // calls in hand per partition
	memoryRecords = 4 // per batch
)

// memory is a broker in memory: per partition a log and how much of it is acknowledged.
type memory struct {
	mu    sync.Mutex
	logs  [2][][]byte
	acked [2]int
}

func openMemory(f flaw, ends bool) func(testing.TB) Transport {
	return func(testing.TB) Transport {
		m := &memory{}
		return Transport{
			Source: func(testing.TB) sources.Source { return &memorySource{m: m, flaw: f, ends: ends} },
			Produce: func(_ testing.TB, p int, values [][]byte) {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.logs[p] = append(m.logs[p], values...)
			},
			Acked: func(testing.TB) int {
				m.mu.Lock()
				defer m.mu.Unlock()
				return m.acked[0] + m.acked[1]
			},
		}
	}
}

type memorySource struct {
	m    *memory
	flaw flaw
	ends bool
}

func (s *memorySource) Run(ctx context.Context, h sources.Handler) error {
	drain := memoryDrain
	if s.flaw == endsCallsTooLate {
		drain = 2 * time.Second
	}
	calls, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	if s.flaw == endsCallsAtOnce {
		calls = ctx
	}
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(drain, end) })
	defer stop()
	if s.flaw == leaks {
		go func() { <-time.After(3 * time.Second) }()
	}
	var wg sync.WaitGroup
	for p := range s.m.logs {
		wg.Go(func() { s.partition(ctx, calls, p, h) })
	}
	if s.flaw == returnsEarly {
		<-ctx.Done()
		return nil
	}
	wg.Wait()
	if !s.ends {
		<-ctx.Done()
	}
	if s.flaw == failsOnStop {
		return ctx.Err()
	}
	return nil
}

// partition hands over one log, with a window of calls, and acknowledges the handled prefix.
func (s *memorySource) partition(ctx, calls context.Context, p int, h sources.Handler) {
	s.m.mu.Lock()
	from, log := s.m.acked[p], s.m.logs[p]
	s.m.mu.Unlock()
	window := make(chan struct{}, memoryWindow)
	if s.flaw == readsOn {
		window = make(chan struct{}, len(log))
	}
	done := make([]bool, len(log))
	var wg sync.WaitGroup
	previous := make(chan struct{})
	close(previous)
	for i := from; i < len(log); i += memoryRecords {
		select {
		case window <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		to := min(i+memoryRecords, len(log))
		b := &sources.Batch{Origin: sources.Origin{Source: "memory", Partition: int32(p)}}
		for n := i; n < to; n++ {
			if s.flaw == loses && n == 7 {
				continue
			}
			v := slices.Clone(log[n])
			r := sources.Record{Value: v, Offset: int64(n)}
			if s.flaw == misorders {
				r.Offset = int64(-n)
			}
			b.Records = append(b.Records, r)
			if s.flaw == repeats && n == 7 {
				b.Records = append(b.Records[:0], sources.Record{Value: slices.Clone(log[0])})
			}
		}
		if s.flaw == misnames {
			b.Origin.Source = "other"
		}
		returned, after := make(chan struct{}), previous
		if s.ends {
			b.After = after
			if s.flaw == delaysOrder {
				b.After = nil
			}
		}
		previous = returned
		wg.Go(func() {
			defer func() { <-window }()
			err := h(calls, b)
			close(returned)
			if err == nil || s.flaw == acksUnhandled {
				s.ack(ctx, p, done, i, to)
			}
		})
	}
	wg.Wait()
}

func (s *memorySource) ack(ctx context.Context, p int, done []bool, from, to int) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.flaw == forgetsLastAck && ctx.Err() != nil {
		return
	}
	for n := from; n < to; n++ {
		done[n] = true
	}
	if s.flaw == skipsUnhandled {
		s.m.acked[p] = max(s.m.acked[p], to)
		return
	}
	for s.m.acked[p] < len(done) && done[s.m.acked[p]] {
		s.m.acked[p]++
	}
}

func memoryHarness(f flaw, ends bool) Harness {
	return Harness{
		Open: openMemory(f, ends), Name: "memory", Drain: memoryDrain, Partitions: 2, OffsetsGrow: true, Ends: ends,
		InFlight: 2 * memoryWindow * memoryRecords * (8<<10 + 64), Patience: 2 * time.Second,
	}
}
