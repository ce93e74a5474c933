package enrich

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// Network is a named range of addresses of one's own.
type Network struct {
	Name   string
	Prefix netip.Prefix
}

// sharedSpace is RFC 6598, carrier-grade NAT: no address of the internet, though netip does not call it private.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

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
	case ip.IsUnspecified(), ip.IsMulticast():
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

// ParseNetworks reads name → prefix pairs.
func ParseNetworks(named map[string][]string) ([]Network, error) {
	var all []Network
	for name, prefixes := range named {
		for _, text := range prefixes {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, fmt.Errorf("network %q: expected a prefix such as 10.1.0.0/16, got %q", name, text)
			}
			all = append(all, Network{name, p.Masked()})
		}
	}
	// The narrowest range that holds an address names it.
	slices.SortFunc(all, func(a, b Network) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	return all, nil
}
