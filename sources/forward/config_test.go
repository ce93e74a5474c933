package forward

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestConfigValidate(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:24224", ":24224", "[::1]:0", "unix:/run/x.sock", "localhost:24224"} {
		if err := (&Config{Listen: listen}).Validate(); err != nil {
			t.Errorf("%q: %v", listen, err)
		}
	}
	good := Config{Listen: ":1", SharedKey: "k", Users: []User{{"a", "b"}, {"c", "d"}}, Hostname: "h", TLS: &TLS{Cert: "c", Key: "k"}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{Users: []User{{"", "p"}, {"a", ""}, {"a", "p"}}, Hostname: strings.Repeat("h", 256), TLS: &TLS{ClientCA: "x"}}
	err := bad.Validate()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v, want joined faults", err)
	}
	var keys []string
	for _, e := range joined.Unwrap() {
		var keyed interface{ Key() string }
		if !errors.As(e, &keyed) || e.Error() == "" {
			t.Errorf("%v names no key", e)
			continue
		}
		keys = append(keys, keyed.Key())
	}
	want := "listen shared_key users[0].name users[1].password users[2].name hostname tls.cert tls.key"
	if got := strings.Join(keys, " "); got != want {
		t.Errorf("got faults at %s, want %s", got, want)
	}
	if _, err := New(bad, Settings{Name: "audit"}); err == nil || !strings.Contains(err.Error(), `source "audit" (forward): `) {
		t.Errorf("got %v", err)
	}
	for _, listen := range []string{"", "unix:", "host", "host:", "host:port:1", "host:99999"} {
		if err := (&Config{Listen: listen}).Validate(); err == nil {
			t.Errorf("%q is let through", listen)
		}
	}
}

func TestThrottle(t *testing.T) {
	var th throttle
	at := func(second int64) (ok bool, dropped int) { return th.allow(time.Unix(1e9+second, 0)) }
	for i := range throttleLines {
		if ok, dropped := at(0); !ok || dropped != 0 {
			t.Errorf("line %d: %v, %d", i, ok, dropped)
		}
	}
	for range 7 {
		if ok, _ := at(9); ok {
			t.Error("one line too many")
		}
	}
	if ok, dropped := at(10); !ok || dropped != 7 {
		t.Errorf("got %v, %d, want a line that tells of 7", ok, dropped)
	}
	if ok, dropped := at(10); !ok || dropped != 0 {
		t.Errorf("got %v, %d", ok, dropped)
	}
}
