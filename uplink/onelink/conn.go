// Package onelink is what doors out have in common that let many senders share
// one connection: it is made when somebody needs it, what is written to it can be
// held back and joined, and it remembers what broke it.
package onelink

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/internal/netfault"
)

// dialTimeout bounds a dial without a Dial of its own.
const dialTimeout = 10 * time.Second

// What is held back waits for company until there is as much as the largest
// record of TLS takes, or for a moment: whoever writes may be waiting for an
// answer to it.
const (
	joined = 16 << 10
	moment = 5 * time.Millisecond
)

// Dial is how the network is reached, as net.Dialer.DialContext.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Conn is a connection whose writes can be held back, so that many small messages
// share packets, records of TLS and system calls.
type Conn struct {
	net.Conn
	heard   atomic.Int64
	written atomic.Int64
	writing atomic.Int32 // writes under way
	wrote   atomic.Int64 // writes that have ended
	corked  atomic.Bool
	fault   atomic.Pointer[error]

	// mu is held while the network is written to, which the other side can make
	// last. Close does not take it and ends such a write.
	mu    sync.Mutex
	out   *bufio.Writer
	flush *time.Timer // when what is held back has waited for a moment; nil before the first
	due   bool        // flush is running
}

// Open dials address, host:port, and shakes hands if secure is not nil; without
// a ServerName of its own the host is the name that the certificate must have.
// A nil dial is a net.Dialer. Errors come with a hint.
func Open(ctx context.Context, dial Dial, address string, secure *tls.Config) (*Conn, error) {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	raw, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, netfault.Explain(err)
	}
	if secure == nil {
		return Over(raw), nil
	}
	return Secure(ctx, raw, address, secure)
}

// Secure shakes hands over a connection that exists, as Open does, and returns
// what it has become; a raw one that fails is closed. Nothing may have been read of
// it that was not for us.
func Secure(ctx context.Context, raw net.Conn, address string, secure *tls.Config) (*Conn, error) {
	if secure.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			raw.Close()
			return nil, err
		}
		secure = secure.Clone()
		secure.ServerName = host
	}
	over := tls.Client(raw, secure)
	if err := over.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, netfault.Explain(err)
	}
	return Over(over), nil
}

// Over returns a Conn over a connection that exists.
func Over(raw net.Conn) *Conn {
	c := &Conn{Conn: raw}
	c.out = bufio.NewWriterSize(raw, joined)
	return c
}

// Read reads, counts, and remembers the first error.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.heard.Add(int64(n))
	c.note(err)
	return n, err
}

// Write writes, or holds back while the connection is corked.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Add(1)
	defer c.endWrite()
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.out.Write(p)
	c.written.Add(int64(n))
	switch {
	case err != nil:
	case !c.corked.Load():
		err = c.out.Flush()
	case !c.due && c.out.Buffered() > 0:
		c.flushSoon()
	}
	c.note(err)
	return n, err
}

func (c *Conn) flushSoon() {
	c.due = true
	if c.flush != nil {
		c.flush.Reset(moment)
		return
	}
	c.flush = time.AfterFunc(moment, func() {
		c.writing.Add(1)
		defer c.endWrite()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.due = false
		c.note(c.out.Flush())
	})
}

// Cork holds back what is written from now on, 16 KiB and 5 ms at the most.
func (c *Conn) Cork() { c.corked.Store(true) }

// Uncork writes what was held back, and ends the holding back.
func (c *Conn) Uncork() error {
	c.corked.Store(false)
	c.writing.Add(1)
	defer c.endWrite()
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.out.Flush()
	c.note(err)
	return err
}

// Heard returns how many bytes have come in. A count that stays the same while
// answers are due is a connection that may be dead.
func (c *Conn) Heard() int64 { return c.heard.Load() }

// Written returns how many bytes were written, with those that are held back.
func (c *Conn) Written() int64 { return c.written.Load() }

func (c *Conn) endWrite() {
	c.wrote.Add(1)
	c.writing.Add(-1)
}

// Unstick drops the connection if a write is under way, which the other side may
// never let end, and for so long none has ended. Half a message makes a connection
// useless in any case.
func (c *Conn) Unstick(patience time.Duration) {
	before := c.wrote.Load()
	if c.writing.Load() == 0 {
		return
	}
	time.Sleep(patience)
	if c.writing.Load() > 0 && c.wrote.Load() == before {
		c.Drop()
	}
}

// Drop closes a connection that is given up: from now on its Fault is
// net.ErrClosed, if it has no other.
func (c *Conn) Drop() {
	c.note(net.ErrClosed)
	c.Conn.Close()
}

// Fault returns the first error of a read or a write, with a hint; nil if there
// was none.
func (c *Conn) Fault() error {
	if err := c.fault.Load(); err != nil {
		return netfault.Explain(*err)
	}
	return nil
}

func (c *Conn) note(err error) {
	if err != nil {
		c.fault.CompareAndSwap(nil, &err)
	}
}
