package mqttout

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// puppet is a server that does as it is told: it can give answers that no real
// one can be made to give. It speaks through the library's own packets, which
// check what the sink writes.
type puppet struct {
	t        *testing.T
	listener net.Listener
	tasks    sync.WaitGroup
	// connect answers a CONNECT; nil takes everybody. No packet hangs up.
	connect func(*puppetConn, packets.Packet) *packets.Packet
	// taken answers everything else, with nothing, one packet or more.
	taken func(c *puppetConn, pk packets.Packet)

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	stopped bool
	logins  []packets.Packet
}

// puppetConn is one connection of a client.
type puppetConn struct {
	net.Conn
	level   byte
	aliases map[uint16]string
	short   bool       // the last publication had no topic
	gone    bool       // for the test's own use
	mu      sync.Mutex // for writes
}

func newPuppet(t *testing.T) *puppet {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &puppet{t: t, listener: l, conns: map[net.Conn]struct{}{}, taken: acceptAll}
}

// start serves until the test ends, and returns the address.
func (p *puppet) start() string {
	p.tasks.Go(func() {
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns[conn] = struct{}{}
			if p.stopped {
				conn.Close()
			}
			p.mu.Unlock()
			p.tasks.Go(func() { p.serve(&puppetConn{Conn: conn, aliases: map[uint16]string{}}) })
		}
	})
	p.t.Cleanup(func() {
		p.mu.Lock()
		p.stopped = true
		p.listener.Close()
		for c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.tasks.Wait()
	})
	return p.listener.Addr().String()
}

func (p *puppet) serve(c *puppetConn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		pk, err := readAsServer(r, c.level)
		if err != nil {
			return
		}
		switch pk.FixedHeader.Type {
		case packets.Connect:
			if code := pk.ConnectValidate(); code != packets.CodeSuccess {
				p.t.Errorf("CONNECT: %v", code)
			}
			c.level = pk.ProtocolVersion
			p.mu.Lock()
			p.logins = append(p.logins, pk)
			p.mu.Unlock()
			answer := &packets.Packet{}
			if p.connect != nil {
				answer = p.connect(c, pk)
			}
			if answer == nil {
				return
			}
			answer.FixedHeader.Type = packets.Connack
			c.send(*answer)
		case packets.Disconnect:
			return
		case packets.Pingreq:
			c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingresp}})
		case packets.Publish:
			c.resolve(p.t, &pk)
			p.taken(c, pk)
		default:
			p.taken(c, pk)
		}
	}
}

// resolve fills in the topic that an alias stands for.
func (c *puppetConn) resolve(t *testing.T, pk *packets.Packet) {
	if code := pk.PublishValidate(100); code != packets.CodeSuccess {
		t.Errorf("PUBLISH: %v", code)
	}
	if n := pk.Properties.TopicAlias; n > 0 {
		if c.short = pk.TopicName == ""; !c.short {
			c.aliases[n] = pk.TopicName
		}
		if pk.TopicName = c.aliases[n]; pk.TopicName == "" {
			t.Errorf("alias %d stands for nothing", n)
		}
	}
}

func readAsServer(r *bufio.Reader, level byte) (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: level}
	first, err := r.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	n, _, err := packets.DecodeLength(r)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = n
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return pk, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Pubrel:
		err = pk.PubrelDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	}
	return pk, err
}

func (c *puppetConn) send(pk packets.Packet) {
	pk.ProtocolVersion = c.level
	var buf bytes.Buffer
	switch pk.FixedHeader.Type {
	case packets.Connack:
		pk.ConnackEncode(&buf)
	case packets.Puback, packets.Pubrec, packets.Pubcomp:
		pk.PubackEncode(&buf)
	case packets.Pingresp:
		pk.PingrespEncode(&buf)
	case packets.Disconnect:
		pk.DisconnectEncode(&buf)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Write(buf.Bytes())
}

// answer sends an acknowledgement.
func (c *puppetConn) answer(kind byte, id uint16, code byte) {
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id, ReasonCode: code})
}

// acceptAll takes everything.
func acceptAll(c *puppetConn, pk packets.Packet) {
	switch {
	case pk.FixedHeader.Type == packets.Pubrel:
		c.answer(packets.Pubcomp, pk.PacketID, 0)
	case pk.FixedHeader.Qos == 1:
		c.answer(packets.Puback, pk.PacketID, 0)
	case pk.FixedHeader.Qos == 2:
		c.answer(packets.Pubrec, pk.PacketID, 0)
	}
}
