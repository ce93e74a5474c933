// Command load measures what the stage costs behind a forward source. It starts `spawnwatch run` with the built-in rules
// and a file sink, sends a real audit log in the shapes of Fluent Bit over and over, ends the stage, and counts the CPU
// that it took: all of it, its start included, and nothing of this process.
//
//	go build -o /tmp/spawnwatch ./cmd/spawnwatch
//	go run ./test/forward/load -stage /tmp/spawnwatch -shape parsed -ack
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/tidwall/gjson"

	"github.com/spawnwatch/spawnwatch/test/forward"
)

func main() {
	var r run
	flag.StringVar(&r.stage, "stage", "", "the spawnwatch binary to measure")
	flag.StringVar(&r.log, "log", "testdata/corpus/rr.jsonl.gz", "the log to send")
	flag.StringVar((*string)(&r.shape), "shape", "parsed", "parsed, or log for unparsed lines")
	flag.StringVar((*string)(&r.mode), "mode", "forward", "forward, or gzip")
	flag.BoolVar(&r.ack, "ack", false, "ask for answers")
	flag.IntVar(&r.connections, "connections", 8, "how many connections send at once")
	flag.Int64Var(&r.mb, "mb", 2000, "how many MB of JSON text to send at least")
	flag.IntVar(&r.every, "every", 0, "every so many rounds hold the events that alert, too; 0: the first one only, 1: all")
	flag.StringVar(&r.extra, "config", "", "more lines for the stage's configuration")
	flag.Parse()
	if err := r.do(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// run is one measurement.
type run struct {
	stage, log  string
	shape       forward.Shape
	mode        forward.Mode
	ack         bool
	connections int
	mb          int64
	every       int
	extra       string
}

// config has no admin port of its own: two measurements can run beside each other.
const config = `sources: [{forward: {listen: %q}}]
sinks: [{file: {path: %q}}]
dead_letter: {file: {path: %q}}
admin: {listen: "127.0.0.1:0"}
%s
`

func (r *run) do(ctx context.Context) (err error) {
	lines, err := forward.Lines(r.log)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "load")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	address, err := freeAddress()
	if err != nil {
		return err
	}
	alerts, dead := filepath.Join(dir, "alerts.jsonl"), filepath.Join(dir, "dead.jsonl")
	path := filepath.Join(dir, "spawnwatch.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, config, address, alerts, dead, r.extra), 0o600); err != nil {
		return err
	}
	quiet, err := r.quiet(ctx, lines)
	if err != nil {
		return err
	}
	sender := &forward.Sender{
		Address: address, Mode: r.mode, Ack: r.ack, Connections: r.connections,
		Chunks: forward.Chunks(lines, r.shape), Quiet: forward.Chunks(quiet, r.shape), Every: r.every,
	}
	round := 0
	for _, l := range quiet {
		round += len(l)
	}
	rounds := int(r.mb*1e6)/max(round, 1) + 1
	stage := exec.CommandContext(ctx, r.stage, "run", "-c", path)
	var log bytes.Buffer
	stage.Stderr = &log
	if err := stage.Start(); err != nil {
		return err
	}
	if err = reach(ctx, address); err == nil {
		begun := time.Now()
		err = sender.Run(ctx, rounds)
		took := time.Since(begun)
		defer func() {
			if err == nil {
				err = r.report(sender, stage, took, alerts, dead)
			}
		}()
	}
	return errors.Join(err, stage.Process.Signal(syscall.SIGTERM), wait(stage, &log))
}

// quiet are the lines that don't alert. An alert costs hundreds of times what a line does that is of no interest, and the
// logs of this repository were made to be full of them: what is measured depends on how many there are, so that is set.
func (r *run) quiet(ctx context.Context, lines [][]byte) (quiet [][]byte, err error) {
	out, err := exec.CommandContext(ctx, r.stage, "replay", "--enrich", "none", "-o", "json", r.log).Output()
	if err != nil {
		return nil, fmt.Errorf("a replay, to learn which lines alert: %w", err)
	}
	alerting := map[string]bool{}
	for alert := range bytes.Lines(out) {
		alerting[gjson.GetBytes(alert, "request.audit_id").String()] = true
	}
	for _, l := range lines {
		if !alerting[gjson.GetBytes(l, "auditID").String()] {
			quiet = append(quiet, l)
		}
	}
	return quiet, nil
}

func wait(stage *exec.Cmd, log *bytes.Buffer) error {
	if err := stage.Wait(); err != nil {
		return fmt.Errorf("the stage: %w\n%s", err, log.Bytes())
	}
	return nil
}

func (r *run) report(s *forward.Sender, stage *exec.Cmd, took time.Duration, alerts, dead string) error {
	counts := make([]int, 2)
	for i, path := range []string{alerts, dead} {
		n, err := countLines(path)
		if err != nil {
			return err
		}
		counts[i] = n
	}
	u := stage.ProcessState
	cpu := u.UserTime() + u.SystemTime()
	gb := float64(s.Text.Load()) / 1e9
	answers := "no answers"
	if r.ack {
		answers = strconv.FormatInt(s.Answered.Load(), 10) + " answers"
	}
	fmt.Printf("%s %s, %d connections, %s: %.2f GB of JSON text, %d records, %d alerts, %d dead letters in %.1f s\n",
		r.shape, r.mode, r.connections, answers, gb, s.Records.Load(), counts[0], counts[1], took.Seconds())
	fmt.Printf("the stage: %.2f s user, %.2f s system, %d MB resident at most: %.3f GB per CPU second, %.2f CPU s per GB\n",
		u.UserTime().Seconds(), u.SystemTime().Seconds(), resident(u)>>20, gb/cpu.Seconds(), cpu.Seconds()/gb)
	if counts[1] > 0 {
		return fmt.Errorf("%d dead letters", counts[1])
	}
	return nil
}

// resident is the largest resident size in bytes.
func resident(u *os.ProcessState) int64 {
	usage, ok := u.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(usage.Maxrss) // bytes there, kB everywhere else
	}
	return int64(usage.Maxrss) << 10
}

func countLines(path string) (n int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		n++
	}
	return n, s.Err()
}

// freeAddress is an address that nobody listens at.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// reach waits until somebody listens at address.
func reach(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the stage does not listen: %w", err)
		}
	}
}
