package cloud

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// streams counts the WebSockets of a Receiver, and tells them to end.
type streams struct {
	max  int
	stop chan struct{} // closed when they are to end

	mu     sync.Mutex
	open   int
	closed bool
	gone   chan struct{} // closed when the last one has ended after that
}

func newStreams(max int) *streams {
	return &streams{max: max, stop: make(chan struct{}), gone: make(chan struct{})}
}

// join is false when there is no room, or no time any more.
func (s *streams) join() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.open == s.max {
		return false
	}
	s.open++
	return true
}

func (s *streams) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.closed && s.open == 0 {
		close(s.gone)
	}
}

func (s *streams) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// end tells all to end, and returns when they have.
func (s *streams) end() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
		if s.open == 0 {
			close(s.gone)
		}
	}
	s.mu.Unlock()
	<-s.gone
}

// below is a response that keeps the connection which becomes a WebSocket, and
// notes when it has ended: the library takes a compressed message that was cut
// off in the middle for a whole one.
type below struct {
	http.ResponseWriter
	net.Conn // nil before
	ended    atomic.Bool
}

// Hijack implements http.Hijacker.
func (b *below) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(b.ResponseWriter).Hijack()
	b.Conn = conn
	return b, rw, err
}

// Write writes to the response, and later to the connection.
func (b *below) Write(p []byte) (int, error) {
	if b.Conn == nil {
		return b.ResponseWriter.Write(p)
	}
	return b.Conn.Write(p)
}

// Read implements net.Conn.
func (b *below) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if err != nil {
		b.ended.Store(true)
	}
	return n, err
}
