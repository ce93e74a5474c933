package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestDurationsAreReadableInLogs(t *testing.T) {
	var out bytes.Buffer
	slog.New(newLogHandler(streams{err: &out}, slog.LevelInfo)).Info("stopping", "drain", 20*time.Second, slog.Group("g", "pause", 1500*time.Millisecond))
	for _, want := range []string{`"drain":"20s"`, `"pause":"1.5s"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("expected %s in %s", want, out.String())
		}
	}
}
