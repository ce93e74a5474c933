package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/sinks"
	sinkfile "github.com/spawnwatch/spawnwatch/sinks/file"
	"github.com/spawnwatch/spawnwatch/sources"
)

// viewer shows alerts that come from a source: it is the handler behind tail and demo.
type viewer struct {
	// sink writes what is shown.
	sink sinks.Sink
	// least leaves out alerts below it; "" shows all.
	least alert.Severity
	// raw passes lines on as they are, after a look at whether they are JSON.
	raw bool
	// escape makes raw lines safe for a terminal.
	escape bool
	// complain is told of records that cannot be shown.
	complain func(where string, err error)
	// stop ends the source: nobody can see what comes any more.
	stop context.CancelCauseFunc

	shown, bad atomic.Int64
}

// newViewer shows alerts on out in a form: cards, table or json.
func newViewer(out io.Writer, output string, stop context.CancelCauseFunc, complain func(string, error)) *viewer {
	v := &viewer{complain: complain, stop: stop}
	if output == outputJSON {
		v.raw, v.escape = true, isTerminal(out)
		v.sink = sinkfile.NewWriter(out, "standard output")
		return v
	}
	v.sink = newHumanSink(out, output, styleOf(out))
	return v
}

// handle implements [sources.Handler]. What cannot be shown is said and left behind: a viewer owes nobody an alert.
func (v *viewer) handle(ctx context.Context, b *sources.Batch) error {
	msgs := make([]sinks.Message, 0, len(b.Records))
	for i := range b.Records {
		r := &b.Records[i]
		line := strings.TrimSpace(string(r.Value))
		if line == "" {
			continue
		}
		show, err := v.wanted([]byte(line))
		if r.Oversized != nil {
			show, err = false, fmt.Errorf("expected an alert, got a record of %s bytes", grouped(uint64(r.Oversized.Size)))
		}
		switch {
		case err != nil:
			v.bad.Add(1)
			v.complain(place(b.Origin.Topic, r), err)
		case show:
			if v.escape {
				line = printable(line)
			}
			msgs = append(msgs, sinks.Message{Value: []byte(line)})
		}
	}
	if b.After != nil {
		select {
		case <-b.After:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if len(msgs) == 0 {
		return nil
	}
	if err := v.sink.Publish(ctx, msgs); err != nil {
		v.stop(err)
		return err
	}
	v.shown.Add(int64(len(msgs)))
	return nil
}

// wanted reports whether a line is to be shown, and why it cannot be.
func (v *viewer) wanted(line []byte) (bool, error) {
	if v.raw && v.least == "" {
		if !json.Valid(line) {
			return false, errors.New("expected an alert as a line of JSON, got something else")
		}
		return true, nil
	}
	a, err := readAlert(line)
	if err != nil {
		return false, err
	}
	return v.least == "" || !alert.Severity(a.Severity).Less(v.least), nil
}

// place names a record for people.
func place(topic string, r *sources.Record) string {
	if r.Line > 0 {
		return fmt.Sprintf("%s:%d", topic, r.Line)
	}
	return fmt.Sprintf("%s, record %d", topic, r.Offset)
}
