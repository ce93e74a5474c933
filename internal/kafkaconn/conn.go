package kafkaconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	// ClientID is how we call ourselves in every request.
	ClientID = "spawnwatch"
	// dialTimeout bounds one attempt to reach a broker: connection, TLS handshake and SASL.
	dialTimeout = 5 * time.Second
	// silence is the longest a connection may wait for a peer where nothing shorter was asked for, such as in the
	// middle of a SASL exchange, for which kafka-go sets no deadline.
	silence = 30 * time.Second
	// layoutTTL is how old the broker addresses that requests are routed by may get.
	layoutTTL = 5 * time.Second
)

// Options say which cluster and how.
type Options struct {
	Brokers []string
	TLS     *TLS
	SASL    *SASL
}

// Conn reaches one cluster. It is safe for concurrent use.
type Conn struct {
	addresses []string
	bootstrap net.Addr
	transport *kafka.Transport
	dialer    *kafka.Dialer
	username  string
	worked    atomic.Bool // some request was answered: listener and credentials are the right ones
}

// New prepares the way to a cluster; it reads the TLS files and connects to nobody.
func New(o Options) (*Conn, error) {
	if err := errors.Join(ValidateBrokers(o.Brokers), o.TLS.Faults(), o.SASL.Faults()); err != nil {
		return nil, err
	}
	c := &Conn{}
	for _, b := range o.Brokers {
		a, err := address(b)
		if err != nil {
			return nil, err
		}
		c.addresses = append(c.addresses, a)
	}
	tlsConfig, err := o.TLS.load()
	if err != nil {
		return nil, err
	}
	mechanism, err := o.SASL.mechanism()
	if err != nil {
		return nil, err
	}
	if o.SASL != nil {
		c.username = o.SASL.Username
	}
	c.bootstrap = kafka.TCP(c.addresses...)
	c.transport = &kafka.Transport{
		ClientID:    ClientID,
		Dial:        dial,
		DialTimeout: dialTimeout,
		IdleTimeout: time.Minute,
		MetadataTTL: layoutTTL,
		// Not nil, which would ask for every topic of the cluster: the transport needs the brokers only.
		MetadataTopics: []string{},
		TLS:            tlsConfig,
		SASL:           mechanism,
	}
	c.dialer = &kafka.Dialer{ClientID: ClientID, DialFunc: dial, Timeout: dialTimeout, TLS: tlsConfig, SASLMechanism: mechanism}
	return c, nil
}

// Addresses are the bootstrap brokers as host:port.
func (c *Conn) Addresses() []string { return c.addresses }

// Dialer is for kafka-go's consumer group, which makes its own connections.
func (c *Conn) Dialer() *kafka.Dialer { return c.dialer }

// Close frees the idle connections.
func (c *Conn) Close() { c.transport.CloseIdleConnections() }

// AnyBroker routes a request to whichever broker answers.
const AnyBroker int32 = -1

// Controller routes a request to the cluster's controller.
const Controller int32 = -2

// RoundTrip sends req to the broker with that id and waits for the answer. The caller's context must have a deadline:
// without one, a peer that vanished is waited for without end.
func (c *Conn) RoundTrip(ctx context.Context, broker int32, req protocol.Message) (protocol.Message, error) {
	m := &request{Message: req, broker: broker}
	var res protocol.Message
	var err error
	if broker == AnyBroker {
		res, err = c.transport.RoundTrip(ctx, c.bootstrap, m)
	} else {
		res, err = c.transport.RoundTrip(ctx, c.bootstrap, &routed{m})
	}
	if err != nil {
		return nil, err
	}
	c.worked.Store(true)
	return res.(*answer).Message, nil
}

// Exchange sends a request that writes and reads itself, to the broker with that id. When ctx ends first, the
// connection is given up. Either way nothing touches x any more once Exchange has returned.
func (c *Conn) Exchange(ctx context.Context, broker int32, x Exchanger) error {
	e := &exchange{Exchanger: x, broker: broker, ended: make(chan struct{})}
	_, err := c.transport.RoundTrip(ctx, c.bootstrap, e)
	if err != nil && e.stop() {
		<-e.ended
	}
	return err
}

