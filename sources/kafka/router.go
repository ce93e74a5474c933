package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	// watchEvery is how often the cluster is asked for new leaders, partitions and topics.
	watchEvery = 5 * time.Second
	// askTime bounds one request that is not a fetch.
	askTime = 5 * time.Second
	// settleTime is how long an offset past the end must stay there before it is believed: a new leader may not yet
	// know how far the old one was.
	settleTime = 5 * time.Second
)

type topicPartition struct {
	topic string
	id    int32
}

func comparePartitions(a, b *partition) int {
	return cmp.Or(strings.Compare(a.topic, b.topic), cmp.Compare(a.id, b.id))
}

// routes finds the leader of each partition, and where those begin that do not know, until ctx ends or the group's
// assignment has to be made anew.
func (g *generation) routes(ctx context.Context) {
	watch := time.NewTimer(watchEvery)
	defer watch.Stop()
	wait := firstBackoff
	began := time.Now()
	for ctx.Err() == nil {
		ask, cancel := context.WithTimeout(ctx, askTime)
		m, err := g.s.conn.Metadata(ask, g.s.metadataTopics())
		cancel()
		if err == nil {
			if missing := g.s.missing(m); missing != nil {
				g.s.log("a topic cannot be read", "missing", "error", missing)
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			g.s.log("the brokers cannot be asked for the leaders of partitions", "metadata", "error", g.s.conn.Explain(err))
		case time.Since(began) >= watchEvery && g.stale(m): // never at once: brokers do not hear of everything at the same time
			g.s.settings.Logger.Info("the topics have other partitions than before; the group shares them out anew", "group", g.gen.GroupID)
			return
		}
		settled := err == nil && g.place(ctx, m)
		if settled {
			g.ends(ctx)
			wait = firstBackoff
			watch.Reset(watchEvery)
			select {
			case <-watch.C:
			case <-g.route:
			case <-ctx.Done():
			}
			continue
		}
		if sleep(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, time.Second)
	}
}

// stale says whether the assignment misses partitions, or the subscription topics. Of the group only the member that
// made the assignment knows what it was made from, so only that one can tell the former.
func (g *generation) stale(m *metadata.Response) bool {
	if g.s.patterns != nil {
		if topics := g.s.matching(m); len(topics) > 0 && !g.s.subscribed(topics) {
			g.s.resubscribe(topics)
			return true
		}
	}
	for i := range m.Topics {
		t := &m.Topics[i]
		if n, ok := g.assigned[t.Name]; ok && t.ErrorCode == 0 && len(t.Partitions) > n {
			return true
		}
	}
	return false
}

// place gives every partition to the fetcher of its leader. It returns whether all have one.
func (g *generation) place(ctx context.Context, m *metadata.Response) bool {
	leaders := make(map[topicPartition]int32, len(g.parts))
	faults := map[string]error{}
	for i := range m.Topics {
		t := &m.Topics[i]
		if t.ErrorCode != 0 {
			faults[t.Name] = kafka.Error(t.ErrorCode)
		}
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 || p.ErrorCode == int16(kafka.ReplicaNotAvailable) {
				leaders[topicPartition{t.Name, p.PartitionIndex}] = p.LeaderID
			}
		}
	}
	settled := true
	for _, p := range g.parts {
		leader, ok := leaders[topicPartition{p.topic, p.id}]
		if !ok || leader < 0 {
			err := faults[p.topic]
			if err == nil {
				err = kafka.LeaderNotAvailable
			}
			g.s.log("a partition has no leader", "leader", "topic", p.topic, "partition", p.id, "error", g.s.conn.Explain(err))
			settled = false
			continue
		}
		if !g.settle(ctx, p, leader) {
			settled = false
		}
	}
	return settled
}

// settle gives p to the fetcher of its leader, after it has found out where it begins.
func (g *generation) settle(ctx context.Context, p *partition, leader int32) bool {
	p.mu.Lock()
	need, owner := p.need, p.owner
	p.mu.Unlock()
	if need == needNothing && owner != nil && owner.broker == leader {
		return true
	}
	if need != needNothing {
		if err := g.locate(ctx, p, leader, need); err != nil {
			if ctx.Err() == nil && !errors.Is(err, errUnsettled) {
				g.s.log("the offsets of a partition cannot be looked up", "offsets", "topic", p.topic, "partition", p.id,
					"broker", leader, "error", g.s.conn.Explain(err))
			}
			return false
		}
	}
	f := g.fetchers[leader]
	if f == nil {
		f = &fetcher{g: g, broker: leader, wake: make(chan struct{}, 1)}
		g.fetchers[leader] = f
		g.running.Go(func() { f.run(ctx) })
	}
	p.mu.Lock()
	p.owner, p.need = f, needNothing
	p.mu.Unlock()
	notify(f.wake)
	return true
}

