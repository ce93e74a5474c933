package webhook

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/listen"
	"github.com/spawnwatch/spawnwatch/sources"
)

// keeper is a handler that keeps what it is given, and spoils the loan when it returns.
type keeper struct {
	mu      sync.Mutex
	records []string
	origins []sources.Origin
}

func (k *keeper) handle(_ context.Context, b *sources.Batch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range b.Records {
		k.records = append(k.records, string(r.Value))
		k.origins = append(k.origins, b.Origin)
		for i := range r.Value {
			r.Value[i] = 0xee
		}
	}
	return nil
}

type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

type running struct {
	*Source
	log *logBook
	end func() error
}

func start(t testing.TB, cfg Config, settings Settings, h sources.Handler) *running {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	settings.Name = "hook"
	book := &logBook{}
	settings.Logger = slog.New(slog.NewTextHandler(book, nil))
	s, err := New(cfg, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, h) }()
	end := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	select {
	case <-s.Listening():
	case err := <-done:
		t.Fatalf("Run ended at once: %v", err)
	}
	return &running{s, book, end}
}

func (r *running) url(path string) string { return "http://" + r.Addr().String() + path }

// client is one whose connections end with the test.
func client(t testing.TB, cfg *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: cfg, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func post(t testing.TB, c *http.Client, url string, body io.Reader, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp
}

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAnswers(t *testing.T) {
	const limit = 200 << 10
	list := `{"kind":"EventList","items":[]}`
	large := strings.Repeat("x", limit)
	cut := gzipped(t, list)
	cut = cut[:len(cut)-6]
	for _, c := range []struct {
		name   string
		cfg    Config
		method string
		path   string
		body   io.Reader
		header []string
		status int
		record string
	}{
		{name: "an EventList", body: strings.NewReader(list), status: 200, record: list},
		{name: "any path by default", path: "/a/b?timeout=30s", body: strings.NewReader(list), status: 200, record: list},
		{name: "the path", cfg: Config{Path: "/audit"}, path: "/audit?timeout=30s", body: strings.NewReader(list), status: 200, record: list},
		{name: "the path with a slash", cfg: Config{Path: "/audit"}, path: "/audit/", body: strings.NewReader(list), status: 200, record: list},
		{name: "another path", cfg: Config{Path: "/audit"}, path: "/metrics", body: strings.NewReader(list), status: 404},
		{name: "GET", method: http.MethodGet, status: 405},
		{name: "no JSON", body: strings.NewReader("junk"), status: 200, record: "junk"},
		{name: "nothing", body: strings.NewReader(""), status: 200, record: ""},
		{name: "any content type", body: strings.NewReader(list), header: []string{"Content-Type", "text/plain"}, status: 200, record: list},
		{name: "gzip", body: bytes.NewReader(gzipped(t, list)), header: []string{"Content-Encoding", "GZIP"}, status: 200, record: list},
		{name: "cut gzip", body: bytes.NewReader(cut), header: []string{"Content-Encoding", "gzip"}, status: 400},
		{name: "no gzip", body: strings.NewReader(list), header: []string{"Content-Encoding", "gzip"}, status: 400},
		{name: "another encoding", body: strings.NewReader(list), header: []string{"Content-Encoding", "br"}, status: 415},
		{name: "as large as it may be", body: strings.NewReader(large), status: 200, record: large},
		{name: "a byte too large", body: strings.NewReader(large + "x"), status: 413},
		{name: "too large without a length", body: io.MultiReader(strings.NewReader(large), strings.NewReader("x")), status: 413},
		{name: "a bomb", body: bytes.NewReader(gzipped(t, strings.Repeat(large, 100))), header: []string{"Content-Encoding", "gzip"}, status: 413},
		{name: "the token", cfg: Config{Token: "t0k"}, body: strings.NewReader(list), header: []string{"Authorization", "Bearer t0k"}, status: 200, record: list},
		{name: "the token, other case", cfg: Config{Token: "t0k"}, body: strings.NewReader(list), header: []string{"Authorization", "bearer t0k"}, status: 200, record: list},
		{name: "no token", cfg: Config{Token: "t0k"}, body: strings.NewReader(list), status: 401},
		{name: "a wrong token", cfg: Config{Token: "t0k"}, body: strings.NewReader(list), header: []string{"Authorization", "Bearer t0k2"}, status: 401},
		{name: "an empty token", cfg: Config{Token: "t0k"}, body: strings.NewReader(list), header: []string{"Authorization", "Bearer "}, status: 401},
		{name: "another scheme", cfg: Config{Token: "t0k"}, body: strings.NewReader(list), header: []string{"Authorization", "Basic t0k"}, status: 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &keeper{}
			s := start(t, c.cfg, Settings{Cluster: "prod", MaxRecord: limit}, k.handle)
			cl := client(t, nil)
			var resp *http.Response
			if c.method == "" {
				resp = post(t, cl, s.url(c.path), c.body, c.header...)
			} else {
				var err error
				if resp, err = cl.Get(s.url(c.path)); err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
			}
			if resp.StatusCode != c.status {
				text, _ := io.ReadAll(resp.Body)
				t.Fatalf("got %s: %s, want %d", resp.Status, text, c.status)
			}
			if c.status == 200 {
				if len(k.records) != 1 || k.records[0] != c.record {
					t.Errorf("got %.100q, want %.100q", k.records, c.record)
				}
				path, _, _ := strings.Cut(c.path, "?")
				if path == "" {
					path = "/"
				}
				if want := (sources.Origin{Source: "hook", Topic: path, Partition: -1, Cluster: "prod"}); k.origins[0] != want {
					t.Errorf("got %+v, want %+v", k.origins[0], want)
				}
			} else if len(k.records) != 0 || !strings.Contains(s.log.String(), fmt.Sprintf("status=%d", c.status)) {
				t.Errorf("handled %.100q, logged %q", k.records, s.log)
			}
			if c.status == 401 && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") || c.status == 405 && resp.Header.Get("Allow") != "POST" {
				t.Errorf("got headers %v", resp.Header)
			}
			if strings.Contains(s.log.String(), "t0k") {
				t.Errorf("the log tells the token: %s", s.log)
			}
			if used := s.bodies.memory.used.Load(); used != 0 {
				t.Errorf("%d bytes did not come back", used)
			}
		})
	}
}

