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

// joined is how many bytes are held back at the most: the largest record of TLS.
const joined = 16 << 10

// Dial is how the network is reached, as net.Dialer.DialContext.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Conn is a connection whose writes can be held back, so that many small messages
// share packets, records of TLS and system calls.
type Conn struct {
	net.Conn
	heard  atomic.Int64
	corked atomic.Bool
	fault  atomic.Pointer[error]

	// mu is held while the network is written to, which the other side can make
	// last. Close does not take it and ends such a write.
	mu  sync.Mutex
	out *bufio.Writer
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
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.out.Write(p)
	if err == nil && !c.corked.Load() {
		err = c.out.Flush()
	}
	c.note(err)
	return n, err
}

// Cork holds back what is written from now on, 16 KiB at the most.
func (c *Conn) Cork() { c.corked.Store(true) }

// Uncork writes what was held back, and ends the holding back.
func (c *Conn) Uncork() error {
	c.corked.Store(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.out.Flush()
	c.note(err)
	return err
}

// Heard returns how many bytes have come in. A count that stays the same while
// answers are due is a connection that may be dead.
func (c *Conn) Heard() int64 { return c.heard.Load() }

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
