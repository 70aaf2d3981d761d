package daemon

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/mqttin"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/wire"
)

// BenchmarkRemembered measures what the broker's memory writes to flash. A
// publisher sends one message after the other, each when the last one was
// acknowledged, so each is a commit of its own: the dearest case there is.
func BenchmarkRemembered(b *testing.B) {
	const clean, lasting = 2, 0
	for _, tt := range []struct {
		name       string
		subscriber byte // flags of its CONNECT; none for no subscriber
		qos        byte // of publishes and subscription
		present    bool // the subscriber acknowledges; otherwise it is away
		retain     byte
	}{
		{"nobody/qos1", 0xFF, 1, false, 0},
		{"clean/qos1", clean, 1, true, 0},
		{"lasting/qos1", lasting, 1, true, 0},
		{"lasting/qos2", lasting, 2, true, 0},
		{"away/qos1", lasting, 1, false, 0},
		{"retained/qos1", 0xFF, 1, false, 1},
	} {
		b.Run(tt.name, func(b *testing.B) {
			buf, addr := benchBroker(b)
			if tt.subscriber != 0xFF {
				sub := benchDial(b, addr, "subscriber", tt.subscriber)
				sub.say(0x82, []byte{0, 1}, field("d"), []byte{tt.qos})
				sub.hear(b)
				if tt.present {
					go sub.acknowledge()
				} else {
					sub.Close()
				}
			}
			pub := benchDial(b, addr, "publisher", lasting)
			before := buf.Stats()
			b.ResetTimer()
			for i := range b.N {
				pub.say(0x30|tt.qos<<1|tt.retain, field("d"), []byte{0, 1}, fmt.Appendf(nil, `{"temp":%d}`, i))
				if pub.hear(b); tt.qos == 2 {
					pub.say(0x62, []byte{0, 1})
					pub.hear(b)
				}
			}
			b.StopTimer()
			after := buf.Stats()
			b.ReportMetric(float64(after.FlashBytes-before.FlashBytes)/float64(b.N), "flash-B/op")
			b.ReportMetric(float64(after.Commits-before.Commits)/float64(b.N), "commits/op")
		})
	}
}

// benchBroker runs a broker on a buffer that commits as soon as it can.
func benchBroker(b *testing.B) (*buffer.Buffer, string) {
	buf, err := buffer.Open(buffer.Config{Dir: b.TempDir(), MaxBytes: 64 << 20, Clock: buffer.Clock{
		Uptime: func() time.Duration { return time.Minute }, State: func() wire.ClockState { return wire.Unsynced },
	}}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	table, err := route.NewTable(nil, decode.NewJSON(decode.JSONConfig{}))
	if err != nil {
		b.Fatal(err)
	}
	door := mqttin.New(mqttin.Config{Listen: "127.0.0.1:0", Routes: table, Anonymous: true, SysInterval: -1}, slog.New(slog.DiscardHandler))
	ctx, stopBuffer := context.WithCancel(context.Background())
	doorCtx, stopDoor := context.WithCancel(ctx)
	ended := make(chan error, 2)
	go func() { ended <- buf.Run(ctx) }()
	go func() { ended <- door.Run(doorCtx, ingest.NewIntake(custody{buffer: buf}, nil, time.Now)) }()
	b.Cleanup(func() {
		stopDoor()
		<-ended
		stopBuffer()
		<-ended
	})
	return buf, door.Addr(b.Context()).String()
}

// benchClient speaks just enough MQTT 3.1.1.
type benchClient struct {
	net.Conn
	in *bufio.Reader
}

func benchDial(b *testing.B, addr, id string, flags byte) benchClient {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	c := benchClient{conn, bufio.NewReader(conn)}
	c.say(0x10, field("MQTT"), []byte{4, flags, 0, 0}, field(id))
	c.hear(b)
	return c
}

func (c benchClient) say(first byte, parts ...[]byte) { _, _ = c.Write(packet(first, parts...)) }

func (c benchClient) hear(b *testing.B) {
	if _, _, err := c.next(); err != nil {
		b.Fatal(err)
	}
}

func (c benchClient) next() (first byte, body []byte, err error) {
	if first, err = c.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	size, err := binary.ReadUvarint(c.in)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, size)
	_, err = io.ReadFull(c.in, body)
	return first, body, err
}

// acknowledge answers what comes until the connection ends.
func (c benchClient) acknowledge() {
	for {
		first, body, err := c.next()
		if err != nil {
			return
		}
		switch first & 0xF6 {
		case 0x32:
			c.say(0x40, body[3:5]) // the topic is "d"
		case 0x34:
			c.say(0x50, body[3:5])
		case 0x62:
			c.say(0x70, body[:2])
		}
	}
}