func TestAnswersAfterTheHandler(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, Config{}, Settings{}, func(context.Context, *sources.Batch) error { close(entered); <-release; return nil })
	got := make(chan *http.Response, 1)
	cl := client(t, nil)
	go func() {
		resp, err := cl.Post(s.url("/"), "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Error(err)
		}
		got <- resp
	}()
	<-entered
	select {
	case resp := <-got:
		t.Fatalf("answered %s before the handler returned", resp.Status)
	case <-time.After(30 * time.Millisecond):
	}
	close(release)
	resp := <-got
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("got %s", resp.Status)
	}
}

func TestHandlerFails(t *testing.T) {
	k := &keeper{}
	fails := true
	s := start(t, Config{}, Settings{}, func(ctx context.Context, b *sources.Batch) error {
		if fails {
			fails = false
			return errors.New("the end came first")
		}
		return k.handle(ctx, b)
	})
	cl := client(t, nil)
	resp := post(t, cl, s.url("/"), strings.NewReader("{}"))
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %s with %v, want 503 with Retry-After", resp.Status, resp.Header)
	}
	if resp := post(t, cl, s.url("/"), strings.NewReader("{}")); resp.StatusCode != 200 || len(k.records) != 1 {
		t.Errorf("sent again: got %s and %d records", resp.Status, len(k.records))
	}
}

