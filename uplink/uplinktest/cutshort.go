package uplinktest

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
)

// cutShort: a Send whose time ends just as it writes may cost the connection, but
// not the next Send, which must not find one that is about to be closed.
func (d Door) cutShort(t *testing.T) {
	var end atomic.Pointer[context.CancelFunc] // called by the next write
	sink := d.sinkThrough(t, d.Peer(t, newScript(Accept).judge), func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return ending{c, &end}, err
	})
	for n := range 50 {
		if err := sink.Send(within(t), message(2*n, 1000)); err != nil {
			t.Fatalf("after %d that were cut short: %v", n, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		end.Store(&cancel)
		if err := sink.Send(ctx, message(2*n+1, 1000)); err != nil {
			mustBeTransient(t, err)
		}
		if ctx.Err() == nil {
			t.Fatal("nothing was written")
		}
	}
}

// ending is a connection whose next write ends a context.
type ending struct {
	net.Conn
	end *atomic.Pointer[context.CancelFunc]
}

func (c ending) Write(p []byte) (int, error) {
	if cancel := c.end.Swap(nil); cancel != nil {
		(*cancel)()
	}
	return c.Conn.Write(p)
}
