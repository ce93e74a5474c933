package kafka_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/sinks"

	sink "github.com/spawnwatch/spawnwatch/sinks/kafka"
)

// root is the folder of the module.
const root = "../.."

// build makes the program, unless PROGRAM names one.
func build(t testing.TB) string {
	t.Helper()
	if program := os.Getenv("PROGRAM"); program != "" {
		return program
	}
	program := filepath.Join(t.TempDir(), "spawnwatch")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, root+"/cmd/spawnwatch").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// told is a test whose faults are said once more at its very end, behind the logs of the instances: where only the end of
// the output is kept, it says why.
type told struct {
	testing.TB
	mu     sync.Mutex
	faults []string
}

// tell makes it; instances launched with it write their logs before.
func tell(t testing.TB) *told {
	to := &told{TB: t}
	t.Cleanup(func() {
		to.mu.Lock()
		defer to.mu.Unlock()
		for _, f := range to.faults {
			t.Logf("why it failed: %s", f)
		}
	})
	return to
}

func (t *told) note(fault string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, fault)
}

// Errorf implements [testing.TB].
func (t *told) Errorf(format string, args ...any) {
	t.Helper()
	t.note(fmt.Sprintf(format, args...))
	t.TB.Errorf(format, args...)
}

// Error implements [testing.TB].
func (t *told) Error(args ...any) {
	t.Helper()
	t.note(fmt.Sprint(args...))
	t.TB.Error(args...)
}

// Fatalf implements [testing.TB].
func (t *told) Fatalf(format string, args ...any) {
	t.Helper()
	t.note(fmt.Sprintf(format, args...))
	t.TB.Fatalf(format, args...)
}

// Fatal implements [testing.TB].
func (t *told) Fatal(args ...any) {
	t.Helper()
	t.note(fmt.Sprint(args...))
	t.TB.Fatal(args...)
}

// instance is one running program.
type instance struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error
}

// launch starts the program with a configuration.
func launch(t testing.TB, program, config, name string) *instance {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	i := &instance{cmd: exec.Command(program, "run", "-c", file), log: filepath.Join(t.TempDir(), name+".log"), done: make(chan struct{})}
	log, err := os.Create(i.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	i.cmd.Stdout, i.cmd.Stderr = log, log
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(i.done)
		i.err = i.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = i.cmd.Process.Kill()
		<-i.done
		if t.Failed() {
			data, _ := os.ReadFile(i.log)
			t.Logf("%s, the last of its log:\n%s", name, data[max(0, len(data)-3000):])
		}
	})
	return i
}

// kill ends it as the kernel would.
func (i *instance) kill() {
	_ = i.cmd.Process.Kill()
	<-i.done
}

// stop asks it to end, and wants it to end well.
func (i *instance) stop(t testing.TB) {
	t.Helper()
	if err := i.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	select {
	case <-i.done:
		if i.err != nil {
			t.Errorf("after SIGTERM it ended with: %v", i.err)
		}
	case <-time.After(40 * time.Second):
		t.Error("it did not end within 40 s of SIGTERM")
	}
}

// resident is the memory in use in MB, -1 where nobody knows.
func (i *instance) resident() int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", i.cmd.Process.Pid))
	if err != nil {
		return -1
	}
	_, rest, ok := strings.Cut(string(data), "VmRSS:")
	if !ok {
		return -1
	}
	var kb int
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		return -1
	}
	return kb >> 10
}

