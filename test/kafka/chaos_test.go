package kafka_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

const chaosPartitions = 6

// TestChaos runs three instances in one group over six partitions, while members are killed, stopped and added, and a
// broker is killed and started again. Every creation must alert, repeats stay under 1 %, offsets never move back, and
// no partition stays behind. EVENTS sets how many audit events go through, 200,000 unless set.
//
// It needs KAFKA_DIR and, to start the broker again, the command line of kafka-up in KAFKA_UP.
func TestChaos(test *testing.T) {
	t := tell(test)
	r := open(t)
	dir, up := os.Getenv("KAFKA_DIR"), os.Getenv("KAFKA_UP")
	if dir == "" || up == "" || len(r.brokers) < 3 {
		t.Skip("three brokers, KAFKA_DIR and KAFKA_UP are needed: run make test-kafka")
	}
	if testing.Short() {
		t.Skip("takes minutes")
	}
	program := build(t)
	lines := events(t)
	want := 200_000
	if s := os.Getenv("EVENTS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("EVENTS: %v", err)
		}
		want = n
	}
	rounds := (want + len(lines) - 1) / len(lines)
	audits := expected(t, program, lines)
	t.Logf("%d events in %d rounds, %d alerts expected in each", rounds*len(lines), rounds, len(audits))
	if len(audits) < 100 {
		t.Fatalf("the log gives %d alerts, too few to prove anything", len(audits))
	}

	in, out, dead, group := name(t, "in"), name(t, "out"), name(t, "dead"), name(t, "group")
	large := kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "8388608"} // an event of the log has 1.6 MB
	r.topic(t, in, chaosPartitions, large)
	r.topic(t, out, 3, large)
	r.topic(t, dead, 1, large)
	config := fmt.Sprintf(`
cluster: chaos
sources:
  - name: audit
    kafka: {brokers: [%[1]s], topics: [%[2]s], group: %[3]s}
rules: {children: alert}
sinks:
  - name: alerts
    kafka: {brokers: [%[1]s], topic: %[4]s}
dead_letter: {kafka: {brokers: [%[1]s], topic: %[5]s}}
admin: {listen: "127.0.0.1:0"}
`, `"`+strings.Join(r.brokers, `","`)+`"`, in, group, out, dead)

	ctx, cancel := context.WithTimeout(t.Context(), 14*time.Minute)
	defer cancel()
	watching := r.watch(ctx, group, in, chaosPartitions)
	members := map[string]*instance{}
	started := 0
	add := func() {
		started++
		name := fmt.Sprintf("member%d", started)
		members[name] = launch(t, program, config, name)
	}
	for range 3 {
		add()
	}

	fed := make(chan error, 1)
	go func() { fed <- r.feed(ctx, t, in, rounds, 2500, lines) }()
	victim := func() (string, *instance) {
		name := slices.Sorted(maps.Keys(members))[0] // the oldest of those that are left
		m := members[name]
		delete(members, name)
		return name, m
	}
	broker := 0
	steps := []struct {
		what string
		do   func()
	}{
		{"kill -9 a member", func() { _, m := victim(); m.kill() }},
		{"add a member", add},
		{"stop a member", func() { _, m := victim(); m.stop(t) }},
		{"add a member", add},
		{"kill -9 a broker", func() { killBroker(t, dir, broker) }},
		{"add a member", add},
		{"kill -9 a member", func() { _, m := victim(); m.kill() }},
		{"start the broker again", func() {
			startBrokers(t, up)
			broker = (broker + 1) % len(r.brokers)
		}},
	}
	feeding := true
	for n := 0; feeding || n < len(steps); n++ {
		select {
		case err := <-fed:
			if err != nil {
				t.Fatalf("feeding: %v", err)
			}
			feeding, fed = false, nil
		case <-time.After(7 * time.Second):
		}
		if !feeding && n%len(steps) == 0 {
			break
		}
		step := steps[n%len(steps)]
		t.Logf("%s: %s", time.Now().Format("15:04:05"), step.what)
		step.do()
		for name, m := range members {
			select {
			case <-m.done:
				t.Errorf("%s ended by itself: %v", name, m.err)
				delete(members, name)
				add()
			default:
			}
		}
	}
	startBrokers(t, up)
	for len(members) < 3 {
		add()
	}
	r.drained(ctx, t, group, in, chaosPartitions, 2*time.Minute)

	// Read while members still run: what they publish twice shows as well.
	count := map[string]int{}
	byAudit := map[string]int{}
	all := r.read(t, out, 3)
	for _, x := range all {
		var a alerted
		if err := json.Unmarshal(x.value, &a); err != nil {
			t.Fatalf("an alert does not decode: %v", err)
		}
		if count[a.ID]++; count[a.ID] == 1 {
			byAudit[a.Request.AuditID]++
		}
	}
	missing := 0
	for round := range rounds {
		for audit, n := range audits {
			id := renumbered(audit, round)
			if left := n - byAudit[id]; left > 0 {
				if missing += left; missing < 5 {
					t.Errorf("%d of %d alerts for audit id %s are missing", left, n, id)
				}
			}
		}
	}
	repeats := len(all) - len(count)
	letters := r.mustEnds(t, dead, 1)
	watching.mu.Lock()
	defer watching.mu.Unlock()
	t.Logf("%d alerts, %d of them repeats (%.2f %%), %d missing, %d dead letters, offsets looked at %d times, %d instances",
		len(all), repeats, 100*float64(repeats)/float64(len(all)), missing, sum(letters), watching.looks, started)
	if missing > 0 {
		t.Errorf("%d creations raised no alert", missing)
	}
	if repeats*100 >= len(all) {
		t.Errorf("%d of %d alerts are repeats, want less than 1 %%", repeats, len(all))
	}
	for _, f := range watching.faults {
		t.Errorf("a committed offset moved backwards: %s", f)
	}
	if watching.looks < 20 {
		t.Errorf("the offsets were looked at %d times only", watching.looks)
	}
	for _, m := range members {
		m.stop(t)
	}
}

// killBroker ends a broker as the kernel would.
func killBroker(t testing.TB, dir string, i int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	// The mark that kafka-up gives its brokers: a process id that was used again is nobody's business here.
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(line), "-Dspawnwatch.broker=") {
		t.Fatalf("process %d is not a broker of kafka-up: %v", pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// startBrokers starts those that do not run.
func startBrokers(t testing.TB, up string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", up)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", up, err, out)
	}
}
