package kafka

import (
	"context"
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

	"github.com/spawnwatch/spawnwatch/sinks"
)

func TestAllCodecsCanBeReadByAnother(t *testing.T) {
	for _, codec := range []string{"", "none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run("codec_"+codec, func(t *testing.T) {
			c := newCluster(t, kfake.SeedTopics(4, "many"))
			s := c.open(t, Config{Topic: "many", Compression: codec})
			defer shut(t, s)
			if err := s.Publish(t.Context(), messages(0, 200)); err != nil {
				t.Fatal(err)
			}
			all := c.read(t, "many")
			if len(all) != 200 {
				t.Fatalf("%d records are stored, want 200", len(all))
			}
			used := map[int]bool{}
			for _, r := range all {
				used[r.partition] = true
				n := strings.TrimPrefix(r.key, "id-")
				if r.value != `{"n":`+n+`}` || r.headers["content-type"] != "application/json" || r.headers[IDHeader] != r.key {
					t.Fatalf("a record came out as %+v", r)
				}
			}
			if len(used) != 4 {
				t.Errorf("200 keys went to %d of 4 partitions", len(used))
			}
		})
	}
}

// TestPartitionIsThatOfOtherClients holds the hash against values from the tests of Kafka's own
// Utils.murmur2 (org.apache.kafka.common.utils.UtilsTest).
func TestPartitionIsThatOfOtherClients(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
	for _, n := range []int{1, 3, 12} {
		b := kafka.Murmur2Balancer{}
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		for i := range 500 {
			key := fmt.Appendf(nil, "prod/shop/%d", i)
			if got, want := int(partitionOf(key, n)), b.Balance(kafka.Message{Key: key}, all...); got != want {
				t.Fatalf("key %s of %d partitions goes to %d, want %d", key, n, got, want)
			}
		}
	}
}

func TestTopicAndKeyComeFromLabels(t *testing.T) {
	c := newCluster(t)
	s := c.open(t, Config{Topic: "k8s.{severity}.{name}", Key: "{cluster}/{namespace}/{name}", Create: true})
	defer shut(t, s)
	m := message(1)
	m.Labels.Name = "../a.b ü\x00"
	empty := message(2)
	empty.Labels = sinks.Labels{}
	if err := s.Publish(t.Context(), []sinks.Message{m, empty}); err != nil {
		t.Fatal(err)
	}
	all := c.read(t, "k8s.high.___a_b____")
	if len(all) != 1 || all[0].key != "prod/shop/../a.b ü\x00" {
		t.Errorf("the topic of a hostile name holds %+v", all)
	}
	if all := c.read(t, "k8s.unknown.unknown"); len(all) != 1 || all[0].key != "//" {
		t.Errorf("the topic of a message without labels holds %+v", all)
	}
}

// TestLostAnswerMakesNoRepeat: the broker stores a batch but its answer never comes. The batch is sent again under the
// same number, and stored once.
func TestLostAnswerMakesNoRepeat(t *testing.T) {
	for name, lose := range map[string]func(c *cluster){
		"timed out after the append": func(c *cluster) {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 2})
		},
		"too few replicas after the append": func(c *cluster) {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: 1})
		},
		"connection cut, then no leader": func(c *cluster) {
			var n atomic.Int32
			c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				if n.Add(1) == 1 {
					c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 1})
					return nil, errors.New("cut"), true
				}
				return nil, nil, false
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			s := c.open(t, Config{Topic: "alerts"})
			defer shut(t, s)
			if err := s.Publish(t.Context(), messages(0, 3)); err != nil {
				t.Fatal(err)
			}
			lose(c)
			if err := s.Publish(t.Context(), messages(3, 6)); err != nil {
				t.Fatal(err)
			}
			if err := s.Publish(t.Context(), messages(6, 9)); err != nil {
				t.Fatal(err)
			}
			count := ids(c.read(t, "alerts"))
			for i := range 9 {
				if id := message(i).ID; count[id] != 1 {
					t.Errorf("%s is stored %d times, want once", id, count[id])
				}
			}
		})
	}
}

