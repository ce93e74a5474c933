package kafka

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// commitEvery is how often offsets are committed while there are new ones. What a crash repeats is what was finished
	// since, so that enough records are committed sooner.
	commitEvery = 100 * time.Millisecond
	// commitRecords is how many finished records do not wait for commitEvery.
	commitRecords = 500
	// commitGap is the least time between a commit and one that does not wait.
	commitGap = 20 * time.Millisecond
	// commitSlow is how long a commit may take before no more calls are made: what they publish would be repeated if the
	// coordinator is gone. A broker answers in milliseconds.
	commitSlow = 500 * time.Millisecond
	// commitHold is the longest that the calls of a generation wait for a commit. It outlasts the election of another
	// coordinator; when offsets cannot be written for longer, alerts that may be repeated are better than none.
	commitHold = 15 * time.Second
	// lagEvery is how often the lag is reported.
	lagEvery = time.Second
)

// offsetStore is where a generation's offsets are committed. One goroutine at a time uses it.
type offsetStore interface {
	// commit writes offsets by topic and partition, and ends by itself. What was not written it takes out of due; the error
	// says why.
	commit(due map[string]map[int]int64) error
}

// committer commits the finished prefixes of one generation's partitions. All but pauses and finished belongs to one
// goroutine at a time.
type committer struct {
	to    offsetStore
	parts []*partition
	meter Meter
	told  func(error) // of a commit that failed
	soon  chan struct{}

	records atomic.Int64 // finished since the last commit was begun
	begun   atomic.Int64 // when the commit that is under way, or the first of those that failed, was begun in Unix nanoseconds; 0: none
	failing atomic.Bool  // the last one failed, for a reason that may pass
	waits   atomic.Bool  // somebody was told to pause
}

func newCommitter(to offsetStore, parts []*partition, meter Meter, told func(error)) *committer {
	return &committer{to: to, parts: parts, meter: meter, told: told, soon: make(chan struct{}, 1)}
}

// finished is told how many more records are through.
func (c *committer) finished(records int) {
	if c.records.Add(int64(records)) >= commitRecords {
		notify(c.soon)
	}
}

// pauses says that no calls should be made for now: commits fail, or one hangs. The partition that asks is woken when that
// may have changed.
func (c *committer) pauses() bool {
	if !c.paused() {
		return false
	}
	c.waits.Store(true)
	return c.paused() // once more: who resumed before that woke nobody
}

func (c *committer) paused() bool {
	begun := c.begun.Load()
	if begun == 0 {
		return false
	}
	age := time.Since(time.Unix(0, begun))
	return (c.failing.Load() || age > commitSlow) && age < commitHold
}

// wake has the partitions ask again.
func (c *committer) wake() {
	if c.waits.Swap(false) {
		for _, p := range c.parts {
			notify(p.wake)
		}
	}
}

// run commits what is due until ctx ends, or there is no way to do so. It returns true when the group no longer knows this
// generation.
func (c *committer) run(ctx context.Context) (lost bool) {
	ticker := time.NewTicker(commitEvery)
	defer ticker.Stop()
	reported, last := time.Now(), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-c.soon:
			if c.failing.Load() {
				continue // those that fail are repeated every commitEvery only
			}
			if sleep(ctx, commitGap-time.Since(last)) != nil {
				return false
			}
		case now := <-ticker.C:
			if now.Sub(reported) >= lagEvery {
				reported = now
				c.lag()
			}
		}
		err := c.commit()
		if gone(err) {
			return true
		}
		if errors.Is(err, errUnanswered) {
			return false
		}
		last = time.Now()
	}
}

// lag reports how far behind each partition is.
func (c *committer) lag() {
	for _, p := range c.parts {
		if position, _ := p.track.done(); position >= 0 {
			c.meter.Lag(p.topic, p.id, max(0, p.highWater.Load()-position))
		}
	}
}

// last commits for the last time. Where the coordinator is away it is waited for, until the deadline or the end of ctx.
func (c *committer) last(ctx context.Context, deadline time.Time) {
	for wait := firstBackoff; ; wait = min(2*wait, maxBackoff) {
		err := c.commit()
		if err == nil || !moving(err) || time.Until(deadline) < wait || sleep(ctx, wait) != nil {
			return
		}
	}
}

// commit commits what is due.
func (c *committer) commit() error {
	c.records.Store(0)
	due := map[string]map[int]int64{}
	for _, p := range c.parts {
		offset, ok := p.track.due()
		if !ok {
			continue
		}
		if due[p.topic] == nil {
			due[p.topic] = map[int]int64{}
		}
		due[p.topic][int(p.id)] = offset
	}
	if len(due) == 0 {
		c.resume()
		return nil
	}
	c.begun.CompareAndSwap(0, time.Now().UnixNano())
	err := c.to.commit(due)
	written := false
	for _, p := range c.parts {
		if offset, ok := due[p.topic][int(p.id)]; ok {
			p.track.wrote(offset)
			written = true
		}
	}
	if written {
		c.meter.Event(Committed, 1)
	}
	if moving(err) {
		c.failing.Store(true)
		c.wake() // commitHold may have passed
	} else {
		c.resume() // waiting does not help
	}
	if err != nil {
		c.meter.Event(CommitFailed, 1)
		c.told(err)
	}
	return err
}

// resume lets calls be made again.
func (c *committer) resume() {
	c.begun.Store(0)
	c.failing.Store(false)
	c.wake()
}
