package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/sinks"
	sinkfile "github.com/spawnwatch/spawnwatch/sinks/file"
)

func TestReadAlert(t *testing.T) {
	for _, c := range []struct{ in, says string }{
		{`{"schema":"spawnwatch.alert/v1","score":"high"}`, "got string where score belongs"},
		{`{"schema":"spawnwatch.deadletter/v1"}`, `got schema "spawnwatch.deadletter/v1"`},
		{`{}`, `got schema ""`},
		{`nonsense`, "as JSON"},
		{strings.Repeat("[", 10_000_000), "as JSON"},
		{``, "as JSON"},
	} {
		if _, err := readAlert([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.40s: got %v, want an error that says %q", c.in, err, c.says)
		}
	}
}

func TestHumanSink(t *testing.T) {
	good := sinks.Message{Value: native(t, sampleAlert())}
	bad := sinks.Message{Value: []byte(`{"schema":"x"}`)}

	var out bytes.Buffer
	s := newHumanSink(&out, outputTable, style{width: 100})
	var failed *sinks.PublishError
	err := s.Publish(t.Context(), []sinks.Message{good, bad, good})
	if !errors.As(err, &failed) || len(failed.Failures) != 1 || failed.Failures[0].Index != 1 || !failed.Failures[0].Permanent {
		t.Errorf("got %v, want message 1 refused for good", err)
	}
	if err := s.Publish(t.Context(), []sinks.Message{good}); err != nil {
		t.Error(err)
	}
	if n := strings.Count(out.String(), "TIME"); n != 1 || strings.Count(out.String(), "\n") != 4 {
		t.Errorf("want one title and three rows:\n%s", out.String())
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestHumanSinkWithoutReader(t *testing.T) {
	r, w := io.Pipe()
	_ = r.Close()
	s := newHumanSink(w, outputCards, style{width: 100})
	err := s.Publish(t.Context(), []sinks.Message{{Value: native(t, sampleAlert())}})
	if !errors.Is(err, sinkfile.ErrClosedPipe) {
		t.Errorf("got %v, want %v", err, sinkfile.ErrClosedPipe)
	}
}

// TestHumanSinkHalted: a terminal that takes nothing cannot hold the program.
func TestHumanSinkHalted(t *testing.T) {
	r, w := io.Pipe()
	s := newHumanSink(w, outputCards, style{width: 100})
	msgs := []sinks.Message{{Value: native(t, sampleAlert())}}
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- s.Publish(ctx, msgs) }()
	if _, err := r.Read(make([]byte, 1)); err != nil { // the write has begun, and is stuck
		t.Fatal(err)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if err := s.Publish(ctx, msgs); !errors.Is(err, context.Canceled) {
		t.Errorf("a second write: got %v, want %v", err, context.Canceled)
	}
	if err := s.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("close: got %v, want %v", err, context.Canceled)
	}
	_ = r.Close()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
