package mqttin

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// Each test here is about one thing that the MQTT server does to its users, and
// fails when what this package does against it is taken out.

// instant returns a custody that commits at once.
func instant() *ingesttest.Custody {
	c := ingesttest.NewCustody()
	c.CommitAtOnce()
	return c
}

// resume connects to a session that lasts.
func resume(t *testing.T, src *Source, version byte, id string) *client {
	t.Helper()
	c := dial(t, src)
	c.version = version
	c.hello(packets.Packet{
		Connect:    packets.ConnectParams{ClientIdentifier: id, Keepalive: 60},
		Properties: packets.Properties{SessionExpiryInterval: 3600, SessionExpiryIntervalFlag: version == 5},
	})
	return c
}

// A v5 subscriber's receive maximum is counted down, not always up again: after
// a while it got nothing any more.
func TestTrapSendQuotaDoesNotLeak(t *testing.T) {
	src := start(t, instant(), Config{})
	reader := dial(t, src)
	reader.version = 5
	reader.hello(packets.Packet{
		Connect:    packets.ConnectParams{ClientIdentifier: "reader", Clean: true, Keepalive: 60},
		Properties: packets.Properties{ReceiveMaximum: 10},
	})
	reader.subscribe(1, 1, "#")
	writer := connect(t, src, 4, "writer")
	const messages, window = 1000, 50
	for sent := 0; sent < messages; sent += window {
		for i := range window {
			writer.publish("d", fmt.Sprint(sent+i), 1, uint16(i+1))
		}
		for i := range window {
			writer.expect(packets.Puback, uint16(i+1))
		}
		for i := range window {
			pk := reader.read()
			if want := fmt.Sprint(sent + i); string(pk.Payload) != want {
				t.Fatalf("got %s, want %s", pk.Payload, want)
			}
			reader.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
		}
	}
}

// Packet identifiers of both directions share one map: publishing under the
// identifier of a command made the server forget the command.
func TestTrapCommandIsNotForgotten(t *testing.T) {
	for _, local := range []bool{false, true} {
		t.Run(fmt.Sprintf("subscribed=%v", local), func(t *testing.T) {
			src := start(t, instant(), Config{})
			if local {
				connect(t, src, 4, "reader").subscribe(1, 0, "telemetry")
			}
			device := resume(t, src, 4, "device")
			device.subscribe(9, 1, "command")
			boss := connect(t, src, 4, "boss")
			boss.publish("command", "open", 1, 1)
			boss.expect(packets.Puback, 1)
			command := device.read()
			device.publish("telemetry", "21.5", 1, command.PacketID)
			device.expect(packets.Puback, command.PacketID)
			device.Close()

			again := resume(t, src, 4, "device").read()
			if string(again.Payload) != "open" || !again.FixedHeader.Dup || again.PacketID != command.PacketID {
				t.Fatalf("got %+v, want the command again", again)
			}
		})
	}
}

func TestTrapSubscribeUnderIdentifierInUse(t *testing.T) {
	src := start(t, instant(), Config{})
	c := connect(t, src, 4, "device")
	c.subscribe(1, 1, "command")
	held := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true},
		TopicName: "x", Payload: []byte("1"), PacketID: 77}
	c.send(held) // the server's lane
	c.expect(packets.Puback, 77)
	c.subscribe(77, 0, "other")
}

// Wills pass by every check of topics.
func TestTrapWillTopics(t *testing.T) {
	for _, topic := range []string{"$SYS/broker/uptime", "a/+/#", "$share/g/x"} {
		src := start(t, instant(), Config{})
		c := dial(t, src)
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), ClientIdentifier: "c", Clean: true,
			WillFlag: true, WillTopic: topic, WillPayload: []byte("0"),
		}})
		if got := c.hungUp(); len(got) > 0 {
			t.Errorf("will on %s: got %+v", topic, got)
		}
	}
}

// One and a half times the keep-alive overflowed: 43691 s became none at all,
// and the connection was closed at once.
func TestTrapKeepaliveDoesNotOverflow(t *testing.T) {
	src := start(t, instant(), Config{})
	c := dial(t, src)
	c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "slow", Clean: true, Keepalive: 43691}})
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}}) // the server sets its deadline again
	c.expect(packets.Pingresp, 0)
	c.silent()
	c.publish("d", "1", 1, 1)
	c.expect(packets.Puback, 1)
}

