package processor

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/spawnwatch/spawnwatch/rules"
)

// pairOf makes a set of two rules that both match every creation, named after the set.
func pairOf(t *testing.T, name string) *rules.Set {
	t.Helper()
	one := strings.Replace(createdRule, "11111111-", name+"1111111-", 1)
	two := strings.Replace(createdRule, "11111111-", name+"2222222-", 1)
	return compile(t, testModel(t), one+"---"+two)
}

// TestReloadUnderLoad swaps sets for as long as batches come in: every creation alerts once, by both rules of one set.
func TestReloadUnderLoad(t *testing.T) {
	const senders, batches, size = 4, 60, 20
	sets := []*rules.Set{pairOf(t, "a"), pairOf(t, "b"), pairOf(t, "c")}
	p, out, dead := newTest(t, func(c *Config) { c.Rules = sets[0] })
	h := p.Handler("")
	var load, swaps sync.WaitGroup
	done := make(chan struct{})
	for g := range senders {
		load.Go(func() {
			for i := range batches {
				var events [][]byte
				for n := range size {
					events = append(events, event((g*batches+i)*size+n))
				}
				if err := h(t.Context(), batch(events...)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	swaps.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				p.SetRules(sets[i%len(sets)])
			}
		}
	})
	load.Wait()
	close(done)
	swaps.Wait()
	seen := map[string]int{}
	for _, msg := range out.all() {
		var a struct {
			Workload struct{ Name string }
			Rules    []struct{ ID string }
		}
		if err := json.Unmarshal(msg.Value, &a); err != nil {
			t.Fatal(err)
		}
		if len(a.Rules) != 2 || a.Rules[0].ID[:1] != a.Rules[1].ID[:1] || a.Rules[0].ID == a.Rules[1].ID {
			t.Fatalf("an alert carries %v, want both rules of one set", a.Rules)
		}
		seen[a.Workload.Name]++
	}
	for i := range senders * batches * size {
		if name := fmt.Sprintf("p-%d", i); seen[name] != 1 {
			t.Fatalf("%s alerted %d times", name, seen[name])
		}
	}
	if len(dead.all()) != 0 {
		t.Errorf("%d dead letters", len(dead.all()))
	}
}
