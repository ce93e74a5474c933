package forward

import (
	"errors"
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/internal/listen"
)

func TestConfigValidate(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:24224", ":24224", "[::1]:0", "unix:/run/x.sock", "localhost:24224"} {
		if err := (&Config{Listen: listen}).Validate(); err != nil {
			t.Errorf("%q: %v", listen, err)
		}
	}
	good := Config{Listen: ":1", SharedKey: "k", Users: []User{{"a", "b"}, {"c", "d"}}, Hostname: "h", TLS: &listen.TLS{Cert: "c", Key: "k"}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{Users: []User{{"", "p"}, {"a", ""}, {"a", "p"}}, Hostname: strings.Repeat("h", 256), TLS: &listen.TLS{ClientCA: "x"}}
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
