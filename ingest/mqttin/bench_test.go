package mqttin

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path"
	"sync"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/refine"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

const (
	benchWindow = 100
	benchJSON   = `{"ts":1700000000123,"temp":21.37,"hum":48.2,"bat":3.71,"rssi":-67}`
)

// blackHole is a custody that costs nothing: what is measured is the door.
type blackHole struct{}

func (blackHole) Notes(context.Context, string, func(reading.Note) error) error { return nil }

func (blackHole) Accept(context.Context, []reading.Reading, ...reading.Note) (ingest.Receipt, error) {
	return blackHole{}, nil
}

func (blackHole) Wait(context.Context) error { return nil }

// BenchmarkAcked measures acknowledged QoS 1 publishes, generator included,
// through this door and through the same server without it and without storage.
func BenchmarkAcked(b *testing.B) {
	for _, clients := range []int{1, 100} {
		b.Run(fmt.Sprintf("stock/%dx%d", clients, benchWindow), func(b *testing.B) {
			publishAll(b, stockServer(b), clients, "raw/d", benchJSON)
		})
		for _, topic := range []string{"raw/d", "json/d"} {
			b.Run(fmt.Sprintf("tidegate/%s/%dx%d", path.Dir(topic), clients, benchWindow), func(b *testing.B) {
				src := start(b, blackHole{}, Config{})
				publishAll(b, src.Addr(b.Context()).String(), clients, topic, benchJSON)
			})
		}
	}
}

// allowAll is the least that the server needs to let anybody in.
type allowAll struct{ mqtt.HookBase }

func (allowAll) Provides(event byte) bool {
	return event == mqtt.OnConnectAuthenticate || event == mqtt.OnACLCheck
}

func (allowAll) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

func (allowAll) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

func stockServer(b *testing.B) string {
	b.Helper()
	server := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(allowAll), nil); err != nil {
		b.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		b.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { _ = server.EstablishConnection("stock", conn) })
		}
	})
	b.Cleanup(func() {
		listener.Close()
		conns.Wait()
		server.Close()
	})
	return listener.Addr().String()
}

// publishAll publishes b.N messages, in equal parts from all clients, and waits
// for their acknowledgements.
func publishAll(b *testing.B, addr string, clients int, topic, payload string) {
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = benchConnect(b, addr, fmt.Sprint("c", i))
		defer conns[i].Close()
	}
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for i, conn := range conns {
		n := b.N / clients
		if i < b.N%clients {
			n++
		}
		all.Go(func() {
			if err := publishWindowed(conn, topic, payload, n); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acked/s")
}

func benchConnect(b *testing.B, addr, id string) net.Conn {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	hello := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Connect},
		ProtocolVersion: 4,
		Connect:         packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: true, Keepalive: 600},
	}
	var buf bytes.Buffer
	if err := hello.ConnectEncode(&buf); err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Write(buf.Bytes()); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		b.Fatal(err)
	}
	return conn
}

// publishWindowed keeps benchWindow publishes under way: each read of
// acknowledgements is answered with one write of as many publishes.
func publishWindowed(conn net.Conn, topic, payload string, n int) error {
	pk := publishPacket(topic, payload, 1, 1)
	pk.ProtocolVersion = 4
	var one bytes.Buffer
	if err := pk.PublishEncode(&one); err != nil {
		return err
	}
	size, idAt := one.Len(), 2+2+len(topic)
	out := bytes.Repeat(one.Bytes(), benchWindow)
	in := make([]byte, 4*benchWindow)
	id := uint16(0)
	room, sent, acked, partial := benchWindow, 0, 0, 0
	for acked < n {
		burst := min(room, n-sent)
		for i := range burst {
			if id++; id == 0 {
				id = 1
			}
			binary.BigEndian.PutUint16(out[i*size+idAt:], id)
		}
		if _, err := conn.Write(out[:burst*size]); err != nil {
			return err
		}
		sent += burst
		got, err := conn.Read(in)
		if err != nil {
			return err
		}
		got += partial
		room, partial = got/4, got%4
		acked += room
	}
	return nil
}

// BenchmarkRefined measures what filters cost: nothing is filtered, everything is
// and is kept, everything is and is left out.
func BenchmarkRefined(b *testing.B) {
	json := decode.NewJSON(decode.JSONConfig{})
	high, band := 1e9, 0.5
	for _, c := range []struct {
		name string
		step *refine.Step
	}{{"off", nil}, {"kept", &refine.Step{AlarmAbove: &high}}, {"left out", &refine.Step{Deadband: &band}}} {
		rule := route.Rule{Topic: "json/{device}", Decoder: json}
		for _, clients := range []int{1, 100} {
			b.Run(fmt.Sprintf("%s/%dx%d", c.name, clients, benchWindow), func(b *testing.B) {
				if c.step != nil {
					chain, err := refine.New(refine.Config{Steps: []refine.Step{*c.step}})
					if err != nil {
						b.Fatal(err)
					}
					rule.Refine = chain
				}
				table, err := route.NewTable([]route.Rule{rule}, json)
				if err != nil {
					b.Fatal(err)
				}
				src := start(b, blackHole{}, Config{Routes: table})
				publishAll(b, src.Addr(b.Context()).String(), clients, "json/d", benchJSON)
			})
		}
	}
}
