// Command biglog repeats a real audit log until it is large enough to measure with. Every round gets audit ids of its
// own, so that the repeat window lets its alerts pass.
//
//	go run ./test/biglog -mb 304 >/tmp/big.jsonl
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	log := flag.String("log", "testdata/corpus/rr.jsonl.gz", "the log to repeat (gzip)")
	size := flag.Int64("mb", 304, "how many MB to write at least")
	flag.Parse()
	if err := write(os.Stdout, *log, *size*1e6); err != nil {
		fmt.Fprintf(os.Stderr, "biglog: %v\n", err)
		os.Exit(1)
	}
}

func write(w io.Writer, path string, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	log, err := io.ReadAll(z)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	key := []byte(`"auditID":"`)
	for round, written := 0, int64(0); written < size; round++ {
		again := bytes.ReplaceAll(log, key, fmt.Appendf(nil, `%s%04x-`, key, round))
		if _, err := out.Write(again); err != nil {
			return err
		}
		written += int64(len(again))
	}
	return out.Flush()
}
