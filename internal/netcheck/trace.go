package netcheck

import (
	"crypto/tls"
	"net"
	"sync"
)

// Trace watches connections of somebody who is tried out. It is safe for concurrent
// use.
type Trace struct {
	// Encrypts, if not nil, is called when the first handshake of TLS begins.
	Encrypts func()

	mu       sync.Mutex
	head     []byte // what the other side has said first on the newest connection
	secured  bool   // a handshake has begun
	received int64  // on the newest connection, since its handshake began
	shown    tls.ConnectionState
	verified bool
	newest   *traced
}

// maxHead is how much is kept of what the other side says first, in bytes.
const maxHead = 2 << 10

// Watch returns a connection that is watched.
func (t *Trace) Watch(c net.Conn) net.Conn {
	w := &traced{Conn: c, trace: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.newest, t.head, t.received = w, nil, 0
	return w
}

// Verify is for tls.Config.VerifyConnection: the other side has shown a certificate
// that is good.
func (t *Trace) Verify(s tls.ConnectionState) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shown, t.verified = s, true
	return nil
}

// Verified returns the last state that Verify was told, and whether it was.
func (t *Trace) Verified() (tls.ConnectionState, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown, t.verified
}

// Heard is what came back on the newest connection: the beginning, and how many
// bytes since its handshake began. secured says that there was one.
func (t *Trace) Heard() (head []byte, received int64, secured bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.head, t.received, t.secured
}

// traced is a connection under watch.
type traced struct {
	net.Conn
	trace *Trace
}

// Read implements net.Conn.
func (c *traced) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.trace.note(c, p[:n])
	}
	return n, err
}

func (t *Trace) note(c *traced, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.newest != c {
		return
	}
	t.received += int64(len(p))
	t.head = append(t.head, p[:min(len(p), maxHead-len(t.head))]...)
}

// Write implements net.Conn. A ClientHello is a record of the type handshake, of a
// version 3.x, and no other protocol that a gateway speaks begins like it.
func (c *traced) Write(p []byte) (int, error) {
	if t := c.trace; len(p) > 5 && p[0] == 0x16 && p[1] == 3 && p[5] == 1 {
		t.mu.Lock()
		first := !t.secured
		t.secured, t.received = true, 0
		t.mu.Unlock()
		if first && t.Encrypts != nil {
			t.Encrypts()
		}
	}
	return c.Conn.Write(p)
}
