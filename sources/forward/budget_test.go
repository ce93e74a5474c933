package forward

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

func TestBudgetGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		var first, second, third claim
		ctx := t.Context()
		if err := b.acquire(ctx, &first, 15); err != nil { // overdraws
			t.Fatal(err)
		}
		ended, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := b.acquire(ended, &second, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want to have waited", err)
		}
		got := make(chan error, 1)
		go func() { got <- b.acquire(ctx, &third, 5) }()
		synctest.Wait()
		if !b.pressed() {
			t.Error("nobody waits")
		}
		b.release(&first, 15)
		if err := <-got; err != nil || third.held != 5 || second.held != 0 || b.free != 5 || b.pressed() {
			t.Errorf("%v, holding %d, %d left", err, third.held, b.free)
		}
	})
}

// TestBudgetModel lets many claims grow step by step, as messages do, beyond what there is. All must come through,
// and never more may be held than the budget and what one needs.
func TestBudgetModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const total, claims, steps, step = 100, 40, 10, 7
		b := newBudget(total)
		done := make(chan error, claims)
		for i := range claims {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			go func() {
				var c claim
				for range 20 {
					for range steps {
						ctx, cancel := t.Context(), context.CancelFunc(func() {})
						impatient := r.IntN(10) == 0
						if impatient {
							ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(50))*time.Millisecond)
						}
						err := b.acquire(ctx, &c, step)
						cancel()
						if err != nil && !impatient {
							done <- err
							return
						}
						b.mu.Lock()
						free := b.free
						b.mu.Unlock()
						if free < -steps*step {
							done <- errors.New("too much is held")
							return
						}
						time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond) // fake time
					}
					b.release(&c, c.held)
				}
				done <- nil
			}()
		}
		for range claims {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if b.free != total || b.overdrawn != nil || b.pressed() {
			t.Errorf("%d of %d came back", b.free, total)
		}
	})
}
