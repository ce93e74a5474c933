// Package natsdemo runs a NATS server inside the process: for `spawnwatch demo`, which must need nothing installed, and
// for tests.
package natsdemo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Settings say how the server runs.
type Settings struct {
	// Dir is where streams are stored. Default: a temporary folder that is removed at the end.
	Dir string
	// Port to listen on, at 127.0.0.1. Default: a free one.
	Port int
	// Store bounds what streams may take on disk, in bytes. Default: 256 MiB.
	Store int64
	// Ready is how long the server may take to accept connections. Default: 10 s.
	Ready time.Duration
	// Adjust may change what the server is started with, such as users and TLS.
	Adjust func(*server.Options)
}

// Server is a running server.
type Server struct {
	nats *server.Server
	dir  string // to remove, "" if it is not ours
}

// Start returns once the server accepts connections. It listens on 127.0.0.1 only, writes no log and takes no signals.
func Start(s Settings) (*Server, error) {
	d := &Server{}
	if s.Dir == "" {
		dir, err := os.MkdirTemp("", "spawnwatch-nats-")
		if err != nil {
			return nil, fmt.Errorf("no folder for the streams of the embedded NATS server: %w", err)
		}
		s.Dir, d.dir = dir, dir
	} else if err := os.MkdirAll(s.Dir, 0o700); err != nil { // the server itself would not say it
		return nil, fmt.Errorf("no folder for the streams of the embedded NATS server: %w", err)
	}
	if s.Port == 0 {
		s.Port = server.RANDOM_PORT
	}
	if s.Store == 0 {
		s.Store = 256 << 20
	}
	if s.Ready == 0 {
		s.Ready = 10 * time.Second
	}
	o := &server.Options{
		ServerName:         "spawnwatch",
		Host:               "127.0.0.1",
		Port:               s.Port,
		JetStream:          true,
		StoreDir:           s.Dir,
		JetStreamMaxStore:  s.Store,
		JetStreamMaxMemory: 64 << 20,
		NoSigs:             true,
		NoLog:              true,
		NoSystemAccount:    true,
	}
	if s.Adjust != nil {
		s.Adjust(o)
	}
	var err error
	if d.nats, err = server.NewServer(o); err != nil {
		return nil, errors.Join(fmt.Errorf("the embedded NATS server cannot start: %w", err), d.Close())
	}
	d.nats.Start()
	if !d.nats.ReadyForConnections(s.Ready) {
		return nil, errors.Join(
			fmt.Errorf("the embedded NATS server did not accept connections on 127.0.0.1 within %v (is %s writable, is the port free?)", s.Ready, s.Dir), d.Close())
	}
	if o.JetStream && !d.nats.JetStreamEnabled() {
		return nil, errors.Join(fmt.Errorf("the embedded NATS server has no JetStream: is %s writable?", s.Dir), d.Close())
	}
	return d, nil
}

// URL is what clients connect to.
func (s *Server) URL() string { return s.nats.ClientURL() }

// Port is where the server listens.
func (s *Server) Port() int {
	if a, ok := s.nats.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// Inside is the server itself.
func (s *Server) Inside() *server.Server { return s.nats }

// Close ends the server, cutting its connections, waits for its end and removes a temporary folder.
func (s *Server) Close() error {
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}
	if s.dir != "" {
		if err := os.RemoveAll(s.dir); err != nil {
			return fmt.Errorf("the folder of the embedded NATS server stays behind: %w", err)
		}
	}
	return nil
}
