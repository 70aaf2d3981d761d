package mqttin

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/route"
)

// client speaks MQTT as tests need it: exactly the bytes that they say.
type client struct {
	net.Conn
	t       testing.TB
	in      *bufio.Reader
	version byte
}

func testRoutes(t testing.TB) *route.Table {
	t.Helper()
	table, err := route.NewTable([]route.Rule{
		{Topic: "alarms/{device}/{metric}", Decoder: decode.NewJSON(decode.JSONConfig{}), KeepOpaque: true},
		{Topic: "picky/{device}", Decoder: decode.NewJSON(decode.JSONConfig{})},
		{Topic: "raw/#", Decoder: decode.Raw{}},
	}, decode.NewJSON(decode.JSONConfig{}))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// start runs a source on custody until the test ends, and returns it. Its clients hang
// up before it is stopped: it need not hurry with what it still has to say.
func start(t testing.TB, custody ingest.Custody, cfg Config) *Source {
	t.Helper()
	cfg.Anonymous = cfg.Authorize == nil
	cfg.Linger = cmp.Or(cfg.Linger, ingesttest.Patience)
	src, stop := run(t, custody, cfg)
	t.Cleanup(stop)
	return src
}

// run runs a source on custody and returns it, and what stops it.
func run(t testing.TB, custody ingest.Custody, cfg Config) (*Source, func()) {
	t.Helper()
	return runAt(t, custody, cfg, machineClock())
}

// runAt runs a source with a clock of its own.
func runAt(t testing.TB, custody ingest.Custody, cfg Config, k clock) (*Source, func()) {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	cfg.Linger = cmp.Or(cfg.Linger, 200*time.Millisecond)
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, ingesttest.Patience)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, ingesttest.Patience)
	if cfg.Routes == nil {
		cfg.Routes = testRoutes(t)
	}
	src := New(cfg, slog.New(slog.DiscardHandler))
	src.clock = k
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	intake := ingest.NewIntake(custody, nil, time.Now)
	for _, forget := range cfg.Routes.Filters() {
		intake.OnLoss(forget)
	}
	go func() { ended <- src.Run(ctx, intake) }()
	return src, func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(ingesttest.Patience):
			t.Error("run did not return")
		}
	}
}

func dial(t testing.TB, src *Source) *client {
	t.Helper()
	conn, err := net.Dial("tcp", src.Addr(t.Context()).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return newClient(t, conn)
}

func newClient(t testing.TB, conn net.Conn) *client {
	return &client{Conn: conn, t: t, in: bufio.NewReader(conn), version: 4}
}

// connect dials and connects with a clean session.
func connect(t testing.TB, src *Source, version byte, id string) *client {
	t.Helper()
	c := dial(t, src)
	c.version = version
	c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: id, Clean: true, Keepalive: 60}})
	return c
}

// hello sends CONNECT and returns the CONNACK, which must say yes.
func (c *client) hello(pk packets.Packet) packets.Packet {
	c.t.Helper()
	pk.FixedHeader.Type = packets.Connect
	pk.Connect.ProtocolName = []byte("MQTT")
	c.send(pk)
	ack := c.read()
	if ack.FixedHeader.Type != packets.Connack || ack.ReasonCode != 0 {
		c.t.Fatalf("connect: got %+v", ack)
	}
	return ack
}

