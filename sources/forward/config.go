package forward

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spawnwatch/spawnwatch/internal/listen"
)

// Config is what a user says about a forward source. The zero value of every key but Listen is its default.
type Config struct {
	// Listen is where senders connect: host:port (TCP, and UDP for heartbeats) or unix:/path/of/the.sock. Required.
	Listen string `yaml:"listen"`
	// SharedKey is the secret that senders must know (Fluent Bit: Shared_Key; fluentd: <security> shared_key). Empty:
	// whoever can connect may send.
	SharedKey string `yaml:"shared_key"`
	// Users are the accounts of which a sender must name one. They need a SharedKey. Empty: none is asked for.
	Users []User `yaml:"users"`
	// Hostname is the name the source gives itself in the handshake. fluentd refuses a server that calls itself what
	// the sender calls itself. Default: the name of the machine.
	Hostname string `yaml:"hostname"`
	// TLS makes the listener speak TLS only.
	TLS *listen.TLS `yaml:"tls"`
}

// User is an account of the handshake.
type User struct {
	// Name is the name of the account. Required.
	Name string `yaml:"name"`
	// Password belongs to Name. Required; keep it out of the file with ${VAR} or ${file:/path}.
	Password string `yaml:"password"`
}

// Limits that are no matter of taste.
const (
	// maxMessage is the largest message in bytes, as sent and, of a compressed one, after decompression: 64 MiB. The
	// largest chunk of a usual Fluent Bit is 2.1 MB, fluentd's default limit is 8 MB.
	maxMessage = 64 << 20
	// maxDepth is how deeply a value may be nested, the same as for JSON records.
	maxDepth = 1000
	// maxPing is the largest PING in bytes; a usual one has 300.
	maxPing = 8 << 10
	// maxTag is the longest tag in bytes: it is kept with each connection, and goes into every dead letter's headers.
	maxTag = 4 << 10
	// maxChunk is the longest chunk id in bytes, headers counted: Fluent Bit takes no longer acknowledgement.
	maxChunk = 511
	// maxCluster is the longest name of a cluster that a sender may give, the same as in wrappers; longer ones are none.
	maxCluster = 256
	// maxHostname keeps HELO and PONG under 1,024 bytes, which is Fluent Bit's buffer.
	maxHostname = 255
	// batchBytes is how much JSON text goes into one call of the handler.
	batchBytes = 256 << 10
	// batchRecords bounds a batch of tiny records.
	batchRecords = 4096
	// answeredChunks is how many chunks that were answered are remembered, so that one sent again (its answer was
	// lost) is answered at once: about 100 bytes each.
	answeredChunks = 8192
)

const (
	// handshakeTime is the longest a TLS handshake and the exchange of HELO, PING and PONG may take.
	handshakeTime = 10 * time.Second
	// idleTime is how long a connection may be silent between two messages. Fluent Bit keeps idle connections for 30 s.
	idleTime = 5 * time.Minute
	// stallTime is how long a sender may be silent in the middle of a message.
	stallTime = time.Minute
	// messageTime is how long a sender may take over one message; the time that we did not read is not counted.
	messageTime = 10 * time.Minute
	// writeTime is how long an answer may take to leave.
	writeTime = 30 * time.Second
)

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	at := func(key, format string, args ...any) {
		errs = append(errs, listen.NewFault(key, format, args...))
	}
	if _, _, err := c.address(); err != nil {
		at("listen", "%w", err)
	}
	if len(c.Users) > 0 && c.SharedKey == "" {
		at("shared_key", "shared_key is required with users: they are asked for in the handshake that it begins")
	}
	names := map[string]bool{}
	for i, u := range c.Users {
		switch {
		case u.Name == "":
			at(fmt.Sprintf("users[%d].name", i), "a user needs a name")
		case names[u.Name]:
			at(fmt.Sprintf("users[%d].name", i), "expected each user once, got %q twice", u.Name)
		}
		if u.Password == "" {
			at(fmt.Sprintf("users[%d].password", i), "user %q needs a password", u.Name)
		}
		names[u.Name] = true
	}
	if len(c.Hostname) > maxHostname {
		at("hostname", "expected a hostname of at most %d bytes, got %d", maxHostname, len(c.Hostname))
	}
	errs = append(errs, c.TLS.Faults()...)
	return errors.Join(errs...)
}

// address splits Listen into what [net.Listen] takes.
func (c *Config) address() (network, address string, err error) {
	if path, ok := strings.CutPrefix(c.Listen, "unix:"); ok {
		if path == "" {
			return "", "", errors.New("expected a path after unix: in listen, got none")
		}
		return "unix", path, nil
	}
	_, port, err := net.SplitHostPort(c.Listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		return "", "", fmt.Errorf("expected listen to be host:port such as 0.0.0.0:24224, or unix:/path, got %q", c.Listen)
	}
	return "tcp", c.Listen, nil
}
