package amqp1out

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"

	"github.com/Azure/go-amqp"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/uplink/uplinktest"
	"github.com/tidegate/tidegate/wire"
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

// count is how many readings the messages of the benchmarks have.
const count = 1000

// encoded is a message of readings of 25 devices, as the gateway makes it.
func encoded(b *testing.B, encoding string, per encode.Per) uplink.Message {
	b.Helper()
	var rs []reading.Reading
	r, temp := rand.New(rand.NewPCG(1, 2)), make([]float64, 25)
	for i := range count {
		d := i % 25
		temp[d] += 0.05 * r.NormFloat64()
		rs = append(rs, reading.Reading{
			Device: fmt.Sprintf("dev-%d", d), Metric: "temp", Unit: "Cel", Time: int64(1_700_000_000+i/25)*1e9 + int64(d)*1e6,
			Value: reading.Float(math.Round(100*(20+temp[d])) / 100),
		})
	}
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: 0x4d2, First: 1, Boot: 1, Clock: wire.Synced}, rs)
	if err != nil {
		b.Fatal(err)
	}
	block, _, err := wire.ParseBlock(raw)
	if err != nil {
		b.Fatal(err)
	}
	e, err := encode.New(encode.Config{Gateway: "north-7", Encoding: encoding, Per: per, Pieces: true})
	if err != nil {
		b.Fatal(err)
	}
	body, parts, err := e.Encode(nil, []wire.Block{block}, 256<<10)
	if err != nil {
		b.Fatal(err)
	}
	return uplink.Message{
		Key: uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: reading.Normal, First: 1, Last: count}, Count: count,
		ContentType: e.ContentType(), Body: body, Parts: parts,
	}
}

// BenchmarkSend sends messages of 1000 readings to a real server on this machine,
// eight at a time: as one packed body, and as a JSON object a reading.
// wireB/reading is what travels, the body included. Library is the measure: the
// library alone, the same bodies and nothing else in a message, one message after
// the other.
func BenchmarkSend(b *testing.B) {
	server := rabbit.Get(b)
	each := encoded(b, "json", encode.Reading)
	for name, m := range map[string]uplink.Message{"Batch": encoded(b, "packed", encode.Batch), "PerReading": each, "PerReadingBare": each} {
		queue := "bench" + name
		bounded(b, server, queue)
		b.Run(name, func(b *testing.B) {
			var wire atomic.Int64
			sink := benchSink(b, server, queue, func(c *Config) {
				c.Dial, c.Bare = counting(&wire), name == "PerReadingBare"
			})
			mustSend(b, sink, m)
			wire.Store(0)
			b.ReportAllocs()
			b.SetParallelism(4)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					mustSend(b, sink, m)
				}
			})
			readings := float64(b.N) * count
			b.ReportMetric(readings/b.Elapsed().Seconds(), "readings/s")
			b.ReportMetric(float64(wire.Load())/readings, "wireB/reading")
			b.ReportMetric(float64(len(m.Body))/count, "bodyB/reading")
		})
		b.Run(name+"/Library", func(b *testing.B) {
			publish := library(b, server, queue)
			b.ReportAllocs()
			for b.Loop() {
				if err := publish(m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*count/b.Elapsed().Seconds(), "readings/s")
		})
	}
}

// BenchmarkConnect is what the first message costs that needs a connection, less
// its body: wireB/op.
func BenchmarkConnect(b *testing.B) {
	authority := servertest.NewAuthority(b)
	server := servertest.RabbitMQ(b, servertest.TLS(authority))
	bounded(b, server, "bench")
	m := encoded(b, "packed", encode.Batch)
	for name, secure := range map[string]*tls.Config{"Plain": nil, "TLS": {RootCAs: authority.Pool()}} {
		b.Run(name, func(b *testing.B) {
			var wire atomic.Int64
			for b.Loop() {
				sink := benchSink(b, server, "bench", func(c *Config) {
					c.Dial = counting(&wire)
					if secure != nil {
						c.Address, c.TLS = server.Addr("amqps"), secure
					}
				})
				mustSend(b, sink, m)
				sink.Close()
			}
			b.ReportMetric(float64(wire.Load())/float64(b.N)-float64(len(m.Body)), "wireB/op")
		})
	}
}

// bounded makes a queue that throws away what is old: nobody reads it.
func bounded(b *testing.B, server *servertest.Server, queue string) {
	b.Helper()
	args := amqp091.Table{"x-max-length": 10_000}
	if _, err := channel(b, server.Addr("amqp")).QueueDeclare(queue, true, false, false, false, args); err != nil {
		b.Fatal(err)
	}
}

func mustSend(b *testing.B, sink uplink.Sink, m uplink.Message) {
	if err := sink.Send(b.Context(), m); err != nil {
		b.Error(err)
	}
}

func benchSink(b *testing.B, server *servertest.Server, queue string, change func(*Config)) *Sink {
	return newSink(b, server.Addr("amqp1.0"), func(c *Config) {
		c.Username, c.Password, c.Target = "guest", uplinktest.Secret(b, "guest"), template(b, "/amq/queue/"+queue)
		change(c)
	})
}

// library returns a function that sends all pieces and waits for their outcomes.
func library(b *testing.B, server *servertest.Server, queue string) func(uplink.Message) error {
	ctx := b.Context()
	conn, err := amqp.Dial(ctx, "amqp://guest:guest@"+server.Addr("amqp1.0"), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		b.Fatal(err)
	}
	sender, err := session.NewSender(ctx, "/amq/queue/"+queue, nil)
	if err != nil {
		b.Fatal(err)
	}
	return func(m uplink.Message) error {
		var receipts []amqp.SendReceipt
		for _, p := range m.Pieces() {
			out := amqp.NewMessage(p.Body)
			out.Header = &amqp.MessageHeader{Durable: true}
			r, err := sender.SendWithReceipt(ctx, out, nil)
			if err != nil {
				return err
			}
			receipts = append(receipts, r)
		}
		for _, r := range receipts {
			if _, err := r.Wait(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}
