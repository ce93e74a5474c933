package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spawnwatch/spawnwatch/processor"
	"github.com/spawnwatch/spawnwatch/sinks"
	sinkfile "github.com/spawnwatch/spawnwatch/sinks/file"
)

// shownBad is how many bad records are shown one by one; the summary counts them all.
const shownBad = 20

// badPrinter shows bad records as FILE:LINE on standard error.
type badPrinter struct {
	mu    sync.Mutex
	w     io.Writer
	shown int
}

// Bad implements [processor.Observer].
func (p *badPrinter) Bad(b processor.BadRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown++
	switch {
	case p.shown > shownBad+1:
		return
	case p.shown == shownBad+1:
		fmt.Fprintln(p.w, "spawnwatch: further bad records are counted but not shown; --dead-letter FILE keeps them all")
		return
	}
	where := b.Origin.Topic
	if b.Line > 0 {
		where += ":" + strconv.FormatInt(b.Line, 10)
	}
	item := ""
	if b.Index >= 0 {
		item = fmt.Sprintf(", item %d of a list", b.Index)
	}
	fmt.Fprintf(p.w, "spawnwatch: %s: bad record at byte %d%s (%s bytes): %s: %s\n",
		printable(where), b.Offset, item, grouped(uint64(b.Size)), b.Reason, printable(b.Detail))
}

// writeSummary says in a few lines what a replay found.
func writeSummary(w io.Writer, s processor.Stats, took time.Duration) {
	seconds := max(took.Seconds(), 1e-6)
	fmt.Fprintf(w, "%s events in %s records, %s bad, %s of no interest to this program\n",
		grouped(s.Events), grouped(s.Records), grouped(s.Bad), grouped(s.Ignored))
	fmt.Fprintf(w, "%s workloads created, %s more possibly (outcome unknown); %s children of controllers folded\n",
		grouped(s.Created), grouped(s.Unknown), grouped(s.Folded))
	fmt.Fprintf(w, "%s alerts, %s repeats left out\n", grouped(s.Alerts), grouped(s.Repeats))
	fmt.Fprintf(w, "%.2f s: %s events/s, %.0f MB/s\n", took.Seconds(), grouped(uint64(float64(s.Events)/seconds)), float64(s.Bytes)/seconds/1e6)
}

// grouped writes 1234567 as 1,234,567.
func grouped(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// pipeSink ends a replay whose reader has gone (as in `replay … | head`): waiting for it is of no use.
type pipeSink struct {
	sinks.Sink
	closed context.CancelCauseFunc
}

// Publish implements [sinks.Sink].
func (s *pipeSink) Publish(ctx context.Context, msgs []sinks.Message) error {
	err := s.Sink.Publish(ctx, msgs)
	if errors.Is(err, sinkfile.ErrClosedPipe) {
		s.closed(sinkfile.ErrClosedPipe)
		// Nobody wants these alerts any more: they are neither tried again nor dead letters.
		return nil
	}
	return err
}
