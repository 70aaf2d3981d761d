package linein

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/closing"
)

// listen serves connections until ctx ends or the listener breaks.
func (d *door) listen(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", d.cfg.Address)
	if err != nil {
		return fmt.Errorf("%w — hint: does another program listen there, or is the address not of this machine?", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer closing.Until(ctx, func() { listener.Close() })()
	d.open("line listens", listener.Addr())
	defer d.places.Shut()
	var peers sync.WaitGroup
	err = d.acceptAll(ctx, listener, &peers)
	cancel()
	peers.Wait()
	return err
}

// maxPause is the longest pause after a failed accept.
const maxPause = time.Second

// acceptAll serves connections until the listener is closed. Other errors pass:
// a process that ran out of file descriptors must not stay deaf when some are
// free again.
func (d *door) acceptAll(ctx context.Context, listener net.Listener, peers *sync.WaitGroup) error {
	pause := time.Duration(0)
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			pause = 0
			d.welcome(ctx, conn, peers)
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			if pause == 0 {
				d.log.Warn("connections cannot be accepted for now", "err", err)
			}
			pause = min(maxPause, pause*2+5*time.Millisecond)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// welcome serves a connection in a goroutine of its own, if there is room.
func (d *door) welcome(ctx context.Context, conn net.Conn, peers *sync.WaitGroup) {
	leave, ok := d.admit(conn)
	if !ok {
		conn.Close()
		return
	}
	peers.Go(func() {
		defer leave()
		err := d.serve(ctx, conn)
		if err != nil && !errors.Is(err, io.EOF) && ctx.Err() == nil {
			d.log.Debug("a connection was closed", "peer", conn.RemoteAddr().String(), "err", err)
		}
	})
}

// serve reads a connection to its end, and closes it.
func (d *door) serve(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	unblock := context.AfterFunc(ctx, func() { d.part(conn) })
	defer unblock()
	if d.cfg.TLS == nil {
		return newStream(d, conn).run(ctx)
	}
	secure := tls.Server(conn, d.cfg.TLS)
	if d.cfg.Transport == Dial {
		secure = tls.Client(conn, d.cfg.TLS)
	}
	if err := d.shakeHands(ctx, secure); err != nil {
		return errNoTLS{err}
	}
	defer secure.Close() // says goodbye
	return newStream(d, secure).run(ctx)
}

// part ends a connection when the door stops: at once, but for replies that are due,
// which have a moment to leave. Meanwhile nothing more is read.
func (d *door) part(conn net.Conn) {
	if d.cfg.Reply == "" {
		conn.Close()
		return
	}
	conn.SetReadDeadline(time.Unix(1, 0))
	time.AfterFunc(grace, func() { conn.Close() })
}

// errNoTLS is the error of a handshake. That the peer hung up is no end of a
// stream here.
type errNoTLS struct{ error }

func (d *door) shakeHands(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ConnectTimeout)
	defer cancel()
	err := conn.HandshakeContext(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		d.stats.slow.Add(1)
	}
	return err
}

// dial connects to a device server and reads until that connection ends. Whoever
// called Run dials again.
func (d *door) dial(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, d.cfg.ConnectTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(within, "tcp", d.cfg.Address)
	if err != nil {
		return fmt.Errorf("%w — hint: is the device server on, and the address right?", err)
	}
	d.stats.clients.Add(1)
	defer d.stats.clients.Add(-1)
	d.open("line is connected", conn.RemoteAddr())
	defer d.places.Shut()
	err = d.serve(ctx, conn)
	var noTLS errNoTLS
	switch {
	case errors.As(err, &noTLS):
		return fmt.Errorf("%s: no TLS: %w — hint: does the device server speak it, and does server_ca vouch for its certificate?", d.cfg.Address, err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s closed the connection — hint: many device servers serve one client at a time", d.cfg.Address)
	}
	return err
}
