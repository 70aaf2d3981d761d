//go:build !nokafka

package kafkaout

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

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

// BenchmarkSend produces messages of 1000 readings to a broker in another process
// of this machine, eight at a time: as one body of packed size, and cut into a
// JSON object a reading. wireB/reading is what travels, the body included.
func BenchmarkSend(b *testing.B) {
	for _, c := range []struct {
		name        string
		m           uplink.Message
		compression string
	}{
		{"Batch", batchOf(1000, 4000), "none"}, {"PerReading", perReading(1000), "none"}, {"PerReadingZstd", perReading(1000), "zstd"},
		{"PerReadingGzip", perReading(1000), "gzip"}, {"PerReadingLz4", perReading(1000), "lz4"}, {"PerReadingSnappy", perReading(1000), "snappy"},
	} {
		b.Run(c.name, func(b *testing.B) {
			var wire atomic.Int64
			sink := newSink(b, Config{Brokers: []string{newBroker(b).addr}, Compression: c.compression, Dial: counting(&wire)})
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

// BenchmarkConnect is what the first message costs that needs connections, less
// its body: wireB/op. Again is the same sink after it has rested, which
// knows the cluster and its own numbers, and resumes the sessions of TLS.
func BenchmarkConnect(b *testing.B) {
	certificate, roots := certificate(b, time.Hour)
	for name, secure := range map[string]bool{"Plain": false, "TLS": true} {
		var wire atomic.Int64
		cfg := Config{Dial: counting(&wire)}
		var options []kfake.Opt
		if secure {
			options, cfg.TLS = append(options, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{certificate}})), &tls.Config{RootCAs: roots}
		}
		cfg.Brokers = newCluster(b, options...).ListenAddrs()
		m := batchOf(1000, 4000)
		b.Run(name, func(b *testing.B) {
			wire.Store(0)
			for b.Loop() {
				sink := newSink(b, cfg)
				mustSendB(b, sink, m)
				sink.Close()
			}
			b.ReportMetric(float64(wire.Load())/float64(b.N)-float64(len(m.Body)), "wireB/op")
		})
		b.Run(name+"Again", func(b *testing.B) {
			sink := newSink(b, cfg)
			mustSendB(b, sink, m)
			wire.Store(0)
			for b.Loop() {
				sink.rest()
				mustSendB(b, sink, m)
			}
			b.ReportMetric(float64(wire.Load())/float64(b.N)-float64(len(m.Body)), "wireB/op")
		})
	}
}

// BenchmarkLibrary is the measure for BenchmarkSend: the library alone, with its
// own settings and no headers, one message after the other.
func BenchmarkLibrary(b *testing.B) {
	for name, m := range map[string]uplink.Message{"Batch": batchOf(1000, 4000), "PerReading": perReading(1000)} {
		b.Run(name, func(b *testing.B) {
			client, err := kgo.NewClient(kgo.SeedBrokers(newBroker(b).addr), kgo.ProducerBatchCompression(kgo.NoCompression()))
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			for b.Loop() {
				var records []*kgo.Record
				for _, p := range m.Pieces() {
					records = append(records, &kgo.Record{Topic: topic, Key: []byte(m.Gateway), Value: p.Body})
				}
				if err := client.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
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
