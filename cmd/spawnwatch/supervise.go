package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

// namedSource is a source with the name it was configured under.
type namedSource struct {
	name    string
	source  sources.Source
	handler sources.Handler
	// finite is set for a source whose input ends: its end is no fault.
	finite bool
}

// Restart of a source that failed after it had worked: the pause doubles between these bounds.
const (
	restartMin = time.Second
	restartMax = time.Minute
	// startUp is how long a source that has delivered nothing counts as starting: its failure ends the program.
	startUp = 30 * time.Second
)

// supervisor runs every source until ctx ends.
type supervisor struct {
	logger *slog.Logger
	// ready reports whether a source runs, for the admin listener.
	ready func(name string, up bool, err error)
}

// run returns nil after ctx ended or all sources have come to their end, and an error when one failed at its start.
func (s *supervisor) run(ctx context.Context, all []namedSource) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			if errs[i] = s.keep(ctx, &all[i]); errs[i] != nil {
				stop(errs[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// keep runs one source, and again after a failure.
func (s *supervisor) keep(ctx context.Context, n *namedSource) error {
	pause := restartMin
	var worked atomic.Bool
	handler := func(ctx context.Context, b *sources.Batch) error {
		err := n.handler(ctx, b)
		if err == nil {
			worked.Store(true)
		}
		return err
	}
	for {
		began := time.Now()
		s.ready(n.name, true, nil)
		err := n.source.Run(ctx, handler)
		s.ready(n.name, false, err)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && n.finite:
			return nil
		case n.finite:
			return fmt.Errorf("source %q: %w", n.name, err)
		case err == nil:
			err = errors.New("it ended without being told to")
		case !worked.Load() && time.Since(began) < startUp:
			return fmt.Errorf("source %q could not start: %w", n.name, err)
		}
		if time.Since(began) > restartMax {
			pause = restartMin
		}
		s.logger.ErrorContext(ctx, "a source failed and is restarted", "source", n.name, "pause", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, restartMax)
	}
}