func TestFull(t *testing.T) {
	const limit = 100 << 10
	entered, release := make(chan struct{}, 10), make(chan struct{})
	s := start(t, Config{}, Settings{MaxRecord: limit, Memory: 1}, func(context.Context, *sources.Batch) error {
		entered <- struct{}{}
		<-release
		return nil
	})
	cl := client(t, nil)
	body := strings.Repeat("x", limit)
	first := make(chan int, 1)
	go func() { first <- post(t, cl, s.url("/"), strings.NewReader(body)).StatusCode }() // one always fits: see withDefaults
	<-entered
	resp := post(t, cl, s.url("/"), strings.NewReader(body))
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %s with %v, want 429 with Retry-After", resp.Status, resp.Header)
	}
	close(release)
	if got := <-first; got != 200 {
		t.Errorf("got %d", got)
	}
	if resp := post(t, cl, s.url("/"), strings.NewReader(body)); resp.StatusCode != 200 {
		t.Errorf("with room again: got %s", resp.Status)
	}
}

// bubble makes the parts of a Run that need no network, for fake time.
func bubble(t *testing.T, h sources.Handler) (s *Source, ask func() (status int, took time.Duration), calls *gate) {
	t.Helper()
	s, err := New(Config{Listen: ":0"}, Settings{Name: "hook"})
	if err != nil {
		t.Fatal(err)
	}
	calls = &gate{}
	return s, func() (int, time.Duration) {
		begun := time.Now()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/audit", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		w := &recorder{header: http.Header{}}
		s.answer(w, req, func(b *body, begun time.Time) error { return s.handOn(t.Context(), h, calls, req, b, begun) })
		return w.status, time.Since(begun)
	}, calls
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }

func TestAnswersInTime(t *testing.T) {
	t.Run("a handler that stops when told", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, ask, calls := bubble(t, func(ctx context.Context, _ *sources.Batch) error { <-ctx.Done(); return ctx.Err() })
			if status, took := ask(); status != 503 || took != handleTime {
				t.Errorf("got %d after %s, want 503 after %s", status, took, handleTime)
			}
			calls.shut()
			if used := s.bodies.memory.used.Load(); used != 0 {
				t.Errorf("%d bytes did not come back", used)
			}
		})
	})
	t.Run("a handler that does not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, ask, calls := bubble(t, func(context.Context, *sources.Batch) error { time.Sleep(time.Hour); return nil }) // fake time
			if status, took := ask(); status != 503 || took != answerTime {
				t.Errorf("got %d after %s, want 503 after %s", status, took, answerTime)
			}
			if s.bodies.memory.used.Load() == 0 {
				t.Error("the body was given back while the handler reads it")
			}
			calls.shut()
			if used := s.bodies.memory.used.Load(); used != 0 {
				t.Errorf("%d bytes did not come back", used)
			}
			if status, _ := ask(); status != 503 {
				t.Errorf("got %d after the end, want 503", status)
			}
		})
	})
	t.Run("just in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, ask, _ := bubble(t, func(context.Context, *sources.Batch) error { time.Sleep(handleTime - 1); return nil }) // fake time
			if status, took := ask(); status != 200 || took != handleTime-1 {
				t.Errorf("got %d after %s", status, took)
			}
		})
	})
}

