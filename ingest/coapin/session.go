package coapin

import (
	"bytes"
	"container/list"
	"context"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
)

const (
	// maxQueued is how many datagrams of a session may wait to be decrypted.
	maxQueued = 16
	// maxRecord is the largest message that is taken over DTLS, in bytes. What
	// is larger must come in blocks.
	maxRecord = 2 << 10
)

// session is one DTLS session, or a handshake that may become one. It is the
// net.PacketConn that the handshake is spoken over.
type session struct {
	gate  *gate
	to    destination
	began time.Time
	in    chan []byte
	gone  chan struct{} // closed under gate.mu when the session is taken out

	// These are guarded by gate.mu.
	place *list.Element // in gate.standing; nil before the handshake has ended
	left  int           // how many more bytes of handshake are taken
	early [][]byte      // data that came before place was set

	// proved says that the peer has answered what was sent to its address: the
	// cookie of RFC 6347 §4.2.1 came back.
	proved atomic.Bool

	conn     *dtls.Conn
	identity string // that the peer has shown

	mu      sync.Mutex
	expired chan struct{} // closed when the read deadline is over
	timer   *time.Timer
}

func newSession(g *gate, to destination) *session {
	return &session{
		gate: g, to: to, began: time.Now(), in: make(chan []byte, maxQueued),
		gone: make(chan struct{}), expired: make(chan struct{}), left: maxShake,
	}
}

func (s *session) isGone() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}

// put hands over what the session may take of a datagram, and says whether there
// was anything. It is lost if the session does not keep up.
func (s *session) put(b []byte) bool {
	switch {
	case len(b) > maxSecure:
		b = nil
	case s.place != nil:
		b = encrypted(b, &s.left)
	case len(b) > s.left:
		b = nil
	default:
		s.left -= len(b)
		b = bytes.Clone(b)
	}
	switch {
	case len(b) == 0:
		return false
	case s.place == nil && isData(b):
		s.early = append(s.early, b)
	default:
		s.hand(b)
	}
	return true
}

// hand queues a datagram.
func (s *session) hand(b []byte) {
	select {
	case s.in <- b:
	default:
		s.gate.server.stats.overflowed.Add(1)
	}
}

// stands lets the session read what has come too early: a peer may send as soon
// as the end of the handshake reaches it, which is before we have noted it, and
// the library would drop all but one of its messages.
func (s *session) stands(place *list.Element) {
	s.place, s.left = place, maxReshake
	for _, b := range s.early {
		s.hand(b)
	}
	s.early = nil
}

// run does the handshake, serves what comes, and ends the session.
func (s *session) run() {
	defer s.gate.end(s)
	stats := s.gate.server.stats
	user, err := s.handshake()
	switch {
	case err == nil:
		s.serve(user)
	case s.gate.ctx.Err() != nil:
	case s.identity != "": // it has a name, and not the key
		stats.badLogins.Add(1)
		s.gate.complain(s)
	default:
		stats.abandoned.Add(1)
	}
}

func (s *session) handshake() (user string, err error) {
	cfg := s.gate.server.cfg
	s.conn, err = dtls.ServerWithOptions(s, net.UDPAddrFromAddrPort(s.to.addr),
		dtls.WithPSK(s.key), dtls.WithCipherSuites(suites...),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithLoggerFactory(silence{}))
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(s.gate.ctx, cfg.HandshakeTimeout)
	defer cancel()
	stop := s.whenGone(cancel)
	defer stop()
	if err := s.conn.HandshakeContext(ctx); err != nil {
		s.conn.Close()
		return "", err
	}
	state, ok := s.conn.ConnectionState()
	if !ok {
		s.conn.Close()
		return "", errNobody
	}
	s.gate.stands(s)
	return string(state.IdentityHint), nil
}

// whenGone calls f when the session has been taken out or the server stops, until
// stop is called.
func (s *session) whenGone(f func()) (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		select {
		case <-s.gone:
			f()
		case <-s.gate.ctx.Done():
			f()
		case <-done:
		}
	})
	return func() {
		close(done)
		all.Wait()
	}
}

// key returns the key of the identity that the peer has shown.
func (s *session) key(identity []byte) ([]byte, error) {
	s.identity = string(identity)
	key := s.gate.server.cfg.Key(string(identity))
	if key == nil {
		return nil, errNobody
	}
	return key, nil
}

// serve serves what the peer sends.
func (s *session) serve(user string) {
	ctx := s.gate.taking
	stop := s.whenGone(func() { s.conn.Close() })
	defer stop()
	defer s.conn.Close()
	p := newEndpoint(s.to, s)
	p.user, p.trusted = user, true
	defer s.gate.server.forget(p)
	b := make([]byte, maxRecord)
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(s.gate.server.cfg.SessionIdle)); err != nil {
			return
		}
		n, err := s.conn.Read(b)
		if temporary, ok := err.(*dtls.TemporaryError); ok && !temporary.Timeout() {
			s.gate.server.stats.malformed.Add(1) // larger than b
			continue
		}
		if err != nil {
			return
		}
		if ctx.Err() != nil {
			continue // there is nobody who would take it; what waits is answered yet
		}
		s.gate.server.take(ctx, b[:n], origin{peer: p, at: s.to, out: s})
	}
}

// send implements carrier.
func (s *session) send(b []byte, _ destination) {
	_, _ = s.conn.Write(b) // what is lost here is lost as on the way
}

// ReadFrom implements net.PacketConn.
func (s *session) ReadFrom(b []byte) (int, net.Addr, error) {
	s.mu.Lock()
	expired := s.expired
	s.mu.Unlock()
	select {
	case in := <-s.in:
		return copy(b, in), net.UDPAddrFromAddrPort(s.to.addr), nil
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	case <-s.gone:
		return 0, nil, io.EOF
	}
}

// WriteTo implements net.PacketConn.
func (s *session) WriteTo(b []byte, _ net.Addr) (int, error) {
	if isHandshake(b, serverHello) { // which is not sent before the cookie has come back
		s.proved.Store(true)
	}
	s.gate.sock.send(b, s.to)
	return len(b), nil
}

// Close implements net.PacketConn: the session is over.
func (s *session) Close() error {
	s.gate.end(s)
	return nil
}

// LocalAddr implements net.PacketConn.
func (s *session) LocalAddr() net.Addr { return s.gate.sock.LocalAddr() }

// SetDeadline implements net.PacketConn.
func (s *session) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn. Writes do not block.
func (s *session) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn.
func (s *session) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	select {
	case <-s.expired:
		s.expired = make(chan struct{})
	default:
	}
	switch wait := time.Until(t); {
	case t.IsZero():
	case wait <= 0:
		close(s.expired)
	default:
		expired := s.expired
		s.timer = time.AfterFunc(wait, func() { s.expire(expired) })
	}
	return nil
}

// expire ends the wait of reads, unless a new deadline has been set.
func (s *session) expire(channel chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-channel:
	default:
		if channel == s.expired && s.timer != nil {
			close(channel)
		}
	}
}

// silence keeps a library from writing to a log that is not ours: what it would
// say of hostile bytes is counted.
type silence struct{}

// NewLogger implements logging.LoggerFactory.
func (silence) NewLogger(string) logging.LeveledLogger {
	return &logging.DefaultLeveledLogger{}
}
