package mqttin

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/reading"
)

// What is published becomes the same readings on either lane.
func TestReadings(t *testing.T) {
	const retain, subscribed = "retained", "subscribed"
	flags := func(qos byte) reading.Flags { return reading.Flags(0).WithQoS(qos) | reading.Stamped }
	tests := []struct {
		topic, payload string
		qos            byte
		want           []reading.Reading
	}{
		{"home/kitchen/temp", "21.5", 0, []reading.Reading{{Device: "home/kitchen", Metric: "temp", Value: reading.Float(21.5)}}},
		{"home/kitchen", `{"temp":21.5,"open":true}`, 1, []reading.Reading{
			{Device: "home/kitchen", Metric: "temp", Value: reading.Float(21.5)},
			{Device: "home/kitchen", Metric: "open", Value: reading.Bool(true)},
		}},
		{"raw/x", "\x00\xff", 2, []reading.Reading{{Device: "raw/x", Metric: "raw", Value: reading.Bytes("\x00\xff")}}},
		{"broken", `{"temp":`, 1, []reading.Reading{{Device: "broken", Metric: "raw", Value: reading.Bytes(`{"temp":`)}}},
		{"empty", "", 1, []reading.Reading{{Device: "empty", Metric: "raw", Value: reading.Bytes("")}}},
		{strings.Repeat("long/", 20) + strings.Repeat("x", 300), "{}", 1, []reading.Reading{
			{Device: strings.Repeat("long/", 20) + strings.Repeat("x", 300), Metric: "raw", Value: reading.Bytes("{}")}}},
	}
	for _, way := range []string{"", retain, subscribed} {
		custody := instant()
		src := start(t, custody, Config{})
		if way == subscribed {
			connect(t, src, 4, "reader").subscribe(1, 0, "#")
		}
		c := connect(t, src, 4, "device")
		had := 0
		for i, tt := range tests {
			id := uint16(0)
			if tt.qos > 0 {
				id = uint16(i + 1)
			}
			pk := publishPacket(tt.topic, tt.payload, tt.qos, id)
			pk.FixedHeader.Retain = way == retain
			c.send(pk)
			if tt.qos > 0 {
				c.expect(packets.Puback+tt.qos-1, id)
			}
			got := custody.Taken(t, had+len(tt.want))[had:]
			for i, want := range tt.want {
				want.Flags = flags(tt.qos)
				if way == retain {
					want.Flags |= reading.Retained
				}
				want.Time = got[i].Time
				if got[i] != want {
					t.Errorf("%s %q %s:\n got %+v\nwant %+v", tt.topic, tt.payload, way, got[i], want)
				}
			}
			had += len(tt.want)
		}
		if s := src.Stats(); s.Opaque != 3 || s.Received != [3]uint64{1, 4, 1} {
			t.Errorf("%s: counted %+v", way, s)
		}
	}
}

// A route may say that what cannot be decoded is not kept. It is acknowledged
// then, or it would come again for ever.
func TestUndecodablePayloadIsDroppedWhereTheRouteSaysSo(t *testing.T) {
	for _, retain := range []bool{false, true} {
		src := start(t, instant(), Config{})
		c := connect(t, src, 4, "device")
		pk := publishPacket("picky/d", "not JSON", 1, 1)
		pk.FixedHeader.Retain = retain
		c.send(pk)
		c.expect(packets.Puback, 1)
		if n := src.Stats().Dropped; n != 1 {
			t.Errorf("counted %d dropped", n)
		}
	}
}

