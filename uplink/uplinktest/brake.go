package uplinktest

import (
	"context"
	"net"
	"sync"
)

// Braked dials to a network that takes no large writes: one of more than 8 KiB is stuck
// until the connection is closed.
func Braked(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	return &brake{Conn: c, closed: make(chan struct{})}, err
}

type brake struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (b *brake) Write(p []byte) (int, error) {
	if len(p) > 8<<10 {
		<-b.closed
		return 0, net.ErrClosed
	}
	return b.Conn.Write(p)
}

func (b *brake) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Conn.Close()
}
