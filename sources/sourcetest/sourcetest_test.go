package sourcetest

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

func TestRunAcceptsARightSource(t *testing.T) {
	t.Run("streaming", func(t *testing.T) { Run(t, memoryHarness(none, false)) })
	t.Run("ending", func(t *testing.T) { Run(t, memoryHarness(none, true)) })
}

// TestChecksSeeEveryFlaw keeps the suite honest: for each broken source, the named check must complain.
func TestChecksSeeEveryFlaw(t *testing.T) {
	for _, c := range []struct {
		flaw  flaw
		ends  bool
		check string
		want  string
	}{
		{loses, false, "DeliversAllInOrder", "was never handled"},
		{repeats, false, "DeliversAllInOrder", "without any failure"},
		{misorders, false, "DeliversAllInOrder", "produced later"},
		{misnames, false, "DeliversAllInOrder", "Origin.Source"},
		{delaysOrder, true, "DeliversAllInOrder", "Batch.After"},
		{leaks, false, "DeliversAllInOrder", "goroutines"},
		{failsOnStop, false, "DeliversAllInOrder", "want nil"},
		{readsOn, false, "BlockedHandlerBoundsReading", "its limit is"},
		{returnsEarly, false, "ShutdownLetsCallsFinish", "instead of waiting"},
		{endsCallsAtOnce, false, "ShutdownLetsCallsFinish", "ended together"},
		{forgetsLastAck, false, "ShutdownLetsCallsFinish", "are acknowledged, want"},
		{endsCallsAtOnce, false, "DrainLimitEndsCalls", "the drain limit is"},
		{endsCallsTooLate, false, "DrainLimitEndsCalls", "did not return"},
		{acksUnhandled, false, "DrainLimitEndsCalls", "while no call has returned"},
		{skipsUnhandled, false, "UnhandledComesAgain", "waited"},
	} {
		t.Run(c.check+"/"+c.want, func(t *testing.T) {
			h := memoryHarness(c.flaw, c.ends).withDefaults()
			h.Patience = 500 * time.Millisecond
			err := newBench(t, h).check(find(t, c.check))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the check reported %v, want something with %q", err, c.want)
			}
		})
	}
}

func TestHandlerSeesBytesChangedInItsHands(t *testing.T) {
	b := newBench(t, memoryHarness(none, false).withDefaults())
	b.transport = b.h.Open(t)
	b.produce(1, 10)
	batch := &sources.Batch{
		Origin:  sources.Origin{Source: "memory"},
		Records: []sources.Record{{Value: []byte(`{"partition":0,"n":0,"pad":"xxxxxxxxxx"}`)}},
	}
	h := b.handler(func(context.Context, []delivery) error {
		batch.Records[0].Value[30] ^= 1
		return nil
	})
	if err := h(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if len(b.faults) != 1 || !strings.Contains(b.faults[0].Error(), "changed before its handler returned") {
		t.Errorf("faults: %v", b.faults)
	}
}

func find(t *testing.T, name string) check {
	t.Helper()
	for _, c := range checks {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("no check %s", name)
	return check{}
}

func TestLendSpoilsWhatIsKept(t *testing.T) {
	var kept []sources.Record
	h := Lend(func(_ context.Context, b *sources.Batch) error {
		if got := string(b.Records[0].Value); got != "value" {
			t.Errorf("the handler got %q", got)
		}
		kept = append(kept, b.Records...)
		return nil
	})
	own := &sources.Batch{Records: []sources.Record{{
		Value: []byte("value"), Key: []byte("key"),
		Headers: []sources.Header{{Key: []byte("hk"), Value: []byte("hv")}},
	}}}
	if err := h(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	k := kept[0]
	for what, b := range map[string][]byte{"value": k.Value, "key": k.Key, "header key": k.Headers[0].Key, "header value": k.Headers[0].Value} {
		if bytes.Count(b, []byte{Spoiled}) != len(b) || len(b) == 0 {
			t.Errorf("the kept %s still reads %q", what, b)
		}
	}
	if string(own.Records[0].Value) != "value" || string(own.Records[0].Headers[0].Key) != "hk" {
		t.Error("Lend touched the caller's own bytes")
	}
}