func TestTrapSilentBeforeConnect(t *testing.T) {
	inVirtualTime(t, Config{}, func(t *testing.T, _ *Source, join func() *client) {
		connected := join()
		connected.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Clean: true}})
		began := time.Now()
		join().hungUp()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it took %v", took)
		}
		connected.publish("d", "1", 1, 1)
		connected.expect(packets.Puback, 1)
	})
}

// One failed accept ended the listener for ever.
func TestTrapAcceptGoesOnAfterErrors(t *testing.T) {
	src := start(t, instant(), Config{})
	src.Addr(t.Context())
	src.mu.Lock()
	b := src.broker
	src.mu.Unlock()
	ours, theirs := net.Pipe()
	listener := &failingListener{conns: []net.Conn{nil, nil, theirs}}
	if err := src.acceptAll(t.Context(), b, listener); err != net.ErrClosed {
		t.Fatalf("accept loop ended with %v", err)
	}
	c := &client{Conn: ours, t: t}
	defer ours.Close()
	c.SetDeadline(time.Now().Add(ingesttest.Patience))
	if _, err := ours.Write([]byte{0xFF}); err != nil {
		t.Fatalf("connection after errors was not served: %v", err)
	}
}

// failingListener fails for each nil connection, and is closed after the last.
type failingListener struct {
	net.Listener
	conns []net.Conn
}

func (l *failingListener) Accept() (net.Conn, error) {
	if len(l.conns) == 0 {
		return nil, net.ErrClosed
	}
	conn := l.conns[0]
	l.conns = l.conns[1:]
	if conn == nil {
		return nil, syscall.EMFILE
	}
	return conn, nil
}

// A client that stopped reading blocked whoever took its session over.
func TestTrapStuckClientDoesNotBlockItsReplacement(t *testing.T) {
	src := start(t, instant(), Config{})
	stuck := connect(t, src, 4, "device")
	stuck.subscribe(1, 0, "flood")
	flood := connect(t, src, 4, "flood")
	payload := strings.Repeat("x", 64<<10)
	for range 200 { // 12 MiB: more than sockets and the gate hold
		flood.publish("flood", payload, 0, 0)
	}
	flood.publish("d", "1", 1, 1)
	flood.expect(packets.Puback, 1)
	connect(t, src, 4, "device").publish("d", "1", 0, 0)
}

func TestTrapNoMessageExpiryAdded(t *testing.T) {
	src := start(t, instant(), Config{})
	reader := connect(t, src, 5, "reader")
	reader.subscribe(1, 0, "#")
	connect(t, src, 5, "writer").publish("d", "1", 0, 0)
	if pk := reader.read(); pk.FixedHeader.Remaining != len("\x00\x01d\x001") {
		t.Fatalf("got %d bytes: %+v", pk.FixedHeader.Remaining, pk.Properties)
	}
}

// A publish to $SYS was never answered, and the client's window shrank by one.
func TestTrapReservedTopicsAreRefused(t *testing.T) {
	for _, version := range []byte{4, 5} {
		src := start(t, instant(), Config{})
		c := connect(t, src, version, "c")
		c.publish("$SYS/broker/uptime", "1", 1, 1)
		got := c.hungUp()
		if version == 5 && (len(got) != 1 || got[0].ReasonCode != codeTopicNameInvalid) {
			t.Errorf("got %+v, want a DISCONNECT that says why", got)
		}
	}
}

// A QoS 2 publish that was sent again was answered with an error, which ends
// the exchange.
func TestTrapRepeatedQoS2Publish(t *testing.T) {
	for _, version := range []byte{4, 5} {
		custody := instant()
		c := connect(t, start(t, custody, Config{}), version, "c")
		pk := publishPacket("d", "1", 2, 5)
		for range 2 {
			c.send(pk)
			if ack := c.expect(packets.Pubrec, 5); ack.ReasonCode != 0 {
				t.Fatalf("version %d: PUBREC says %#x", version, ack.ReasonCode)
			}
			pk.FixedHeader.Dup = true
		}
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: 5})
		c.expect(packets.Pubcomp, 5)
		if n := len(custody.Taken(t, 1)); n != 1 {
			t.Errorf("version %d: stored %d times", version, n)
		}
	}
}

func TestTrapConnackSaysLimits(t *testing.T) {
	c := dial(t, start(t, instant(), Config{}))
	c.version = 5
	ack := c.hello(packets.Packet{Connect: packets.ConnectParams{Clean: true}})
	p := ack.Properties
	if p.MaximumPacketSize != 256<<10 || p.ReceiveMaximum != 256 || p.TopicAliasMaximum != 0 || p.AssignedClientID == "" {
		t.Errorf("got %+v", p)
	}
}

