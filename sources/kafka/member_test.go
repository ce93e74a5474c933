package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/spawnwatch/spawnwatch/internal/certtest"
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

// TestStopWhileTheCoordinatorHangs takes no longer than the drain and a little.
func TestStopWhileTheCoordinatorHangs(t *testing.T) {
	for name, keys := range map[string][]kmsg.Key{
		"commits": {kmsg.OffsetCommit}, "all": {kmsg.OffsetCommit, kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.LeaveGroup},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			o := control(c, keys...)
			c.produce(t, "audit", 0, 0, records(0, 5)...)
			s := newSink()
			r := startSource(t, c.config("audit"), Settings{Drain: time.Second}, s.handle)
			eventually(t, "the commit", func() bool { return c.committed("spawnwatch") == 5 })
			var hangs atomic.Bool
			o.set(func(req kmsg.Request) (kmsg.Response, error, bool) {
				if req.Key() == kmsg.OffsetCommit.Int16() {
					hangs.Store(true)
				}
				return nil, nil, true
			})
			c.produce(t, "audit", 0, 0, records(5, 10)...)
			eventually(t, "a commit that hangs", hangs.Load)
			began := time.Now()
			r.finish(t)
			if took := time.Since(began); took > 6*time.Second { // the program itself waits for 5 s longer than the drain
				t.Errorf("it took %v to stop, with a drain of 1 s", took)
			}
		})
	}
}

// TestFailedHandshakeLeavesNoConnection open, however often a member that cannot join tries again.
func TestFailedHandshakeLeavesNoConnection(t *testing.T) {
	ca, other := certtest.NewAuthority(t), certtest.NewAuthority(t)
	cert, key, _ := ca.Issue("localhost")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}}).Handshake() // fails
			_, err = conn.Read(make([]byte, 1))                                                  // what is left after the alert: nothing
		}
		ended <- err
	}()
	conns := newConnections((&net.Dialer{}).DialContext, &tls.Config{RootCAs: other.Pool()})
	if _, err := conns.open(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Fatal("a certificate of an unknown authority is trusted")
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the peer sees %v, want the end of the connection", err)
	}
	if len(conns.live) != 0 {
		t.Errorf("%d connections are kept", len(conns.live))
	}
}

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := patience{began: time.Now()}
		if p.over(kafka.NotCoordinatorForGroup) {
			t.Error("a first join that fails for a reason that may pass ends the source")
		}
		time.Sleep(joinTime + time.Second)
		if !p.over(kafka.NotCoordinatorForGroup) {
			t.Error("a first join may fail without end")
		}
		p = patience{began: time.Now()}
		if !p.over(kafka.SASLAuthenticationFailed) {
			t.Error("a wrong password is not believed at the start")
		}
		p.succeeded()
		time.Sleep(2 * joinTime)
		if p.over(kafka.NotCoordinatorForGroup) || p.over(kafka.SASLAuthenticationFailed) {
			t.Error("a member that was in the group has no patience")
		}
		time.Sleep(refusedTime + time.Second)
		if !p.over(kafka.SASLAuthenticationFailed) {
			t.Error("a member that is refused goes on without end")
		}
		if p.over(kafka.NotCoordinatorForGroup) || p.over(kafka.SASLAuthenticationFailed) {
			t.Error("errors count that lie before one of another kind")
		}
	})
}
