package carrier

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// How long what a name server has said is used. A dial soon after another one
// need not ask again; and when no name server answers, the old addresses are
// better than none.
const (
	namesFresh = time.Minute
	namesStale = 7 * 24 * time.Hour
	maxNames   = 32
	// namesShare is the part of a dial's time that name servers may take when
	// there are old addresses to fall back on.
	namesShare = 2
)

// names looks up hosts over a link.
type names struct {
	link     *Link
	resolver *net.Resolver
	turn     *atomic.Uint32 // of the link's name servers

	mu    *sync.Mutex
	known map[string]answer // by network and host
}

type answer struct {
	addrs []netip.Addr
	at    time.Time // by the clock that nobody sets
}

func newNames(l *Link) names {
	n := names{link: l, turn: new(atomic.Uint32), mu: new(sync.Mutex), known: make(map[string]answer)}
	n.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		return n.ask(ctx, network, n.server(address))
	}}
	return n
}

// server returns whom to ask next, where the system would ask address: each attempt
// of the resolver asks the next of the link's own name servers, if it has any.
func (n names) server(address string) string {
	if own := n.link.cfg.DNS; len(own) > 0 {
		address = own[int(n.turn.Add(1)-1)%len(own)].String()
	}
	return address
}

// ask connects to a name server over the link.
func (n names) ask(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := n.link.dialOne(ctx, network, address, 1)
	if err != nil {
		return nil, err
	}
	if to, err := netip.ParseAddrPort(address); err == nil && to.Addr().IsLoopback() {
		return c, nil // a resolver on this machine; what it does is not over this link
	}
	if udp, ok := c.(*net.UDPConn); ok {
		return datagrams{n.link.join(newConn(n.link, c, nil)), udp}, nil
	}
	return n.link.join(newConn(n.link, c, nil)), nil
}

// datagrams is a connection that the resolver can tell from a stream.
type datagrams struct {
	*conn
	udp *net.UDPConn
}

// ReadFrom and WriteTo make it a net.PacketConn; the resolver only looks whether
// it is one.
func (d datagrams) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := d.Read(p)
	return n, d.udp.RemoteAddr(), err
}

// WriteTo writes to where the connection goes.
func (d datagrams) WriteTo(p []byte, _ net.Addr) (int, error) { return d.Write(p) }

// lookup returns the addresses of a host, at least one.
func (n names) lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	key := network + " " + host
	n.mu.Lock()
	old, found := n.known[key]
	n.mu.Unlock()
	age := time.Since(old.at)
	if found && age < namesFresh {
		return old.addrs, nil
	}
	asking := ctx
	if end, ok := ctx.Deadline(); ok && found && age < namesStale {
		var cancel context.CancelFunc
		asking, cancel = context.WithTimeout(ctx, time.Until(end)/namesShare)
		defer cancel()
	}
	addrs, err := n.inquire(asking, n.resolver, network, host)
	if err != nil && found && age < namesStale && ctx.Err() == nil {
		return old.addrs, nil
	}
	return addrs, err
}

// inquire asks the name servers, and remembers what they say.
func (n names) inquire(ctx context.Context, r *net.Resolver, network, host string) ([]netip.Addr, error) {
	addrs, err := r.LookupNetIP(ctx, "ip"+network[len("tcp"):], host)
	if err != nil {
		return nil, err
	}
	if addrs = n.link.suitable(addrs); len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no address of the kind of the link's source", Name: host, IsNotFound: true}
	}
	n.remember(network+" "+host, answer{addrs, time.Now()})
	return addrs, nil
}

// suitable leaves out addresses that the link's source cannot reach.
func (l *Link) suitable(addrs []netip.Addr) []netip.Addr {
	var fit []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); !l.cfg.Source.IsValid() || a.Is4() == l.cfg.Source.Is4() {
			fit = append(fit, a)
		}
	}
	return fit
}

func (n names) remember(key string, a answer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, there := n.known[key]; !there && len(n.known) >= maxNames {
		for k := range n.known { // any of them
			delete(n.known, k)
			break
		}
	}
	n.known[key] = a
}
