package redisout

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
)

// counted counts the bytes of connections, both ways: payload of TCP, without the
// headers of packets.
type counted struct {
	net.Conn
	total *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.total.Add(int64(n))
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.total.Add(int64(n))
	return n, err
}

func counting(total *atomic.Int64) uplink.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return counted{c, total}, err
	}
}

// BenchmarkSend sends messages of 1000 readings to a real server on this machine
// that syncs each command, eight at a time: as one body of packed size, and cut
// into a JSON object a reading. wireB/reading is what travels, the body included.
func BenchmarkSend(b *testing.B) {
	for _, c := range []struct {
		name string
		m    uplink.Message
	}{{"Batch", batchOf(1000, 4000)}, {"PerReading", perReading(1000)}} {
		b.Run(c.name, func(b *testing.B) {
			server := servertest.Redis(b)
			var wire atomic.Int64
			sink := newSink(b, Config{Address: server.Addr("redis"), Dial: counting(&wire), MaxLen: 10_000})
			mustSendB(b, sink, c.m)
			wire.Store(0)
			b.ReportAllocs()
			b.SetParallelism(4)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					mustSendB(b, sink, c.m)
				}
			})
			readings := float64(b.N) * float64(c.m.Count)
			b.ReportMetric(readings/b.Elapsed().Seconds(), "readings/s")
			b.ReportMetric(float64(wire.Load())/readings, "wireB/reading")
		})
	}
}

// BenchmarkConnect is what the first message costs that needs a connection, less
// its body: wireB/op.
func BenchmarkConnect(b *testing.B) {
	authority := servertest.NewAuthority(b)
	server := servertest.Redis(b, servertest.TLS(authority))
	for name, cfg := range map[string]Config{
		"Plain": {Address: server.Addr("redis")},
		"TLS":   {Address: server.Addr("rediss"), TLS: &tls.Config{RootCAs: authority.Pool()}},
	} {
		b.Run(name, func(b *testing.B) {
			var wire atomic.Int64
			cfg.Dial = counting(&wire)
			m := batchOf(1000, 4000)
			for b.Loop() {
				sink := newSink(b, cfg)
				mustSendB(b, sink, m)
				sink.Close()
			}
			b.ReportMetric(float64(wire.Load())/float64(b.N)-float64(len(m.Body)), "wireB/op")
		})
	}
}

// BenchmarkLibrary is the measure for BenchmarkSend: the library alone adds the
// same bodies, as the only field, one message after the other.
func BenchmarkLibrary(b *testing.B) {
	for name, m := range map[string]uplink.Message{"Batch": batchOf(1000, 4000), "PerReading": perReading(1000)} {
		b.Run(name, func(b *testing.B) {
			conn := dial(b, servertest.Redis(b).Addr("redis"))
			for b.Loop() {
				for _, p := range m.Pieces() {
					if err := conn.Send("XADD", "telemetry", "MAXLEN", "~", 10_000, "*", "body", p.Body); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := conn.Do(""); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*float64(m.Count)/b.Elapsed().Seconds(), "readings/s")
		})
	}
}

func mustSendB(b *testing.B, sink uplink.Sink, m uplink.Message) {
	if err := sink.Send(b.Context(), m); err != nil {
		b.Error(err)
	}
}

// batchOf is a message of n readings in a body of size bytes, as packed ones are.
func batchOf(n, size int) uplink.Message {
	m := message(string(make([]byte, size)))
	m.First, m.Last, m.Count = 1, uint64(n), n
	m.ContentType = "application/vnd.tidegate.chunk"
	return m
}

// perReading is a message of n JSON objects, each a part.
func perReading(n int) uplink.Message {
	m := message("")
	m.First, m.Last, m.Count = 1, uint64(n), n
	var ends []int
	for i := range n {
		m.Body = fmt.Appendf(m.Body, `{"gateway":"north-7","epoch":"00000000000004d2","lane":"normal","seq":%d,"device":"dev-%d","metric":"temp","unit":"Cel","time":1700000000123000000,"value":21.37,"quality":"good"}`, i+1, i%7)
		ends = append(ends, len(m.Body))
	}
	for i, end := range ends {
		begin := 0
		if i > 0 {
			begin = ends[i-1]
		}
		m.Parts = append(m.Parts, uplink.Part{Body: m.Body[begin:end], First: uint64(i) + 1, Last: uint64(i) + 1, Count: 1,
			Device: fmt.Sprintf("dev-%d", i%7), Metric: "temp", Time: 1700000000123000000})
	}
	return m
}
