package http

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spawnwatch/spawnwatch/sinks"
	"github.com/spawnwatch/spawnwatch/sinks/sinktest"
)

// server keeps what it is sent.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	held     []sinktest.Received
	requests int
	headers  http.Header
	// answer is asked first; 0 means to take the request.
	answer func(body []byte, w http.ResponseWriter) int
	form   string
	limit  int
}

func newServer(t testing.TB, form string) *server {
	s := &server{form: form, limit: 10_000}
	s.Server = httptest.NewUnstartedServer(s)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.headers = r.Header.Clone()
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if s.answer != nil {
		if status := s.answer(body, w); status != 0 {
			w.WriteHeader(status)
			if _, err := fmt.Fprintf(w, "because %d", status); err != nil && status != http.StatusNoContent {
				panic(err)
			}
			return
		}
	}
	var fresh []sinktest.Received
	if s.form == Single {
		fresh = []sinktest.Received{{Value: body, Headers: []sinks.Header{
			{Key: "content-type", Value: r.Header.Get("Content-Type")}, {Key: "ce-id", Value: r.Header.Get("Ce-Id")},
		}}}
	} else {
		lines := bufio.NewScanner(bytes.NewReader(body))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			fresh = append(fresh, sinktest.Received{Value: bytes.Clone(lines.Bytes())})
		}
	}
	for _, f := range fresh {
		if len(f.Value) > s.limit {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
	}
	s.held = append(s.held, fresh...)
}

func (s *server) set(f func(body []byte, w http.ResponseWriter) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

func open(t testing.TB, cfg Config) *Sink {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	for _, form := range []string{Lines, Single} {
		t.Run(form, func(t *testing.T) {
			sinktest.Run(t, sinktest.Harness{TooLarge: 10_000, Open: func(t testing.TB) sinktest.Peer {
				srv := newServer(t, form)
				return sinktest.Peer{
					Sink: func(t testing.TB) sinks.Sink { return open(t, Config{URL: srv.URL, Body: form, MaxBody: 30_000}) },
					Read: func(testing.TB, int) []sinktest.Received {
						srv.mu.Lock()
						defer srv.mu.Unlock()
						return slices.Clone(srv.held)
					},
					Stop: func(testing.TB) {
						srv.set(func([]byte, http.ResponseWriter) int { return http.StatusServiceUnavailable })
					},
					Start: func(testing.TB) { srv.set(nil) },
					RefuseOnce: func(testing.TB) {
						once := true
						srv.set(func([]byte, http.ResponseWriter) int {
							if once {
								once = false
								return http.StatusBadGateway
							}
							return 0
						})
					},
				}
			}})
		})
	}
}

func messages(values ...string) []sinks.Message {
	msgs := make([]sinks.Message, len(values))
	for i, v := range values {
		msgs[i] = sinks.Message{ID: fmt.Sprint(i), Value: []byte(v)}
	}
	return msgs
}

func failures(t *testing.T, err error) []sinks.Failure {
	t.Helper()
	var pe *sinks.PublishError
	if !errors.As(err, &pe) {
		t.Fatalf("got %v, want a *sinks.PublishError", err)
	}
	return pe.Failures
}

func TestStatus(t *testing.T) {
	for status, want := range map[int]struct{ fails, permanent bool }{
		200: {}, 201: {}, 202: {}, 204: {},
		301: {fails: true}, 307: {fails: true},
		400: {true, true}, 413: {true, true}, 415: {true, true}, 422: {true, true},
		401: {fails: true}, 403: {fails: true}, 404: {fails: true}, 408: {fails: true}, 425: {fails: true}, 429: {fails: true},
		500: {fails: true}, 502: {fails: true}, 503: {fails: true},
	} {
		srv := newServer(t, Lines)
		srv.set(func(_ []byte, w http.ResponseWriter) int {
			w.Header().Set("Location", "/elsewhere")
			return status
		})
		s := open(t, Config{URL: srv.URL + "/in?key=secret"})
		err := s.Publish(t.Context(), messages("{}"))
		if (err != nil) != want.fails {
			t.Errorf("status %d: %v", status, err)
		}
		if err != nil {
			f := failures(t, err)
			if len(f) != 1 || f[0].Permanent != want.permanent {
				t.Errorf("status %d: %+v", status, f)
			}
			if text := err.Error(); !strings.Contains(text, fmt.Sprint(status)) || !strings.Contains(text, srv.URL+"/in") || strings.Contains(text, "secret") {
				t.Errorf("status %d: the error is %q", status, text)
			}
		}
		if srv.requests != 1 {
			t.Errorf("status %d: %d requests were made of one message", status, srv.requests)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestRefusedLineIsFound: one bad line among many is singled out by halves, and everything else arrives in order.
func TestRefusedLineIsFound(t *testing.T) {
	srv := newServer(t, Lines)
	srv.set(func(body []byte, _ http.ResponseWriter) int {
		if bytes.Contains(body, []byte("bad")) {
			return http.StatusUnprocessableEntity
		}
		return 0
	})
	var values, fine []string
	for i := range 32 {
		v := fmt.Sprintf(`{"n":%d}`, i)
		if i == 19 {
			v = `{"n":"bad"}`
		} else {
			fine = append(fine, v)
		}
		values = append(values, v)
	}
	s := open(t, Config{URL: srv.URL})
	f := failures(t, s.Publish(t.Context(), messages(values...)))
	if len(f) != 1 || f[0].Index != 19 || !f[0].Permanent {
		t.Errorf("failures %+v", f)
	}
	var got []string
	for _, r := range srv.held {
		got = append(got, string(r.Value))
	}
	if d := cmp.Diff(fine, got); d != "" {
		t.Error(d)
	}
	if srv.requests > 11 {
		t.Errorf("%d requests to find one of 32, want 11 at most", srv.requests)
	}
	_ = s.Close(t.Context())
}

func TestRetryAfterClosesTheSinkForAWhile(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		wait   time.Duration
	}{
		"seconds": {"7", 7 * time.Second},
		"date":    {"Sun, 01 Nov 2026 10:00:09 GMT", 9 * time.Second},
		"bounded": {"4000000000", maxRetryAfter},
		"past":    {"Sun, 01 Nov 2026 09:00:00 GMT", 0},
		"garbage": {"soon", 0},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t, Lines)
			srv.set(func(_ []byte, w http.ResponseWriter) int {
				w.Header().Set("Retry-After", c.header)
				return http.StatusTooManyRequests
			})
			s := open(t, Config{URL: srv.URL})
			now := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
			s.now = func() time.Time { return now }
			f := failures(t, s.Publish(t.Context(), messages("1", "2")))
			if len(f) != 2 || f[0].Permanent || srv.requests != 1 {
				t.Fatalf("%+v after %d requests", f, srv.requests)
			}
			srv.set(nil)
			if c.wait > 0 {
				now = now.Add(c.wait - time.Millisecond)
				if f := failures(t, s.Publish(t.Context(), messages("1"))); f[0].Permanent || srv.requests != 1 {
					t.Errorf("before its time: %+v after %d requests", f, srv.requests)
				}
				now = now.Add(2 * time.Millisecond)
			}
			if err := s.Publish(t.Context(), messages("1")); err != nil || srv.requests != 2 {
				t.Errorf("after its time: %v after %d requests", err, srv.requests)
			}
			_ = s.Close(t.Context())
		})
	}
}

