package carrier

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How often the kernel is asked what a busy connection has cost: after so much
// time or so many bytes, whichever comes first.
const (
	lookEvery = time.Second
	lookBytes = 64 << 10
)

// conn is a connection over a Link. It counts what passes, and Write keeps to
// the link's rate.
type conn struct {
	net.Conn
	link *Link
	// ended is told why the connection broke, if it was the network, and when it
	// is closed, with nil.
	ended func(c *conn, err error)

	mu      sync.Mutex
	meter   meter
	told    passed // to the link
	pending int64  // bytes of payload since looked
	looked  time.Time
	used    time.Time // when something last passed
	mss     int64     // of segments to send
	quiet   bool      // keepalive alone watches the connection
	closed  bool

	done             chan struct{} // closed by Close
	reading, writing deadline      // of Read and Write
}

func newConn(l *Link, c net.Conn, ended func(*conn, error)) *conn {
	now := l.now()
	return &conn{
		Conn: c, link: l, ended: ended, meter: newMeter(c), looked: now, used: now, mss: usualMSS,
		done: make(chan struct{}), reading: newDeadline(), writing: newDeadline(),
	}
}

// Read reads, at whatever speed, unless the budget has to be saved first.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.settle(&c.reading); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.pass(0, n)
	c.judge(err)
	return n, err
}

// Write writes in chunks, each when the link's rate allows it.
func (c *conn) Write(p []byte) (written int, err error) {
	for {
		chunk := p[written:]
		if c.link.cfg.Budget.limited() { // so that it is known soon what has passed
			chunk = chunk[:min(len(chunk), lookBytes)]
		}
		if err := c.settle(&c.writing); err != nil {
			return written, err
		}
		if c.link.pace.rate > 0 {
			chunk = chunk[:min(int64(len(chunk)), c.chunk())]
			if err := c.wait(int64(len(chunk))); err != nil {
				return written, err
			}
		}
		c.attend()
		n, err := c.Conn.Write(chunk)
		written += n
		c.pass(n, 0)
		if err != nil {
			c.judge(err)
			return written, err
		}
		if written == len(p) {
			return written, nil
		}
	}
}

// settle waits while more has passed than may be unsaved.
func (c *conn) settle(d *deadline) error {
	for owed := c.link.owes(); owed != nil; owed = c.link.owes() {
		c.link.rouse()
		expired, changed := d.get()
		select {
		case <-owed:
		case <-changed:
		case <-expired:
			return os.ErrDeadlineExceeded
		case <-c.done:
			return net.ErrClosed
		}
	}
	return nil
}

func (c *conn) chunk() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link.pace.chunk(c.mss)
}

// wait waits until n bytes of payload may go, with their headers.
func (c *conn) wait(n int64) error {
	c.mu.Lock()
	cost := n + (n+c.mss-1)/c.mss*(c.meter.ip+tcpHeader+timestamps)
	c.mu.Unlock()
	left := c.link.pace.reserve(cost, time.Now())
	if left <= 0 {
		return nil
	}
	due := time.NewTimer(left)
	defer due.Stop()
	for {
		expired, changed := c.writing.get()
		select {
		case <-due.C:
			return nil
		case <-changed:
			continue
		case <-expired:
			c.link.pace.giveBack(cost)
			return os.ErrDeadlineExceeded
		case <-c.done:
			c.link.pace.giveBack(cost)
			return net.ErrClosed
		}
	}
}

// pass counts payload, and looks what it has cost when that is worth it.
func (c *conn) pass(sent, received int) {
	if sent <= 0 && received <= 0 {
		return
	}
	now := c.link.now()
	c.mu.Lock()
	m := &c.meter
	if sent > 0 {
		m.payload.sent, m.writes = m.payload.sent+int64(sent), m.writes+1
	}
	if received > 0 {
		m.payload.received, m.reads = m.payload.received+int64(received), m.reads+1
	}
	c.used, c.pending = now, c.pending+int64(sent+received)
	due := !m.stream || c.pending >= lookBytes || now.Sub(c.looked) >= lookEvery
	c.mu.Unlock()
	if due {
		c.look(false)
	} else {
		c.link.stir()
	}
}

