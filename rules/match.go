package rules

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
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

// Deciding are the top-level keys whose values may exclude rules, in alphabetical order, without those of
// [Options.Checked]. An event that they alone exclude from every rule is rejected, whatever else it holds.
func (s *Set) Deciding() []string {
	var keys []string
	for _, bucket := range s.root.entries {
		for i := range bucket {
			if n := bucket[i].child; n != nil && !n.checked && len(n.gated) > 0 {
				keys = append(keys, bucket[i].name)
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// LeftOut are the rules that were given and are disabled or for other log sources.
func (s *Set) LeftOut() []*Rule { return s.leftOut }

// Match finds the rules that match an event and appends them to hits. It is safe for concurrent use, keeps nothing of
// the event and allocates nothing unless hits has to grow. An event of which no rule can match is read only as far as
// it takes to know that ([Rejected]). The bytes may be malformed: a structural break that the walk comes upon is a
// [*SyntaxError]; the absence of one does not mean that the event is valid.
func (s *Set) Match(event []byte, hits []Hit) ([]Hit, End, error) {
	c, end, err := s.Walk(event)
	if err == nil && end == Exhausted {
		hits = c.Hits(hits)
	}
	c.Release()
	return hits, end, err
}

// Candidate is an event that no field has excluded, before any rule is evaluated. It must be released; the event must
// not change until then.
type Candidate struct{ sc *scratch }

// Span is a part of an event: the offset of its first byte, and that behind its last.
type Span struct{ Start, End int }

// Walk is the first half of [Set.Match], for a caller who has something to do with a candidate before its rules are
// evaluated. Only an event that is neither rejected nor broken may be asked for its hits.
func (s *Set) Walk(event []byte) (Candidate, End, error) {
	if len(s.rules) == 0 {
		return Candidate{}, Rejected, nil
	}
	if uint64(len(event)) > math.MaxUint32 {
		return Candidate{}, Rejected, fmt.Errorf("expected an event of less than 4 GiB, got %d bytes", len(event))
	}
	sc := s.pool.Get().(*scratch)
	sc.begin(lend(event))
	sc.walk()
	c := Candidate{sc}
	switch {
	case sc.broken != nil:
		return c, Exhausted, sc.broken
	case sc.stopped:
		c.Release()
		return Candidate{}, Rejected, nil
	}
	return c, Exhausted, nil
}

// Checked are the values that went through [Options.Check] on the way and were found sound, in their order. They are
// valid until c is released.
func (c Candidate) Checked() []Span {
	if c.sc == nil {
		return nil
	}
	return c.sc.checked
}

// Hits evaluates the rules and appends those that match to hits.
func (c Candidate) Hits(hits []Hit) []Hit { return c.sc.evaluateRules(hits) }

// Release gives the memory of c back. Nothing of it may be used afterwards.
func (c Candidate) Release() {
	if c.sc == nil {
		return
	}
	c.sc.release()
	c.sc.set.pool.Put(c.sc)
}

// evaluateRules appends the rules that match the event that was walked.
func (sc *scratch) evaluateRules(hits []Hit) []Hit {
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
	return hits
}
