package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	ready := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/livez":
			w.WriteHeader(http.StatusOK)
		case "/readyz":
			w.WriteHeader(ready)
			fmt.Fprint(w, "source \"audit\": no partitions\x1b[2J\n")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	address := server.Listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "spawnwatch.yaml")
	if err := os.WriteFile(file, []byte("admin: {listen: \"127.0.0.1:"+port+"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()

	for _, c := range []struct {
		name  string
		args  []string
		ready int
		code  int
		says  string
	}{
		{"ready", []string{"--admin", address}, http.StatusOK, exitOK, ""},
		{"by its configuration", []string{"-c", file}, http.StatusOK, exitOK, ""},
		{"not ready", []string{"--admin", address}, http.StatusServiceUnavailable, exitBad, `503 Service Unavailable: source "audit": no partitions`},
		{"not ready, alive", []string{"--admin", address, "--live"}, http.StatusServiceUnavailable, exitOK, ""},
		{"nobody there", []string{"--admin", closed.Addr().String()}, http.StatusOK, exitBad, "does not answer"},
		{"no address", []string{"--admin", "here"}, http.StatusOK, exitBad, `expected the admin listener as host:port, got "here"`},
		{"no configuration", []string{"-c", file + ".no"}, http.StatusOK, exitConfig, "cannot be read"},
		{"both", []string{"-c", file, "--admin", address}, http.StatusOK, exitUsage, "none of the others can be"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ready = c.ready
			var out, errs bytes.Buffer
			code := run(append([]string{"health"}, c.args...), streams{in: strings.NewReader(""), out: &out, err: &errs})
			if code != c.code || !strings.Contains(errs.String(), c.says) || (c.says == "") != (errs.Len() == 0) {
				t.Errorf("code %d, standard error %q; expected code %d and %q", code, errs.String(), c.code, c.says)
			}
			if out.Len() > 0 {
				t.Errorf("standard output has %q", out.String())
			}
			if strings.Contains(errs.String(), "\x1b") {
				t.Errorf("an escape reached the terminal: %q", errs.String())
			}
		})
	}
}

// A listener on every address is asked on loopback.
func TestHealthOfWildcard(t *testing.T) {
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Skipf("no listener on every address can be had here: %v", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	defer func() { _ = server.Close() }()
	go func() { _ = server.Serve(listener) }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	for _, host := range []string{"", "0.0.0.0", "[::]"} {
		if err := askHealth(t.Context(), host+":"+port, "/readyz"); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}
