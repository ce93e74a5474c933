// Command cost measures what it costs to consume audit events from a real Kafka: this project's source, kafka-go's Reader
// and kcat (librdkafka), each in a process of its own, in interleaved rounds, as CPU seconds per GB of record values.
//
//	eval "$(scripts/kafka-up /tmp/kafka)"; export BOOTSTRAP
//	go run ./test/kafka/cost -mb 1000 -rounds 5
//
// It fills topics of its own once (cost-CODEC) and leaves them there. kcat reads without a group; it is left out where
// it is not installed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/spawnwatch/spawnwatch/sources"
	source "github.com/spawnwatch/spawnwatch/sources/kafka"
)

const partitions = 8

var (
	bootstrap = flag.String("bootstrap", os.Getenv("BOOTSTRAP"), "the brokers")
	log       = flag.String("log", "testdata/corpus/rr.jsonl.gz", "the audit log to repeat (gzip)")
	size      = flag.Int64("mb", 1000, "MB of record values in each topic")
	perBatch  = flag.Int("batch", 50, "records in a batch")
	suffix    = flag.String("suffix", "", "added to the names of the topics")
	rounds    = flag.Int("rounds", 5, "rounds")
	codecs    = flag.String("codecs", "none,zstd,lz4,snappy", "compressions to measure")
	stage     = flag.String("stage", "", "the program, to measure the whole stage as well")
	kinds     = flag.String("kinds", "source,one,two,reader,kcat,stage", "what to measure; source ends with the last record; one, two: so many sources that share a group, until all is committed; stage: the whole program, likewise")
	child     = flag.String("child", "", "internal: what to consume with")
	topic     = flag.String("topic", "", "internal")
	group     = flag.String("group", "", "internal")
	profile   = flag.String("profile", "", "write a CPU profile of the source to this file")
	want      = flag.Int64("want", 0, "internal: records to consume, 0: until ended")
)

func main() {
	flag.Parse()
	var err error
	if *child == "" {
		err = measure()
	} else {
		err = consume()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "cost: %v\n", err)
		os.Exit(1)
	}
}

func brokers() []string { return strings.Split(*bootstrap, ",") }

// consume is a child: it ends when it has seen all records, or, as one of two, when its standard input does.
func consume() error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if *want == 0 {
		signal.Ignore(os.Interrupt) // the end of standard input says it
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	var seen, length atomic.Int64
	count := func(n, size int64) {
		length.Add(size)
		if seen.Add(n) >= *want && *want > 0 {
			stop()
		}
	}
	if *child == "reader" {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers(), GroupID: *group, Topic: *topic, MaxBytes: 8 << 20, MaxWait: 500 * time.Millisecond, CommitInterval: 200 * time.Millisecond, StartOffset: kafka.FirstOffset})
		defer r.Close()
		for ctx.Err() == nil {
			m, err := r.FetchMessage(ctx)
			if err != nil {
				break
			}
			if err := r.CommitMessages(ctx, m); err != nil {
				break
			}
			count(1, int64(len(m.Value)))
		}
		fmt.Println(seen.Load(), length.Load())
		return nil
	}
	s, err := source.New(source.Config{Brokers: brokers(), Topics: []string{*topic}, Group: *group}, source.Settings{Name: "cost"})
	if err != nil {
		return err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	err = s.Run(ctx, func(_ context.Context, b *sources.Batch) error {
		size := int64(0)
		for i := range b.Records {
			size += int64(len(b.Records[i].Value))
		}
		count(int64(len(b.Records)), size)
		return nil
	})
	fmt.Println(seen.Load(), length.Load())
	return err
}

// result is one measured run.
type result struct {
	cpu, wall float64 // seconds
	resident  int64   // MB, the most
}

