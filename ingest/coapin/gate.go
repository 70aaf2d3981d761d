package coapin

import (
	"container/list"
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
)

// suites are what clients with a pre-shared key offer: 0xC0A8 is the one that
// RFC 7252 §9.1.3.1 demands.
var suites = []dtls.CipherSuiteID{
	dtls.TLS_PSK_WITH_AES_128_GCM_SHA256,
	dtls.TLS_PSK_WITH_AES_128_CCM,
	dtls.TLS_PSK_WITH_AES_128_CCM_8,
	dtls.TLS_PSK_WITH_AES_256_CCM_8,
	dtls.TLS_PSK_WITH_CHACHA20_POLY1305_SHA256,
	dtls.TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256,
	dtls.TLS_PSK_WITH_AES_128_CBC_SHA256,
}

// errNobody refuses an identity that nobody has.
var errNobody = errors.New("unknown identity")

// gate sorts the datagrams of a DTLS socket by session, and lets peers begin new
// ones.
//
// A device that has been restarted comes with a new handshake from the address
// of its old session. Both are served until the new one stands, so that nobody
// can end a session by sending a ClientHello in the name of its peer (RFC 6347
// §4.2.8), nor with anything else that is not encrypted.
type gate struct {
	ctx    context.Context // ends when everything is answered that will be
	taking context.Context // ends with Run: nothing is taken any more
	server *server
	sock   *socket
	ended  sync.WaitGroup

	mu       sync.Mutex
	closed   bool                          // no session begins any more
	sessions map[netip.AddrPort][]*session // at most one that stands, and one that does not
	opening  []*session                    // in the order of their beginning
	standing *list.List                    // of *session, who spoke last in front
	told     time.Time                     // when somebody was told of a wrong key
	untold   int                           // and how many there were since
}

func newGate(ctx, taking context.Context, v *server, sock *socket) *gate {
	return &gate{ctx: ctx, taking: taking, server: v, sock: sock, sessions: make(map[netip.AddrPort][]*session), standing: list.New()}
}

// datagram takes a datagram to its sessions. Which of two it belongs to, the
// keys will tell.
func (g *gate) datagram(b []byte, from destination) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := g.sessions[from.addr]
	if isHello(b) && (len(at) == 0 || len(at) == 1 && at[0].place != nil) {
		if s := g.begin(from); s != nil {
			at = g.sessions[from.addr]
		}
	}
	taken := false
	for _, s := range at {
		if !s.put(b) {
			continue
		}
		if taken = true; s.place != nil {
			g.standing.MoveToFront(s.place)
		}
	}
	if !taken {
		g.server.stats.malformed.Add(1)
	}
}

// hasty is how long a peer may take to show that it gets what is sent to its
// address, when others are waiting to begin.
const hasty = 3 * time.Second

// begin begins a session. It returns nil if too many are beginning.
func (g *gate) begin(from destination) *session {
	if g.closed {
		return nil
	}
	if len(g.opening) >= g.server.cfg.MaxHandshakes && !g.removeHasty() {
		g.server.stats.turnedAway.Add(1)
		return nil
	}
	s := newSession(g, from)
	g.opening = append(g.opening, s)
	g.sessions[from.addr] = append(g.sessions[from.addr], s)
	g.ended.Go(s.run)
	return s
}

// removeHasty gives up the oldest handshake whose peer has not shown in time that
// it gets what is sent to it. It returns false if there is none.
func (g *gate) removeHasty() bool {
	for _, s := range g.opening {
		if !s.proved.Load() && time.Since(s.began) >= hasty {
			g.remove(s)
			return true
		}
	}
	return false
}

// close ends all sessions. Their peers are told, so that they begin new ones as
// soon as they can.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.ended.Wait() // the context is over, and they see it
}

// stands notes that a handshake has come to its end: what the peer had before is
// over.
func (g *gate) stands(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, before := range g.sessions[s.to.addr] {
		if before != s {
			g.remove(before)
		}
	}
	if g.standing.Len() >= g.server.cfg.MaxSessions {
		g.remove(g.standing.Back().Value.(*session))
	}
	g.notOpening(s)
	s.stands(g.standing.PushFront(s))
	g.server.stats.sessions.Store(int64(g.standing.Len()))
}

// end takes a session out, whether it stands or not.
func (g *gate) end(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remove(s)
}

// remove lets a session end.
func (g *gate) remove(s *session) {
	if s.isGone() {
		return
	}
	close(s.gone)
	g.notOpening(s)
	if s.place != nil {
		g.standing.Remove(s.place)
		g.server.stats.sessions.Store(int64(g.standing.Len()))
	}
	rest := without(g.sessions[s.to.addr], s)
	if len(rest) == 0 {
		delete(g.sessions, s.to.addr)
		return
	}
	g.sessions[s.to.addr] = rest
}

func (g *gate) notOpening(s *session) { g.opening = without(g.opening, s) }

// quiet is how long nobody is told of another wrong key: logs wear flash, too.
const quiet = time.Minute

// complain tells that somebody did not get in: a technician looks for a device
// that does not come through.
func (g *gate) complain(s *session) {
	g.mu.Lock()
	untold := g.untold
	g.untold++
	now := time.Now()
	loud := g.told.IsZero() || now.Sub(g.told) >= quiet
	if loud {
		g.told, g.untold = now, 0
	}
	g.mu.Unlock()
	if loud {
		g.server.log.Warn("coap refuses a device: identity or key is wrong", "event", "login_refused", "addr", s.to.addr.String(), "identity", s.identity, "untold", untold)
	}
}

// without returns the sessions but s, in memory of its own: others may be
// walking over these.
func without(all []*session, s *session) []*session {
	var rest []*session
	for _, other := range all {
		if other != s {
			rest = append(rest, other)
		}
	}
	return rest
}