// look tells the link what has passed since the last look.
func (c *conn) look(closing bool) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	info := c.meter.info()
	if info != nil && info.Snd_mss > 0 {
		c.mss = int64(info.Snd_mss)
	}
	total := c.meter.total(info, closing)
	fresh := passed{max(0, total.sent-c.told.sent), max(0, total.received-c.told.received)}
	c.told = passed{c.told.sent + fresh.sent, c.told.received + fresh.received}
	c.pending, c.looked, c.closed = 0, c.link.now(), closing
	c.mu.Unlock()
	c.link.count(fresh, info, c.meter.stream)
}

// attend lets unacknowledged data break the connection when they are so for too
// long: something is about to be sent.
func (c *conn) attend() {
	now := c.link.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = now // not to be left to its keepalive before that has gone
	if c.quiet {
		c.quiet = false
		c.limitSilence(c.link.cfg.DeadAfter)
	}
}

// rest leaves an idle connection to its keepalive. With TCP_USER_TIMEOUT set, the
// kernel gives up after a single probe that is lost instead of after the number
// that was asked for.
func (c *conn) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet || c.closed || c.meter.raw == nil || c.link.now().Sub(c.used) < c.link.cfg.DeadAfter {
		return
	}
	if info := c.meter.info(); info != nil && info.Unacked == 0 && info.Notsent_bytes == 0 {
		c.quiet = true
		c.limitSilence(0)
	}
}

func (c *conn) limitSilence(d time.Duration) {
	_ = c.meter.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

// judge tells whoever watches when it was the network that broke the connection.
func (c *conn) judge(err error) {
	if err != nil && c.ended != nil && isOfNetwork(err) {
		c.ended(c, err)
	}
}

// isOfNetwork says that an error is of the way, not of the other end.
func isOfNetwork(err error) bool {
	for _, e := range []error{unix.ETIMEDOUT, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.ENODEV, unix.EADDRNOTAVAIL, unix.ENONET} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// quietSince returns when something last passed.
func (c *conn) quietSince() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// Close closes the connection. What that costs is counted, too.
func (c *conn) Close() error {
	c.mu.Lock()
	again := c.closed
	c.mu.Unlock()
	if again {
		return c.Conn.Close()
	}
	c.look(false)
	if !c.part() {
		c.look(true)
	}
	if !c.link.leave(c) {
		return c.Conn.Close() // another Close was faster
	}
	close(c.done)
	err := c.Conn.Close()
	if c.ended != nil {
		c.ended(c, nil)
	}
	return err
}

// Over returns the name of the link.
func (c *conn) Over() string { return c.link.cfg.Name }

// CloseWrite says that nothing more will be sent.
func (c *conn) CloseWrite() error {
	if tcp, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SyscallConn gives access to the socket.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// SetDeadline bounds Read and Write, also one that waits for the link's rate or for
// what was counted to be saved.
func (c *conn) SetDeadline(t time.Time) error {
	c.reading.set(t)
	c.writing.set(t)
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline bounds Read.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.reading.set(t)
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline bounds Write, as SetDeadline does.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.writing.set(t)
	return c.Conn.SetWriteDeadline(t)
}

// deadline is a time that may be changed while somebody waits for it.
type deadline struct {
	mu      sync.Mutex
	at      time.Time
	changed chan struct{} // closed when at is another one
}

func newDeadline() deadline { return deadline{changed: make(chan struct{})} }

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	close(d.changed)
	d.changed = make(chan struct{})
}

// get returns what fires at the deadline, nil without one, and what tells of
// another one.
func (d *deadline) get() (expired <-chan time.Time, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at.IsZero() {
		return nil, d.changed
	}
	return time.After(time.Until(d.at)), d.changed
}
