package kafka

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/segmentio/kafka-go"
)

// balancer shares the partitions of all topics out as evenly as the subscriptions allow; kafka-go's own begin each topic
// with the same member. It has a name of its own, so that a group is never shared with another kind of consumer by
// mistake: Kafka then refuses the later one. It also remembers what the last assignment was made from.
type balancer struct {
	// layout tells the partitions of topics, nil where it cannot. kafka-go's own list is empty as soon as one topic is
	// missing, which would leave the group without any.
	layout func(topics []string) []kafka.Partition

	mu      sync.Mutex
	made    map[string]int // partitions by topic, nil unless an assignment was made since it was last taken
	renewed uint64         // how often renew was called
}

const balancerName = "spawnwatch-even"

func (b *balancer) ProtocolName() string { return balancerName }

// UserData is what the member tells the group with a join, besides its topics. It is nothing until it was renewed.
func (b *balancer) UserData() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.renewed == 0 {
		return nil, nil
	}
	return binary.BigEndian.AppendUint64(nil, b.renewed), nil
}

// renew makes the next join begin a new generation: a member that comes back as it was would be given the old one.
func (b *balancer) renew() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.renewed++
}

// take returns what the assignment was made from, if this member made it.
func (b *balancer) take() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	made := b.made
	b.made = nil
	return made
}

// AssignGroups gives each partition to the member that has the fewest so far and subscribes to its topic. Ties go by
// name, so the same members get the same partitions each time.
func (b *balancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	members = slices.Clone(members)
	if b.layout != nil {
		var topics []string
		for _, m := range members {
			topics = append(topics, m.Topics...)
		}
		slices.Sort(topics)
		if own := b.layout(slices.Compact(topics)); own != nil {
			partitions = own
		}
	}
	slices.SortFunc(members, func(a, b kafka.GroupMember) int { return strings.Compare(a.ID, b.ID) })
	partitions = slices.Clone(partitions)
	slices.SortFunc(partitions, func(a, b kafka.Partition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID))
	})
	made := make(map[string]int)
	assignments := make(kafka.GroupMemberAssignments, len(members))
	load := make([]int, len(members))
	for _, m := range members {
		assignments[m.ID] = map[string][]int{}
		for _, t := range m.Topics {
			made[t] += 0 // a topic without partitions may get some
		}
	}
	for _, p := range partitions {
		made[p.Topic]++
		best := -1
		for i, m := range members {
			if slices.Contains(m.Topics, p.Topic) && (best < 0 || load[i] < load[best]) {
				best = i
			}
		}
		if best < 0 {
			continue
		}
		load[best]++
		a := assignments[members[best].ID]
		a[p.Topic] = append(a[p.Topic], p.ID)
	}
	b.mu.Lock()
	b.made = made
	b.mu.Unlock()
	return assignments
}
