package enrich

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// Network is a named range of addresses of one's own.
type Network struct {
	Name   string
	Prefix netip.Prefix
}

// sharedSpace is RFC 6598, carrier-grade NAT: no address of the internet, though netip does not call it private.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// reserved is RFC 1112, section 4: no address of any machine.
var reserved = netip.MustParsePrefix("240.0.0.0/4")

// network answers how the workload can be reached and where the request came from.
func (e *Enricher) network(_ *Input, a *alert.Alert) error {
	n := &a.Network
	if w := a.Workload; w != nil {
		for i := range w.Containers {
			for _, p := range w.Containers[i].Ports {
				n.Ports = append(n.Ports, p)
				if p.HostPort > 0 && !slices.Contains(n.HostPorts, p.HostPort) {
					n.HostPorts = append(n.HostPorts, p.HostPort)
				}
			}
		}
	}
	for i, text := range a.Actor.SourceIPs {
		n.SourceIPs = append(n.SourceIPs, e.sourceIP(text, i < len(a.Actor.SourceIPs)-1))
	}
	return nil
}

func (e *Enricher) sourceIP(text string, claimed bool) alert.SourceIP {
	s := alert.SourceIP{IP: text, Claimed: claimed, Class: alert.IPInvalid}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return s
	}
	ip = ip.Unmap().WithZone("")
	switch {
	case ip.IsLoopback():
		s.Class = alert.IPLoopback
	case ip.IsLinkLocalUnicast():
		s.Class = alert.IPLinkLocal
	case ip.IsPrivate(), sharedSpace.Contains(ip):
		s.Class = alert.IPPrivate
	case ip.IsUnspecified(), ip.IsMulticast(), reserved.Contains(ip):
		s.Class = alert.IPInvalid
	default:
		s.Class = alert.IPPublic
	}
	for _, n := range e.options.Networks {
		if n.Prefix.Contains(ip) {
			s.Network = n.Name
			break
		}
	}
	return s
}

// peer is the address the request came from: the last one, which no client can choose.
func peer(n *alert.Network) *alert.SourceIP {
	if len(n.SourceIPs) == 0 {
		return nil
	}
	return &n.SourceIPs[len(n.SourceIPs)-1]
}

// ParseNetworks reads the ranges of each network by its name, and orders them, the narrowest first. It reports all faults.
func ParseNetworks(named map[string][]string) ([]Network, error) {
	var all []Network
	var errs []error
	for name, prefixes := range named {
		for _, text := range prefixes {
			p, err := netip.ParsePrefix(text)
			if err != nil || p.Addr().Is4In6() {
				errs = append(errs, fmt.Errorf("network %q: expected a prefix such as 10.1.0.0/16 or fd00::/8, got %q", name, text))
				continue
			}
			all = append(all, Network{name, p.Masked()})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	// The narrowest range that holds an address names it.
	slices.SortFunc(all, func(a, b Network) int {
		return cmp.Or(b.Prefix.Bits()-a.Prefix.Bits(), a.Prefix.Addr().Compare(b.Prefix.Addr()), strings.Compare(a.Name, b.Name))
	})
	return all, nil
}
