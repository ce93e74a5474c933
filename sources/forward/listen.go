package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// listener is the stream that senders connect to and, for TCP, the datagrams of fluentd's heartbeats on the same port.
type listener struct {
	stream     net.Listener
	heartbeats net.PacketConn
}

func (l *listener) Close() error {
	err := l.stream.Close()
	if l.heartbeats != nil {
		err = errors.Join(err, l.heartbeats.Close())
	}
	return err
}

// portTries is how often a port of the system's choice is tried that must be free for both TCP and UDP.
const portTries = 16

func (s *Source) listen(ctx context.Context) (*listener, error) {
	network, address, err := s.config.address()
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		if err := removeStale(ctx, address); err != nil {
			return nil, s.cannotListen(err)
		}
	}
	var lc net.ListenConfig
	for try := 1; ; try++ {
		stream, err := lc.Listen(ctx, network, address)
		if err != nil {
			return nil, s.cannotListen(err)
		}
		l := &listener{stream: stream}
		if network == "tcp" {
			l.heartbeats, err = lc.ListenPacket(ctx, "udp", stream.Addr().String())
			if err != nil {
				_ = stream.Close()
				_, port, _ := net.SplitHostPort(address)
				if port == "0" && try < portTries && errors.Is(err, syscall.EADDRINUSE) {
					continue
				}
				return nil, s.cannotListen(fmt.Errorf("for fluentd's heartbeats (UDP, the same port): %w", err))
			}
		}
		if s.identity != nil {
			l.stream = tls.NewListener(stream, s.identity.Config())
		}
		return l, nil
	}
}

func (s *Source) cannotListen(err error) error {
	return fmt.Errorf("source %q (forward) cannot listen at %s: %w", s.settings.Name, s.config.Listen, err)
}

// removeStale removes the socket of a process that is no more.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("expected a socket or nothing at %s, got a file: choose another path", path)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("another process listens at %s", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// accept serves connections, each in a goroutine of running, until ctx ends or the listener fails.
func (s *Source) accept(ctx, work context.Context, l *listener, running *sync.WaitGroup) error {
	if l.heartbeats != nil {
		running.Go(func() { s.beat(l.heartbeats) })
	}
	places := make(chan struct{}, s.settings.Connections)
	pause := time.Duration(0)
	for {
		select {
		case places <- struct{}{}:
		default:
			s.warn("all connections are taken; more senders wait", "connections", s.settings.Connections)
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
		}
		c, err := l.stream.Accept()
		if err != nil {
			<-places
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return s.cannotListen(errNotListening)
			}
			// Out of file descriptors, or a connection that was reset before it was accepted.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.warn("a connection could not be accepted", "error", err.Error(), "pause", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		s.stats.connections.Add(1)
		s.stats.open.Add(1)
		running.Go(func() {
			defer func() { <-places }()
			defer s.stats.open.Add(-1)
			peer := c.RemoteAddr().String()
			if err := (&conn{src: s, net: c}).serve(ctx, work); err != nil {
				s.warn("the connection of a sender is closed", "peer", peer, "error", err.Error())
			}
		})
	}
}

// beat echoes the heartbeats of fluentd (heartbeat_type udp): a datagram of one zero byte. It answers nothing else, so
// that it is no amplifier.
func (s *Source) beat(p net.PacketConn) {
	var b [2]byte
	for {
		n, from, err := p.ReadFrom(b[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n == 1 && b[0] == 0 {
			_, _ = p.WriteTo(b[:1], from) // a lost echo is a lost datagram
		}
	}
}