func measure() error {
	if *bootstrap == "" {
		return errors.New("expected the brokers in BOOTSTRAP or -bootstrap; scripts/kafka-up starts some")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Printf("%-8s %-8s %10s %10s %10s %8s   (medians of %d interleaved rounds)\n", "codec", "by", "CPU s/GB", "wall s/GB", "GB", "RSS MB", *rounds)
	for _, codec := range strings.Split(*codecs, ",") {
		name := "cost-" + codec + *suffix
		records, length, err := fill(name, codec)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		results := map[string][]result{}
		for round := range *rounds {
			for _, kind := range strings.Split(*kinds, ",") {
				r, ok, err := run(self, kind, name, records, length)
				if err != nil {
					return fmt.Errorf("%s, %s, round %d: %w", kind, codec, round, err)
				}
				if ok {
					results[kind] = append(results[kind], r)
				}
			}
		}
		gb := float64(length) / 1e9
		for _, kind := range strings.Split(*kinds, ",") {
			rs := results[kind]
			if len(rs) == 0 {
				continue
			}
			mid := func(f func(result) float64) float64 {
				var all []float64
				for _, r := range rs {
					all = append(all, f(r))
				}
				slices.Sort(all)
				return all[len(all)/2]
			}
			fmt.Printf("%-8s %-8s %10.2f %10.2f %10.2f %8.0f\n", codec, kind, mid(func(r result) float64 { return r.cpu })/gb,
				mid(func(r result) float64 { return r.wall })/gb, gb, mid(func(r result) float64 { return float64(r.resident) }))
		}
	}
	return nil
}

// run measures one consumer once; ok is false where it is not installed.
func run(self, kind, topic string, records, length int64) (result, bool, error) {
	group := fmt.Sprintf("cost-%s-%d", kind, time.Now().UnixNano())
	began := time.Now()
	base := []string{"-bootstrap", *bootstrap, "-topic", topic, "-group", group, "-profile", *profile}
	switch kind {
	case "kcat":
		path, err := exec.LookPath("kcat")
		if err != nil {
			return result{}, false, nil
		}
		cmd := exec.Command(path, "-C", "-b", *bootstrap, "-t", topic, "-o", "beginning", "-e", "-q", "-f", "", "-X", "fetch.message.max.bytes=1048576")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return result{}, false, err
		}
		return usage(time.Since(began), cmd), true, nil
	case "one":
		return committing([]*exec.Cmd{exec.Command(self, append(base, "-child", "source")...)}, topic, group, records)
	case "two":
		args := append(base, "-child", "source")
		return committing([]*exec.Cmd{exec.Command(self, args...), exec.Command(self, args...)}, topic, group, records)
	case "stage":
		if *stage == "" {
			return result{}, false, nil
		}
		file, err := stageConfig(topic, group)
		if err != nil {
			return result{}, false, err
		}
		defer os.Remove(file)
		return committing([]*exec.Cmd{exec.Command(*stage, "run", "-c", file)}, topic, group, records)
	}
	cmd := exec.Command(self, append(base, "-child", kind, "-want", strconv.FormatInt(records, 10))...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return result{}, false, err
	}
	if err := complete(string(out), records, length); err != nil {
		return result{}, false, err
	}
	return usage(time.Since(began), cmd), true, nil
}

func complete(out string, records, length int64) error {
	var n, size int64
	if _, err := fmt.Sscan(out, &n, &size); err != nil {
		return fmt.Errorf("expected two numbers, got %q", out)
	}
	if n != records || size != length {
		return fmt.Errorf("%d records of %d bytes came, want %d of %d", n, size, records, length)
	}
	return nil
}

// stageConfig makes a configuration for the whole program: all built-in rules, no enrichment, alerts to nowhere.
func stageConfig(topic, group string) (string, error) {
	f, err := os.CreateTemp("", "stage-*.yaml")
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, `
sources: [{name: audit, kafka: {brokers: ["%s"], topics: [%s], group: %s}}]
sinks: [{name: out, file: {path: /dev/null}}]
dead_letter: {file: {path: /dev/null}}
enrich: {mode: none}
admin: {listen: "127.0.0.1:0"}
`, strings.Join(brokers(), `","`), topic, group)
	return f.Name(), err
}

// committing measures programs that share a group until all is committed, and then ends them.
func committing(cmds []*exec.Cmd, topic, group string, records int64) (result, bool, error) {
	began := time.Now()
	var pipes []io.Closer
	for _, cmd := range cmds {
		cmd.Stderr = os.Stderr
		if *stage != "" && cmd.Path == *stage {
			cmd.Stderr = nil
		}
		in, err := cmd.StdinPipe()
		if err != nil {
			return result{}, false, err
		}
		if err := cmd.Start(); err != nil {
			return result{}, false, err
		}
		pipes = append(pipes, in)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(brokers()...)}
	ids := make([]int, partitions)
	for i := range ids {
		ids[i] = i
	}
	for sum := int64(0); sum < records; {
		if ctx.Err() != nil {
			return result{}, false, fmt.Errorf("only %d of %d records are committed", sum, records)
		}
		time.Sleep(100 * time.Millisecond)
		res, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: ids}})
		if err != nil {
			continue
		}
		sum = 0
		for _, p := range res.Topics[topic] {
			sum += max(0, p.CommittedOffset)
		}
	}
	wall := time.Since(began)
	total := result{wall: wall.Seconds()}
	for i, cmd := range cmds {
		_ = pipes[i].Close()
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			return result{}, false, err
		}
		u := usage(wall, cmd)
		total.cpu += u.cpu
		total.resident += u.resident
	}
	return total, true, nil
}
