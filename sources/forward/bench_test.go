package forward

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
)

// benchEvent is a made-up audit event of about 2.3 kB: a Pod created, with its request.
func benchEvent() string {
	var labels []string
	for i := range 12 {
		labels = append(labels, `"example.com/label-`+strconv.Itoa(i)+`":"value of label `+strconv.Itoa(i)+`"`)
	}
	return `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"5f9c1a4e-0000-4000-8000-000000000002",` +
		`"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods?fieldManager=kubectl-run","verb":"create","user":{"username":` +
		`"system:serviceaccount:shop:deployer","uid":"2b9e9a6c-7a0e-4f0d-9a53-6f0e3f7b0c11","groups":["system:serviceaccounts","system:serviceaccounts:shop",` +
		`"system:authenticated"],"extra":{"authentication.kubernetes.io/pod-name":["deployer-5d9f"]}},"sourceIPs":["10.0.0.5"],"userAgent":"kubectl/v1.36.0",` +
		`"objectRef":{"resource":"pods","namespace":"shop","name":"web","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201},"requestObject":{"kind":"Pod",` +
		`"apiVersion":"v1","metadata":{"name":"web","namespace":"shop","creationTimestamp":null,"labels":{` + strings.Join(labels, ",") + `}},"spec":{"volumes":[{"name":"data","emptyDir":{}}],` +
		`"containers":[{"name":"web","image":"registry.example.com/shop/web:1.2.3","command":["/bin/sh","-c","echo \"ready\"; exec /web"],"ports":[{"containerPort":8080,"protocol":"TCP"}],` +
		`"env":[{"name":"MODE","value":"production"}],"resources":{"limits":{"cpu":"500m","memory":"256Mi"}},"terminationMessagePath":"/dev/termination-log",` +
		`"terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent","securityContext":{"privileged":false,"runAsNonRoot":true}}],"restartPolicy":"Always",` +
		`"terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","schedulerName":"default-scheduler"}},` +
		`"requestReceivedTimestamp":"2026-11-23T01:02:03.123456Z","stageTimestamp":"2026-11-23T01:02:03.234567Z",` +
		`"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by RoleBinding \"deployer/shop\" of Role \"deployer\" to ServiceAccount \"deployer/shop\""}}`
}

// pack is the MessagePack form of a JSON text as Fluent Bit packs it: keys in the order of the text, short headers but
// for the record itself.
func pack(t testing.TB, text string) []byte {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var value func() []byte
	value = func() []byte {
		tok, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var parts [][]byte
		switch v := tok.(type) {
		case json.Delim:
			for d.More() {
				parts = append(parts, value())
			}
			if _, err := d.Token(); err != nil {
				t.Fatal(err)
			}
			n, fix, wide := len(parts), byte(0x90), byte(0xdc)
			if v == '{' {
				n, fix, wide = n/2, 0x80, 0xde
			}
			if n < 16 {
				return append([]byte{fix | byte(n)}, bytes.Join(parts, nil)...)
			}
			return append([]byte{wide, byte(n >> 8), byte(n)}, bytes.Join(parts, nil)...)
		case string:
			return str(v)
		case json.Number:
			if n, err := strconv.ParseUint(v.String(), 10, 32); err == nil {
				if n < 0x80 {
					return []byte{byte(n)}
				}
				return integer(uint32(n))
			}
			f, err := v.Float64()
			if err != nil {
				t.Fatal(err)
			}
			return float(f)
		case bool:
			return []byte{0xc2 | byte(b2i(v))}
		}
		return []byte{0xc0}
	}
	return value()
}

