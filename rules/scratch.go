package rules

// scratch is what one Match needs. Everything in it is valid for one event: stamps say to which event an entry belongs,
// so that nothing has to be cleared. It is pooled, and refers to no event between calls.
type scratch struct {
	// checked are the values that [Options.Check] has found sound.
	checked []Span
	set     *Set
	event   string
	// stamp numbers events; an entry with another stamp is of an earlier one.
	stamp uint32
	// stopped says that no rule is possible any more; broken holds where the event breaks.
	stopped bool
	broken  *SyntaxError
	// complete makes the walk go to the end of the event whatever the gates say: for Explain.
	complete bool

	alive    []uint64
	alternat []uint64
	slots    []slotState
	// seen holds the stamp of the event in which a node or a join came last.
	seen   []uint32
	fields []fieldState
	// answers holds stamp<<1 | result for each predicate.
	answers []uint64
	groups  []groupState
	values  []scalar
	arena   []byte
	found   []uint64
	hits    []uint32
	runs    []uint32
	hitList []int32
	collect collector
	stream  streamer
}

// slotState is where in the event a slot's value stands.
type slotState struct {
	stamp      uint32
	start, end uint32
	// rest is the length of the path that remains behind an array on the way; 0 where the value is the slot's own.
	rest uint32
	// absent marks a slot that is settled without a value.
	absent bool
}

// maxArena is the largest buffer kept between events, 64 KiB; maxValues the number of values remembered.
const (
	maxArena  = 64 << 10
	maxValues = 256
)

func newScratch(s *Set) *scratch {
	sc := &scratch{
		set:      s,
		alive:    make([]uint64, s.words),
		alternat: make([]uint64, s.words),
		slots:    make([]slotState, len(s.slots)),
		seen:     make([]uint32, s.keys),
		fields:   make([]fieldState, len(s.fields)),
		answers:  make([]uint64, len(s.predicates)),
		groups:   make([]groupState, len(s.computed)),
		hits:     make([]uint32, s.patterns),
		runs:     make([]uint32, len(s.automata)),
		arena:    make([]byte, 0, 1024),
		values:   make([]scalar, 0, 64),
	}
	for i := range sc.groups {
		sc.groups[i].raw = make([]string, len(s.computed[i].needs))
	}
	return sc
}

// begin readies sc for an event.
func (sc *scratch) begin(event string) {
	sc.event, sc.stopped, sc.broken, sc.complete = event, false, nil, false
	sc.checked = sc.checked[:0]
	if sc.stamp++; sc.stamp == 0 { // after 2^32 events stamps would repeat
		clear(sc.slots)
		clear(sc.seen)
		clear(sc.answers)
		clear(sc.hits)
		clear(sc.runs)
		for i := range sc.fields {
			sc.fields[i].stamp = 0
		}
		for i := range sc.groups {
			sc.groups[i].stamp = 0
		}
		sc.stamp = 1
	}
	copy(sc.alive, sc.set.all)
	sc.hitList = sc.hitList[:0]
}

// release forgets the event.
func (sc *scratch) release() {
	sc.event = ""
	if len(sc.values) > 0 {
		clear(sc.values)
		sc.values = sc.values[:0]
	}
	for i := range sc.groups {
		if g := &sc.groups[i]; g.stamp == sc.stamp {
			clear(g.raw)
			clear(g.values.list)
			g.values.list = g.values.list[:0]
		}
	}
	if sc.arena = sc.arena[:0]; cap(sc.arena) > maxArena {
		sc.arena = make([]byte, 0, 1024)
	}
}
