package amqp1out

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/internal/base/leaktest"
)

// The peer is a server of AMQP 1.0 made of raw frames: it can be made to say what
// a real one says only on bad days. Codes are those of the specification's types.

// arrived is a message as it came in.
type arrived struct {
	channel      uint16
	delivery     uint32
	id           string
	contentType  string
	subject      string
	durable      bool
	applications int
	key          string // the application-property
	body         []byte
}

type peerServer struct {
	answer  func(c *peerConn, a arrived) // for every message that is there whole, in a goroutine of its own
	product string
	version string
	refuse  map[string]string // by "to NAME" and "from NAME": the condition that an attach is refused with
	mute    map[string]bool   // those that are not answered
	gone    atomic.Bool       // there is nothing to receive from any more
	limit   uint64            // max-message-size
	credit  uint32
	address string
	tasks   sync.WaitGroup

	detached chan struct{} // receives when a client has detached
	endings  chan struct{} // receives when a client has ended a session
	ignored  chan struct{} // receives when an attach is not answered

	mu    sync.Mutex
	conns map[net.Conn]bool
	dials int
}

func newPeer(t *testing.T, answer func(*peerConn, arrived)) *peerServer {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, before) }) // runs last: sinks and peer are closed
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := makePeer(l.Addr().String(), answer)
	p.tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.attend(c)
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.hangUp()
		p.tasks.Wait()
	})
	return p
}

// makePeer returns a peer that listens nowhere: pipe leads to it.
func makePeer(address string, answer func(*peerConn, arrived)) *peerServer {
	return &peerServer{answer: answer, product: "peer", version: "1", credit: 1 << 20, address: address, conns: map[net.Conn]bool{}, detached: make(chan struct{}, 100), endings: make(chan struct{}, 100), ignored: make(chan struct{}, 100)}
}

// pipe is a way to the peer on which time may be virtual.
func (p *peerServer) pipe(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.attend(there)
	return here, nil
}

func (p *peerServer) attend(c net.Conn) {
	p.mu.Lock()
	p.conns[c] = true
	p.dials++
	p.mu.Unlock()
	p.tasks.Go(func() {
		defer c.Close()
		p.serve(&peerConn{Conn: c, in: bufio.NewReader(c), ended: map[uint16]bool{}})
	})
}

// hangUp closes all connections.
func (p *peerServer) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *peerServer) dialled() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dials
}

type peerConn struct {
	net.Conn
	in    *bufio.Reader
	mu    sync.Mutex // of writes, and of the next
	ended map[uint16]bool
}

func (p *peerServer) serve(c *peerConn) {
	for {
		hello := make([]byte, 8)
		if _, err := io.ReadFull(c.in, hello); err != nil {
			return
		}
		c.write(hello)
		if hello[4] == 0 {
			break
		}
		c.say(1, 0, 0x40, symbol("ANONYMOUS"))
		if _, _, _, err := c.frame(); err != nil {
			return
		}
		c.say(1, 0, 0x44, []byte{0x50, 0})
	}
	bodies := make(map[uint16][]byte)
	deliveries := make(map[uint16]uint32)
	for {
		channel, code, b, err := c.frame()
		if err != nil {
			return
		}
		fields, payload := value(b)
		list := fields.(described).value.([]any)
		if code != 0x14 {
			if p.perform(c, channel, code, list) {
				continue
			}
			return
		}
		if id, first := at(list, 1).(uint32); first {
			deliveries[channel] = id
		}
		bodies[channel] = append(bodies[channel], payload...)
		if more, _ := at(list, 5).(bool); !more {
			a := arrived{channel: channel, delivery: deliveries[channel]}
			a.parse(bodies[channel])
			bodies[channel] = nil
			p.tasks.Go(func() { p.answer(c, a) })
		}
	}
}

