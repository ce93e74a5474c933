package kafka

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/spawnwatch/spawnwatch/sources"
)

func TestEveryCodecAndEveryPartOfARecord(t *testing.T) {
	for _, codec := range []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			rs := records(0, 500)
			rs[7].Headers = []kafka.Header{{Key: "traceparent", Value: []byte("00-abc")}, {Key: "empty"}}
			rs[8].Value = kafka.NewBytes(bytes.Repeat([]byte(`{"pad":"x"}`), 200_000)) // compressed well, 2.2 MB
			rs[9].Value = nil                                                          // a tombstone
			rs[10].Key = nil
			c.produce(t, "audit", 0, codec, rs[:6]...)
			c.produce(t, "audit", 0, codec, rs[6:8]...)
			if codec != 0 { // its batch would be larger than the broker takes
				c.produce(t, "audit", 0, codec, rs[8])
			} else {
				c.produce(t, "audit", 0, codec, records(11, 12)...)
			}
			c.produce(t, "audit", 0, codec, rs[9:]...)
			s := newSink()
			r := startSource(t, c.config("audit"), Settings{Cluster: "prod"}, s.handle)
			got := s.await(t, "500 records", atLeast(500))
			r.finish(t)
			if len(got) != 500 {
				t.Fatalf("%d records came, want 500", len(got))
			}
			byOffset := map[int64]seen{}
			for _, x := range got {
				byOffset[x.offset] = x
			}
			for i := range int64(500) {
				x, ok := byOffset[i]
				want := seen{
					origin: sources.Origin{Source: "test", Topic: "audit", Partition: 0, Cluster: "prod"}, offset: i,
					key: fmt.Sprintf("k%d", i), value: string(value(int(i))), time: time.UnixMilli(1_700_000_000_000 + i),
				}
				switch i {
				case 7:
					want.headers = "traceparent=00-abc;empty=;"
				case 8:
					want.value = strings.Repeat(`{"pad":"x"}`, 200_000)
					if codec == 0 {
						want.key, want.value, want.time = "k11", string(value(11)), time.UnixMilli(1_700_000_000_011)
					}
				case 9:
					want.value = ""
				case 10:
					want.key = ""
				}
				if !ok || x != want {
					t.Fatalf("record %d came as %.300v, want %.300v", i, x, want)
				}
			}
			if n := c.committed("spawnwatch"); n != 500 {
				t.Errorf("%d is committed, want 500", n)
			}
		})
	}
}

func TestOversizedIsCut(t *testing.T) {
	c := newCluster(t)
	big := bytes.Repeat([]byte("y"), 300_000)
	c.produce(t, "audit", 0, kafka.Zstd, append(records(0, 2), kafka.Record{Value: kafka.NewBytes(big)})...)
	s := newSink()
	r := startSource(t, c.config("audit"), Settings{MaxRecord: 200_000}, s.handle)
	got := s.await(t, "3 records", atLeast(3))
	r.finish(t)
	if got[0].cut != nil || got[2].cut == nil {
		t.Fatalf("the wrong record is cut: %.500v", got)
	}
	if x := got[2]; x.cut.Size != 300_000 || x.cut.SHA256 != sha256.Sum256(big) || len(x.value) != sources.OversizedKeep {
		t.Errorf("a record of 300000 bytes came with %+v and %d bytes", x.cut, len(x.value))
	}
}