// Exchanger is one request and its answer on a connection.
type Exchanger interface {
	// API is the key of the request, which decides the version.
	API() protocol.ApiKey
	// Exchange writes the request in that version, and reads the answer. After an error the connection is closed.
	Exchange(version int16, rw io.ReadWriter) error
}

// Metadata asks a broker, not a cache. No topics at all (nil) means all of them.
func (c *Conn) Metadata(ctx context.Context, topics []string) (*metadata.Response, error) {
	res, err := c.RoundTrip(ctx, AnyBroker, &metadata.Request{TopicNames: topics})
	if err != nil {
		return nil, err
	}
	m, ok := res.(*metadata.Response)
	if !ok {
		return nil, fmt.Errorf("expected an answer to a metadata request, got %T", res)
	}
	return m, nil
}

// request hides a message from the transport, which would answer metadata from its cache, and after a creation of
// topics wait for them to show up in that cache.
type request struct {
	protocol.Message
	broker  int32
	version int16
}

func (r *request) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[r.ApiKey()]
	return true
}

func (r *request) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if p, ok := r.Message.(protocol.PreparedMessage); ok {
		p.Prepare(r.version)
	}
	res, err := protocol.RoundTrip(rw, r.version, 1, ClientID, r.Message)
	if err != nil {
		return nil, err
	}
	return &answer{res}, nil
}

type answer struct{ protocol.Message }

// routed is a request for a certain broker.
type routed struct{ *request }

func (r *routed) Broker(c protocol.Cluster) (protocol.Broker, error) { return find(c, r.broker) }

// find returns the broker with that id. The transport may not have heard of it yet: worth another try.
func find(c protocol.Cluster, id int32) (protocol.Broker, error) {
	if id == Controller {
		id = c.Controller
	}
	b, ok := c.Brokers[id]
	if !ok {
		return protocol.Broker{ID: -1}, fmt.Errorf("broker %d: %w", id, kafka.BrokerNotAvailable)
	}
	return b, nil
}

// exchange adapts an [Exchanger] to the transport, which returns as soon as a context ends, but leaves the goroutine of
// the connection at work.
type exchange struct {
	Exchanger
	broker  int32
	version int16
	ended   chan struct{} // closed when a begun exchange has ended

	mu      sync.Mutex
	conn    io.ReadWriter // nil until the exchange begins
	stopped bool
}

func (e *exchange) ApiKey() protocol.ApiKey { return e.API() }

func (e *exchange) Broker(c protocol.Cluster) (protocol.Broker, error) { return find(c, e.broker) }

func (e *exchange) Required(versions map[protocol.ApiKey]int16) bool {
	e.version = versions[e.API()]
	return true
}

var errStopped = errors.New("the request was given up before it was sent")

func (e *exchange) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	e.mu.Lock()
	if e.stopped {
		e.mu.Unlock()
		return nil, errStopped
	}
	e.conn = rw
	e.mu.Unlock()
	defer close(e.ended)
	if err := e.Exchange(e.version, rw); err != nil {
		return nil, err
	}
	return e, nil
}

// stop keeps an exchange from beginning, or makes one that has begun fail at once. It returns whether one has begun.
func (e *exchange) stop() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	if e.conn == nil {
		return false
	}
	// What the transport hands out is a connection, though the type of the interface hides it. Were it none, the
	// exchange would end with the answer.
	if conn, ok := e.conn.(net.Conn); ok {
		_ = conn.SetDeadline(time.Unix(1, 0))
	}
	return true
}

// dial makes TCP connections that never wait without end.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &bounded{conn}, nil
}

// bounded puts [silence] where no deadline was wanted.
type bounded struct{ net.Conn }

func (b *bounded) SetDeadline(t time.Time) error      { return b.Conn.SetDeadline(bound(t)) }
func (b *bounded) SetReadDeadline(t time.Time) error  { return b.Conn.SetReadDeadline(bound(t)) }
func (b *bounded) SetWriteDeadline(t time.Time) error { return b.Conn.SetWriteDeadline(bound(t)) }

func bound(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now().Add(silence)
	}
	return t
}

var (
	_ protocol.RawExchanger  = (*request)(nil)
	_ protocol.BrokerMessage = (*routed)(nil)
	_ protocol.RawExchanger  = (*exchange)(nil)
	_ protocol.BrokerMessage = (*exchange)(nil)
)
