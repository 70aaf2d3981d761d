package amqp1out

import (
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Whoever gives up while another writes, before his own turn or after it, leaves the
// connection to that one, who may have more time.
func TestWhoGivesUpLeavesTheConnectionToHimWhoWrites(t *testing.T) {
	for name, first := range map[string]bool{"before his turn": false, "after it": true} {
		t.Run(name, func(t *testing.T) {
			hasty, big := message(2, 1), message(3, 1)
			big.Parts, big.Body = nil, make([]byte, 1<<20)
			ignored := make(chan struct{}, 1)
			p := newPeer(t, func(c *peerConn, a arrived) {
				if a.id == hasty.PartKey(hasty.Parts[0]) {
					ignored <- struct{}{}
					return
				}
				c.accept(a)
			})
			lock := newLock()
			sink := newSink(t, p.address, func(c *Config) { c.Dial = lock.dial })
			ctx, giveUp := context.WithCancel(within(t, patience))
			given, sent := make(chan error, 1), make(chan error, 1)
			send := func() { given <- sink.Send(ctx, hasty) }
			if first {
				go send()
				<-ignored
			}
			if err := sink.Send(within(t, patience), message(1, 1)); err != nil { // somebody is there
				t.Fatal(err)
			}
			go func() { sent <- sink.Send(within(t, patience), big) }()
			<-lock.reached
			if !first {
				go send()
				waitForTwo(t, sink)
			}
			giveUp()
			if err := <-given; classOf(err) != "transient" {
				t.Errorf("who has given up: %v", err)
			}
			close(lock.open)
			if err := <-sent; err != nil || p.dialled() != 1 {
				t.Errorf("who was writing: %v, %d connections", err, p.dialled())
			}
		})
	}
}

// waitForTwo returns when two messages are under way, or wait for their turn.
func waitForTwo(t *testing.T, sink *Sink) {
	t.Helper()
	l, err := sink.seat.Get(within(t, patience), nil)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(patience); time.Now().Before(late); <-tick.C {
		l.mu.Lock()
		n := len(l.flying)
		l.mu.Unlock()
		if n == 2 {
			return
		}
	}
	t.Fatal("there are not two")
}

// The library looks at the time, and then writes: a write that begins when the time is
// over, and that nobody takes, holds nobody either.
func TestWriteThatBeginsTooLateIsFreed(t *testing.T) {
	p := newPeer(t, (*peerConn).accept)
	late := &lateness{about: make(chan struct{}), over: make(chan struct{})}
	sink := newSink(t, p.address, func(c *Config) { c.Dial = late.dial })
	if err := sink.Send(within(t, patience), message(1, 1)); err != nil {
		t.Fatal(err)
	}
	late.armed.Store(true)
	ctx, giveUp := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() { sent <- sink.Send(ctx, message(2, 1)) }()
	<-late.about
	giveUp()
	for range 1000 { // whoever looks when the time is over has looked
		runtime.Gosched()
	}
	close(late.over)
	select {
	case err := <-sent:
		if classOf(err) != "transient" {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("it is held")
	}
	if err := sink.Send(within(t, patience), message(3, 1)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// lateness is a network on which one write begins late, and does not end.
type lateness struct {
	armed       atomic.Bool
	about, over chan struct{}
}

func (l *lateness) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	return &lateConn{Conn: c, lateness: l, closed: make(chan struct{})}, err
}

type lateConn struct {
	net.Conn
	*lateness
	stuck  atomic.Bool
	closed chan struct{}
	once   sync.Once
}

// SetWriteDeadline is what the library calls just before it writes.
func (c *lateConn) SetWriteDeadline(t time.Time) error {
	if c.armed.CompareAndSwap(true, false) {
		c.about <- struct{}{}
		<-c.over
		c.stuck.Store(true)
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *lateConn) Write(b []byte) (int, error) {
	if c.stuck.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

func (c *lateConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// lock is a network that takes no large writes until it is open.
type lock struct{ reached, open chan struct{} }

func newLock() lock { return lock{make(chan struct{}, 1), make(chan struct{})} }

func (l lock) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	return locked{c, l}, err
}

type locked struct {
	net.Conn
	lock lock
}

func (c locked) Write(p []byte) (int, error) {
	if len(p) > 8<<10 {
		select {
		case c.lock.reached <- struct{}{}:
		default:
		}
		<-c.lock.open
	}
	return c.Conn.Write(p)
}