// TestRefusalIsReportedAndNumbersStayInOrder: a refused batch is not tried again, and those after it are accepted.
func TestRefusalIsReportedAndNumbersStayInOrder(t *testing.T) {
	c := newCluster(t)
	s := c.open(t, Config{Topic: "alerts"})
	defer shut(t, s)
	for i, code := range []*kerr.Error{kerr.UnknownTopicOrPartition, kerr.NotEnoughReplicas, kerr.TopicAuthorizationFailed, kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID} {
		h := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: code, Count: 1})
		msgs := messages(10*i, 10*i+2)
		err := s.Publish(t.Context(), msgs)
		var failed *sinks.PublishError
		if !errors.As(err, &failed) || len(failed.Failures) != 2 || failed.Failures[0].Permanent || failed.Failures[1].Index != 1 {
			t.Fatalf("%v: Publish returned %v, want two passing failures", code, err)
		}
		if !strings.Contains(err.Error(), "topic alerts, partition 0") {
			t.Errorf("the error does not say where: %v", err)
		}
		if h.Hits() != 1 {
			t.Errorf("%v: %d requests were refused, want one", code, h.Hits())
		}
		if err := s.Publish(t.Context(), msgs); err != nil {
			t.Fatalf("after %v: %v", code, err)
		}
	}
	for id, n := range ids(c.read(t, "alerts")) {
		if n != 1 {
			t.Errorf("%s is stored %d times, want once", id, n)
		}
	}
}

// TestLeaderReplacedAfterAppend: the old leader has appended a message, and so have its replicas, when it is replaced and
// says that it is no leader. The number of that message belongs to no other: the new leader would take that one for a
// repeat, and acknowledge what it does not store.
func TestLeaderReplacedAfterAppend(t *testing.T) {
	c := newCluster(t)
	s := c.open(t, Config{Topic: "alerts"})
	defer shut(t, s)
	if err := s.Publish(t.Context(), messages(0, 1)); err != nil {
		t.Fatal(err)
	}
	l := s.lane("alerts", 0)
	appended := messages(1, 2)
	data, err := (&encoder{}).encode([]*item{{msg: &appended[0], key: []byte(appended[0].ID)}},
		sequence{producer: l.session.producer, epoch: l.session.epoch, first: l.next}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leader, err := s.topics.leader(t.Context(), "alerts", 0)
	if err != nil {
		t.Fatal(err)
	}
	req := &produceRequest{topic: "alerts", partition: 0, batch: data}
	if v, err := judge(req, s.conn.Exchange(t.Context(), leader, req)); v != written {
		t.Fatal(v, err)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 1})
	for _, msgs := range [][]sinks.Message{appended, messages(2, 3)} {
		if err := s.Publish(t.Context(), msgs); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(c.read(t, "alerts")); len(got) != 3 || got["id-0"] != 1 || got["id-1"] != 1 || got["id-2"] != 1 {
		t.Errorf("stored are %v, want each of three messages once", got)
	}
}

func TestOneBadMessageTakesNoOtherWithIt(t *testing.T) {
	c := newCluster(t)
	s := c.open(t, Config{Topic: "alerts"})
	defer shut(t, s)
	msgs := messages(0, 9)
	msgs[4].Value = make([]byte, 1<<20)
	msgs[7].Value = make([]byte, MaxMessage)
	var failed *sinks.PublishError
	if err := s.Publish(t.Context(), msgs); !errors.As(err, &failed) || len(failed.Failures) != 2 {
		t.Fatalf("Publish returned %v, want two failures", err)
	}
	for i, at := range []int{4, 7} {
		if f := failed.Failures[i]; f.Index != at || !f.Permanent {
			t.Errorf("failure %d is %+v, want message %d for good", i, f, at)
		}
	}
	if n := len(c.read(t, "alerts")); n != 7 {
		t.Errorf("%d messages are stored, want 7", n)
	}
}

func TestMissingTopicIsAnErrorThatSaysWhatToDo(t *testing.T) {
	c := newCluster(t)
	s := c.open(t, Config{Topic: "{severity}"})
	defer shut(t, s)
	var failed *sinks.PublishError
	err := s.Publish(t.Context(), messages(0, 2))
	if !errors.As(err, &failed) || len(failed.Failures) != 2 || failed.Failures[0].Permanent {
		t.Fatalf("Publish returned %v, want two passing failures", err)
	}
	for _, part := range []string{"topic high", "does not exist", "create it"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
	if err := c.CreateTopic("high", 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(t.Context(), messages(0, 2)); err != nil {
		t.Errorf("after the topic was made: %v", err)
	}
}

// TestBatchesGrowWithTheLoad: many callers with one message each share batches, and none waits for a batch to fill.
func TestBatchesGrowWithTheLoad(t *testing.T) {
	c := newCluster(t)
	s := c.open(t, Config{Topic: "alerts"})
	defer shut(t, s)
	if err := s.Publish(t.Context(), messages(1000, 1001)); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	var requests atomic.Int32
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if requests.Add(1) == 1 {
			c.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if err := s.Publish(t.Context(), messages(i, i+1)); err != nil {
				t.Error(err)
			}
		})
	}
	l := s.lane("alerts", 0)
	deadline := time.Now().Add(10 * time.Second)
	for {
		l.mu.Lock()
		n := len(l.queue) + len(l.flight)
		l.mu.Unlock()
		if n == 100 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages are queued, want 100", n)
		}
		if sleep(t.Context(), time.Millisecond) != nil {
			t.Fatal("the test ended")
		}
	}
	close(release)
	wg.Wait()
	if n := requests.Load(); n > 3 {
		t.Errorf("100 messages took %d requests, want the first and one or two for all that waited", n)
	}
	if n := len(c.read(t, "alerts")); n != 101 {
		t.Errorf("%d messages are stored, want 101", n)
	}
}

