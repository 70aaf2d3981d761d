package firmwaresim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// maxWrite is how long the other side may read nothing.
const maxWrite = 30 * time.Second

// streamCourier writes frames to a TCP connection that never answers.
type streamCourier struct {
	device *sendingDevice
	conn   net.Conn
}

func (c *streamCourier) close() {
	if c.conn == nil {
		return
	}
	for _, p := range c.device.stream.Flush() {
		c.conn.Write(p.Bytes)
	}
	c.conn.Close()
}

// bring writes the frame. What a broken connection took along is lost: nobody
// acknowledges it, so nobody knows.
func (c *streamCourier) bring(ctx context.Context, p *shipment) fate {
	if c.conn == nil {
		conn, err := dial(ctx, c.device, p)
		if err != nil {
			return fate{kind: fateAgain, err: err}
		}
		c.conn = conn
	}
	pieces, copies := c.device.pieces(p.payload)
	if copies > 1 {
		c.device.repeat(p)
	}
	if err := writePieces(ctx, c.conn, pieces); err != nil {
		c.conn.Close()
		c.conn = nil
		return fate{kind: fateAgain, err: err}
	}
	return fate{kind: fateSent}
}

func dial(ctx context.Context, d *sendingDevice, p *shipment) (net.Conn, error) {
	dialer := net.Dialer{Timeout: d.sender.cfg.Timeout}
	return dialer.DialContext(ctx, d.sender.scheme, p.url.Host)
}

func writePieces(ctx context.Context, conn net.Conn, pieces []Piece) error {
	for _, p := range pieces {
		if p.Pause > 0 {
			if err := sleepUntil(ctx, time.Now().Add(p.Pause)); err != nil {
				return err
			}
		}
		conn.SetWriteDeadline(time.Now().Add(maxWrite))
		stop := context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })
		_, err := conn.Write(p.Bytes)
		stop()
		if err != nil {
			return err
		}
	}
	return nil
}

// datagramCourier sends each frame in a datagram, and waits for a reply if there
// is one.
type datagramCourier struct {
	device *sendingDevice
	conn   net.Conn
	sent   int // datagrams through this socket that a reply may still come for
}

func (c *datagramCourier) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *datagramCourier) bring(ctx context.Context, p *shipment) fate {
	if c.conn == nil {
		conn, err := dial(ctx, c.device, p)
		if err != nil {
			return fate{kind: fateAgain, err: err}
		}
		c.conn = conn
	}
	pieces, copies := c.device.pieces(p.payload)
	if copies > 1 {
		c.device.repeat(p)
	}
	err := c.send(pieces, copies, len(p.payload))
	reply := c.device.sender.cfg.Reply
	switch {
	case reply == "":
		// A port that nobody listens at is not the device's business.
		return fate{kind: fateSent}
	case err != nil:
		c.close()
		return fate{kind: fateAgain, err: err}
	}
	err = c.await(ctx, []byte(reply))
	if err != nil || c.sent != 1 {
		// A reply that comes late, or twice, must not be taken for that to the
		// next frame, and it does not say for what it is. It comes to this
		// socket, though.
		c.close()
	}
	if err != nil {
		return fate{kind: fateAgain, err: err}
	}
	c.sent = 0
	return fate{kind: fateAcked}
}

// send sends what the faults made of a frame: all of it, and the second copy on
// its own.
func (c *datagramCourier) send(pieces []Piece, copies, length int) error {
	var all []byte
	for _, p := range pieces {
		all = append(all, p.Bytes...)
	}
	var second []byte
	if copies > 1 {
		all, second = all[:len(all)-length], all[len(all)-length:]
	}
	for _, b := range [][]byte{all, second} {
		if len(b) == 0 {
			continue
		}
		c.sent++
		if _, err := c.conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func (c *datagramCourier) await(ctx context.Context, reply []byte) error {
	until := time.Now().Add(c.device.sender.cfg.Timeout)
	c.conn.SetReadDeadline(until)
	stop := context.AfterFunc(ctx, func() { c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, 2048)
	n, err := c.conn.Read(b)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(b[:n], reply):
		return fmt.Errorf("%w: %.100q", errOtherReply, b[:n])
	}
	return nil
}

var errOtherReply = errors.New("the reply is not the one that was agreed")