func TestWhereAPartitionBegins(t *testing.T) {
	for startAt, want := range map[string][]string{
		"":                         {"0", "1", "2", "3", "4"},
		"earliest":                 {"0", "1", "2", "3", "4"},
		"latest":                   {"4"},
		"2023-11-14T22:13:20.002Z": {"2", "3", "4"}, // the time of record 2
		"2100-01-01T00:00:00Z":     {"4"},           // nothing is that young: what comes
	} {
		t.Run(startAt, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			for i := range 4 {
				c.produce(t, "audit", 0, 0, records(i, i+1)...)
			}
			config := c.config("audit")
			config.Start = startAt
			s := newSink()
			r := startSource(t, config, Settings{}, s.handle)
			// The first position is committed before anything came, so that a restart goes on there.
			eventually(t, "the first commit", func() bool {
				info := c.GroupInfo("spawnwatch")
				return info != nil && len(info.Commits["audit"]) == 1
			})
			c.produce(t, "audit", 0, 0, records(4, 5)...)
			got := s.await(t, "the last record", func(got []seen) bool { return len(got) > 0 && got[len(got)-1].offset == 4 })
			r.finish(t)
			var keys []string
			for _, x := range got {
				keys = append(keys, strings.TrimPrefix(x.key, "k"))
			}
			if fmt.Sprint(keys) != fmt.Sprint(want) {
				t.Errorf("records %v came, want %v", keys, want)
			}
		})
	}
}

// TestNewPartitionsAndTopics: what appears while the source runs is read from its first record, also with start: latest.
func TestNewPartitionsAndTopics(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(1, "audit-eu", "other"))
	config := c.config("audit", "^audit-.+$")
	config.Start = Latest
	config.ClusterTopic = "^audit-(.+)$"
	c.produce(t, "audit-eu", 0, 0, records(0, 1)...)
	s := newSink()
	r := startSource(t, config, Settings{Cluster: "home"}, s.handle)
	eventually(t, "the first generation", func() bool {
		info := c.GroupInfo("spawnwatch")
		return info != nil && len(info.Commits) == 2
	})
	c.produce(t, "other", 0, 0, records(1, 2)...)
	c.produce(t, "audit-eu", 0, 0, records(2, 3)...)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: "audit", Count: 2}}}); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic("audit-us", 1, nil); err != nil {
		t.Fatal(err)
	}
	c.produce(t, "audit", 1, 0, records(3, 4)...)
	c.produce(t, "audit-us", 0, 0, records(4, 5)...)
	got := s.await(t, "three records", atLeast(3))
	r.finish(t)
	clusters := map[string]string{}
	for _, x := range got {
		clusters[x.key] = x.origin.Cluster
	}
	want := map[string]string{"k2": "eu", "k3": "home", "k4": "us"}
	if fmt.Sprint(clusters) != fmt.Sprint(want) {
		t.Errorf("records of clusters %v came, want %v", clusters, want)
	}
}

// TestMissingTopicStopsNoOther: neither one that was never there, nor one that goes.
func TestMissingTopicStopsNoOther(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(1, "other"))
	m := &meter{}
	s := newSink()
	c.produce(t, "audit", 0, 0, records(0, 5)...)
	r := startSource(t, c.config("audit", "other"), Settings{Meter: m}, s.handle)
	s.await(t, "five records", atLeast(5))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	// A second member makes the group share out what is left.
	second := startSource(t, c.config("audit"), Settings{}, s.handle)
	eventually(t, "a rebalance", func() bool { return m.count(Rebalanced) >= 2 })
	c.produce(t, "audit", 0, 0, records(5, 10)...)
	s.await(t, "ten records", atLeast(10))
	second.finish(t)
	r.finish(t)
	if n := m.count(Rebalanced); n > 6 {
		t.Errorf("%d generations began", n)
	}
}

