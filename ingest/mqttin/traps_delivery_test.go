package mqttin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// The identifiers of a client's own requests and of messages to it are two
// things, but one map to the server: what a client asked for under the
// identifier of a message that it had not acknowledged was refused, or made the
// server forget the message.
func TestTrapRequestsUnderIdentifierOfCommand(t *testing.T) {
	for _, version := range []byte{4, 5} {
		for name, request := range map[string]func(c *client, id uint16){
			"subscribe": func(c *client, id uint16) { c.subscribe(id, 1, "other") },
			"unsubscribe": func(c *client, id uint16) {
				c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: id,
					Filters: packets.Subscriptions{{Filter: "command"}}})
				if ack := c.expect(packets.Unsuback, id); version == 5 && ack.ReasonCodes[0] != 0 {
					t.Errorf("UNSUBACK says %#x", ack.ReasonCodes)
				}
			},
			"publish": func(c *client, id uint16) {
				c.publish("telemetry", "1", 2, id)
				c.expect(packets.Pubrec, id)
				c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: id})
				c.expect(packets.Pubcomp, id)
			},
		} {
			t.Run(fmt.Sprintf("v%d/%s", version, name), func(t *testing.T) {
				src := start(t, instant(), Config{})
				device := resume(t, src, version, "device")
				device.subscribe(9, 1, "command")
				publishAcked(connect(t, src, 4, "boss"), "command", "open")
				command := device.read()
				request(device, command.PacketID)
				device.Close()
				again := resume(t, src, version, "device").read()
				if string(again.Payload) != "open" || !again.FixedHeader.Dup || again.PacketID != command.PacketID {
					t.Fatalf("got %+v, want the command again", again)
				}
			})
		}
	}
}

// publishAcked publishes with QoS 1 and waits for the acknowledgement.
func publishAcked(c *client, topic, payload string) {
	c.t.Helper()
	c.publish(topic, payload, 1, 1)
	c.expect(packets.Puback, 1)
}

// A full queue to a subscriber lost QoS 1 messages of a session that lasts.
func TestTrapFullQueueLosesNothingOfALastingSession(t *testing.T) {
	src := start(t, instant(), Config{})
	reader := resume(t, src, 4, "reader")
	reader.subscribe(1, 1, "burst")
	writer := connect(t, src, 4, "writer")
	const messages = 900 // of 1024 that may be under way
	payload := strings.Repeat("x", 8<<10)
	for i := range messages { // more than sockets and the gate hold, and the reader reads nothing
		publishAcked(writer, "burst", fmt.Sprint(i, payload))
	}
	seen := make(map[string]bool)
	for len(seen) < messages {
		pk, err := reader.next(ingesttest.Patience)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %d of %d messages", len(seen), messages)
		}
		if err != nil { // the gateway hung up on who did not keep up
			reader.Close()
			reader = resume(t, src, 4, "reader")
			continue
		}
		seen[string(pk.Payload)] = true
		reader.Write(reader.encode(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID}))
	}
	if n := src.Stats().Undelivered; n != 0 {
		t.Errorf("%d messages were counted as lost", n)
	}
}

// A subscriber that reads nothing made publishers wait, because the next packet
// identifier is guarded by the lock that is held while a packet is written.
func TestTrapStuckSubscriberDoesNotStopPublishers(t *testing.T) {
	src := start(t, instant(), Config{WriteTimeout: time.Hour})
	src.Addr(t.Context())
	ours, theirs := net.Pipe() // which holds nothing
	served := make(chan struct{})
	go func() {
		src.ServeConn(theirs)
		close(served)
	}()
	stuck := newClient(t, ours)
	stuck.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "stuck", Clean: true}})
	stuck.subscribe(1, 1, "flood")
	flood := connect(t, src, 4, "flood")
	payload := strings.Repeat("x", 64<<10)
	for range 300 { // 19 MB, more than the queues hold
		publishAcked(flood, "flood", payload)
	}
	ours.Close()
	<-served
}

// Messages that a session has not acknowledged are sent again in the order in
// which they came: the server sorts them by the second, and not even that stably.
func TestTrapRedeliveryKeepsTheOrder(t *testing.T) {
	src := start(t, instant(), Config{})
	resume(t, src, 4, "device").subscribe(1, 1, "command")
	boss := connect(t, src, 4, "boss")
	const messages = 500
	for i := range messages {
		publishAcked(boss, "command", fmt.Sprint(i))
	}
	for range 2 { // a session that is resumed twice, too
		device := resume(t, src, 4, "device")
		for i := range messages {
			if got := string(device.read().Payload); got != fmt.Sprint(i) {
				t.Fatalf("got %s, want %d", got, i)
			}
		}
		device.Close()
	}
}

