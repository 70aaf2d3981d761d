package coapin

import (
	"container/list"
	"math/rand/v2"
	"net/netip"
	"time"
)

// endpoint is a peer: an address that speaks over plain UDP, or a DTLS session.
type endpoint struct {
	addr netip.AddrPort
	// local is where it was spoken to, which is where answers come from; the
	// zero value leaves that to the routing table.
	local netip.Addr
	// out sends datagrams to it.
	out carrier
	// user is the identity that it has shown; empty over plain UDP.
	user string
	// trusted endpoints are who they say they are, so that answers to them may
	// be larger than what they ask.
	trusted bool

	pace
	nextID  uint16 // of our own messages
	waiting int    // exchanges without an answer
	place   *list.Element
}

// carrier takes datagrams to endpoints. It is safe for concurrent use and keeps
// nothing of b.
type carrier interface {
	send(b []byte, to *endpoint)
}

// newEndpoint returns an endpoint that begins its message IDs anywhere, so that
// nobody takes the answers of this life for those of the one before.
func newEndpoint(addr netip.AddrPort, out carrier) *endpoint {
	return &endpoint{addr: addr, out: out, nextID: uint16(rand.Uint32()), trusted: addr.Addr().Unmap().IsLoopback()}
}

// pace is how much of what an endpoint may send at once is left.
type pace struct {
	left   float64
	filled time.Time
}

// take reports whether one more may come now, at rate a second on average and
// as many at once. A rate of zero lets everything pass.
func (p *pace) take(rate int, now time.Time) bool {
	if rate <= 0 {
		return true
	}
	most := float64(rate)
	if p.filled.IsZero() {
		p.left = most
	} else {
		p.left = min(most, p.left+now.Sub(p.filled).Seconds()*most)
	}
	p.filled = now
	if p.left < 1 {
		return false
	}
	p.left--
	return true
}

// endpoints are the peers that speak over plain UDP. When there are too many,
// the one that has been silent for the longest time is forgotten: its repeats
// are not recognised then, and its bodies begin anew.
type endpoints struct {
	most  int
	known map[netip.AddrPort]*endpoint
	order *list.List // of *endpoint, who spoke last in front
}

func newEndpoints(most int) endpoints {
	return endpoints{most: most, known: make(map[netip.AddrPort]*endpoint), order: list.New()}
}

// meet returns the endpoint of an address; nil if there is no room, because all
// of them wait for answers.
func (e *endpoints) meet(addr netip.AddrPort, out carrier) *endpoint {
	if p, ok := e.known[addr]; ok {
		e.order.MoveToFront(p.place)
		return p
	}
	if len(e.known) >= e.most && !e.forgetOne() {
		return nil
	}
	p := newEndpoint(addr, out)
	p.place = e.order.PushFront(p)
	e.known[addr] = p
	return p
}

// lookBack is how many of the longest silent endpoints are looked at for one
// that does not wait.
const lookBack = 8

func (e *endpoints) forgetOne() bool {
	at := e.order.Back()
	for range lookBack {
		if at == nil {
			return false
		}
		if p := at.Value.(*endpoint); p.waiting == 0 {
			delete(e.known, p.addr)
			e.order.Remove(at)
			return true
		}
		at = at.Prev()
	}
	return false
}
