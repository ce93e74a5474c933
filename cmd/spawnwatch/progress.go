package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// progressBar shows on a terminal how far a replay is. It draws on standard error alone. A goroutine of its own looks at
// the counters of the source, so the work never waits for it; what else goes to the same terminal takes its lock for as
// long as that is written (see [progressBar.beside]), so that no card is torn by the bar.
type progressBar struct {
	terminal *os.File
	colour   bool

	once  sync.Once
	stop  chan struct{}
	ended sync.WaitGroup

	// mu guards the terminal and drawn: whether the bar stands in its last line.
	mu    sync.Mutex
	drawn bool
}

// When the bar appears, and how often it is drawn anew.
const (
	progressDelay = 400 * time.Millisecond
	progressEvery = 150 * time.Millisecond
)

// newProgressBar makes a bar on w. Where w is no terminal, or one that cannot move its cursor, it returns nil, which is a
// bar that never shows.
func newProgressBar(w io.Writer) *progressBar {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(w) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &progressBar{terminal: f, colour: styleOf(f).colour, stop: make(chan struct{})}
}

// start begins to draw what counters say, until finish.
func (p *progressBar) start(counters func() (read, total int64)) {
	if p != nil {
		p.ended.Go(func() { p.run(counters) })
	}
}

// finish takes the bar away and returns when nothing will be drawn any more. It may be called again.
func (p *progressBar) finish() {
	if p == nil {
		return
	}
	p.once.Do(func() { close(p.stop) })
	p.ended.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// beside is w, written to so that it does not collide with the bar. Where w is no terminal it is w itself.
func (p *progressBar) beside(w io.Writer) io.Writer {
	if p == nil || !isTerminal(w) {
		return w
	}
	return besideBar{bar: p, w: w}
}

type besideBar struct {
	bar *progressBar
	w   io.Writer
}

// Write implements [io.Writer].
func (b besideBar) Write(text []byte) (int, error) {
	b.bar.mu.Lock()
	defer b.bar.mu.Unlock()
	b.bar.clear()
	return b.w.Write(text)
}

// clear needs mu. CHA and EL (ECMA-48, 8.3.9 and 8.3.41): to the first column, erase the line.
func (p *progressBar) clear() {
	if p.drawn {
		_, _ = io.WriteString(p.terminal, "\r\x1b[2K")
		p.drawn = false
	}
}

func (p *progressBar) run(counters func() (read, total int64)) {
	began := time.Now()
	delay := time.NewTimer(progressDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-p.stop:
		return
	}
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	var speed rate
	for {
		read, total := counters()
		speed.observe(read, time.Since(began))
		line := progressLine(read, total, speed.perSecond, terminalWidth(p.terminal)-1)
		p.mu.Lock()
		p.clear()
		if p.colour {
			line = "\x1b[" + dim + "m" + line + "\x1b[0m"
		}
		_, _ = io.WriteString(p.terminal, line)
		p.drawn = true
		p.mu.Unlock()
		select {
		case <-tick.C:
		case <-p.stop:
			return
		}
	}
}

// rate is a speed that follows changes within about three seconds.
type rate struct {
	read      int64
	at        time.Duration
	perSecond float64
}

const rateWindow = 3 * time.Second

func (r *rate) observe(read int64, at time.Duration) {
	span := at - r.at
	if span <= 0 {
		return
	}
	now := float64(read-r.read) / span.Seconds()
	if r.at == 0 {
		r.perSecond = now
	} else {
		weight := min(float64(span)/float64(rateWindow), 1)
		r.perSecond += weight * (now - r.perSecond)
	}
	r.read, r.at = read, at
}

// progressLine is the bar as a line of at most width columns. total is 0 where nobody knows it.
func progressLine(read, total int64, perSecond float64, width int) string {
	speed := shownBytes(perSecond) + "/s"
	if total <= 0 {
		return cut(shownBytes(float64(read))+" read  "+speed, width)
	}
	// A file may grow while it is read.
	part := min(float64(read)/float64(total), 1)
	left := ""
	if perSecond > 0 && read < total {
		left = "  " + shownDuration(float64(total-read)/perSecond) + " left"
	}
	text := fmt.Sprintf("  %s of %s  %s%s", shownBytes(float64(read)), shownBytes(float64(total)), speed, left)
	percent := fmt.Sprintf("%3d %% ", int(part*100))
	bar := min(width-columns(text)-columns(percent), 40)
	if bar < 5 {
		return cut(percent+text, width)
	}
	full := int(part * float64(bar))
	return percent + strings.Repeat("█", full) + strings.Repeat("░", bar-full) + text
}

// shownBytes is a number of bytes with its unit, in powers of ten.
func shownBytes(n float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if n < 999.5 {
			if n < 9.95 && unit != "B" {
				return fmt.Sprintf("%.1f %s", n, unit)
			}
			return fmt.Sprintf("%.0f %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.1f TB", n)
}

// shownDuration is a number of seconds as minutes and seconds, or hours and minutes; at most 99 hours.
func shownDuration(seconds float64) string {
	d := time.Duration(min(seconds, 99*60*60) * float64(time.Second)).Round(time.Second)
	if d >= time.Hour {
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
