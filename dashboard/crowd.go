package dashboard

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

const (
	// MaxConnections is how many connections are open at once that ask, or might,
	// unless [Server.Bound] says less: each has a file descriptor, which the journal
	// needs, too. WebSockets do not count: those who serve them bound them.
	MaxConnections = 192
	// A part of them may come from one address, in IPv6 from one network, so that
	// nobody takes the place of all others; what a browser opens, it gets. A proxy on
	// this machine speaks for many.
	partOfOne, browserOpens = 4, 7
)

// Bound lets so many connections be open at once. Call it before Serve.
func (s *Server) Bound(connections int) { s.connections = connections }

// crowd counts the connections of a server.
type crowd struct {
	most, ofOne int

	mu    sync.Mutex
	from  map[net.Conn]netip.Prefix
	count map[netip.Prefix]int
}

func newCrowd(most int) *crowd {
	return &crowd{most: most, ofOne: max(browserOpens, most/partOfOne), from: make(map[net.Conn]netip.Prefix), count: make(map[netip.Prefix]int)}
}

// change implements http.Server.ConnState: it closes a connection that is one too
// many before anything is read of it.
func (c *crowd) change(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if !c.enter(conn) {
			conn.Close()
		}
	case http.StateHijacked, http.StateClosed:
		c.leave(conn)
	}
}

func (c *crowd) enter(conn net.Conn) bool {
	at, local := placeOf(conn.RemoteAddr())
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.from) >= c.most || !local && c.count[at] >= c.ofOne {
		return false
	}
	c.from[conn] = at
	c.count[at]++
	return true
}

func (c *crowd) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, in := c.from[conn]
	if !in {
		return // it was turned away
	}
	delete(c.from, conn)
	if c.count[at]--; c.count[at] == 0 {
		delete(c.count, at)
	}
}

// placeOf is the address, or in IPv6 the network of one customer.
func placeOf(addr net.Addr) (at netip.Prefix, local bool) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return at, true
	}
	a := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	at, _ = a.Prefix(bits) // the bits are in range, and no address has no prefix
	return at, a.IsLoopback()
}