// TestMissingTopicBesideAPatternIsAnError at the start, and of a check.
func TestMissingTopicBesideAPatternIsAnError(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	s, err := New(c.config("^aud", "typo"), Settings{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	for what, err := range map[string]error{
		"Check": s.Check(ctx), "Run": s.Run(ctx, func(context.Context, *sources.Batch) error { return nil }),
	} {
		if err == nil || !strings.Contains(err.Error(), "topic typo") || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("%s says %v", what, err)
		}
	}
}

func TestClusterFromAHeader(t *testing.T) {
	c := newCluster(t)
	rs := records(0, 30)
	for i := range rs {
		if name := []string{"eu", "us", ""}[i%3]; i != 5 {
			rs[i].Headers = []kafka.Header{{Key: "other", Value: []byte("x")}, {Key: "cluster", Value: []byte(name)}}
		}
	}
	c.produce(t, "audit", 0, kafka.Snappy, rs...)
	config := c.config("audit")
	config.ClusterHeader = "cluster"
	s := newSink()
	var calls atomic.Int32
	r := startSource(t, config, Settings{Cluster: "home"}, func(ctx context.Context, b *sources.Batch) error {
		calls.Add(1)
		return s.handle(ctx, b)
	})
	got := s.await(t, "30 records", atLeast(30))
	r.finish(t)
	for _, x := range got {
		want := []string{"eu", "us", "home"}[x.offset%3]
		if x.offset == 5 {
			want = "home"
		}
		if x.origin.Cluster != want {
			t.Errorf("record %d is of cluster %q, want %q", x.offset, x.origin.Cluster, want)
		}
	}
	if n := calls.Load(); n != 3 {
		t.Errorf("30 records of three clusters took %d calls, want one for each", n)
	}
	if n := c.committed("spawnwatch"); n != 30 {
		t.Errorf("%d is committed, want 30", n)
	}
}

// TestOneClusterOfThreeIsSlow: a span is acknowledged when the calls of all its clusters have returned, not before.
func TestOneClusterOfThreeIsSlow(t *testing.T) {
	c := newCluster(t)
	rs := records(0, 3)
	for i := range rs {
		rs[i].Headers = []kafka.Header{{Key: "cluster", Value: []byte{'a' + byte(i)}}}
	}
	c.produce(t, "audit", 0, 0, rs...)
	config := c.config("audit")
	config.ClusterHeader = "cluster"
	s := newSink()
	release := make(chan struct{})
	r := startSource(t, config, Settings{}, func(ctx context.Context, b *sources.Batch) error {
		if err := s.handle(ctx, b); err != nil {
			return err
		}
		if b.Origin.Cluster == "a" {
			<-release
		}
		return nil
	})
	s.await(t, "3 calls", atLeast(3))
	if sleep(t.Context(), 3*commitEvery/2) != nil { // a commit that must not come
		t.Fatal("the test ended")
	}
	if n := c.committed("spawnwatch"); n != 0 {
		t.Errorf("%d is committed while a call is in hand", n)
	}
	close(release)
	eventually(t, "the commit", func() bool { return c.committed("spawnwatch") == 3 })
	r.finish(t)
}

// TestStuckPartitionStopsNoOther: the calls of one partition hang, those of the other go on to the end.
func TestStuckPartitionStopsNoOther(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(2, "two"))
	pad := strings.Repeat("x", 3000)
	for range 60 { // 18 MB each
		var rs []kafka.Record
		for range 100 {
			rs = append(rs, kafka.Record{Value: kafka.NewBytes([]byte(pad))})
		}
		c.produce(t, "two", 0, 0, rs...)
		c.produce(t, "two", 1, 0, rs...)
	}
	var most, held, flow atomic.Int64
	release := make(chan struct{})
	src, err := New(c.config("two"), Settings{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- src.Run(ctx, func(_ context.Context, b *sources.Batch) error {
			if b.Origin.Partition == 1 {
				flow.Add(int64(len(b.Records)))
				return nil
			}
			n := int64(0)
			for _, r := range b.Records {
				n += int64(len(r.Value))
			}
			now := held.Add(n)
			for {
				m := most.Load()
				if now <= m || most.CompareAndSwap(m, now) {
					break
				}
			}
			<-release
			held.Add(-n)
			return nil
		})
	}()
	eventually(t, "all of the other partition", func() bool { return flow.Load() == 6000 })
	eventually(t, "the bound of the stuck partition", func() bool { return most.Load() > PartitionMemory/2 })
	if got := src.held.Load(); got > 2*(PartitionMemory+2*fetchBytes) {
		t.Errorf("%d bytes are in hand, though one partition is at its bound of %d and the other has nothing left", got, PartitionMemory)
	}
	if m := most.Load(); m > PartitionMemory+CallBytes {
		t.Errorf("%d bytes of the stuck partition were lent at once, want up to %d", m, PartitionMemory)
	}
	close(release)
	eventually(t, "everything", func() bool { return c.committed("spawnwatch") == 12000 })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := src.held.Load(); got != 0 {
		t.Errorf("%d bytes are in hand after Run returned", got)
	}
}

// TestLargeBatchesGoOn: a batch that takes all the memory of its partition when decompressed is followed by others, and a
// partition that has nothing to do holds no memory that others wait for.
func TestLargeBatchesGoOn(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(2, "large"))
	huge := bytes.Repeat([]byte(`{"verb":"get"}`), (PartitionMemory+1<<20)/14)
	const batches = 4
	src, err := New(c.config("large"), Settings{Name: "test", Memory: PartitionMemory})
	if err != nil {
		t.Fatal(err)
	}
	var came atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- src.Run(ctx, func(_ context.Context, b *sources.Batch) error {
			came.Add(int64(len(b.Records)))
			return nil
		})
	}()
	for i := range batches {
		for p := range 2 {
			c.produce(t, "large", p, kafka.Zstd, kafka.Record{Value: kafka.NewBytes(huge)})
		}
		// Each after the one before is through, so that only what is kept of that can be in the way.
		eventually(t, fmt.Sprintf("batch %d", i), func() bool { return came.Load() == int64(2*(i+1)) })
		eventually(t, "idle partitions without memory", func() bool { return src.held.Load() == 0 })
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestMemoryIsSharedOut: with memory for very little, all partitions still get through, one after the other.
func TestMemoryIsSharedOut(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(6, "six"))
	for p := range 6 {
		for i := range 20 {
			c.produce(t, "six", p, kafka.Lz4, records(i*50, i*50+50)...)
		}
	}
	s := newSink()
	r := startSource(t, c.config("six"), Settings{Memory: 1}, s.handle)
	s.await(t, "6000 records", atLeast(6000))
	r.finish(t)
	if n := c.committed("spawnwatch"); n != 6000 {
		t.Errorf("%d is committed, want 6000", n)
	}
}

