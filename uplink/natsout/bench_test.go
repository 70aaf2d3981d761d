package natsout

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/uplink/uplinktest"
	"github.com/tidegate/tidegate/wire"
)

// values is how many readings the benchmarks' message has: 4 of 100 devices, 10
// times.
const values = 4 * 100 * 10

// telemetry encodes readings that walk, in ten blocks.
func telemetry(b *testing.B, encoding string, per encode.Per) uplink.Message {
	b.Helper()
	e, err := encode.New(encode.Config{Gateway: "north-7", Encoding: encoding, Per: per, Pieces: true})
	if err != nil {
		b.Fatal(err)
	}
	r, enc := rand.New(rand.NewPCG(1, 2)), wire.NewEncoder()
	var blocks []wire.Block
	temp := make([]float64, 100)
	for round := range 10 {
		var rs []reading.Reading
		for d := range temp {
			temp[d] += 0.05 * r.NormFloat64()
			device, at := fmt.Sprintf("dev-%04d", d), int64(1_700_000_000+round)*1e9+int64(d)*1e6
			add := func(metric string, value, steps float64) {
				rs = append(rs, reading.Reading{Device: device, Metric: metric, Time: at, Value: reading.Float(math.Round(value*steps) / steps)})
			}
			add("temp", 20+temp[d], 100)
			add("hum", 50+3*temp[d], 10)
			add("bat", 3.7-float64(round)/1e5, 1000)
			add("rssi", float64(-60-r.IntN(9)), 1)
		}
		raw, err := enc.AppendBlock(nil, wire.Header{Epoch: 5, First: uint64(round*len(rs) + 1), Boot: 1, Clock: wire.Synced}, rs)
		if err != nil {
			b.Fatal(err)
		}
		block, _, err := wire.ParseBlock(raw)
		if err != nil {
			b.Fatal(err)
		}
		blocks = append(blocks, block)
	}
	body, parts, err := e.Encode(nil, blocks, 256<<10)
	if err != nil {
		b.Fatal(err)
	}
	return uplink.Message{
		Key:   uplink.Key{Gateway: "north-7", Epoch: 5, First: 1, Last: values},
		Count: values, ContentType: e.ContentType(), Body: body, Parts: parts,
	}
}

// counted counts what passes a connection, both ways.
type counted struct {
	net.Conn
	bytes *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// BenchmarkUplink sends the same 4,000 readings in different ways to nats-server,
// and reports what one costs on the wire: bytes both ways, without TCP/IP and TLS.
func BenchmarkUplink(b *testing.B) {
	server := servertest.NATS(b, servertest.User(user, password))
	makeStream(b, server.Addr("nats"), jetstream.StreamConfig{MaxMsgs: 100_000})
	for _, c := range []struct {
		encoding string
		per      encode.Per
		subject  string
	}{
		{"packed", encode.Batch, "telemetry.{gateway}"},
		{"json", encode.Batch, "telemetry.{gateway}"},
		{"json", encode.Device, "telemetry.{device}"},
		{"json", encode.Reading, "telemetry.{device}.{metric}"},
	} {
		b.Run(fmt.Sprintf("%s-%v", c.encoding, c.per), func(b *testing.B) {
			var bytes atomic.Int64
			sink := newSink(b, Config{
				Servers: []string{server.Addr("nats")}, Username: user, Password: uplinktest.Secret(b, password), Subject: template(b, c.subject),
				Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, address)
					return counted{conn, &bytes}, err
				},
			})
			m := telemetry(b, c.encoding, c.per)
			m.Epoch = rand.Uint64() // or all but the first are duplicates
			if err := sink.Send(b.Context(), m); err != nil {
				b.Fatal(err)
			}
			bytes.Store(0)
			b.ReportAllocs()
			for b.Loop() {
				m.Epoch++
				if err := sink.Send(b.Context(), m); err != nil {
					b.Fatal(err)
				}
			}
			all := float64(b.N) * values
			b.ReportMetric(float64(bytes.Load())/all, "B/reading")
			b.ReportMetric(all/b.Elapsed().Seconds(), "readings/s")
		})
	}
}
