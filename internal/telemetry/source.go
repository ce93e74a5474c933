package telemetry

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// Source is what is known of one source. It is safe for concurrent use.
type Source struct {
	info                                               SourceInfo
	attrs                                              attribute.Set
	spanAttrs                                          []attribute.KeyValue
	records, bytes, events, matched, rejected, ignored atomic.Int64
	bad                                                counts[string]
	waited, restarts, commits, rebalances              atomic.Int64
	faults                                             counts[string]

	mu     sync.Mutex
	state  SourceState
	began  bool
	parts  map[part]*position
	polled map[string]func() int64
	// waiting asks how much waits for the source as a whole; nil where partitions tell. last is the time of the last
	// record taken.
	waiting func() (topic string, messages int64, ok bool)
	last    time.Time
}

// part is one partition of a topic.
type part struct {
	topic     string
	partition int32
}

// position is how far a partition was read.
type position struct {
	lag  int64
	last time.Time
}

// SourceState is whether a source works.
type SourceState struct {
	// Up: it runs. Joined: it is a member of its group, where it has one and says so.
	Up, Joined bool
	// Done: its input has come to an end.
	Done bool
	// Since is when that became so.
	Since time.Time
	// Err is the last failure, At its time; a source that is up again keeps it.
	Err error
	At  time.Time
}

func newSource(info SourceInfo) *Source {
	s := &Source{info: info, attrs: attribute.NewSet(attribute.String("source", info.Name)), parts: map[part]*position{}, polled: map[string]func() int64{}}
	for _, f := range info.Faults {
		s.faults.add(f, 0)
	}
	s.spanAttrs = sourceAttributes(info)
	return s
}

// Source finds a source by its name.
func (t *Telemetry) Source(name string) *Source {
	if s, ok := t.sources[name]; ok {
		return s
	}
	return t.spare
}

// Running says that the source starts to run, or that it ended and why. The second start is a restart.
func (s *Source) Running(up bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Up, s.state.Joined, s.state.Since, s.state.Done = up, false, time.Now(), !up && err == nil
	if err != nil {
		s.state.Err, s.state.At = err, time.Now()
	}
	if up {
		if s.began {
			s.restarts.Add(1)
		}
		s.began = true
	}
}

// Joined says that the source became a member of its group: a rebalance.
func (s *Source) Joined() {
	s.rebalances.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Joined = true
}

// State is whether the source works.
func (s *Source) State() SourceState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Info is what is configured.
func (s *Source) Info() SourceInfo { return s.info }

// Committed counts acknowledgements.
func (s *Source) Committed(n int64) { s.commits.Add(n) }

// Fault counts what went wrong at the transport.
func (s *Source) Fault(name string, n int64) { s.faults.add(name, n) }

// PollFault takes a count that is kept elsewhere.
func (s *Source) PollFault(name string, total func() int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polled[name] = total
}

// Lag is how many records of a partition are not acknowledged, -1 when it was given up.
func (s *Source) Lag(topic string, partition int32, records int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := part{topic, partition}
	if records < 0 {
		delete(s.parts, key)
		return
	}
	s.position(key).lag = records
}

// position makes a position where there is none. The caller holds the lock.
func (s *Source) position(key part) *position {
	p, ok := s.parts[key]
	if !ok {
		p = &position{lag: -1}
		s.parts[key] = p
	}
	return p
}

// PollLag says where to ask how much waits for a source without partitions; ok is false while that is not known.
func (s *Source) PollLag(waiting func() (topic string, messages int64, ok bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = waiting
}

// took notes the time of the last record of a partition that was taken.
func (s *Source) took(topic string, partition int32, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.After(s.last) {
		s.last = at
	}
	if p, ok := s.parts[part{topic, partition}]; ok && at.After(p.last) {
		p.last = at
	}
}

// PartitionLag is how far behind a partition is.
type PartitionLag struct {
	Topic     string
	Partition int32
	// Messages are not acknowledged.
	Messages int64
	// Age of the last record that was taken, 0 where none is waiting; Known is false before the first.
	Age   time.Duration
	Known bool
}

// Lags are those of all partitions held, in their order.
func (s *Source) Lags(now time.Time) []PartitionLag {
	s.mu.Lock()
	defer s.mu.Unlock()
	lags := make([]PartitionLag, 0, len(s.parts))
	for key, p := range s.parts {
		if p.lag < 0 {
			continue
		}
		lags = append(lags, lagOf(key, p.lag, p.last, now))
	}
	if s.waiting != nil {
		if topic, n, ok := s.waiting(); ok {
			lags = append(lags, lagOf(part{topic, -1}, n, s.last, now))
		}
	}
	slices.SortFunc(lags, func(a, b PartitionLag) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return lags
}

func lagOf(key part, messages int64, last, now time.Time) PartitionLag {
	l := PartitionLag{Topic: key.topic, Partition: key.partition, Messages: messages, Known: messages == 0 || !last.IsZero()}
	if messages > 0 && l.Known {
		l.Age = max(0, now.Sub(last))
	}
	return l
}

// allFaults are those counted here and those counted elsewhere.
func (s *Source) allFaults(f func(name string, n int64)) {
	s.faults.mu.Lock()
	all := make(map[string]int64, len(s.faults.n))
	for name, n := range s.faults.n {
		all[name] = n
	}
	s.faults.mu.Unlock()
	s.mu.Lock()
	for name, total := range s.polled {
		all[name] += total()
	}
	s.mu.Unlock()
	for name, n := range all {
		f(name, n)
	}
}

// Records is how many came in.
func (s *Source) Records() int64 { return s.records.Load() }
