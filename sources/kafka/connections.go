package kafka

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// connections are those that kafka-go has opened for a membership.
type connections struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	secure *tls.Config // nil: they do not speak TLS

	mu   sync.Mutex
	live map[*connection]struct{}
	life context.Context // of the dials
	end  context.CancelFunc
}

type connection struct {
	net.Conn
	of *connections
}

func newConnections(dial func(ctx context.Context, network, address string) (net.Conn, error), secure *tls.Config) *connections {
	c := &connections{dial: dial, secure: secure, live: map[*connection]struct{}{}}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// open is kafka-go's DialFunc. The TLS handshake is made here: kafka-go leaves the connection open when it fails.
func (c *connections) open(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	life := c.life
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if c.secure != nil {
		config := c.secure
		if config.ServerName == "" {
			config = config.Clone()
			config.ServerName, _, _ = net.SplitHostPort(address)
		}
		safe := tls.Client(conn, config)
		if err := safe.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = safe
	}
	made := &connection{Conn: conn, of: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := life.Err(); err != nil { // broken off since
		_ = conn.Close()
		return nil, err
	}
	c.live[made] = struct{}{}
	return made, nil
}

// Close implements [net.Conn].
func (c *connection) Close() error {
	c.of.mu.Lock()
	delete(c.of.live, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// close breaks off whatever is dialled, or waits for an answer.
func (c *connections) close() {
	c.mu.Lock()
	live := c.live
	c.live = map[*connection]struct{}{}
	c.end()
	c.life, c.end = context.WithCancel(context.Background())
	c.mu.Unlock()
	for conn := range live {
		_ = conn.Conn.Close()
	}
}
