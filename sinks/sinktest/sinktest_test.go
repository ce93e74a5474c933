package sinktest

import (
	"strings"
	"testing"
	"time"
)

func memoryHarness(f flaw) Harness {
	return Harness{Open: openMemory(f), TooLarge: memoryLimit}
}

func TestRunAcceptsARightSink(t *testing.T) { Run(t, memoryHarness(none)) }

// TestChecksSeeEveryFlaw keeps the suite honest: for each broken sink, the named check must complain.
func TestChecksSeeEveryFlaw(t *testing.T) {
	for _, c := range []struct {
		flaw  flaw
		check string
		want  string
	}{
		{loses, "PublishIsDurableAndInOrder", "does not hold it"},
		{doubles, "PublishIsDurableAndInOrder", "arrived after"},
		{doubles, "ConcurrentPublishes", "arrived 2 times"},
		{loses, "ConcurrentPublishes", "does not hold it"},
		{reverses, "PublishIsDurableAndInOrder", "arrived after"},
		{keepsBytes, "PublishIsDurableAndInOrder", "not to be there"},
		{changesBytes, "PublishIsDurableAndInOrder", "lent to it"},
		{misplaces, "PublishIsDurableAndInOrder", `arrived at "alerts"`},
		{losesHeaders, "PublishIsDurableAndInOrder", "lost its header"},
		{misnamesID, "PublishIsDurableAndInOrder", "under the id other"},
		{buffers, "PublishIsDurableAndInOrder", "does not hold it"},
		{ignoresContext, "EndedContextFailsAll", "0 of 3"},
		{gaveUp, "EndedContextFailsAll", "for good"},
		{gaveUp, "PeerDownThenBack", "for good"},
		{forgetsFailures, "PeerDownThenBack", "1 of 5"},
		{plainError, "PeerDownThenBack", "want a *sinks.PublishError"},
		{failureOrder, "PeerDownThenBack", "out of order"},
		{waitsForever, "PeerDownEndsWithContext", "after it was called"},
		{retries, "NeverRetries", "by itself"},
		{takesAllDown, "TooLargeIsPermanentAlone", "failed for good beside"},
		{acceptsAnything, "TooLargeIsPermanentAlone", "was accepted"},
		{leaks, "CloseLeavesNothingBehind", "goroutines"},
	} {
		t.Run(c.check+"/"+c.want, func(t *testing.T) {
			h := memoryHarness(c.flaw).withDefaults()
			h.Patience = 300 * time.Millisecond
			err := newBench(t, h).check(find(t, c.check))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the check reported %v, want something with %q", err, c.want)
			}
		})
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
