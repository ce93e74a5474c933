package kafka

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
	"github.com/spawnwatch/spawnwatch/sources"
)

func TestValidateNamesEveryFault(t *testing.T) {
	c := Config{
		Brokers: []string{"b:0"}, Topics: []string{"a b", "^(", "", "..", strings.Repeat("a", 250)}, Start: "yesterday", OutOfRange: "none",
		ClusterTopic: "^audit-.*$", TLS: &kafkaconn.TLS{Key: "k.pem"}, SASL: &kafkaconn.SASL{},
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("a configuration without one right key is accepted")
	}
	for _, want := range []string{
		"brokers[0]:", "topics[0]:", "topics[1]:", "topics[2]:", "topics[3]:", "topics[4]:", "group:", "start:", "2026-01-31T08:00:00Z", "out_of_range:",
		"cluster_topic:", "one group", "tls.cert:", "sasl.mechanism:", "sasl.username:", "sasl.password:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if err := (&Config{}).Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("an empty configuration: %v, want brokers, topics and group", err)
	}
}

func TestValidConfigs(t *testing.T) {
	for _, c := range []Config{
		{Topics: []string{"audit"}},
		{Topics: []string{"^audit-", "k8s.audit_1"}, Start: Latest, OutOfRange: Latest},
		{Topics: []string{"a"}, Start: "2026-01-31T08:00:00+01:00", ClusterTopic: `^audit-(\w+)$`, ClusterHeader: "cluster"},
	} {
		c.Brokers, c.Group = []string{"b", "c:9093"}, "g"
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestRunFailsSoonAndSaysWhy(t *testing.T) {
	c := newCluster(t)
	for topic, says := range map[string][]string{"nowhere": {"topic nowhere", "does not exist", "create it"}} {
		s, err := New(c.config(topic), Settings{Name: "audit"})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err = s.Run(t.Context(), func(context.Context, *sources.Batch) error { return nil })
		if err == nil || time.Since(began) > 2*topicTime {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		for _, part := range says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error lacks %q: %v", part, err)
			}
		}
	}
}

func TestEvenShares(t *testing.T) {
	partitions := func(counts map[string]int) (all []kafka.Partition) {
		for topic, n := range counts {
			for i := range n {
				all = append(all, kafka.Partition{Topic: topic, ID: i})
			}
		}
		return all
	}
	member := func(id string, topics ...string) kafka.GroupMember { return kafka.GroupMember{ID: id, Topics: topics} }
	for name, x := range map[string]struct {
		members []kafka.GroupMember
		topics  map[string]int
		want    map[string]int // partitions by member
	}{
		"many small topics":      {[]kafka.GroupMember{member("b", "x", "y", "z"), member("a", "x", "y", "z")}, map[string]int{"x": 1, "y": 1, "z": 2}, map[string]int{"a": 2, "b": 2}},
		"more members":           {[]kafka.GroupMember{member("c", "x"), member("a", "x"), member("b", "x")}, map[string]int{"x": 2}, map[string]int{"a": 1, "b": 1, "c": 0}},
		"different topics":       {[]kafka.GroupMember{member("a", "x"), member("b", "x", "y")}, map[string]int{"x": 2, "y": 3}, map[string]int{"a": 1, "b": 4}},
		"a topic without any":    {[]kafka.GroupMember{member("a", "x", "none")}, map[string]int{"x": 3}, map[string]int{"a": 3}},
		"a topic nobody has now": {[]kafka.GroupMember{member("a", "x")}, map[string]int{"x": 1, "gone": 1}, map[string]int{"a": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var b balancer
			got := b.AssignGroups(x.members, partitions(x.topics))
			seen := map[string]bool{}
			for id, topics := range got {
				n := 0
				for topic, ids := range topics {
					n += len(ids)
					for _, p := range ids {
						if key := fmt.Sprint(topic, p); seen[key] {
							t.Errorf("%s/%d is given out twice", topic, p)
						} else {
							seen[key] = true
						}
					}
				}
				if n != x.want[id] {
					t.Errorf("%s has %d partitions, want %d: %v", id, n, x.want[id], got)
				}
			}
			if len(got) != len(x.members) {
				t.Errorf("%d of %d members are told", len(got), len(x.members))
			}
			made := b.take()
			for topic, n := range x.topics {
				if made[topic] != n {
					t.Errorf("the assignment remembers %v", made)
				}
			}
			if b.take() != nil {
				t.Error("what was taken is still there")
			}
		})
	}
}

// TestRebalance: members come and go; every record is handled, and none twice, for each drains before it gives up its
// partitions.
func TestRebalance(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	if err := c.CreateTopic("six", 6, nil); err != nil {
		t.Fatal(err)
	}
	s := newSink()
	next := 0
	feed := func(n int) {
		for p := range 6 {
			c.produce(t, "six", p, 0, records(next, next+n)...)
		}
		next += n
	}
	feed(50)
	one := startSource(t, c.config("six"), Settings{Name: "one"}, s.handle)
	s.await(t, "300 records", atLeast(300))
	two := startSource(t, c.config("six"), Settings{Name: "two"}, s.handle)
	eventually(t, "three partitions each", func() bool {
		info := c.GroupInfo("spawnwatch")
		if info == nil || len(info.Members) != 2 {
			return false
		}
		n := 0
		for _, m := range info.Members {
			for _, ps := range m.Assignment {
				if len(ps) == 3 {
					n++
				}
			}
		}
		return n == 2
	})
	feed(50)
	s.await(t, "600 records", atLeast(600))
	one.finish(t)
	feed(50)
	got := s.await(t, "900 records", atLeast(900))
	two.finish(t)
	seen := map[string]string{}
	by := map[string]int{}
	for _, x := range got {
		at := fmt.Sprintf("%d/%d", x.origin.Partition, x.offset)
		if first, ok := seen[at]; ok {
			t.Errorf("%s was handled by %s and by %s", at, first, x.origin.Source)
		}
		seen[at] = x.origin.Source
		by[x.origin.Source]++
	}
	if by["two"] < 450 {
		t.Errorf("the second member had %d records, want its half of 300 and all of the last 300", by["two"])
	}
	if n := c.committed("spawnwatch"); n != 900 {
		t.Errorf("%d is committed, want 900", n)
	}
}
