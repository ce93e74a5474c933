package main

import (
	"bytes"
	"testing"
	"time"
)

func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		read, total int64
		speed       float64
		width       int
		want        string
	}{
		{0, 2_000_000_000, 0, 60, "  0 % ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  0 B of 2.0 GB  0 B/s"},
		{500_000_000, 2_000_000_000, 300_000_000, 79, " 25 % ████████░░░░░░░░░░░░░░░░░░░░░░░░░░  500 MB of 2.0 GB  300 MB/s  0:05 left"},
		{2_000_000_000, 2_000_000_000, 300_000_000, 60, "100 % ██████████████████████████  2.0 GB of 2.0 GB  300 MB/s"},
		{3_000_000_000, 2_000_000_000, 300_000_000, 60, "100 % ██████████████████████████  3.0 GB of 2.0 GB  300 MB/s"}, // it grew
		{500_000_000, 0, 12_345_678, 60, "500 MB read  12 MB/s"},
		{1, 1_000_000_000_000, 1, 60, "  0 % ░░░░░░░░░░░░░░░░░░░  1 B of 1.0 TB  1 B/s  99h00m left"},
		{500_000_000, 2_000_000_000, 300_000_000, 39, " 25 %   500 MB of 2.0 GB  300 MB/s  0:…"},
	} {
		got := progressLine(c.read, c.total, c.speed, c.width)
		if got != c.want || columns(got) > c.width {
			t.Errorf("%d of %d at %.0f/s in %d columns:\n got %q (%d columns)\nwant %q", c.read, c.total, c.speed, c.width, got, columns(got), c.want)
		}
	}
}

func TestRateFollows(t *testing.T) {
	var r rate
	at := time.Duration(0)
	read := int64(0)
	for range 40 {
		at += progressEvery
		read += 15_000_000
		r.observe(read, at)
	}
	if r.perSecond < 99e6 || r.perSecond > 101e6 {
		t.Errorf("a steady 100 MB/s shows as %.1f MB/s", r.perSecond/1e6)
	}
	for range 40 { // six seconds at a tenth
		at += progressEvery
		read += 1_500_000
		r.observe(read, at)
	}
	if r.perSecond > 25e6 {
		t.Errorf("six seconds at 10 MB/s show as %.1f MB/s", r.perSecond/1e6)
	}
	r.observe(read, at) // no time has passed
	if r.perSecond > 25e6 || r.perSecond < 0 {
		t.Errorf("a second look at once gives %.1f MB/s", r.perSecond/1e6)
	}
}

func TestNoProgressWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgressBar(&out)
	p.start(func() (int64, int64) { t.Error("asked for counters"); return 0, 0 })
	if p != nil {
		t.Error("expected no bar where there is no terminal")
	}
	if w := p.beside(&out); w != &out {
		t.Error("expected the writer itself")
	}
	p.finish()
	if out.Len() > 0 {
		t.Errorf("wrote %q", out.String())
	}
}

func TestShownDuration(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0:00", 59.6: "1:00", 61: "1:01", 3600: "1h00m", 1e300: "99h00m"} {
		if got := shownDuration(seconds); got != want {
			t.Errorf("shownDuration(%v) = %q, want %q", seconds, got, want)
		}
	}
}
