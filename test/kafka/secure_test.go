package kafka_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sources"

	sink "github.com/spawnwatch/spawnwatch/sinks/kafka"
	source "github.com/spawnwatch/spawnwatch/sources/kafka"
)

// listener returns the brokers' addresses at the listener that is offset by n, as scripts/kafka-up lays them out.
func (r *real) listener(t testing.TB, n int) []string {
	t.Helper()
	var out []string
	for _, b := range r.brokers {
		host, port, err := net.SplitHostPort(b)
		if err != nil {
			t.Fatal(err)
		}
		p, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, net.JoinHostPort(host, strconv.Itoa(p+n)))
	}
	return out
}

func folder(t testing.TB) string {
	dir := os.Getenv("KAFKA_DIR")
	if _, err := os.Stat(filepath.Join(dir, "tls", "ca.pem")); dir == "" || err != nil {
		t.Skip("KAFKA_DIR names no folder of a kafka-up -s: run make test-kafka")
	}
	return dir
}

const (
	plain   = 0
	withTLS = 3
	sasl    = 2
)

// access is one way in.
type access struct {
	listener int
	tls      *kafkaconn.TLS
	sasl     *kafkaconn.SASL
}

func ways(dir string) map[string]access {
	file := func(n string) string { return filepath.Join(dir, "tls", n) }
	return map[string]access{
		"mutual TLS":    {withTLS, &kafkaconn.TLS{CA: file("ca.pem"), Cert: file("client.pem"), Key: file("client.key")}, nil},
		"PLAIN":         {sasl, nil, &kafkaconn.SASL{Mechanism: "PLAIN", Username: "spawnwatch", Password: "secret"}},
		"SCRAM-SHA-256": {sasl, nil, &kafkaconn.SASL{Mechanism: "SCRAM-SHA-256", Username: "spawnwatch", Password: "secret"}},
		"SCRAM-SHA-512": {sasl, nil, &kafkaconn.SASL{Mechanism: "SCRAM-SHA-512", Username: "spawnwatch", Password: "secret"}},
	}
}

// TestEveryWayIn publishes and consumes over TLS with a client certificate and over each SASL mechanism.
func TestEveryWayIn(t *testing.T) {
	r := open(t)
	for how, a := range ways(folder(t)) {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			topic := name(t, "t")
			r.topic(t, topic, 1)
			brokers := r.listener(t, a.listener)
			out, err := sink.New(sink.Config{Brokers: brokers, Topic: topic, TLS: a.tls, SASL: a.sasl}, sink.Settings{Name: "out"})
			if err != nil {
				t.Fatal(err)
			}
			if err := out.Check(within(t, 20*time.Second)); err != nil {
				t.Fatal(err)
			}
			if err := out.Publish(within(t, 20*time.Second), []sinks.Message{{ID: "1", Value: []byte("hello")}}); err != nil {
				t.Fatal(err)
			}
			if err := out.Close(within(t, 5*time.Second)); err != nil {
				t.Fatal(err)
			}
			config := source.Config{Brokers: brokers, Topics: []string{topic}, Group: name(t, "g"), TLS: a.tls, SASL: a.sasl}
			in, err := source.New(config, source.Settings{Name: "in"})
			if err != nil {
				t.Fatal(err)
			}
			if err := in.Check(within(t, 20*time.Second)); err != nil {
				t.Fatal(err)
			}
			if got := r.consume(t, config, 1); got["0/0"] != "hello" {
				t.Errorf("%v came, want hello at offset 0", got)
			}
		})
	}
}

