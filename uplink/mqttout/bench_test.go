package mqttout

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/wire"
)

const (
	devices = 100
	rounds  = 10
	// values is how many readings the messages of the benchmarks bring: four each.
	values = devices * rounds * 4
)

// telemetry is what devices publish: an object of four values that walk, to a
// topic each.
func telemetry() (topics, payloads []string, decoded []reading.Reading) {
	r := rand.New(rand.NewPCG(1, 2))
	temp := make([]float64, devices)
	for s := range rounds {
		for d := range devices {
			temp[d] += 0.05 * r.NormFloat64()
			device, at := fmt.Sprintf("dev-%04d", d), int64(1_700_000_000+s)*1e9+int64(d)*1e6
			topics = append(topics, "site/hall/"+device+"/telemetry")
			payload := "{"
			for i, f := range []struct {
				metric string
				value  float64
				digits int
			}{{"temp", 20 + temp[d], 2}, {"hum", 50 + 3*temp[d], 1}, {"bat", 3.7 - float64(s)/1e5, 3}, {"rssi", float64(-60 - r.IntN(9)), 0}} {
				p := math.Pow10(f.digits)
				v := math.Round(f.value*p) / p
				if i > 0 {
					payload += ","
				}
				payload += fmt.Sprintf(`"%s":%v`, f.metric, v)
				decoded = append(decoded, reading.Reading{Device: device, Metric: f.metric, Time: at, Value: reading.Float(v)})
			}
			payloads = append(payloads, payload+"}")
		}
	}
	return topics, payloads, decoded
}

// blocks puts readings into blocks of a commit each.
func blocks(b testing.TB, rs []reading.Reading) (out []wire.Block) {
	enc, next := wire.NewEncoder(), uint64(1)
	for size := len(rs) / rounds; len(rs) > 0; rs = rs[size:] {
		raw, err := enc.AppendBlock(nil, wire.Header{Epoch: 5, First: next, Boot: 1, Clock: wire.Synced}, rs[:size])
		if err != nil {
			b.Fatal(err)
		}
		block, _, err := wire.ParseBlock(raw)
		if err != nil {
			b.Fatal(err)
		}
		out, next = append(out, block), block.Last()+1
	}
	return out
}

// message encodes blocks as the gateway does.
func message(b testing.TB, encoding string, per encode.Per, bs []wire.Block) uplink.Message {
	e, err := encode.New(encode.Config{Gateway: "north-7", Encoding: encoding, Per: per, Pieces: true})
	if err != nil {
		b.Fatal(err)
	}
	body, parts, err := e.Encode(nil, bs, 256<<10)
	if err != nil {
		b.Fatal(err)
	}
	return uplink.Message{
		Key:   uplink.Key{Gateway: "north-7", Epoch: 5, First: 1, Last: bs[len(bs)-1].Last()},
		Count: values, ContentType: e.ContentType(), Body: body, Parts: parts,
	}
}

// counted counts what passes a connection, both ways, and in how many pieces.
type counted struct {
	net.Conn
	bytes, pieces *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	c.pieces.Add(1)
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	c.pieces.Add(1)
	return n, err
}

// way is one way to send the same readings.
type way struct {
	name, encoding string
	per            encode.Per
	blocks         []wire.Block
	topic          string
	change         func(*Config)
}

// ways are those that are compared; generous is a server with 500 aliases.
func ways(plain, opaque []wire.Block, generous string) []way {
	return []way{
		{"raw-5-bare", "raw", encode.Batch, opaque, "", func(c *Config) { c.Raw, c.Bare = true, true }},
		{"raw-5-bare-500-aliases", "raw", encode.Batch, opaque, "", func(c *Config) { c.Raw, c.Bare, c.Address, c.MaxAliases = true, true, generous, 500 }},
		{"raw-5-bare-without-aliases", "raw", encode.Batch, opaque, "", func(c *Config) { c.Raw, c.Bare, c.MaxAliases = true, true, -1 }},
		{"raw-5-keyed", "raw", encode.Batch, opaque, "", func(c *Config) { c.Raw = true }},
		{"raw-3.1.1", "raw", encode.Batch, opaque, "", func(c *Config) { c.Raw, c.Protocol = true, V311 }},
		{"json-reading-5", "json", encode.Reading, plain, "tg/{gateway}/{device}/{metric}", nil},
		{"json-reading-3.1.1", "json", encode.Reading, plain, "tg/{gateway}/{device}/{metric}", func(c *Config) { c.Protocol = V311 }},
		{"value-reading-5-bare-500-aliases", "value", encode.Reading, plain, "tg/{gateway}/{device}/{metric}", func(c *Config) { c.Bare, c.Address, c.MaxAliases = true, generous, 500 }},
		{"value-reading-5-bare", "value", encode.Reading, plain, "tg/{gateway}/{device}/{metric}", func(c *Config) { c.Bare = true }},
		{"senml-device-5", "senml+json", encode.Device, plain, "tg/{gateway}/{device}", nil},
		{"json-batch-5", "json", encode.Batch, plain, "tg/{gateway}/{lane}", nil},
		{"packed-batch-5", "packed", encode.Batch, plain, "tg/{gateway}/{lane}", nil},
		{"packed-batch-5-QoS2", "packed", encode.Batch, plain, "tg/{gateway}/{lane}", func(c *Config) { c.QoS = 2 }},
	}
}