func TestOffsetOutOfRange(t *testing.T) {
	for policy, want := range map[string]int64{"": 6, Latest: 10} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			c.produce(t, "audit", 0, 0, records(0, 3)...)
			s := newSink()
			config := c.config("audit")
			config.OutOfRange = policy
			r := startSource(t, config, Settings{}, s.handle)
			s.await(t, "3 records", atLeast(3))
			r.finish(t)
			for i := 3; i < 10; i++ {
				c.produce(t, "audit", 0, 0, records(i, i+1)...)
			}
			// Retention removes what was to come next.
			if err := c.DeleteRecords("audit", 0, 6); err != nil {
				t.Fatal(err)
			}
			m := &meter{}
			s = newSink()
			r = startSource(t, config, Settings{Meter: m}, s.handle)
			eventually(t, "the event", func() bool { return m.count(OutOfRange) == 1 })
			c.produce(t, "audit", 0, 0, records(10, 11)...)
			got := s.await(t, "the last record", func(got []seen) bool { return len(got) > 0 && got[len(got)-1].offset == 10 })
			r.finish(t)
			if got[0].offset != want {
				t.Errorf("the partition went on at %d, want %d", got[0].offset, want)
			}
		})
	}
}

// meter collects figures.
type meter struct {
	mu     sync.Mutex
	events map[Event]int64
	lags   map[string]int64
}

func (m *meter) Lag(topic string, partition int32, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lags == nil {
		m.lags = map[string]int64{}
	}
	m.lags[fmt.Sprintf("%s/%d", topic, partition)] = n
}

func (m *meter) Event(e Event, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.events == nil {
		m.events = map[Event]int64{}
	}
	m.events[e] += n
}

func (m *meter) count(e Event) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.events[e]
}

func (m *meter) lag(partition string) (int64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.lags[partition]
	return n, ok
}

