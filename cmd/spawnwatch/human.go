package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spawnwatch/spawnwatch/sinks"
	sinkfile "github.com/spawnwatch/spawnwatch/sinks/file"
)

// Values of -o. JSON is for programs, the others are for people.
const (
	outputJSON  = "json"
	outputCards = "cards"
	outputTable = "table"
)

// outputOf is the form of what is written to w: as asked for, else cards on a terminal and JSON elsewhere.
func outputOf(asked string, w io.Writer) (string, error) {
	switch asked {
	case outputJSON, outputCards, outputTable:
		return asked, nil
	case "":
		if isTerminal(w) {
			return outputCards, nil
		}
		return outputJSON, nil
	}
	return "", &exitError{code: exitUsage, err: fmt.Errorf("--output: expected %s, %s or %s, got %q", outputJSON, outputCards, outputTable, asked)}
}

// humanSink shows native alerts to a person instead of writing them as data. It implements [sinks.Sink].
type humanSink struct {
	w     io.Writer
	style style
	// show appends one alert.
	show func(s style, dst *strings.Builder, a *cardAlert)
	// title is written before the first alert.
	title func(s style) string
	// turn holds a token while nobody writes; it guards began.
	turn  chan struct{}
	began bool
}

// newHumanSink writes cards (or, for output table, rows) to w, in the style of like: the terminal behind w.
func newHumanSink(w io.Writer, output string, s style) *humanSink {
	h := &humanSink{w: w, style: s, show: card, title: func(style) string { return "" }, turn: make(chan struct{}, 1)}
	if output == outputTable {
		h.show, h.title = tableRow, tableTitle
	}
	h.turn <- struct{}{}
	return h
}

// Publish writes all of msgs in one go. A message that is no native alert fails for good. A write that is under way when
// ctx ends (a terminal may be halted) is left to finish by itself.
func (h *humanSink) Publish(ctx context.Context, msgs []sinks.Message) error {
	select {
	case <-h.turn:
	case <-ctx.Done():
		return sinks.AllFailed(len(msgs), false, context.Cause(ctx))
	}
	var b strings.Builder
	if !h.began {
		b.WriteString(h.title(h.style))
		h.began = true
	}
	var bad sinks.PublishError
	for i := range msgs {
		a, err := readAlert(msgs[i].Value)
		if err != nil {
			bad.Failures = append(bad.Failures, sinks.Failure{Index: i, Err: err, Permanent: true})
			continue
		}
		h.show(h.style, &b, a)
	}
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(h.w, b.String())
		h.turn <- struct{}{}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return sinks.AllFailed(len(msgs), isGone(err), goneError(err))
		}
	case <-ctx.Done():
		return sinks.AllFailed(len(msgs), false, context.Cause(ctx))
	}
	if len(bad.Failures) > 0 {
		return &bad
	}
	return nil
}

// Close waits for a write under way until ctx ends. The writer stays open.
func (h *humanSink) Close(ctx context.Context) error {
	select {
	case <-h.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// isGone reports that nobody reads what is written any more.
func isGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed)
}

func goneError(err error) error {
	if isGone(err) {
		return fmt.Errorf("%w: %w", sinkfile.ErrClosedPipe, err)
	}
	return err
}
