package coapin

import (
	"container/list"
	"math/rand/v2"
	"net/netip"
	"time"
)

// endpoint is a peer: an address that speaks over plain UDP, or a DTLS session.
type endpoint struct {
	destination
	// out sends datagrams to it.
	out carrier
	// user is the identity that it has shown; empty over plain UDP.
	user string
	// trusted endpoints are who they say they are, so that answers to them may
	// be larger than what they ask.
	trusted bool

	pace
	seen    time.Time // when it spoke last
	nextID  uint16    // of our own messages
	waiting int       // exchanges without an answer
	place   *list.Element
}

// destination is where an answer goes.
type destination struct {
	addr netip.AddrPort
	// local is where the peer has spoken to, which is where answers have to come
	// from; the zero value leaves that to the system.
	local netip.Addr
}

// carrier takes datagrams to endpoints. It is safe for concurrent use and keeps
// nothing of b. What cannot be sent is lost, as it may be on its way.
type carrier interface {
	send(b []byte, to destination)
}

// nowhere is the carrier to a peer who is gone.
type nowhere struct{}

func (nowhere) send([]byte, destination) {}

// newEndpoint returns an endpoint that begins its message IDs anywhere, so that
// nobody takes the answers of this life for those of the one before.
func newEndpoint(at destination, out carrier) *endpoint {
	return &endpoint{destination: at, out: out, nextID: uint16(rand.Uint32()), trusted: at.addr.Addr().Unmap().IsLoopback()}
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
func (e *endpoints) meet(at destination, out carrier, now time.Time) *endpoint {
	p, ok := e.known[at.addr]
	switch {
	case ok:
		e.order.MoveToFront(p.place)
		p.local = at.local
	case len(e.known) >= e.most && !e.forgetOne():
		return nil
	default:
		p = newEndpoint(at, out)
		p.place = e.order.PushFront(p)
		e.known[at.addr] = p
	}
	p.seen = now
	return p
}

// expire forgets those of whom nothing can come again any more.
func (e *endpoints) expire(now time.Time) {
	for at := e.order.Back(); at != nil; at = e.order.Back() {
		p := at.Value.(*endpoint)
		if p.waiting > 0 || now.Sub(p.seen) <= exchangeLifetime {
			return
		}
		e.forget(p)
	}
}

func (e *endpoints) forget(p *endpoint) {
	delete(e.known, p.addr)
	e.order.Remove(p.place)
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
			e.forget(p)
			return true
		}
		at = at.Prev()
	}
	return false
}
