package mqttin

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
	"pgregory.net/rapid"
)

// modelled is a client whose session lasts, and what that session must hold.
type modelled struct {
	id      string
	conn    *client
	known   bool              // the gateway has a session of it
	filters map[string]bool   // that it has subscribed to
	pending []string          // payloads that it has not acknowledged, in order
	ids     map[string]uint16 // of those that came on this connection
	qos     map[string]byte
}

// broker, as a map would be one: sessions of two clients, and what is retained.
type model struct {
	w        *world
	rt       *rapid.T
	clients  []*modelled
	retained map[string]string
	writer   *client
	sent     int
}

// TestSessionsAreWhatAMapWouldBe does anything at random, and cuts the power in
// between. What a session holds afterwards is what it held before.
func TestSessionsAreWhatAMapWouldBe(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{w: newWorld(t, Config{}), rt: rt, retained: map[string]string{}}
		for i := range 2 {
			m.clients = append(m.clients, &modelled{id: fmt.Sprint("client", i), filters: map[string]bool{}, qos: map[string]byte{}})
		}
		defer func() { m.hangUp(); m.w.stop(); m.w.stop = func() {} }()
		actions := []func(*rapid.T){
			m.publish, m.publish, m.publish, m.publish, m.acknowledge, m.acknowledge, m.acknowledge,
			m.subscribe, m.subscribe, m.unsubscribe, m.disconnect, m.retain, m.crash, m.crash, m.restart,
		}
		for range 40 {
			rapid.SampledFrom(actions).Draw(rt, "action")(rt)
		}
	})
}

// someone returns a client that is connected.
func (m *model) someone(rt *rapid.T) *modelled {
	c := rapid.SampledFrom(m.clients).Draw(rt, "client")
	if c.conn == nil {
		m.connect(rt, c)
	}
	return c
}

func (m *model) crash(*rapid.T) {
	m.w.crash()
	m.hangUp()
}

func (m *model) restart(*rapid.T) {
	m.w.restart()
	m.hangUp()
}

// hangUp is the end of all connections.
func (m *model) hangUp() {
	for _, c := range m.clients {
		if c.conn != nil {
			c.conn.Close()
			c.conn = nil
		}
	}
	if m.writer != nil {
		m.writer.Close()
		m.writer = nil
	}
	m.w.gone()
}

// connect resumes a session, or sometimes ends it first.
func (m *model) connect(rt *rapid.T, c *modelled) {
	if rapid.IntRange(0, 9).Draw(rt, "clean") == 0 {
		connect(m.w.t, m.w.src, 4, c.id).Close()
		c.known, c.filters, c.pending = false, map[string]bool{}, nil
	}
	c.conn, c.ids = dial(m.w.t, m.w.src), map[string]uint16{}
	ack := c.conn.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: c.id}})
	if ack.SessionPresent != c.known {
		rt.Fatalf("%s: session present %v, want %v", c.id, ack.SessionPresent, c.known)
	}
	c.known = true
	m.check(rt, c, c.pending)
}

// check reads what has come by now, which must be these messages.
func (m *model) check(rt *rapid.T, c *modelled, want []string) {
	c.conn.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	var got []string
	for {
		pk := c.conn.read()
		if pk.FixedHeader.Type == packets.Pingresp {
			break
		}
		got = append(got, string(pk.Payload))
		c.ids[string(pk.Payload)] = pk.PacketID
		if pk.FixedHeader.Qos != c.qos[string(pk.Payload)] {
			rt.Fatalf("%s got %q with QoS %d", c.id, pk.Payload, pk.FixedHeader.Qos)
		}
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("%s got %q, want %q", c.id, got, want)
	}
}

func (m *model) disconnect(rt *rapid.T) {
	c := m.someone(rt)
	bye(c.conn)
	c.conn = nil
}

// topics are three, and the filters match one or all of them.
func (m *model) filter(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"t/0", "t/1", "t/2", "t/#"}).Draw(rt, "filter")
}

func (m *model) subscribe(rt *rapid.T) {
	c, filter := m.someone(rt), m.filter(rt)
	c.conn.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1,
		Filters: packets.Subscriptions{{Filter: filter, Qos: 2}}})
	c.conn.expect(packets.Suback, 1)
	c.filters[filter] = true
}

func (m *model) unsubscribe(rt *rapid.T) {
	c, filter := m.someone(rt), m.filter(rt)
	c.conn.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 1,
		Filters: packets.Subscriptions{{Filter: filter}}})
	c.conn.expect(packets.Unsuback, 1)
	delete(c.filters, filter)
}

func (m *model) publish(rt *rapid.T) {
	topic, qos := rapid.SampledFrom([]string{"t/0", "t/1", "t/2"}).Draw(rt, "topic"), byte(rapid.IntRange(1, 2).Draw(rt, "qos"))
	m.sent++
	payload := fmt.Sprint("message ", m.sent)
	m.send(publishPacket(topic, payload, qos, 1))
	for _, c := range m.clients {
		if !c.filters[topic] && !c.filters["t/#"] {
			continue
		}
		c.pending, c.qos[payload] = append(c.pending, payload), qos
		if c.conn != nil {
			m.check(rt, c, []string{payload})
		}
	}
}

// send publishes and goes through the exchange.
func (m *model) send(pk packets.Packet) {
	if m.writer == nil {
		m.writer = connect(m.w.t, m.w.src, 4, "writer")
	}
	m.writer.send(pk)
	if pk.FixedHeader.Qos == 1 {
		m.writer.expect(packets.Puback, 1)
		return
	}
	m.writer.expect(packets.Pubrec, 1)
	m.writer.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: 1})
	m.writer.expect(packets.Pubcomp, 1)
}

// acknowledge acknowledges one message, in any order.
func (m *model) acknowledge(rt *rapid.T) {
	c := m.someone(rt)
	if len(c.pending) == 0 {
		return
	}
	i := rapid.IntRange(0, len(c.pending)-1).Draw(rt, "message")
	payload := c.pending[i]
	id := c.ids[payload]
	if c.qos[payload] == 1 {
		c.conn.puback(id)
	} else {
		c.conn.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrec}, PacketID: id})
		c.conn.expect(packets.Pubrel, id)
		c.conn.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubcomp}, PacketID: id})
	}
	c.pending = slices.Delete(c.pending, i, i+1)
	m.check(rt, c, nil)
}

// retain changes what is retained, and looks at all of it.
func (m *model) retain(rt *rapid.T) {
	topic, payload := fmt.Sprint("r/", rapid.IntRange(0, 3).Draw(rt, "topic")), rapid.SampledFrom([]string{"", "on", "off"}).Draw(rt, "payload")
	pk := publishPacket(topic, payload, 1, 1)
	pk.FixedHeader.Retain = true
	m.send(pk)
	if m.retained[topic] = payload; payload == "" {
		delete(m.retained, topic)
	}
	reader := connect(m.w.t, m.w.src, 4, "reader")
	defer reader.Close()
	reader.subscribe(1, 0, "r/#")
	reader.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	got := map[string]string{}
	for pk := reader.read(); pk.FixedHeader.Type != packets.Pingresp; pk = reader.read() {
		got[pk.TopicName] = string(pk.Payload)
	}
	if !maps.Equal(got, m.retained) {
		rt.Fatalf("retained %v, want %v", got, m.retained)
	}
}