func BenchmarkAppendJSON(b *testing.B) {
	event := benchEvent()
	for _, c := range []struct {
		name   string
		record []byte
	}{{"parsed", pack(b, event)}, {"log with kubernetes", object(str("log"), str(event), str("kubernetes"), object())}} {
		b.Run(c.name, func(b *testing.B) {
			var dst []byte
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, _, err = appendJSON(dst[:0], c.record, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// realEvents are the lines of a real API server's log.
func realEvents(t testing.TB) (lines []string) {
	t.Helper()
	text := readMaybeGzip(t, filepath.Join("..", "..", "testdata", "corpus", "rr.jsonl"))
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	if len(lines) < 1000 {
		t.Fatalf("read %d real events", len(lines))
	}
	return lines
}

func TestRealEventsComeThrough(t *testing.T) {
	var text []byte
	for _, line := range realEvents(t)[:1000] {
		packed := pack(t, line)
		var n int
		var err error
		if text, n, err = appendJSON(text[:0], packed, 1<<24); err != nil || n != len(packed) {
			t.Fatalf("%s: %d of %d bytes, %v", line, n, len(packed), err)
		}
		var want, got any
		if err := json.Unmarshal([]byte(line), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %s\nwant %s", text, line)
		}
	}
}

// BenchmarkRealEvents goes through 2 MB of real events, no two of them the same: the processor can't learn them.
func BenchmarkRealEvents(b *testing.B) {
	var stream []byte
	size := 0
	for _, line := range realEvents(b) {
		if len(stream) < 2<<20 {
			stream = append(stream, pack(b, line)...)
			size += len(line)
		}
	}
	b.Run("transcode", func(b *testing.B) {
		b.SetBytes(int64(size))
		var dst []byte
		for b.Loop() {
			for rest := stream; len(rest) > 0; {
				var n int
				var err error
				if dst, n, err = appendJSON(dst[:0], rest, 1<<24); err != nil {
					b.Fatal(err)
				}
				rest = rest[n:]
			}
		}
	})
	b.Run("skip", func(b *testing.B) {
		b.SetBytes(int64(size))
		for b.Loop() {
			for rest := stream; len(rest) > 0; {
				n, err := skip(rest)
				if err != nil {
					b.Fatal(err)
				}
				rest = rest[n:]
			}
		}
	})
}

func BenchmarkSkip(b *testing.B) {
	record := pack(b, benchEvent())
	b.SetBytes(int64(len(record)))
	for b.Loop() {
		if _, err := skip(record); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSource sends chunks of about 2 MB over loopback to a handler that does nothing, and counts the CPU of the
// whole process (sender and kernel included) per byte of JSON text.
func BenchmarkSource(b *testing.B) {
	event := benchEvent()
	const perChunk = 900
	for _, c := range []struct {
		name   string
		record []byte
	}{{"parsed", pack(b, event)}, {"unparsed", logRecord(event)}} {
		entries := bytes.Repeat(entry(c.record), perChunk)
		for _, form := range []string{"forward", "gzip"} {
			b.Run(c.name+"/"+form, func(b *testing.B) {
				var chunk []byte
				if form == "gzip" {
					chunk = array(str("t"), bin(gzipped(b, entries)), chunkOption("same length", str("compressed"), str("gzip")))
				} else {
					list := make([][]byte, perChunk)
					for i := range list {
						list[i] = entry(c.record)
					}
					chunk = array(str("t"), array(list...), chunkOption("same length"))
				}
				at := bytes.LastIndex(chunk, []byte("same length"))
				s := start(b, Config{}, Settings{}, func(context.Context, *sources.Batch) error { return nil })
				conn, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				ack := make([]byte, len(ackOf("same length")))
				b.SetBytes(int64(perChunk * len(event)))
				b.ReportAllocs()
				begun, n := cpu(b), 0
				for b.Loop() {
					n++
					copy(chunk[at:], strconv.Itoa(1e9+n)) // another chunk each time
					if _, err := conn.Write(chunk); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(conn, ack); err != nil {
						b.Fatal(err)
					}
				}
				if got := s.Stats().Records; got < int64(n*perChunk) {
					b.Fatalf("handled %d records of %d", got, n*perChunk)
				}
				gb := float64(n*perChunk*len(event)) / 1e9
				b.ReportMetric(gb/(cpu(b)-begun).Seconds(), "GB/CPU-s")
			})
		}
	}
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
