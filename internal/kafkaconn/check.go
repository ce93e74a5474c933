package kafkaconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
)

// Topic is what a cluster says of a topic.
type Topic struct {
	Name       string
	Partitions int
	// Err is why the topic cannot be used, nil if it can.
	Err error
}

// Check reaches every bootstrap broker and every broker that these advertise, through TLS and SASL, and asks for the
// topics. Its error joins what is wrong with each broker and what to do; topics are returned as far as they are known.
// It takes at most some seconds per round, all brokers of a round at once.
func (c *Conn) Check(ctx context.Context, topics []string) ([]Topic, error) {
	errs := c.knock(ctx, c.addresses, "broker %s")
	reached := len(errs) < len(c.addresses)
	if !reached {
		return nil, errors.Join(errs...)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	m, err := c.Metadata(ctx, topics)
	if err != nil {
		return nil, errors.Join(append(errs, c.Explain(fmt.Errorf("metadata: %w", err)))...)
	}
	known := make(map[string]bool, len(c.addresses))
	for _, a := range c.addresses {
		known[a] = true
	}
	var advertised []string
	for _, b := range m.Brokers {
		if a := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))); !known[a] {
			advertised = append(advertised, a)
		}
	}
	errs = append(errs, c.knock(ctx, advertised, "broker %s, which the cluster advertises (advertised.listeners),")...)
	found := make([]Topic, 0, len(m.Topics))
	for _, t := range m.Topics {
		found = append(found, Topic{Name: t.Name, Partitions: len(t.Partitions), Err: c.Explain(Code(t.ErrorCode))})
	}
	return found, errors.Join(errs...)
}

// knock reaches brokers at once and returns what failed.
func (c *Conn) knock(ctx context.Context, addresses []string, format string) []error {
	failed := make([]error, len(addresses))
	var wg sync.WaitGroup
	for i, a := range addresses {
		wg.Go(func() {
			if err := c.reach(ctx, a); err != nil {
				failed[i] = fmt.Errorf(format+" cannot be used: %w", a, c.Explain(err))
			}
		})
	}
	wg.Wait()
	var errs []error
	for _, err := range failed {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// reach dials one broker, with all that belongs to it, and exchanges one request.
func (c *Conn) reach(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := c.dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	// What is wrong with the listener shows only here when neither TLS nor SASL are configured.
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	_, err = conn.Brokers()
	return err
}
