package uplinktest

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stuck: a network that takes nothing any more holds nobody longer than his context
// has, neither him who writes nor him who waits for his turn, and the next Send has a
// connection that works.
func (d Door) stuck(t *testing.T) {
	sink := d.sinkThrough(t, d.Peer(t, newScript(Accept).judge), braked)
	if err := sink.Send(within(t), message(1, 1000)); err != nil {
		t.Fatal(err)
	}
	var senders sync.WaitGroup
	for n, has := range []time.Duration{300 * time.Millisecond, 100 * time.Millisecond} {
		senders.Go(func() { mustEndWithContext(t, sink, message(n+2, 2*slack), has) })
	}
	senders.Wait()
	if err := sink.Send(within(t), message(1, 1000)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// slack is how many bytes a connection of a braked network takes.
const slack = 64 << 10

// braked dials to a network each of whose connections takes so much, and then nothing
// until it is closed.
func braked(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	return &brake{Conn: c, closed: make(chan struct{})}, err
}

type brake struct {
	net.Conn
	taken  atomic.Int64
	closed chan struct{}
	once   sync.Once
}

func (b *brake) Write(p []byte) (int, error) {
	if b.taken.Add(int64(len(p))) > slack {
		<-b.closed
		return 0, net.ErrClosed
	}
	return b.Conn.Write(p)
}

func (b *brake) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Conn.Close()
}
