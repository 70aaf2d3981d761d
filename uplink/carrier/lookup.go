package carrier

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Found is what name servers say of a host.
type Found struct {
	// Over is the link that they were asked over.
	Over string
	// Addrs are the host's addresses, in the order in which Dial tries them.
	Addrs []netip.Addr
	// Servers were asked; none when the host is an address, or the machine has it in
	// a file of its own.
	Servers []string
	// Failed is why the servers do not say it now. The Addrs are then those that they
	// said so long ago, which Dial uses meanwhile.
	Failed error
	Ago    time.Duration
}

// Lookup asks for the addresses of a host over the link as Dial does, whatever is
// known already, and says who was asked. What it finds the next Dial uses. The
// error is that of the name servers when there is nothing to fall back on.
func (l *Link) Lookup(ctx context.Context, network, host string) (Found, error) {
	found := Found{Over: l.cfg.Name}
	if a, err := netip.ParseAddr(host); err == nil {
		found.Addrs = []netip.Addr{a}
		return found, nil
	}
	l.Look()
	if why := l.downReason(); why != "" {
		return found, fmt.Errorf("%w: %s", ErrClosed, why)
	}
	l.enter()
	defer l.exit()
	ctx, cancel := context.WithTimeout(ctx, l.cfg.DialTimeout)
	defer cancel()
	n := l.names
	n.mu.Lock()
	old, known := n.known[network+" "+host]
	n.mu.Unlock()
	var mu sync.Mutex
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		address = n.server(address)
		mu.Lock()
		if !slices.Contains(found.Servers, address) {
			found.Servers = append(found.Servers, address)
		}
		mu.Unlock()
		return n.ask(ctx, network, address)
	}}
	addrs, err := n.inquire(ctx, r, network, host)
	mu.Lock()
	defer mu.Unlock()
	if ago := time.Since(old.at); err != nil && known && ago < namesStale {
		found.Addrs, found.Failed, found.Ago = old.addrs, err, ago
		return found, nil
	}
	found.Addrs = addrs
	return found, err
}

// Lookup is [Link.Lookup] over the links as Dial tries them: the first that finds
// the host.
func (p *Path) Lookup(ctx context.Context, network, host string) (found Found, err error) {
	p.mu.Lock()
	p.refresh()
	order := []*Link{p.legs[p.present].link}
	for i, g := range p.legs {
		if i != p.present && g.usable {
			order = append(order, g.link)
		}
	}
	p.mu.Unlock()
	for i, l := range order {
		next, err2 := l.Lookup(ctx, network, host)
		if err2 == nil {
			return next, nil
		}
		if i == 0 || len(found.Servers) == 0 {
			found = next
		}
		if err = cmp.Or(err, err2); ctx.Err() != nil {
			break
		}
	}
	return found, err
}