func TestLag(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.produce(t, "audit", 0, 0, records(0, 10)...)
	c.produce(t, "audit", 0, 0, records(10, 40)...)
	m := &meter{}
	release := make(chan struct{})
	r := startSource(t, c.config("audit"), Settings{Meter: m}, func(ctx context.Context, b *sources.Batch) error {
		<-release
		return nil
	})
	eventually(t, "a lag of 40", func() bool { n, ok := m.lag("audit/0"); return ok && n == 40 })
	close(release)
	eventually(t, "no lag", func() bool { n, ok := m.lag("audit/0"); return ok && n == 0 })
	r.finish(t)
	if n, _ := m.lag("audit/0"); n != -1 {
		t.Errorf("the lag of a partition that was given up is %d, want -1", n)
	}
}

// TestLagOfAStuckPartition grows although the partition is not fetched.
func TestLagOfAStuckPartition(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := &meter{}
	release := make(chan struct{})
	put := func() {
		for range 40 {
			c.produce(t, "audit", 0, 0, kafka.Record{Value: kafka.NewBytes(bytes.Repeat([]byte("x"), 500_000))})
		}
	}
	put()
	r := startSource(t, c.config("audit"), Settings{Meter: m}, func(context.Context, *sources.Batch) error {
		<-release
		return nil
	})
	eventually(t, "the lag of forty records", func() bool { n, _ := m.lag("audit/0"); return n == 40 })
	put()
	eventually(t, "the lag of eighty records", func() bool { n, _ := m.lag("audit/0"); return n == 80 })
	close(release)
	eventually(t, "no lag", func() bool { n, _ := m.lag("audit/0"); return n == 0 })
	r.finish(t)
}

// TestHandlerThatGivesUpTooSoon: an error while the context lives breaks the contract; the records come again.
func TestHandlerThatGivesUpTooSoon(t *testing.T) {
	c := newCluster(t)
	c.produce(t, "audit", 0, 0, records(0, 5)...)
	s := newSink()
	var n atomic.Int32
	r := startSource(t, c.config("audit"), Settings{}, func(ctx context.Context, b *sources.Batch) error {
		if n.Add(1) < 3 {
			return errors.New("not now")
		}
		return s.handle(ctx, b)
	})
	s.await(t, "5 records", atLeast(5))
	r.finish(t)
	if got := c.committed("spawnwatch"); got != 5 {
		t.Errorf("%d is committed, want 5", got)
	}
}

func TestFaultsOfBrokersPass(t *testing.T) {
	for name, fault := range map[string]kfake.Fault{
		"not the leader":        {Keys: []kmsg.Key{kmsg.Fetch}, Topic: "audit", Err: kerr.NotLeaderForPartition, Count: 3},
		"unknown topic":         {Keys: []kmsg.Key{kmsg.Fetch}, Topic: "audit", Err: kerr.UnknownTopicOrPartition, Count: 3},
		"storage":               {Keys: []kmsg.Key{kmsg.Fetch}, Topic: "audit", Err: kerr.KafkaStorageError, Count: 3},
		"out of range, wrongly": {Keys: []kmsg.Key{kmsg.Fetch}, Topic: "audit", Err: kerr.OffsetOutOfRange, Count: 2},
		"commit":                {Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: "audit", Err: kerr.CoordinatorLoadInProgress, Count: 3},
		"list offsets":          {Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "audit", Err: kerr.NotLeaderForPartition, Count: 3},
		"fetched offsets":       {Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "spawnwatch", TopLevel: true, Err: kerr.CoordinatorLoadInProgress, Count: 1},
		"heartbeat":             {Keys: []kmsg.Key{kmsg.Heartbeat}, Group: "spawnwatch", TopLevel: true, Err: kerr.UnknownMemberID, Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			c.produce(t, "audit", 0, 0, records(0, 5)...)
			c.Fault(fault)
			s := newSink()
			r := startSource(t, c.config("audit"), Settings{}, s.handle)
			s.await(t, "5 records", atLeast(5))
			c.produce(t, "audit", 0, 0, records(5, 10)...)
			s.await(t, "all 10 records", func(got []seen) bool {
				offsets := map[int64]bool{}
				for _, x := range got {
					offsets[x.offset] = true
				}
				return len(offsets) == 10
			})
			eventually(t, "the commit", func() bool { return c.committed("spawnwatch") == 10 })
			r.finish(t)
		})
	}
}