// BenchmarkUplink sends the same 4,000 readings, of 1,000 messages of devices, in
// different ways to mosquitto, and reports what one costs on the wire: bytes of
// MQTT both ways, without TCP/IP and TLS.
func BenchmarkUplink(b *testing.B) {
	server := servertest.Mosquitto(b, servertest.Config("set_tcp_nodelay true")).Addr("mqtt")
	generous := servertest.Mosquitto(b, servertest.Config("set_tcp_nodelay true", "max_topic_alias 500")).Addr("mqtt")
	topics, payloads, decoded := telemetry()
	raw := make([]reading.Reading, len(topics))
	for i := range topics {
		raw[i] = reading.Reading{Device: topics[i], Metric: rawMetric, Time: int64(i), Value: reading.Bytes(payloads[i]), Flags: reading.Flags(0).WithQoS(1)}
	}
	plain, opaque := blocks(b, decoded), blocks(b, raw)
	for _, c := range ways(plain, opaque, generous) {
		b.Run(c.name, func(b *testing.B) {
			m := message(b, c.encoding, c.per, c.blocks)
			var bytes, pieces atomic.Int64
			cfg := basic(server)
			cfg.Topic = template(c.topic)
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return counted{conn, &bytes, &pieces}, err
			}
			if c.change != nil {
				c.change(&cfg)
			}
			sink := newSink(b, cfg)
			if err := sink.Send(b.Context(), m); err != nil { // connects
				b.Fatal(err)
			}
			before := sink.Stats()
			bytes.Store(0)
			pieces.Store(0)
			b.ReportAllocs()
			for b.Loop() {
				if err := sink.Send(b.Context(), m); err != nil {
					b.Fatal(err)
				}
			}
			all := float64(b.N) * values
			b.ReportMetric(float64(bytes.Load())/all, "B/reading")
			b.ReportMetric(float64(pieces.Load())/all, "calls/reading")
			b.ReportMetric(all/b.Elapsed().Seconds(), "readings/s")
			b.ReportMetric(float64(sink.Stats().AliasSaved-before.AliasSaved)/all, "alias-B/reading")
		})
	}
}

// BenchmarkBridge lets mosquitto's own bridge carry the 1,000 messages to
// another mosquitto, and reports the same figures.
func BenchmarkBridge(b *testing.B) {
	for _, version := range []string{"mqttv311", "mqttv50"} {
		b.Run(version, func(b *testing.B) {
			far := servertest.Mosquitto(b, servertest.Config("set_tcp_nodelay true")).Addr("mqtt")
			var bytes, pieces atomic.Int64
			near := bridge(b, forward(b, far, &bytes, &pieces), version)
			inbox := watch3(b, far, "", "", "site/#")
			topics, payloads, _ := telemetry()
			cfg := basic(near)
			cfg.Raw, cfg.Bare = true, true
			sensors := newSink(b, cfg)
			m := uplink.Message{Parts: []uplink.Part{}}
			for i := range topics {
				m.Parts = append(m.Parts, uplink.Part{Device: topics[i], Body: []byte(payloads[i]), First: uint64(i), Last: uint64(i), Count: 1})
			}
			send := func() {
				if err := sensors.Send(b.Context(), m); err != nil {
					b.Fatal(err)
				}
				for range topics {
					<-inbox
				}
			}
			send() // the bridge is up
			bytes.Store(0)
			pieces.Store(0)
			for b.Loop() {
				send()
			}
			all := float64(b.N) * values
			b.ReportMetric(float64(bytes.Load())/all, "B/reading")
			b.ReportMetric(float64(pieces.Load())/all, "calls/reading")
			b.ReportMetric(all/b.Elapsed().Seconds(), "readings/s")
		})
	}
}

// bridge starts a mosquitto that bridges everything to an address, and returns
// its own.
func bridge(b *testing.B, to, version string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := b.TempDir()
	config := filepath.Join(dir, "m.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 0\nset_tcp_nodelay true\nconnection far\naddress %s\nbridge_protocol_version %s\n"+
		"topic # out 1\ntry_private false\nnotifications false\nbridge_attempt_unsubscribe false\n", address[strings.LastIndexByte(address, ':')+1:], to, version)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("mosquitto", "-c", config)
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for range look.C {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			break
		}
	}
	return address
}

// forward counts what passes between whoever dials it and the address.
func forward(b *testing.B, to string, bytes, pieces *atomic.Int64) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var tasks sync.WaitGroup
	var conns []net.Conn
	var mu sync.Mutex
	tasks.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			mu.Lock()
			conns = append(conns, near, far)
			mu.Unlock()
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				tasks.Go(func() {
					defer way[1].Close()
					buf := make([]byte, 64<<10)
					for {
						n, err := way[0].Read(buf)
						bytes.Add(int64(n))
						pieces.Add(1)
						if _, werr := way[1].Write(buf[:n]); err != nil || werr != nil {
							return
						}
					}
				})
			}
		}
	})
	b.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		tasks.Wait()
	})
	return l.Addr().String()
}

var _ io.Closer = (*Sink)(nil)
