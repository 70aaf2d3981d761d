package amqpout

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/internal/base/leaktest"
)

// The peer is a server of AMQP 0-9-1 made of raw frames: it can be made to say
// what a real one says only on bad days. Numbers are those of the specification,
// "class.method".

// published is a message as it came in.
type published struct {
	tag           uint64
	exchange, key string
	id            string
	contentType   string
	deliveryMode  byte
	mandatory     bool
	headers       string // the table, as it is on the wire
	header, body  []byte // the header frame's payload, to give it back
}

// peer accepts connections until the test ends; answer is called, in a goroutine
// of its own, for every message that is there whole.
type peer struct {
	t       *testing.T
	answer  func(c *peerConn, p published)
	instead map[method]func(c *peerConn) // what is answered to a method, instead of the usual
	logins  string                       // the mechanisms of SASL
	address string
	tasks   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	dials int
}

func newPeer(t *testing.T, answer func(*peerConn, published)) *peer {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, before) }) // runs last: sinks and peer are closed
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, answer: answer, logins: "PLAIN EXTERNAL", address: l.Addr().String(), conns: map[net.Conn]bool{}}
	p.tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns[c] = true
			p.dials++
			p.mu.Unlock()
			p.tasks.Go(func() { p.serve(&peerConn{Conn: c, in: bufio.NewReader(c)}) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.tasks.Wait()
	})
	return p
}

func (p *peer) dialled() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dials
}

// peerConn is one connection of the peer.
type peerConn struct {
	net.Conn
	in *bufio.Reader
	mu sync.Mutex // of writes
}

func (p *peer) serve(c *peerConn) {
	defer c.Close()
	if _, err := io.ReadFull(c.in, make([]byte, 8)); err != nil { // "AMQP", 0, 0, 9, 1
		return
	}
	properties := table(entry{"product", "peer"}, entry{"version", "1"}, entry{"capabilities", table(entry{"authentication_failure_close", true})})
	c.say(0, 10, 10, []byte{0, 9}, properties, long(p.logins), long("en_US"))
	var now published
	var want uint64
	for tag := uint64(1); ; {
		kind, channel, payload, err := c.frame()
		if err != nil {
			return
		}
		switch kind {
		case 1:
			m := method{binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:])}
			if m != (method{60, 40}) {
				if !p.method(c, channel, m) {
					return
				}
				continue
			}
			r := reader{payload[6:]}
			now = published{tag: tag, exchange: r.short(), key: r.short(), mandatory: r.octet()&1 == 1}
			tag++
			continue
		case 2:
			want = binary.BigEndian.Uint64(payload[4:])
			now.header = payload
			now.readProperties(payload[12:])
		case 3:
			now.body = append(now.body, payload...)
		}
		if kind == 2 && want == 0 || kind == 3 && uint64(len(now.body)) == want {
			whole := now
			p.tasks.Go(func() { p.answer(c, whole) })
		}
	}
}

// method is a method's class and its number in it.
type method [2]uint16

// method answers what is not a message; false ends the connection.
func (p *peer) method(c *peerConn, channel uint16, m method) bool {
	if answer := p.instead[m]; answer != nil {
		answer(c)
		return true
	}
	switch m {
	case method{10, 11}: // start-ok: tune
		c.say(0, 10, 30, []byte{0, 9, 0, 1, 0, 0, 0, 60})
	case method{10, 40}: // open
		c.say(0, 10, 41, []byte{0})
	case method{20, 10}: // channel.open
		c.say(channel, 20, 11, long(""))
	case method{85, 10}: // confirm.select
		c.say(channel, 85, 11)
	case method{10, 50}: // close
		c.say(0, 10, 51)
		return false
	}
	return true
}

func (c *peerConn) ack(p published)  { c.say(1, 60, 80, tag(p.tag), []byte{0}) }
func (c *peerConn) nack(p published) { c.say(1, 60, 120, tag(p.tag), []byte{0}) }

// giveBack is basic.return with the message.
func (c *peerConn) giveBack(p published) {
	args := join(two(60), two(50), two(noRoute), short("NO_ROUTE"), short(p.exchange), short(p.key))
	c.write(frame(1, 1, args), frame(2, 1, p.header), frame(3, 1, p.body))
}

func (c *peerConn) closeChannel(code uint16, text string) {
	c.say(1, 20, 40, two(code), short(text), two(60), two(40))
}

func (c *peerConn) closeConnection(code uint16, text string) {
	c.say(0, 10, 50, two(code), short(text), two(0), two(0))
}

func (c *peerConn) block(reason string) { c.say(0, 10, 60, short(reason)) }
func (c *peerConn) unblock()            { c.say(0, 10, 61) }

func (c *peerConn) say(channel, class, method uint16, args ...[]byte) {
	c.write(frame(1, channel, join(two(class), two(method), join(args...))))
}

func (c *peerConn) write(frames ...[]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Write(join(frames...))
}

func (c *peerConn) frame() (kind byte, channel uint16, payload []byte, err error) {
	head := make([]byte, 7)
	if _, err := io.ReadFull(c.in, head); err != nil {
		return 0, 0, nil, err
	}
	payload = make([]byte, binary.BigEndian.Uint32(head[3:])+1)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return 0, 0, nil, err
	}
	return head[0], binary.BigEndian.Uint16(head[1:]), payload[:len(payload)-1], nil
}

// readProperties reads what a Sink sets.
func (p *published) readProperties(b []byte) {
	flags, r := binary.BigEndian.Uint16(b), reader{b[2:]}
	if flags&(1<<15) != 0 {
		p.contentType = r.short()
	}
	if flags&(1<<13) != 0 {
		n := 4 + binary.BigEndian.Uint32(r.b)
		p.headers = string(r.b[:n])
		r.b = r.b[n:]
	}
	if flags&(1<<12) != 0 {
		p.deliveryMode = r.octet()
	}
	if flags&(1<<7) != 0 {
		p.id = r.short()
	}
}

type reader struct{ b []byte }

func (r *reader) octet() byte {
	o := r.b[0]
	r.b = r.b[1:]
	return o
}

func (r *reader) short() string {
	n := int(r.octet())
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

type entry struct {
	name  string
	value any
}

func table(entries ...entry) []byte {
	var b []byte
	for _, e := range entries {
		b = append(b, short(e.name)...)
		switch v := e.value.(type) {
		case string:
			b = append(append(b, 'S'), long(v)...)
		case bool:
			b = append(b, 't', 1)
		case []byte:
			b = append(append(b, 'F'), v...)
		}
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func frame(kind byte, channel uint16, payload []byte) []byte {
	b := append([]byte{kind}, two(channel)...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), 0xce)
}

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func two(n uint16) []byte   { return binary.BigEndian.AppendUint16(nil, n) }
func tag(n uint64) []byte   { return binary.BigEndian.AppendUint64(nil, n) }
func short(s string) []byte { return append([]byte{byte(len(s))}, s...) }
func long(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}