// TestNobodyWaits: when the callers of a batch have given up, it is given up as well, and its number is not used again.
func TestNobodyWaits(t *testing.T) {
	c := newCluster(t)
	s := c.open(t, Config{Topic: "alerts"})
	defer shut(t, s)
	if err := s.Publish(t.Context(), messages(0, 1)); err != nil {
		t.Fatal(err)
	}
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.SleepControl(func() {
			once.Do(func() { close(held) })
			<-release
		})
		return nil, nil, false
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-held
		cancel()
	}()
	msgs := messages(1, 3)
	err := s.Publish(ctx, msgs)
	for i := range msgs { // the messages are the caller's again
		clear(msgs[i].Value)
	}
	var failed *sinks.PublishError
	if !errors.As(err, &failed) || len(failed.Failures) != 2 || !errors.Is(err, context.Canceled) {
		t.Fatalf("Publish returned %v, want two failures for the ended context", err)
	}
	close(release)
	if err := s.Publish(t.Context(), messages(1, 3)); err != nil {
		t.Fatal(err)
	}
	for _, r := range c.read(t, "alerts") {
		if strings.Contains(r.value, "\x00") {
			t.Errorf("a message was read after its caller had it back: %+v", r)
		}
	}
}

func TestWithoutAProducerID(t *testing.T) {
	c := newCluster(t)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TopLevel: true, Err: kerr.CoordinatorLoadInProgress, Count: 2})
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TopLevel: true, Err: kerr.ClusterAuthorizationFailed, Count: -1})
	s := c.open(t, Config{Topic: "alerts"})
	defer shut(t, s)
	if err := s.Publish(t.Context(), messages(0, 3)); err != nil {
		t.Fatal(err)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 1})
	if err := s.Publish(t.Context(), messages(3, 4)); err == nil {
		t.Fatal("without a number nobody knows whether the batch was written, but Publish returned nil")
	}
	if err := s.Publish(t.Context(), messages(3, 4)); err != nil {
		t.Fatal(err)
	}
	if n := ids(c.read(t, "alerts"))["id-3"]; n != 2 {
		t.Errorf("id-3 is stored %d times, want twice: it could not be told apart", n)
	}
}

func TestLeaderMoves(t *testing.T) {
	c := newCluster(t)
	s := c.open(t, Config{Topic: "alerts"})
	defer shut(t, s)
	for i := range 6 {
		if err := c.MoveTopicPartition("alerts", 0, int32(i%3)); err != nil {
			t.Fatal(err)
		}
		var err error
		for range 20 {
			if err = s.Publish(t.Context(), messages(i, i+1)); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for id, n := range ids(c.read(t, "alerts")) {
		if n != 1 {
			t.Errorf("%s is stored %d times, want once", id, n)
		}
	}
}

func TestSequenceWraps(t *testing.T) {
	s := sequence{first: 1<<31 - 2}
	for n, want := range map[int]int32{1: 1<<31 - 1, 2: 0, 3: 1} {
		if got := s.after(n); got != want {
			t.Errorf("%d after %d is %d, want %d", n, s.first, got, want)
		}
	}
}