func (c *client) send(pk packets.Packet) {
	c.t.Helper()
	if _, err := c.Write(c.encode(pk)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) encode(pk packets.Packet) []byte {
	c.t.Helper()
	pk.ProtocolVersion = c.version
	pk.Mods.AllowResponseInfo = true
	var buf bytes.Buffer
	if err := encode(&pk, &buf); err != nil {
		c.t.Fatal(err)
	}
	return buf.Bytes()
}

func encode(pk *packets.Packet, buf *bytes.Buffer) error {
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return pk.ConnectEncode(buf)
	case packets.Publish:
		return pk.PublishEncode(buf)
	case packets.Puback:
		return pk.PubackEncode(buf)
	case packets.Pubrec:
		return pk.PubrecEncode(buf)
	case packets.Pubrel:
		return pk.PubrelEncode(buf)
	case packets.Pubcomp:
		return pk.PubcompEncode(buf)
	case packets.Subscribe:
		pk.FixedHeader.Qos = 1
		return pk.SubscribeEncode(buf)
	case packets.Unsubscribe:
		pk.FixedHeader.Qos = 1
		return pk.UnsubscribeEncode(buf)
	case packets.Pingreq:
		return pk.PingreqEncode(buf)
	case packets.Disconnect:
		return pk.DisconnectEncode(buf)
	}
	return errors.New("no encoder")
}

func publishPacket(topic, payload string, qos byte, id uint16) packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos},
		TopicName:   topic, Payload: []byte(payload), PacketID: id,
	}
}

func (c *client) publish(topic, payload string, qos byte, id uint16) {
	c.t.Helper()
	c.send(publishPacket(topic, payload, qos, id))
}

func (c *client) subscribe(id uint16, qos byte, filters ...string) {
	c.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: id}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: qos})
	}
	c.send(pk)
	ack := c.read()
	for ack.FixedHeader.Type == packets.Publish { // which may come before SUBACK
		ack = c.read()
	}
	if ack.FixedHeader.Type != packets.Suback || ack.ReasonCodes[0] != qos {
		c.t.Fatalf("subscribe: got %+v", ack)
	}
}

// read returns the next packet; the test fails when none comes.
func (c *client) read() packets.Packet {
	c.t.Helper()
	pk, err := c.next(ingesttest.Patience)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return pk
}

// expect reads the next packet, which must be of the type, with the id.
func (c *client) expect(packetType byte, id uint16) packets.Packet {
	c.t.Helper()
	pk := c.read()
	if pk.FixedHeader.Type != packetType || pk.PacketID != id {
		c.t.Fatalf("got %s %d, want %s %d", packets.PacketNames[pk.FixedHeader.Type], pk.PacketID,
			packets.PacketNames[packetType], id)
	}
	return pk
}

// silent fails the test when anything comes.
func (c *client) silent() {
	c.t.Helper()
	if pk, err := c.next(ingesttest.Impatience); err == nil {
		c.t.Fatalf("got %+v, want nothing", pk)
	} else if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() {
		c.t.Fatalf("connection ended: %v", err)
	}
}

// hungUp waits for the end of the connection and returns what came before it.
func (c *client) hungUp() []packets.Packet {
	c.t.Helper()
	var got []packets.Packet
	for {
		pk, err := c.next(ingesttest.Patience)
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			c.t.Fatal("connection did not end")
		}
		if err != nil {
			return got
		}
		got = append(got, pk)
	}
}

func (c *client) next(patience time.Duration) (packets.Packet, error) {
	c.SetReadDeadline(time.Now().Add(patience))
	var pk packets.Packet
	pk.ProtocolVersion = c.version
	header, err := c.in.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(header); err != nil {
		return pk, err
	}
	length, _, err := packets.DecodeLength(c.in)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = length
	body := make([]byte, length)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return pk, err
	}
	return pk, decodePacket(&pk, body)
}

func decodePacket(pk *packets.Packet, body []byte) error {
	switch pk.FixedHeader.Type {
	case packets.Connack:
		return pk.ConnackDecode(body)
	case packets.Publish:
		return pk.PublishDecode(body)
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		pk.PacketID = binary.BigEndian.Uint16(body)
		if len(body) > 2 {
			pk.ReasonCode = body[2]
		}
		return nil
	case packets.Suback:
		return pk.SubackDecode(body)
	case packets.Unsuback:
		return pk.UnsubackDecode(body)
	case packets.Disconnect:
		if len(body) > 0 {
			pk.ReasonCode = body[0]
		}
		return nil
	case packets.Pingresp:
		return nil
	}
	return errors.New("server sent a packet of a type that is not its own")
}