var errUnsettled = errors.New("the end of the partition is not settled yet")

// locate finds where p begins, or goes on after its offset was out of range.
func (g *generation) locate(ctx context.Context, p *partition, leader int32, need need) error {
	first, err := g.offset(ctx, p, leader, kafka.FirstOffset)
	if err != nil {
		return err
	}
	if need == needStart {
		offset, err := g.begin(ctx, p, leader, first)
		if err != nil {
			return err
		}
		p.start(offset)
		return nil
	}
	last, err := g.offset(ctx, p, leader, kafka.LastOffset)
	if err != nil {
		return err
	}
	p.mu.Lock()
	want := p.next
	if p.since.IsZero() {
		p.since = time.Now()
	}
	since := p.since
	p.mu.Unlock()
	switch {
	case want >= first && want <= last:
		return nil // a leader that was behind has caught up
	case want > last && time.Since(since) < settleTime:
		return errUnsettled
	}
	offset := first
	if g.s.config.OutOfRange == Latest {
		offset = last
	}
	g.s.settings.Meter.Event(OutOfRange, 1)
	g.s.settings.Logger.Error("the wanted offset of a partition does not exist any more; it goes on elsewhere (out_of_range)",
		"topic", p.topic, "partition", p.id, "wanted", want, "first", first, "end", last, "continues", offset)
	p.move(offset)
	return nil
}

// begin says where a partition without a committed offset begins.
func (g *generation) begin(ctx context.Context, p *partition, leader int32, first int64) (int64, error) {
	st := g.s.start
	if st.kind == Earliest || st.kind == Latest && g.s.isNew(p.topic, p.id) {
		return first, nil
	}
	if st.kind == Latest {
		return g.offset(ctx, p, leader, kafka.LastOffset)
	}
	offset, err := g.offset(ctx, p, leader, st.at.UnixMilli())
	if err == nil && offset < 0 { // nothing is that young
		return g.offset(ctx, p, leader, kafka.LastOffset)
	}
	return offset, err
}

// start sets where p begins. The offset is committed even before anything is handled, so that it is the same after a
// restart.
func (p *partition) start(offset int64) {
	p.mu.Lock()
	p.next = offset
	p.mu.Unlock()
	p.track.reset(offset, -1)
}

// move sets where p goes on, behind what is queued: that was fetched, and is handled before.
func (p *partition) move(offset int64) {
	p.mu.Lock()
	p.next, p.since = offset, time.Time{}
	p.queue = append(p.queue, chunk{from: offset})
	p.mu.Unlock()
	notify(p.wake)
}

// ends asks how far the partitions go that were not fetched lately, because they are at their bounds: their lag grows all
// the same.
func (g *generation) ends(ctx context.Context) {
	for _, p := range g.parts {
		p.mu.Lock()
		f := p.owner
		p.mu.Unlock()
		if f == nil || time.Since(time.Unix(0, p.toldAt.Load())) < watchEvery {
			continue
		}
		if end, err := g.offset(ctx, p, f.broker, kafka.LastOffset); err == nil {
			p.ended(end)
		}
	}
}

// offset asks the leader for the offset of a time, or of [kafka.FirstOffset] or [kafka.LastOffset].
func (g *generation) offset(ctx context.Context, p *partition, leader int32, timestamp int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	res, err := g.s.conn.RoundTrip(ctx, leader, &listoffsets.Request{
		ReplicaID: -1, IsolationLevel: readCommitted,
		Topics: []listoffsets.RequestTopic{{Topic: p.topic, Partitions: []listoffsets.RequestPartition{{
			Partition: p.id, CurrentLeaderEpoch: -1, Timestamp: timestamp,
		}}}},
	})
	if err != nil {
		return 0, err
	}
	answer, ok := res.(*listoffsets.Response)
	if !ok || len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("expected the offset of one partition, got %T with something else", res)
	}
	found := answer.Topics[0].Partitions[0]
	// The error of the partition comes beside an answer without one.
	if found.ErrorCode != 0 {
		return 0, kafka.Error(found.ErrorCode)
	}
	return found.Offset, nil
}