// TestWrongWayIn: each mistake is an error within seconds, from check and from run, that says what to do.
func TestWrongWayIn(t *testing.T) {
	r := open(t)
	dir := folder(t)
	right := ways(dir)
	file := func(n string) string { return filepath.Join(dir, "tls", n) }
	topic := name(t, "t")
	r.topic(t, topic, 1)
	missing := name(t, "missing")
	tests := map[string]struct {
		access  access
		brokers []string
		topic   string
		says    []string
	}{
		"wrong password": {
			access{sasl, nil, &kafkaconn.SASL{Mechanism: "SCRAM-SHA-512", Username: "spawnwatch", Password: "wrong"}},
			nil, topic,
			[]string{"127.0.0.1:", "SCRAM-SHA-512", `"spawnwatch"`, "sasl.password"},
		},
		"wrong password, PLAIN": {
			access{sasl, nil, &kafkaconn.SASL{Mechanism: "PLAIN", Username: "spawnwatch", Password: "wrong"}},
			nil, topic,
			[]string{"PLAIN", `"spawnwatch"`, "sasl.password"},
		},
		"unknown user": {
			access{sasl, nil, &kafkaconn.SASL{Mechanism: "SCRAM-SHA-256", Username: "nobody", Password: "secret"}},
			nil, topic,
			[]string{`"nobody"`, "sasl.username"},
		},
		"wrong CA": {
			access{withTLS, &kafkaconn.TLS{CA: file("other.pem"), Cert: file("client.pem"), Key: file("client.key")}, nil},
			nil, topic,
			[]string{"authority", "tls.ca"},
		},
		"wrong name": {
			access{withTLS, &kafkaconn.TLS{CA: file("ca.pem"), Cert: file("client.pem"), Key: file("client.key"), ServerName: "kafka.example"}, nil},
			nil, topic,
			[]string{"kafka.example", "tls.server_name"},
		},
		"no client certificate":    {access{withTLS, &kafkaconn.TLS{CA: file("ca.pem")}, nil}, nil, topic, []string{"tls.cert"}},
		"TLS where there is none":  {access{plain, right["mutual TLS"].tls, nil}, nil, topic, []string{"TLS"}},
		"no TLS where there is":    {access{withTLS, nil, nil}, nil, topic, []string{"tls"}},
		"no SASL where there is":   {access{sasl, nil, nil}, nil, topic, []string{"sasl"}},
		"SASL where there is none": {access{plain, nil, right["PLAIN"].sasl}, nil, topic, []string{"sasl"}},
		"unreachable broker":       {access{}, []string{"127.0.0.1:1"}, topic, []string{"127.0.0.1:1", "refused", "listen"}},
		"unknown host":             {access{}, []string{"kafka.invalid:9092"}, topic, []string{"kafka.invalid", "brokers"}},
		"unknown topic":            {access{}, nil, missing, []string{missing, "does not exist", "create it"}},
	}
	for what, x := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			brokers := x.brokers
			if brokers == nil {
				brokers = r.listener(t, x.access.listener)
			}
			config := source.Config{Brokers: brokers, Topics: []string{x.topic}, Group: name(t, "g"), TLS: x.access.tls, SASL: x.access.sasl}
			in, err := source.New(config, source.Settings{Name: "in"})
			if err != nil {
				t.Fatal(err)
			}
			out, err := sink.New(sink.Config{Brokers: brokers, Topic: x.topic, TLS: x.access.tls, SASL: x.access.sasl}, sink.Settings{Name: "out"})
			if err != nil {
				t.Fatal(err)
			}
			tries := map[string]func(ctx context.Context) error{
				"check of the source": in.Check,
				"check of the sink":   out.Check,
				"publish": func(ctx context.Context) error {
					return out.Publish(ctx, []sinks.Message{{ID: "1", Value: []byte("x")}})
				},
				"run": func(ctx context.Context) error {
					return in.Run(ctx, func(context.Context, *sources.Batch) error { return nil })
				},
			}
			for who, try := range tries {
				began := time.Now()
				err := try(within(t, 30*time.Second))
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("%s took %v", who, took)
				}
				if err == nil {
					t.Errorf("%s: no error", who)
					continue
				}
				for _, part := range x.says {
					if !strings.Contains(err.Error(), part) && !(who == "publish" || who == "run" && part == "127.0.0.1:") {
						t.Errorf("%s: the error lacks %q: %v", who, part, err)
					}
				}
				t.Logf("%s (%v): %v", who, time.Since(began).Round(time.Millisecond), err)
			}
			if err := out.Close(within(t, 5*time.Second)); err != nil {
				t.Error(err)
			}
		})
	}
}
