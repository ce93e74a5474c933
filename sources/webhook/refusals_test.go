package webhook

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestLateBody: who is too slow is told when to come again.
func TestLateBody(t *testing.T) {
	s, err := New(Config{Listen: ":0"}, Settings{Name: "hook"})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.answer(w, httptest.NewRequest(http.MethodPost, "/", late{}), nil)
	if w.Code != http.StatusRequestTimeout || w.Header().Get("Retry-After") != retryAfter {
		t.Errorf("got %d with %v, want 408 with Retry-After", w.Code, w.Header())
	}
}

// late is a body that does not arrive in time.
type late struct{ io.Reader }

func (late) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// TestUnreadAnswerEndsConnection: an answer that nobody takes gives the connection up, and with it its place.
func TestUnreadAnswerEndsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Listen: ":0", Token: "t"}, Settings{Name: "hook"})
		if err != nil {
			t.Fatal(err)
		}
		client, served := net.Pipe() // a write waits until it is read
		l := &one{conns: make(chan net.Conn, 1)}
		l.conns <- served
		begun, ended := time.Now(), make(chan time.Duration)
		server := &http.Server{
			Handler:           http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { s.answer(w, req, nil) }),
			ReadHeaderTimeout: headerTime,
			ConnState: func(_ net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					ended <- time.Since(begun)
				}
			},
		}
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()
		if _, err := io.WriteString(client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if took := <-ended; took < answerTime || took > answerTime+2*writeTime { // net/http lingers for a moment
			t.Errorf("ended after %s, want %s", took, answerTime+writeTime)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-done
		client.Close()
	})
}

// one is a listener of the connections that it is given.
type one struct {
	conns chan net.Conn
	once  sync.Once
}

func (l *one) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l *one) Close() error   { l.once.Do(func() { close(l.conns) }); return nil }
func (l *one) Addr() net.Addr { return &net.TCPAddr{} }

// TestSourceIsNamedOnce: the logger that we are given names the source already.
func TestSourceIsNamedOnce(t *testing.T) {
	book := &logBook{}
	s, err := New(Config{Listen: ":0"}, Settings{Name: "hook", Logger: slog.New(slog.NewJSONHandler(book, nil)).With("source", "hook")})
	if err != nil {
		t.Fatal(err)
	}
	s.warn("a word", "status", 404)
	if n := strings.Count(book.String(), `"source"`); n != 1 {
		t.Errorf("%d times in %s", n, book)
	}
}
