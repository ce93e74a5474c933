package rules

import (
	"fmt"
	"math"
	"math/bits"
	"sync"
)

// Hit is a rule that matched.
type Hit struct{ Rule *Rule }

// End says how far an event was read.
type End uint8

const (
	// Rejected means that a field excluded every rule; the rest of the event was not read.
	Rejected End = iota
	// Exhausted means that the event was walked to its end.
	Exhausted
)

func (e End) String() string {
	if e == Rejected {
		return "rejected"
	}
	return "exhausted"
}

// Set is a compiled set of rules. It is immutable and safe for concurrent use.
type Set struct {
	rules      []*compiledRule
	leftOut    []*Rule
	words      int
	all        []uint64
	root       *node
	keys       int32
	slots      []slotInfo
	gated      []int32
	gates      []gate
	fields     []field
	byName     map[string]int32
	predicates []predicate
	computed   []computedGroup
	automata   []automaton
	patterns   int
	trigger    trigger
	check      func(event string, start int) int
	pool       sync.Pool
}

// compiledRule is a rule with its condition over the set's predicates. With guards or filters, the first kid is the
// rule's own condition.
type compiledRule struct {
	rule *Rule
	expr expr
}

// Rules are the rules of the set, in the order they were given. Those left out ([Options.Disable],
// [Options.LogSource]) are not among them.
func (s *Set) Rules() []*Rule {
	out := make([]*Rule, len(s.rules))
	for i, r := range s.rules {
		out[i] = r.rule
	}
	return out
}

// LeftOut are the rules that were given and are disabled or for other log sources.
func (s *Set) LeftOut() []*Rule { return s.leftOut }

// Match finds the rules that match an event and appends them to hits. It is safe for concurrent use, keeps nothing of
// the event and allocates nothing unless hits has to grow. An event of which no rule can match is read only as far as
// it takes to know that ([Rejected]). The bytes may be malformed: a structural break that the walk comes upon is a
// [*SyntaxError]; the absence of one does not mean that the event is valid.
func (s *Set) Match(event []byte, hits []Hit) ([]Hit, End, error) {
	hits, _, end, err := s.MatchChecked(event, hits, nil)
	return hits, end, err
}

// Span is a part of an event: the offset of its first byte, and that behind its last.
type Span struct{ Start, End int }

// MatchChecked is [Set.Match] for a caller who will check an event that was not rejected: it appends to checked, in their
// order, the values that went through [Options.Check] already and were found sound.
func (s *Set) MatchChecked(event []byte, hits []Hit, checked []Span) ([]Hit, []Span, End, error) {
	if len(s.rules) == 0 {
		return hits, checked, Rejected, nil
	}
	if uint64(len(event)) > math.MaxUint32 {
		return hits, checked, Rejected, fmt.Errorf("expected an event of less than 4 GiB, got %d bytes", len(event))
	}
	sc := s.pool.Get().(*scratch)
	hits, end, err := sc.match(lend(event), hits)
	checked = append(checked, sc.checked...)
	sc.release()
	s.pool.Put(sc)
	return hits, checked, end, err
}

func (sc *scratch) match(event string, hits []Hit) ([]Hit, End, error) {
	sc.begin(event)
	sc.walk()
	switch {
	case sc.broken != nil:
		return hits, Exhausted, sc.broken
	case sc.stopped:
		return hits, Rejected, nil
	}
	sc.triggered()
	for w, word := range sc.alive {
		for word != 0 {
			i := w*64 + bits.TrailingZeros64(word)
			word &= word - 1
			if r := sc.set.rules[i]; sc.holds(&r.expr) {
				hits = append(hits, Hit{r.rule})
			}
		}
	}
	return hits, Exhausted, nil
}
