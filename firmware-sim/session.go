package firmwaresim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/tidegate/tidegate/internal/backoff"
)

const (
	readBuffer  = 64 << 10
	dialTimeout = 10 * time.Second
	minBackoff  = 50 * time.Millisecond
	maxBackoff  = 2 * time.Second
)

// Run connects, and connects again whenever the connection is lost, until ctx
// ends (nil) or the broker refuses the client (ErrRefused). The pause between
// two connections grows until a message is acknowledged.
func (c *Client) Run(ctx context.Context) error {
	pause := backoff.Backoff{Min: minBackoff, Max: c.cfg.MaxPause}
	for {
		before := c.Stats().Acked
		err := c.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ErrRefused) {
			return err
		}
		if c.Stats().Acked > before {
			pause.Reset()
		}
		if backoff.Sleep(ctx, pause.Next(), nil) != nil {
			return nil
		}
	}
}

// session is the life of one connection; it always ends with an error.
func (c *Client) session(ctx context.Context) error {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", c.cfg.Addr)
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	hangUp := context.AfterFunc(ctx, func() {
		defer close(gone)
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		conn.Write([]byte{packetDisconnect, 0})
		conn.Close()
	})
	defer func() {
		c.detach()
		conn.Close()
		if !hangUp() {
			<-gone
		}
	}()
	if _, err := conn.Write(appendConnect(nil, c.cfg)); err != nil {
		return err
	}
	return c.read(conn)
}

func (c *Client) detach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
	c.out = c.out[:0] // what matters of it is in the window
}

// read takes packets until the connection breaks. Half a keep-alive without a
// byte from the broker is answered with PINGREQ; another half ends it.
func (c *Client) read(conn net.Conn) error {
	var (
		buf    = make([]byte, readBuffer)
		have   = 0
		pinged = false
		quiet  = c.cfg.KeepAlive / 2
	)
	for {
		conn.SetReadDeadline(time.Now().Add(quiet))
		n, err := conn.Read(buf[have:])
		if errors.Is(err, os.ErrDeadlineExceeded) && !pinged {
			pinged = true
			c.ping()
			continue
		}
		if err != nil {
			return err
		}
		pinged = false
		have += n
		used, serverKeepAlive, err := c.take(conn, buf[:have])
		if err != nil {
			return err
		}
		if serverKeepAlive > 0 {
			quiet = serverKeepAlive / 2
		}
		have = copy(buf, buf[used:have])
		if have == len(buf) {
			return fmt.Errorf("%w: larger than %d bytes", errPacket, readBuffer)
		}
	}
}

func (c *Client) ping() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, packetPingreq, 0)
	c.flush()
}

// take handles every whole packet of b under one lock and says how many bytes
// they were. keepAlive is not zero when the broker asked for another one.
func (c *Client) take(conn net.Conn, b []byte) (used int, keepAlive time.Duration, err error) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		header, whole, err := packetLength(b[used:])
		if err != nil {
			return used, 0, err
		}
		if whole == 0 {
			break
		}
		packet := b[used : used+whole]
		used += whole
		if packet[0] == packetConnack {
			keepAlive, err = c.accepted(conn, packet[header:])
		} else {
			err = c.answer(packet[0], packet[header:], now)
		}
		if err != nil {
			return used, 0, err
		}
	}
	c.stats.BytesIn += uint64(used)
	c.flush()
	select {
	case c.room <- struct{}{}:
	default:
	}
	return used, keepAlive, nil
}

// accepted opens the session: everything in flight goes out once more, oldest
// first.
func (c *Client) accepted(conn net.Conn, body []byte) (keepAlive time.Duration, err error) {
	ack, err := parseConnack(body, c.cfg.Version)
	if err != nil {
		return 0, err
	}
	if c.conn != nil {
		return 0, fmt.Errorf("%w: a second CONNACK", errPacket)
	}
	if ack.code != 0 {
		return 0, fmt.Errorf("%w: code %#x", refusal(c.cfg.Version, ack.code), ack.code)
	}
	c.conn, c.limit = conn, min(c.cfg.Window, ack.receiveMaximum)
	c.stats.Connects++
	for p := c.window.head; p < c.window.tail; p++ {
		c.resend(c.window.at(p), uint16(p%maxWindow)+1)
	}
	return ack.keepAlive, nil
}

func refusal(version, code byte) error {
	if busy := version == MQTT3 && code == 3 || version == MQTT5 && (code == 0x88 || code == 0x89); busy {
		return errors.New("broker unavailable")
	}
	return ErrRefused
}

func (c *Client) resend(f *flight, id uint16) {
	switch f.state {
	case awaitingComp:
		c.appendPubrel(id)
	case awaitingAck:
		if c.cfg.OnRepublish != nil {
			c.cfg.OnRepublish(f.tag)
		}
		if !c.cfg.CleanSession {
			f.frame[0] |= publishDup
		}
		c.out = append(c.out, f.frame...)
		c.stats.Republished++
	}
}

func (c *Client) appendPubrel(id uint16) {
	c.out = binary.BigEndian.AppendUint16(append(c.out, packetPubrel, 2), id)
}

// answer handles what a broker sends after CONNACK.
func (c *Client) answer(kind byte, body []byte, now time.Time) error {
	switch kind {
	case packetPuback, packetPubrec, packetPubcomp:
	case packetDisconnect:
		return errors.New("the broker disconnected")
	default:
		return nil // PINGRESP, and what this client did not ask for
	}
	if len(body) < 2 {
		return fmt.Errorf("%w: short acknowledgement", errPacket)
	}
	id := binary.BigEndian.Uint16(body)
	failed := len(body) > 2 && body[2] >= reasonFailed
	f := c.window.find(id)
	switch {
	case f == nil:
		c.stats.Unexpected++
	case kind == packetPuback && f.qos == 1:
		c.settle(f, failed, now)
		f.state = settled
	case kind == packetPubrec && f.qos == 2 && f.state == awaitingAck:
		c.settle(f, failed, now)
		f.state = settled
		if !failed {
			f.state = awaitingComp
			c.appendPubrel(id)
		}
	case kind == packetPubcomp && f.state == awaitingComp:
		f.state = settled
	default:
		c.stats.Unexpected++
	}
	c.window.advance()
	return nil
}

// settle counts the broker's answer to a message.
func (c *Client) settle(f *flight, failed bool, now time.Time) {
	if failed {
		c.stats.Refused++
		return
	}
	c.stats.Acked++
	if c.cfg.OnAck != nil {
		c.cfg.OnAck(f.tag, now.Sub(f.sent))
	}
}