// perform answers what is not a message; false ends the connection.
func (p *peerServer) perform(c *peerConn, channel uint16, code byte, list []any) bool {
	switch code {
	case 0x10: // open
		about := aMap(symbol("product"), text(p.product), symbol("version"), text(p.version))
		c.say(0, 0, 0x10, text("peer"), null, aUint(65536), null, null, null, null, null, null, about)
	case 0x11: // begin
		c.say(0, channel, 0x11, []byte{0x60, byte(channel >> 8), byte(channel)}, aUint(0), aUint(1<<31-1), aUint(1<<31-1))
	case 0x12: // attach
		target, _ := at(list, 6).(described).value.([]any)
		name, _ := at(target, 0).(string)
		handle, isReceiver := aUint(list[1].(uint32)), list[2].(bool)
		if isReceiver {
			source := at(list, 5).(described).value.([]any)
			name, _ = at(source, 0).(string)
		}
		way := map[bool]string{false: "to ", true: "from "}[isReceiver]
		if p.mute[way+name] {
			p.ignored <- struct{}{}
			return true
		}
		condition := p.refuse[way+name]
		if isReceiver && p.gone.Load() {
			condition = "amqp:not-found"
		}
		if condition != "" {
			c.endSession(arrived{channel: channel}, condition, "no "+name) // as RabbitMQ does
			return true
		}
		c.say(0, channel, 0x12, text(list[0].(string)), handle, aBool(!isReceiver), null, null, node(0x28, name), node(0x29, name), null, null, aUint(0), aUlong(p.limit))
		if !isReceiver {
			c.say(0, channel, 0x13, aUint(0), aUint(1<<31-1), aUint(0), aUint(1<<31-1), handle, aUint(0), aUint(p.credit))
		}
	case 0x16: // detach
		p.detached <- struct{}{}
	case 0x17: // end
		select {
		case p.endings <- struct{}{}:
		default:
		}
		c.mu.Lock()
		answered := c.ended[channel]
		delete(c.ended, channel)
		c.mu.Unlock()
		if !answered {
			c.say(0, channel, 0x17)
		}
	case 0x18: // close
		c.say(0, 0, 0x18)
		return false
	}
	return true
}

func (c *peerConn) settle(a arrived, outcome byte, fields ...[]byte) {
	c.say(0, a.channel, 0x15, aBool(true), aUint(a.delivery), aUint(a.delivery), aBool(true), performative(outcome, fields...))
}

func (c *peerConn) accept(a arrived)                   { c.settle(a, 0x24) }
func (c *peerConn) release(a arrived)                  { c.settle(a, 0x26) }
func (c *peerConn) reject(a arrived, condition string) { c.settle(a, 0x25, failed(condition, "")) }

func (c *peerConn) detach(a arrived, condition string) {
	c.say(0, a.channel, 0x16, aUint(0), aBool(true), failed(condition, ""))
}
func (c *peerConn) endSession(a arrived, condition, description string) {
	c.mu.Lock()
	c.ended[a.channel] = true
	c.mu.Unlock()
	c.say(0, a.channel, 0x17, failed(condition, description))
}
func (c *peerConn) closeConnection(condition string) { c.say(0, 0, 0x18, failed(condition, "")) }

func (c *peerConn) say(kind byte, channel uint16, code byte, fields ...[]byte) {
	body := performative(code, fields...)
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	c.write(append(append(b, 2, kind, byte(channel>>8), byte(channel)), body...))
}

func (c *peerConn) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Write(b)
}

// frame returns the next frame that is not empty.
func (c *peerConn) frame() (channel uint16, code byte, body []byte, err error) {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(c.in, head); err != nil {
			return 0, 0, nil, err
		}
		body = make([]byte, binary.BigEndian.Uint32(head)-8)
		if _, err := io.ReadFull(c.in, body); err != nil {
			return 0, 0, nil, err
		}
		if len(body) > 0 {
			return binary.BigEndian.Uint16(head[6:]), body[2], body, nil
		}
	}
}

// parse reads the sections of a message.
func (a *arrived) parse(b []byte) {
	for len(b) > 0 {
		var section any
		section, b = value(b)
		d := section.(described)
		switch d.code {
		case 0x70:
			a.durable, _ = at(d.value.([]any), 0).(bool)
		case 0x73:
			list := d.value.([]any)
			a.id, _ = at(list, 0).(string)
			a.subject, _ = at(list, 3).(string)
			a.contentType, _ = at(list, 6).(string)
		case 0x74:
			list := d.value.([]any)
			a.applications = len(list) / 2
			for i := 0; i+1 < len(list); i += 2 {
				if list[i] == KeyProperty {
					a.key, _ = list[i+1].(string)
				}
			}
		case 0x75:
			a.body = append(a.body, d.value.(string)...)
		}
	}
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}
