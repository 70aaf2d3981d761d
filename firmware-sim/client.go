package firmwaresim

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// ErrRefused means that the broker does not want this client: trying again with
// the same name and password would be refused again.
var ErrRefused = errors.New("connection refused by the broker")

// writeBuffer is how many bytes gather before Publish writes them by itself.
const writeBuffer = 64 << 10

// ClientConfig says how a Client connects. The zero value of a field is its
// default.
type ClientConfig struct {
	// Addr is host:port of the broker.
	Addr string
	// ClientID, Username and Password go into CONNECT.
	ClientID, Username, Password string
	// Version is MQTT3 (the default) or MQTT5.
	Version byte
	// KeepAlive is how long the connection may be silent, 30 s by default. The
	// broker is told whole seconds, rounded down.
	KeepAlive time.Duration
	// CleanSession asks for no session. What is not acknowledged when a
	// connection breaks is published again in any case: with DUP, or, in a
	// clean session, as a new message.
	CleanSession bool
	// Window is how many messages may be unacknowledged, 1 to 65535; 20 by
	// default. A version 5 broker's Receive Maximum lowers it.
	Window int
	// MaxPause bounds the pause between two connections, 2 s by default.
	MaxPause time.Duration
	// OnAck is called for each PUBACK or PUBREC that says success, with the
	// message's tag and how long it took. It must neither block nor call the
	// client.
	OnAck func(tag uint64, took time.Duration)
	// OnRepublish is called before an unacknowledged message is sent once
	// more. The same restrictions apply.
	OnRepublish func(tag uint64)
}

// Message is one publish.
type Message struct {
	Topic   string
	Payload []byte // only valid during Publish
	QoS     byte
	// Tag is the caller's name for the message, handed back by OnAck.
	Tag uint64
}

// ClientStats counts since the start.
type ClientStats struct {
	// Published counts messages, Republished further sends of the same ones.
	Published, Republished uint64
	// Acked counts PUBACK and PUBREC with success, Refused those without, and
	// Unexpected those for no message in flight.
	Acked, Refused, Unexpected uint64
	// Connects counts sessions that the broker accepted.
	Connects uint64
	// BytesOut and BytesIn count MQTT bytes, without TCP and IP.
	BytesOut, BytesIn uint64
	// Connected says whether there is a session now.
	Connected bool
}

// Client is an MQTT device: it publishes, counts acknowledgements, and
// publishes again after a broken connection what was not acknowledged. One
// goroutine at a time may call Publish, Flush and Drain.
//
// Publish writes nothing: frames gather in a buffer and leave in one system
// call when the window or the buffer is full, or with Flush.
type Client struct {
	cfg  ClientConfig
	room chan struct{} // holds a token after anything that Publish may wait for

	mu      sync.Mutex
	conn    net.Conn // nil unless the broker has accepted the session
	limit   int      // messages in flight that the broker allows
	window  window
	out     []byte // due, in order
	spare   []byte // the other of the two write buffers
	writing bool   // somebody is in conn.Write; they take along what becomes due
	stats   ClientStats
}

// NewClient returns a client; Run connects it.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Version == 0 {
		cfg.Version = MQTT3
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = 30 * time.Second
	}
	if cfg.Window == 0 {
		cfg.Window = 20
	}
	if cfg.MaxPause == 0 {
		cfg.MaxPause = maxBackoff
	}
	cfg.Window = min(cfg.Window, maxWindow)
	return &Client{cfg: cfg, room: make(chan struct{}, 1), window: newWindow(cfg.Window)}
}

// Publish takes m into the window; it waits while that is full or while there
// is no connection. An error means that m was not taken.
func (c *Client) Publish(ctx context.Context, m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.mayPublish(m.QoS) {
		c.flush()
		if c.mayPublish(m.QoS) {
			break
		}
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
	c.stats.Published++
	if m.QoS == 0 {
		c.out = appendPublish(c.out, c.cfg.Version, m, 0)
		return nil
	}
	f, id := c.window.push()
	f.frame = appendPublish(f.frame[:0], c.cfg.Version, m, id)
	f.tag, f.qos, f.sent = m.Tag, m.QoS, time.Now()
	c.out = append(c.out, f.frame...)
	return nil
}

func (c *Client) mayPublish(qos byte) bool {
	return c.conn != nil && len(c.out) < writeBuffer && (qos == 0 || c.window.inFlight() < c.limit)
}

// wait releases the lock until something that Publish or Drain waits for may
// have happened.
func (c *Client) wait(ctx context.Context) error {
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-c.room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Flush sends what Publish has gathered.
func (c *Client) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
}

// Drain returns when nothing is in flight.
func (c *Client) Drain(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.window.inFlight() > 0 || len(c.out) > 0 {
		c.flush()
		if c.window.inFlight() == 0 && len(c.out) == 0 {
			break
		}
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stats returns the counts so far.
func (c *Client) Stats() ClientStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Connected = c.conn != nil
	return stats
}

// flush writes everything due, without the lock while it is in the system
// call. A second caller leaves its bytes to the first.
func (c *Client) flush() {
	if c.writing {
		return
	}
	c.writing = true
	for c.conn != nil && len(c.out) > 0 {
		conn, due := c.conn, c.out
		c.out = c.spare[:0]
		c.mu.Unlock()
		n, err := conn.Write(due)
		c.mu.Lock()
		c.spare = due
		c.stats.BytesOut += uint64(n)
		if err != nil {
			conn.Close() // the reader of this connection notices and reconnects
		}
	}
	c.writing = false
}