func TestBadClients(t *testing.T) {
	k := &keeper{}
	s := start(t, Config{}, Settings{}, k.handle)
	for name, sent := range map[string]string{
		"junk":           "\x16\x03\x01\r\n\r\n",
		"no HTTP":        "hello\r\n\r\n",
		"a huge head":    "POST / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 2*maxHeader) + "\r\n\r\n",
		"two lengths":    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"a body cut off": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{}",
	} {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, sent) // the source may hang up first
		_ = c.(*net.TCPConn).CloseWrite()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil && resp.StatusCode/100 != 4 {
			t.Errorf("%s: got %s", name, resp.Status)
		}
		c.Close()
	}
	if len(k.records) != 0 {
		t.Errorf("handled %q", k.records)
	}
	if resp := post(t, client(t, nil), s.url("/"), strings.NewReader("{}")); resp.StatusCode != 200 {
		t.Errorf("the source does not live on: %s", resp.Status)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	s := start(t, Config{}, Settings{Connections: 2}, (&keeper{}).handle)
	var idle []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	got := make(chan int, 1)
	cl := client(t, nil)
	go func() { got <- post(t, cl, s.url("/"), strings.NewReader("{}")).StatusCode }()
	select {
	case status := <-got:
		t.Fatalf("a third connection was answered %d", status)
	case <-time.After(30 * time.Millisecond):
	}
	idle[0].Close()
	if status := <-got; status != 200 {
		t.Errorf("got %d", status)
	}
}

func TestCheck(t *testing.T) {
	s := start(t, Config{}, Settings{}, (&keeper{}).handle)
	second, err := New(Config{Listen: s.Addr().String()}, Settings{Name: "second"})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Check(t.Context()); err == nil || !strings.Contains(err.Error(), `source "second" (webhook) cannot listen at 127.0.0.1:`) {
		t.Errorf("got %v", err)
	}
	if err := second.Run(t.Context(), nil); err == nil {
		t.Error("Run went on without an address")
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	if err := second.Check(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	for _, c := range []Config{{Listen: ":8443"}, {Listen: "[::1]:0", Path: "/a/b", Token: "x", TLS: &listen.TLS{Cert: "c", Key: "k", ClientCA: "a"}}} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	bad := Config{Path: "audit?", Token: "x\n", TLS: &listen.TLS{}}
	joined, ok := bad.Validate().(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v, want joined faults", bad.Validate())
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
	if got, want := strings.Join(keys, " "), "listen path token tls.cert tls.key"; got != want {
		t.Errorf("got faults at %s, want %s", got, want)
	}
	if _, err := New(bad, Settings{Name: "hook"}); err == nil || !strings.Contains(err.Error(), `source "hook" (webhook): `) {
		t.Errorf("got %v", err)
	}
}

// TestTraceHeaders: the trace of a request goes with its record, and nothing else of its headers.
func TestTraceHeaders(t *testing.T) {
	got := make(chan []string, 1)
	s := start(t, Config{}, Settings{}, func(_ context.Context, b *sources.Batch) error {
		var headers []string
		for _, h := range b.Records[0].Headers {
			headers = append(headers, string(h.Key)+": "+string(h.Value))
		}
		got <- headers
		return nil
	})
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	post(t, client(t, nil), s.url("/"), strings.NewReader("{}"), "traceparent", parent, "tracestate", "a=1", "X-Secret", "s")
	if headers := strings.Join(<-got, ", "); headers != "Traceparent: "+parent+", Tracestate: a=1" {
		t.Errorf("headers %s", headers)
	}
	post(t, client(t, nil), s.url("/"), strings.NewReader("{}"))
	if headers := <-got; headers != nil {
		t.Errorf("headers %q", headers)
	}
}

// TestUnreadAnswersKeepNoPlace: a client that asks and asks and reads no answer is cut off in time.
func TestUnreadAnswersKeepNoPlace(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	s, err := New(Config{Listen: ":0", Token: "t"}, Settings{Name: "t"})
	if err != nil {
		t.Fatal(err)
	}
	s.answer(w, httptest.NewRequest(http.MethodPost, "/", nil), nil)
	if left := time.Until(w.write); w.Code != http.StatusUnauthorized || left <= answerTime || left > answerTime+writeTime {
		t.Errorf("status %d, %s to write it", w.Code, left)
	}
}

// deadlines notes what a handler asks for.
type deadlines struct {
	*httptest.ResponseRecorder
	write time.Time
}

func (d *deadlines) SetWriteDeadline(at time.Time) error { d.write = at; return nil }
