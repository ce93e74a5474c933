package nats

import (
	"context"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/natsdemo"
	"github.com/spawnwatch/spawnwatch/sources"
)

// TestLag: what was delivered but not handled waits like what was not delivered yet, and nothing is said once the source
// has ended.
func TestLag(t *testing.T) {
	t.Parallel()
	s := startServer(t, natsdemo.Settings{}).connect()
	s.stream("AUDIT", "audit.>")
	s.publish("audit.a", numbered(300)...)
	r := run(t, s.config(), Settings{Name: "audit", Messages: 50, Drain: 100 * time.Millisecond}, func(ctx context.Context, _ *sources.Batch) error {
		<-ctx.Done() // stuck
		return context.Cause(ctx)
	})
	eventually(t, "a look at the consumer", func() bool { return r.src.Stats().Lag != nil })
	if lag := r.src.Stats().Lag; lag.Stream != "AUDIT" || lag.Messages != 300 {
		t.Errorf("%+v, want 300 of AUDIT", lag)
	}
	r.end()
	if lag := r.src.Stats().Lag; lag != nil {
		t.Errorf("after the end: %+v", lag)
	}
}
