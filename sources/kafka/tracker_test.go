package kafka

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// commits is what the model drives: a tracker, or one with a condition broken.
type commits interface {
	reset(position, committed int64)
	begin(end int64) uint64
	finish(number uint64, err error)
	due() (int64, bool)
	wrote(int64)
	close()
}

// The three mutants break one condition each; the model must catch every one.

// eager commits the end of the latest span that finished, whatever came before it.
type eager struct {
	tracker
	ends   map[uint64]int64
	latest int64
}

func (e *eager) begin(end int64) uint64 {
	n := e.tracker.begin(end)
	if e.ends == nil {
		e.ends = map[uint64]int64{}
	}
	e.ends[n] = end
	return n
}

func (e *eager) finish(n uint64, err error) {
	if err == nil {
		e.latest = max(e.latest, e.ends[n])
	}
	e.tracker.finish(n, err)
}

func (e *eager) due() (int64, bool) {
	_, ok := e.tracker.due()
	return max(e.latest, e.position), ok || !e.closed && e.latest > e.committed
}

// careless takes a failed call for a finished one.
type careless struct{ tracker }

func (c *careless) finish(n uint64, _ error) { c.tracker.finish(n, nil) }

// undead goes on after the end of its generation.
type undead struct{ tracker }

func (u *undead) close() {}

// undeadDue gives out what it had when it was closed.
type undeadDue struct{ tracker }

func (u *undeadDue) due() (int64, bool) { return u.position, u.position != u.committed }

// group is Kafka's side: the one committed offset of a partition, which any generation may write that says it owns it.
type groupModel struct {
	offset     int64
	generation int
}

// modelRun plays one random history of a partition of n records over several generations, and returns what went wrong.
// A generation may end while calls are in hand; those finish later, when the partition belongs to another, whose commits
// the old one must not disturb.
func modelRun(rng *rand.Rand, make func() commits) error {
	const n = 400
	handled := map[int64]int{} // how often each offset was acknowledged
	g := groupModel{}
	type call struct {
		c          commits
		generation int
		number     uint64
		from, end  int64
	}
	var hand []call
	type owner struct {
		c          commits
		generation int
	}
	var owners []owner // all there ever were; only the last one owns the partition
	commit := func(o owner) error {
		offset, ok := o.c.due()
		if !ok {
			return nil
		}
		if o.generation != g.generation {
			return fmt.Errorf("generation %d committed %d after its end", o.generation, offset)
		}
		for at := int64(0); at < offset; at++ {
			if handled[at] == 0 {
				return fmt.Errorf("%d was committed, but %d was never acknowledged", offset, at)
			}
		}
		if offset < g.offset {
			return fmt.Errorf("the offset moved back from %d to %d", g.offset, offset)
		}
		if o.generation < 12 && rng.IntN(4) == 0 {
			return nil // the coordinator is away
		}
		g.offset = offset
		o.c.wrote(offset)
		return nil
	}
	finish := func(i int, err error) {
		c := hand[i]
		hand[i] = hand[len(hand)-1]
		hand = hand[:len(hand)-1]
		if err == nil {
			for at := c.from; at < c.end; at++ {
				handled[at]++
			}
		}
		c.c.finish(c.number, err)
	}
	for range 12 { // generations; the last one has no failures and so reaches the end
		g.generation++
		c := make()
		c.reset(g.offset, g.offset)
		o := owner{c, g.generation}
		owners = append(owners, o)
		next := g.offset
		last := g.generation == 12
		for steps := 0; last && g.offset < n || !last && steps < 60; steps++ {
			switch k := rng.IntN(10); {
			case k < 4 && next < n: // a call begins
				end := min(n, next+1+rng.Int64N(9))
				hand = append(hand, call{c, g.generation, c.begin(end), next, end})
				next = end
			case k < 8 && len(hand) > 0: // one ends, in any order, of any generation
				i := rng.IntN(len(hand))
				var err error
				if !last && rng.IntN(12) == 0 || hand[i].generation != g.generation && rng.IntN(2) == 0 {
					err = errors.New("unfinished")
				}
				finish(i, err)
			default:
				// Whoever thinks that it may commits.
				for _, o := range owners {
					if err := commit(o); err != nil {
						return err
					}
				}
			}
			if steps > 20000 {
				return fmt.Errorf("stuck: %d of %d committed, %d calls in hand", g.offset, n, len(hand))
			}
		}
		for i := len(hand) - 1; i >= 0; i-- { // the drain: some finish in time
			if hand[i].generation == g.generation && rng.IntN(3) > 0 {
				finish(i, nil)
			}
		}
		if err := commit(o); err != nil {
			return err
		}
		c.close()
	}
	if g.offset != n {
		return fmt.Errorf("%d of %d are committed at the end", g.offset, n)
	}
	return nil
}

