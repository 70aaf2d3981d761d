package mqttin

import (
	"errors"
	"net"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// conn is one connection, as a net.Conn that is handed to the broker. Reads
// give the broker one whole and valid control packet at a time, and only those
// that are its business; Writes queue in the gate.
//
// The broker reads, and so calls every method that is not the gate's, on one
// goroutine.
type conn struct {
	net.Conn
	broker *broker
	gate   *gate
	topics topics
	probe  bool      // the gateway's own, to see whether it works; see Probe
	stats  *counters // the broker's, but for a probe

	version     byte          // of MQTT; zero before CONNECT
	user        string        // who the peer is, once that is known; empty for anonymous
	rights      *rights       // what the user may do here
	refusal     byte          // the reason for which CONNACK turns the peer away
	session     *session      // from the moment it is claimed
	established bool          // the broker has sent CONNACK
	claimed     bool          // it holds broker.claim
	silence     time.Duration // after which the peer counts as gone; zero for never
	armed       time.Time     // when the read deadline was set last
	whole       bool          // a whole packet came in since then
	packets     int           // that came in and were not counted yet
	read        int           // bytes, since the pace was looked at last
	pace        pace          // at which they may

	in    *input  // borrowed while there is something to read
	busy  bool    // the last read brought more than a small input holds
	first [1]byte // an idle connection waits with this instead
	carry []byte  // what is left over while no input is borrowed
	turn  []byte  // the packet that the broker is reading
	batch *batch  // borrowed from the first publish in it until it is flushed

	ended       chan struct{}          // closed when the broker has done with it
	client      *mqtt.Client           // from the moment the session begins
	subscribing []packets.Subscription // what the SUBSCRIBE at hand asked for
}

func newConn(b *broker, nc net.Conn, probe bool) *conn {
	c := &conn{Conn: nc, broker: b, gate: newGate(b.ctx, nc, b.cfg), ended: make(chan struct{}), probe: probe, stats: b.stats}
	if probe {
		c.stats = new(counters) // which nobody reads
	} else {
		c.pace = pace{rate: float64(b.cfg.MaxRate), byteRate: float64(b.cfg.MaxByteRate), began: time.Now()}
	}
	c.gate.traffic = &c.stats.traffic
	return c
}

// Read implements net.Conn for the broker.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.turn) == 0 {
		if err := c.nextPacket(); err != nil {
			c.refuse(err)
			return 0, err
		}
	}
	n := copy(p, c.turn)
	c.turn = c.turn[n:]
	return n, nil
}

// Write implements net.Conn for the broker.
func (c *conn) Write(p []byte) (int, error) { return c.gate.Write(p) }

// Close implements net.Conn for the broker.
func (c *conn) Close() error {
	c.gate.Close()
	return nil
}

// The broker sets its deadlines for every packet; arm does it for every read.

// SetDeadline implements net.Conn and does nothing.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn and does nothing.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn and does nothing.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// establish is called when the broker has accepted the peer's CONNECT.
func (c *conn) establish() {
	c.established = true
	c.armed = time.Time{} // the keep-alive begins
	c.gate.established(c.version)
}

// refuse ends a connection whose peer broke the rules.
func (c *conn) refuse(err error) {
	var v *violation
	if !errors.As(err, &v) {
		c.noteHandshake(err)
		return // the connection itself broke: the broker closes it
	}
	if v == errDenied {
		c.countDenied()
	} else if v != errNotStored {
		c.stats.malformed.Add(1)
		c.broker.log.Debug("mqtt peer broke the protocol", "remote", c.RemoteAddr().String(), "err", err)
	}
	c.gate.disconnect(v.code)
}

// lane says whose business a packet is.
type lane uint8

const (
	incomplete   lane = iota
	expressLane       // ours: it is in the batch
	exchangeLane      // ours, one by one
	brokerLane        // the server's
	deniedLane        // nobody's: the rules do not allow it
)

// nextPacket puts the next packet that is the broker's business into turn.
// Publishes that are not are accepted on the way, and always before a later
// packet is handed out, so that everything takes effect in the order sent.
func (c *conn) nextPacket() error {
	for {
		f, lane, err := c.look()
		if lane == expressLane && !c.batch.isFull() {
			c.advance(f)
			continue
		}
		if failed := c.flush(); failed != nil {
			return failed
		}
		if err == nil && lane == incomplete {
			err = c.fill(f.size)
		}
		if err != nil {
			return err
		}
		switch lane {
		case expressLane:
			c.advance(f)
		case exchangeLane:
			c.advance(f)
			if err := c.exchange(f); err != nil {
				return err
			}
			c.gate.waitBelow(c.broker.cfg.MaxUnacked)
		case deniedLane:
			c.advance(f)
			c.deny(f)
		case brokerLane:
			c.turn = c.advance(f)
			return nil
		}
	}
}

// limit is how large the next packet may be.
func (c *conn) limit() int {
	if c.version == 0 {
		return c.broker.cfg.MaxConnect
	}
	return c.broker.cfg.MaxPacket
}

// advance steps over a packet and returns its bytes.
func (c *conn) advance(f frame) []byte {
	packet := c.in.bytes[c.in.start : c.in.start+f.size]
	c.in.start += f.size
	c.whole = true
	c.packets++
	return packet
}

// look checks the next packet and says whose business it is. The frame of an
// incomplete packet has nothing but its size.
func (c *conn) look() (frame, lane, error) {
	if c.in == nil {
		return frame{}, incomplete, nil
	}
	f, ok, err := nextFrame(c.in.rest(), c.limit())
	switch {
	case err != nil || !ok:
		return f, incomplete, err
	case c.version == 0:
		return f, brokerLane, c.connect(f)
	case isAck(f):
		return f, exchangeLane, checkPacket(f, c.version)
	case f.packetType() != typePublish:
		return f, brokerLane, checkPacket(f, c.version)
	}
	p, err := parsePublish(f, c.version)
	if err != nil {
		return f, brokerLane, err
	}
	if c.probe && c.established {
		c.addProbe(p)
		return f, expressLane, nil
	}
	t, err := c.topics.find(c.broker.cfg.Routes, c.rights, p.topic)
	if err != nil {
		return f, brokerLane, err
	}
	switch {
	case t.denied && f.qos() > 0 && c.version < 5:
		return f, brokerLane, errDenied
	case t.denied:
		return f, deniedLane, nil
	case c.established && c.express(f, p, t):
		return f, expressLane, nil
	}
	properties := cursor{rest: p.properties}
	return f, exchangeLane, properties.checkProperties(inPublish)
}

// isAck says whether a packet is about a message that was published before.
func isAck(f frame) bool {
	return f.packetType() >= typePuback && f.packetType() <= typePubcomp
}

func (c *conn) connect(f frame) error {
	h, err := checkConnect(f)
	if err == nil && h.willTopic != "" {
		if _, ok := c.broker.cfg.Routes.Resolve(h.willTopic); !ok {
			err = errReserved
		}
	}
	if err != nil {
		c.gate.acknowledge(nil, refusedConnack(h.version, err), 0)
		return err
	}
	c.version = h.version
	c.stats.traffic.connects.Add(1)
	// One and a half times the keep-alive [MQTT-3.1.2-22].
	c.silence = time.Duration(h.keepalive) * time.Second * 3 / 2
	return nil
}

func (c *conn) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}