// An alias that stands for the topic of a message that is sent again means
// nothing to the new connection.
func TestTrapNoAliasesTowardsSubscribers(t *testing.T) {
	src := start(t, instant(), Config{})
	hello := packets.Packet{
		Connect:    packets.ConnectParams{ClientIdentifier: "reader", Keepalive: 60},
		Properties: packets.Properties{TopicAliasMaximum: 10, SessionExpiryInterval: 3600, SessionExpiryIntervalFlag: true},
	}
	reader := dial(t, src)
	reader.version = 5
	reader.hello(hello)
	reader.subscribe(1, 1, "d")
	writer := connect(t, src, 4, "writer")
	for range 2 {
		publishAcked(writer, "d", "1")
		reader.read()
	}
	reader.Close()
	reader = dial(t, src)
	reader.version = 5
	reader.hello(hello)
	for range 2 {
		if pk := reader.read(); pk.TopicName != "d" || pk.Properties.TopicAliasFlag {
			t.Fatalf("got %+v", pk)
		}
	}
}

// SUBACK and UNSUBACK repeated all user properties of the request.
func TestTrapSubackDoesNotEchoProperties(t *testing.T) {
	c := connect(t, start(t, instant(), Config{}), 5, "c")
	for _, request := range []byte{packets.Subscribe, packets.Unsubscribe} {
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: request}, PacketID: 1,
			Filters:    packets.Subscriptions{{Filter: "d"}},
			Properties: packets.Properties{User: []packets.UserProperty{{Key: "k", Val: "v"}}}})
		if ack := c.read(); len(ack.Properties.User) != 0 {
			t.Errorf("got %+v", ack.Properties.User)
		}
	}
}

// A client with many QoS 2 exchanges under way was disconnected for any publish,
// even one of QoS 0, and what it was sent counted, too.
func TestTrapManyQoS2Exchanges(t *testing.T) {
	for _, version := range []byte{4, 5} {
		src := start(t, instant(), Config{})
		connect(t, src, 4, "reader").subscribe(1, 0, "live") // the server's lane
		c := connect(t, src, version, "c")
		const exchanges = 600
		for id := range uint16(exchanges) {
			c.publish("d", "1", 2, id+1)
			c.expect(packets.Pubrec, id+1)
		}
		c.publish("live", "1", 0, 0)
		for id := range uint16(exchanges) {
			c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: id + 1})
			c.expect(packets.Pubcomp, id+1)
		}
	}
}

// What a client was told when it ended a subscription that it did not have
// depended on whether another client had it.
func TestTrapUnsubackTellsTheTruth(t *testing.T) {
	src := start(t, instant(), Config{})
	connect(t, src, 4, "other").subscribe(1, 0, "d")
	c := connect(t, src, 5, "c")
	c.subscribe(1, 0, "mine")
	for _, tt := range []struct {
		filter string
		want   byte
	}{{"d", 0x11}, {"mine", 0}, {"mine", 0x11}, {"none", 0x11}} {
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 2,
			Filters: packets.Subscriptions{{Filter: tt.filter}}})
		if ack := c.expect(packets.Unsuback, 2); ack.ReasonCodes[0] != tt.want {
			t.Errorf("%s: UNSUBACK says %#x, want %#x", tt.filter, ack.ReasonCodes, tt.want)
		}
	}
}

// The subscriptions of a session that was forgotten stayed behind: for ever, and
// in the way of the express lane.
func TestTrapForgottenSessionLeavesNothingBehind(t *testing.T) {
	src := start(t, instant(), Config{MaxClients: 2})
	for i := range 2*maxAbsent + 1 {
		c := resume(t, src, 4, fmt.Sprint(i))
		c.subscribe(1, 1, fmt.Sprint("only/", i))
		c.Close()
		gone(t, src)
	}
	if n := src.Stats().Forgotten; n != 1 {
		t.Fatalf("%d sessions were forgotten, want 1", n)
	}
	if src.broker.hasSubscribers(&topic{name: "only/0"}) {
		t.Error("a forgotten session is subscribed")
	}
	if !src.broker.hasSubscribers(&topic{name: "only/1"}) {
		t.Error("a session that was not forgotten is not subscribed")
	}
}

// Of the properties of a will, only the user's arrived.
func TestTrapWillKeepsItsProperties(t *testing.T) {
	src := start(t, instant(), Config{})
	reader := connect(t, src, 5, "reader")
	reader.subscribe(1, 0, "w")
	c := dial(t, src)
	c.version = 5
	will := props(0x01, 1, 0x03, "text/plain", 0x08, "answer", 0x09, "42", 0x26, "k", "v")
	c.Write(wire(0x10, "MQTT", 5, 2|4, id0, props(), "c", will, "w", "gone"))
	c.expect(packets.Connack, 0)
	c.Close()
	p := reader.read().Properties
	if p.PayloadFormat != 1 || p.ContentType != "text/plain" || p.ResponseTopic != "answer" ||
		string(p.CorrelationData) != "42" || len(p.User) != 1 {
		t.Errorf("got %+v", p)
	}
}