// events are the lines of a real audit log.
func events(t testing.TB) (lines [][]byte) {
	t.Helper()
	f, err := os.Open(root + "/testdata/corpus/rr.jsonl.gz")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(z)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		if auditID.Match(s.Bytes()) {
			lines = append(lines, bytes.Clone(s.Bytes()))
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// auditID finds the id of an event where it is a UUID, as the API server makes them. Clients may choose others, which
// cannot be renumbered, so such events are left out.
var auditID = regexp.MustCompile(`"auditID":"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"`)

const idAt = len(`"auditID":"`)

// renumber gives an event an audit id of its round.
func renumber(line []byte, round int) []byte {
	line = bytes.Clone(line)
	if at := auditID.FindIndex(line); at != nil {
		copy(line[at[0]+idAt:], renumbered("........", round))
	}
	return line
}

// renumbered is an audit id in a round.
func renumbered(audit string, round int) string { return fmt.Sprintf("%08x", round) + audit[8:] }

// alerted is what the tests want to know of an alert.
type alerted struct {
	ID      string `json:"id"`
	Outcome string `json:"outcome"`
	Request struct {
		AuditID string `json:"audit_id"`
	} `json:"request"`
}

// expected replays the log without any Kafka, and returns how many alerts each request raises in one round.
func expected(t testing.TB, program string, lines [][]byte) map[string]int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "replay", "-o", "json", "--children", "alert", "--enrich", "none", "-")
	cmd.Stdin = bytes.NewReader(bytes.Join(lines, []byte{'\n'}))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("replay: %v\n%s", err, errs.Bytes())
	}
	audits := map[string]int{}
	ids := map[string]bool{}
	for line := range bytes.Lines(out) {
		var a alerted
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatalf("replay wrote %.200s: %v", line, err)
		}
		if !ids[a.ID] {
			ids[a.ID] = true
			audits[a.Request.AuditID]++
		}
	}
	return audits
}

// feed writes events at a rate until all are in, through every fault; its own retries make no repeats.
func (r *real) feed(ctx context.Context, t testing.TB, topic string, rounds, perSecond int, lines [][]byte) error {
	out, err := sink.New(sink.Config{Brokers: r.brokers, Topic: topic}, sink.Settings{Name: "feeder"})
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = out.Close(end)
	}()
	began, sent := time.Now(), 0
	var batch []sinks.Message
	flush := func() error {
		for len(batch) > 0 {
			try, cancel := context.WithTimeout(ctx, 60*time.Second)
			err := out.Publish(try, batch)
			cancel()
			if err == nil {
				break
			}
			var failed *sinks.PublishError
			if !errors.As(err, &failed) || ctx.Err() != nil {
				return err
			}
			var again []sinks.Message
			for _, f := range failed.Failures {
				if f.Permanent {
					return err
				}
				again = append(again, batch[f.Index])
			}
			batch = again
			pause(ctx, 100*time.Millisecond)
		}
		batch = batch[:0]
		pause(ctx, time.Until(began.Add(time.Duration(sent)*time.Second/time.Duration(perSecond))))
		return ctx.Err()
	}
	for round := range rounds {
		for i, line := range lines {
			batch = append(batch, sinks.Message{ID: fmt.Sprintf("%d/%d", round, i), Value: renumber(line, round)})
			if sent++; len(batch) == 500 {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// watch looks at the committed offsets until its context ends: they never move backwards.
type watch struct {
	mu      sync.Mutex
	offsets map[int]int64
	looks   int
	faults  []string
}

func (r *real) watch(ctx context.Context, group, topic string, partitions int) *watch {
	w := &watch{offsets: map[int]int64{}}
	go func() {
		for ; ctx.Err() == nil; pause(ctx, 200*time.Millisecond) {
			now, err := r.committed(ctx, group, topic, partitions)
			if err != nil {
				continue // a coordinator that is away
			}
			w.mu.Lock()
			w.looks++
			for p, offset := range now {
				if offset < w.offsets[p] {
					w.faults = append(w.faults, fmt.Sprintf("partition %d moved from %d back to %d", p, w.offsets[p], offset))
				}
				w.offsets[p] = offset
			}
			w.mu.Unlock()
		}
	}()
	return w
}

// drained waits until the group has committed everything, and says which partitions are stuck if it does not.
func (r *real) drained(ctx context.Context, t testing.TB, group, topic string, partitions int, limit time.Duration) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		ends, err := r.ends(ctx, topic, partitions)
		var have map[int]int64
		if err == nil {
			have, err = r.committed(ctx, group, topic, partitions)
		}
		left := int64(0)
		for p, end := range ends {
			left += end - have[p]
		}
		if err == nil && left == 0 {
			return
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			t.Fatalf("%v after the last record %d are not acknowledged: ends %v, committed %v, error %v", limit, left, ends, have, err)
		}
		pause(ctx, 100*time.Millisecond)
	}
}
