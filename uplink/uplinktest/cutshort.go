package uplinktest

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/tidegate/tidegate/uplink"
)

// cutShort: a Send whose time ends just as it writes may cost the connection, but
// not the next Send, which must not find one that is about to be closed.
func (d Door) cutShort(t *testing.T) {
	c := new(cutter)
	sink := d.sinkThrough(t, d.Peer(t, newScript(Accept).judge), c.dial)
	for n := range 50 {
		if err := sink.Send(within(t), message(2*n, 1000)); err != nil {
			t.Fatalf("after %d that were cut short: %v", n, err)
		}
		if !c.send(t, sink, message(2*n+1, 1000), 1) {
			t.Fatal("nothing was written")
		}
	}
}

// cutShortAtFirst: and the same for one that makes the connection, whatever it is
// about when its time ends.
func (d Door) cutShortAtFirst(t *testing.T) {
	address := d.Peer(t, newScript(Accept).judge)
	for step := int32(1); ; step++ {
		for again := range 5 {
			c := new(cutter)
			sink := d.sinkThrough(t, address, c.dial)
			ended := c.send(t, sink, message(int(step), 1000), step)
			if err := sink.Send(within(t), message(int(step), 1000)); err != nil {
				t.Fatalf("after one that was cut short at its step %d: %v", step, err)
			}
			if !ended && again == 0 {
				return
			}
		}
	}
}

// cutter ends a context at some read or write of its connections.
type cutter struct {
	left atomic.Int32
	end  atomic.Pointer[context.CancelFunc]
}

// send sends in a time that ends with the n-th read or write from now on, and
// reports whether it has.
func (c *cutter) send(t *testing.T, sink uplink.Sink, m uplink.Message, n int32) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.end.Store(&cancel)
	c.left.Store(n)
	if err := sink.Send(ctx, m); uplink.IsPermanent(err) {
		t.Errorf("permanent: %v", err)
	}
	c.left.Store(0)
	return ctx.Err() != nil
}

func (c *cutter) step() {
	if c.left.Add(-1) == 0 {
		(*c.end.Load())()
	}
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return cutting{conn, c}, err
}

type cutting struct {
	net.Conn
	cutter *cutter
}

func (c cutting) Read(p []byte) (int, error) {
	c.cutter.step()
	return c.Conn.Read(p)
}

func (c cutting) Write(p []byte) (int, error) {
	c.cutter.step()
	return c.Conn.Write(p)
}