func TestHeaders(t *testing.T) {
	srv := newServer(t, Lines)
	s := open(t, Config{URL: srv.URL, Token: "t0ken"})
	msgs := messages("{\n}")
	msgs[0].Headers = []sinks.Header{{Key: "content-type", Value: "application/cloudevents+json"}, {Key: "ce-id", Value: "7"}, {Key: "authorization", Value: "forged"}}
	if err := s.Publish(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	if h := srv.headers; h.Get("Authorization") != "Bearer t0ken" || h.Get("Content-Type") != "application/x-ndjson" || h.Get("User-Agent") != "spawnwatch" {
		t.Errorf("headers of lines: %v", h)
	}
	if got := string(srv.held[0].Value); got != "{ }" {
		t.Errorf("the line arrived as %q", got)
	}
	single := open(t, Config{URL: srv.URL, Token: "t0ken", Body: Single})
	if err := single.Publish(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	if h := srv.headers; h.Get("Authorization") != "Bearer t0ken" || h.Get("Content-Type") != "application/cloudevents+json" || h.Get("Ce-Id") != "7" {
		t.Errorf("headers of a single message: %v", h)
	}
	_ = errors.Join(s.Close(t.Context()), single.Close(t.Context()))
}

// TestSilentServer: a server that never answers costs the timeout, or less where the context ends first.
func TestSilentServer(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	s := open(t, Config{URL: srv.URL, Timeout: 50 * time.Millisecond})
	if f := failures(t, s.Publish(t.Context(), messages("1"))); f[0].Permanent {
		t.Errorf("%+v", f)
	}
	patient := open(t, Config{URL: srv.URL, Timeout: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if f := failures(t, patient.Publish(ctx, messages("1", "2"))); len(f) != 2 || !errors.Is(f[0].Err, context.DeadlineExceeded) {
		t.Errorf("%+v", f)
	}
	_ = errors.Join(s.Close(t.Context()), patient.Close(t.Context()))
}

func TestNobodyListens(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	address := srv.URL
	srv.Close()
	s := open(t, Config{URL: address})
	f := failures(t, s.Publish(t.Context(), messages("1")))
	if f[0].Permanent || !strings.Contains(f[0].Err.Error(), address) {
		t.Errorf("%+v", f)
	}
}

func TestTLS(t *testing.T) {
	srv := &server{form: Lines, limit: 1000}
	srv.Server = httptest.NewTLSServer(srv)
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := open(t, Config{URL: srv.URL, TLS: &TLS{CA: ca, ServerName: "example.com"}})
	if err := trusting.Publish(t.Context(), messages("1")); err != nil {
		t.Error(err)
	}
	strict := open(t, Config{URL: srv.URL})
	if err := strict.Publish(t.Context(), messages("1")); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority was accepted: %v", err)
	}
	_ = errors.Join(trusting.Close(t.Context()), strict.Close(t.Context()))
	for want, tls := range map[string]TLS{
		"tls: ca: open":              {CA: ca + ".none"},
		"holds no PEM":               {CA: "http.go"},
		"tls: cert and key":          {Cert: ca, Key: ca},
		"expected both cert and key": {Cert: ca},
	} {
		if _, err := New(Config{URL: srv.URL, TLS: &tls}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", tls, err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	for want, cfg := range map[string]Config{
		"url: expected an address":         {},
		"url: expected http://HOST":        {URL: "ftp://siem/in"},
		"url: parse":                       {URL: "http://[::1"},
		"url: expected no user":            {URL: "https://me:pw@siem/in"},
		"tls: the url begins with http://": {URL: "http://siem", TLS: &TLS{}},
		`body: expected lines or single`:   {URL: "http://siem", Body: "xml"},
		"max_body: expected a number":      {URL: "http://siem", MaxBody: -1},
		"timeout: expected a time above 0": {URL: "http://siem", Timeout: -1},
		"token: expected printable ASCII":  {URL: "http://siem", Token: "abc\n"},
	} {
		_, err := New(cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", cfg, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}