func TestTrackerModel(t *testing.T) {
	for seed := range uint64(300) {
		if err := modelRun(rand.New(rand.NewPCG(seed, 1)), func() commits { return &tracker{} }); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestTrackerModelCatches shows that each of the three conditions is needed, and that the model would notice.
func TestTrackerModelCatches(t *testing.T) {
	for name, mutant := range map[string]func() commits{
		"the prefix need not be contiguous": func() commits { return &eager{} },
		"a failed call counts as finished":  func() commits { return &careless{} },
		"a closed generation goes on":       func() commits { return &undead{} },
		"a closed generation still tells":   func() commits { return &undeadDue{} },
	} {
		t.Run(name, func(t *testing.T) {
			caught := 0
			for seed := range uint64(50) {
				if modelRun(rand.New(rand.NewPCG(seed, 1)), mutant) != nil {
					caught++
				}
			}
			// A late call has to move the prefix of its old generation: not every history has one.
			if caught < 20 {
				t.Errorf("the model caught it in %d of 50 histories", caught)
			}
		})
	}
}

func TestTrackerForgetsWhatResetForgot(t *testing.T) {
	var tr tracker
	tr.reset(100, 100)
	old := tr.begin(110)
	tr.reset(500, -1)
	if offset, ok := tr.due(); !ok || offset != 500 {
		t.Errorf("due is %d %v, want the position it was reset to", offset, ok)
	}
	fresh := tr.begin(510)
	tr.finish(old, nil)
	if offset, _ := tr.due(); offset != 500 {
		t.Errorf("a span from before the reset moved the position to %d", offset)
	}
	tr.finish(fresh, nil)
	tr.finish(fresh, nil) // twice is once
	tr.finish(fresh+7, nil)
	if offset, _ := tr.due(); offset != 510 {
		t.Errorf("due is %d, want 510", offset)
	}
}

func TestTrackerMoves(t *testing.T) {
	var tr tracker
	tr.reset(0, 0)
	first := tr.begin(100)
	tr.move(500) // retention was faster: what is in hand is handled, and then it goes on there
	if offset, ok := tr.due(); ok {
		t.Errorf("%d is due before what came before it is handled", offset)
	}
	tr.finish(first, nil)
	if offset, _ := tr.due(); offset != 500 {
		t.Errorf("due is %d, want 500", offset)
	}
	old := tr.begin(600)
	tr.move(40) // cut short: what is in hand is of a log that is no more
	tr.finish(old, nil)
	tr.finish(tr.begin(50), nil)
	if offset, _ := tr.due(); offset != 50 {
		t.Errorf("due is %d, want 50", offset)
	}
}

// TestTrackerStaysSmall: what is finished is forgotten, however long the partition.
func TestTrackerStaysSmall(t *testing.T) {
	var tr tracker
	tr.reset(0, 0)
	var hand []uint64
	for i := range int64(100_000) {
		hand = append(hand, tr.begin(i+1))
		if len(hand) == 32 {
			tr.finish(hand[0], nil)
			hand = hand[1:]
		}
	}
	if cap(tr.spans) > 1024 {
		t.Errorf("with at most 32 spans in hand the tracker keeps room for %d", cap(tr.spans))
	}
	if allocs := testing.AllocsPerRun(1000, func() { tr.finish(tr.begin(1<<40), nil) }); allocs > 0 {
		t.Errorf("a span costs %v allocations", allocs)
	}
}