// PUBACK repeated all user properties of the publish.
func TestTrapAckDoesNotEchoProperties(t *testing.T) {
	c := connect(t, start(t, instant(), Config{}), 5, "c")
	pk := publishPacket("d", "1", 1, 1)
	pk.Properties.User = []packets.UserProperty{{Key: "k", Val: "v"}}
	c.send(pk)
	if ack := c.expect(packets.Puback, 1); ack.FixedHeader.Remaining != 2 {
		t.Errorf("PUBACK has %d bytes, want 2", ack.FixedHeader.Remaining)
	}
}

// A QoS 2 message may be repeated on a new connection while the commit of the
// first is under way: the session remembers it, but it is not on flash yet.
func TestQoS2RepeatedOnNewConnectionWaitsForReceipt(t *testing.T) {
	custody := instant()
	src := start(t, custody, Config{})
	c := resume(t, src, 4, "device")
	custody.CommitNever()
	c.publish("d", "1", 2, 5)
	custody.Taken(t, 1)

	again := dial(t, src)
	again.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect},
		Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: "device", Keepalive: 60}})
	again.publish("d", "1", 2, 5)
	again.silent()
	custody.CommitAtOnce() // also what is noted of the session, which may come later
	again.expect(packets.Connack, 0)
	again.expect(packets.Pubrec, 5)
	if n := len(custody.Taken(t, 1)); n != 1 {
		t.Errorf("stored %d times", n)
	}
}

// After a failed commit the session must not remember that it has a message.
func TestFailedCommitForgetsQoS2Message(t *testing.T) {
	custody := instant()
	src := start(t, custody, Config{})
	c := resume(t, src, 4, "device")
	custody.CommitNever()
	c.publish("d", "1", 2, 5)
	custody.Taken(t, 1)
	custody.Fail(syscall.EIO)
	c.hungUp()

	custody.CommitAtOnce()
	again := resume(t, src, 4, "device")
	pk := publishPacket("d", "1", 2, 5)
	pk.FixedHeader.Dup = true
	again.send(pk)
	again.expect(packets.Pubrec, 5)
	custody.Taken(t, 2)
}

// Taking a session over raced with the end of its last connection: a client
// could be connected and yet unknown.
func TestTrapSimultaneousTakeovers(t *testing.T) {
	src := start(t, instant(), Config{})
	writer := connect(t, src, 4, "writer")
	for round := range 10 {
		var all sync.WaitGroup
		for n := range 8 {
			c := dial(t, src)
			hello := c.encode(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect},
				Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: "device", Clean: n%2 == 0}})
			all.Go(func() {
				c.Write(hello)
				c.next(ingesttest.Patience)
			})
		}
		all.Wait()
		last := connect(t, src, 4, "device")
		last.subscribe(1, 0, "command")
		writer.publish("command", fmt.Sprint(round), 0, 0)
		if got := last.read(); string(got.Payload) != fmt.Sprint(round) {
			t.Fatalf("got %+v", got)
		}
	}
}

// So a new connection waits until the session's last one has ended, even while
// that one waits for custody.
func TestTakeoverWaitsForLastConnection(t *testing.T) {
	custody := &slowCustody{Custody: instant(), asked: make(chan struct{}), release: make(chan struct{})}
	src := start(t, custody, Config{})
	old := connect(t, src, 4, "device")
	old.publish("d", "1", 1, 1)
	<-custody.asked
	young := dial(t, src)
	young.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect},
		Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: "device", Clean: true}})
	young.silent()
	close(custody.release)
	young.expect(packets.Connack, 0)
	retry(t, func() bool { return src.Stats().Clients == 1 }) // counted after CONNACK
}

// slowCustody makes the first who asks wait.
type slowCustody struct {
	*ingesttest.Custody
	once           sync.Once
	asked, release chan struct{}
}

func (c *slowCustody) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	c.once.Do(func() {
		close(c.asked)
		<-c.release
	})
	return c.Custody.Accept(ctx, rs, notes...)
}

// A panic costs the connection that caused it.
func TestPanicEndsOneConnection(t *testing.T) {
	var once sync.Once
	src := start(t, instant(), Config{Authorize: func(context.Context, string, []byte) bool {
		once.Do(func() { panic("boom") })
		return true
	}})
	bad := dial(t, src)
	bad.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect},
		Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: "bad", Clean: true}})
	bad.hungUp()
	connect(t, src, 4, "good").publish("d", "1", 0, 0)
}
