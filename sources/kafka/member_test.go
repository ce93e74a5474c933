package kafka

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestStopDuringARebalance: the group waits for a member that has work in hand; another one that has to stop does not wait
// with it, and is missed by nobody.
func TestStopDuringARebalance(t *testing.T) {
	t.Parallel()
	var closing sync.WaitGroup
	t.Cleanup(closing.Wait) // of the other member, which may wait in a join that the end of the cluster ends
	c := newCluster(t)
	s, m := newSink(), &meter{}
	r := startSource(t, c.config("audit"), Settings{Meter: m}, s.handle)
	eventually(t, "a generation", func() bool { return m.count(Rebalanced) == 1 })

	// The other member joins, so that both are in the next generation, and then does not let go of it.
	other, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: "spawnwatch", Brokers: c.ListenAddrs(), Topics: []string{"audit"}, HeartbeatInterval: 100 * time.Millisecond,
		GroupBalancers: []kafka.GroupBalancer{&balancer{}},
		SessionTimeout: time.Minute, RebalanceTimeout: time.Minute, StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		t.Fatal(err)
	}
	gen, err := other.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	gen.Start(func(context.Context) { <-release })
	defer func() {
		close(release)
		closing.Go(func() { _ = other.Close() })
	}()
	eventually(t, "the second generation", func() bool { return m.count(Rebalanced) == 2 })

	var joins atomic.Int32
	c.ControlKey(kmsg.JoinGroup.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		joins.Add(1)
		return nil, nil, false
	})
	third := startSource(t, c.config("audit"), Settings{}, s.handle)
	eventually(t, "the first and the third to join", func() bool { return joins.Load() == 2 })
	began := time.Now()
	r.finish(t)
	third.finish(t)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("two members took %v to stop while the group waited for another one", took)
	}
	eventually(t, "the leave of the first", func() bool {
		return len(c.GroupInfo("spawnwatch").Members) <= 2 // the third was not told an id yet that it could leave with
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("after %v the first member was missed, and had not left", took)
	}
}