func TestWillIsAReading(t *testing.T) {
	for _, delay := range []uint32{0, 1} {
		custody := instant()
		src := start(t, custody, Config{})
		c := dial(t, src)
		c.version = 5
		c.hello(packets.Packet{
			Connect: packets.ConnectParams{
				ClientIdentifier: "device", Keepalive: 60,
				WillFlag: true, WillTopic: "status/online", WillPayload: []byte("false"), WillQos: 1, WillRetain: true,
				WillProperties: packets.Properties{WillDelayInterval: delay},
			},
			Properties: packets.Properties{SessionExpiryInterval: 60, SessionExpiryIntervalFlag: true},
		})
		c.Close()
		got := custody.Taken(t, 1)[0]
		want := reading.Reading{Device: "status", Metric: "online", Value: reading.Bool(false), Time: got.Time,
			Flags: reading.Flags(0).WithQoS(1) | reading.Retained | reading.Stamped}
		if got != want {
			t.Errorf("delay %d: got %+v, want %+v", delay, got, want)
		}
	}
}

func TestStoppingGatewayPublishesNoWills(t *testing.T) {
	custody := instant()
	src, stop := run(t, custody, Config{Anonymous: true})
	c := dial(t, src)
	c.hello(packets.Packet{Connect: packets.ConnectParams{
		ClientIdentifier: "device", Clean: true, Keepalive: 60,
		WillFlag: true, WillTopic: "status/online", WillPayload: []byte("false"),
	}})
	stop()
	if n := len(custody.Taken(t, 0)); n != 0 {
		t.Errorf("%d readings were taken", n)
	}
}

func TestPacketSizes(t *testing.T) {
	custody := instant()
	src := start(t, custody, Config{})
	c := connect(t, src, 5, "device")
	const overhead = 1 + 3 + 2 + 1 + 2 + 1 // header, length, topic's length and text, identifier, properties
	largest := 256<<10 - overhead
	for i, size := range []int{0, 1, 1 << 10, 64<<10 - 1, 64 << 10, 200 << 10, largest} {
		c.publish("d", strings.Repeat("x", size), 1, uint16(i+1))
		c.expect(packets.Puback, uint16(i+1))
		if got := len(custody.Taken(t, i+1)[i].Value.Text()); got != size {
			t.Errorf("%d bytes became %d", size, got)
		}
	}
	c.Write(c.encode(publishPacket("d", strings.Repeat("x", largest+1), 1, 9))) // may be cut off
	if got := c.hungUp(); len(got) != 1 || got[0].ReasonCode != codeTooLarge {
		t.Errorf("one byte too many: got %+v", got)
	}
}

// Packets may come in any pieces.
func TestPacketsInPieces(t *testing.T) {
	for _, piece := range []int{1, 2, 7} {
		custody := instant()
		c := connect(t, start(t, custody, Config{}), 4, "device")
		var all []byte
		for id := range uint16(20) {
			all = append(all, c.encode(mixed(id))...)
		}
		for len(all) > 0 {
			n := min(piece, len(all))
			if _, err := c.Write(all[:n]); err != nil {
				t.Fatal(err)
			}
			all = all[n:]
		}
		for i, r := range custody.Taken(t, 20) {
			if r.Value != reading.Float(float64(i)) {
				t.Fatalf("pieces of %d: reading %d is %v", piece, i, r.Value)
			}
		}
	}
}

// A radio or a tunnel may cut a packet anywhere. Nobody sends more before the
// last byte of the one before is acknowledged.
func TestPacketWhoseLastByteComesAloneIsTaken(t *testing.T) {
	custody := instant()
	src := start(t, custody, Config{})
	src.Addr(t.Context())
	ours, theirs := net.Pipe() // a write returns when all of it was read
	go src.ServeConn(theirs)
	c := &client{Conn: ours, t: t, in: bufio.NewReader(ours), version: 4}
	c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Clean: true}})
	for n := range 3 {
		packet := c.encode(publishPacket("d", "21.5", 1, uint16(n+1)))
		last := len(packet) - 1
		for _, piece := range [][]byte{packet[:last], packet[last:]} {
			if _, err := c.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		custody.Taken(t, n+1)
		c.expect(packets.Puback, uint16(n+1))
	}
}

// mixed is the n-th of a stream of publishes of all kinds.
func mixed(n uint16) packets.Packet {
	qos, id := byte(n%3), n+1
	if qos == 0 {
		id = 0
	}
	return publishPacket("home/kitchen/temp", fmt.Sprint(n), qos, id)
}
