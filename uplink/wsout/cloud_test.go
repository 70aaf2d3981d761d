package wsout

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidegate/tidegate/cloud"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/uplink/httpout"
	"github.com/tidegate/tidegate/wire"
)

// startCloud starts a real cloud, and returns its address and its store.
func startCloud(t testing.TB, c cloud.ReceiverConfig) (string, *cloud.Store) {
	t.Helper()
	store, err := cloud.Open(cloud.StoreConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	receiver := cloud.NewReceiver(c, store, slog.New(slog.DiscardHandler))
	server := httptest.NewServer(cloud.Routes(receiver, store))
	t.Cleanup(func() {
		receiver.Close()
		server.Close()
		store.Close()
	})
	return strings.TrimPrefix(server.URL, "http://"), store
}

// batch is the n-th message of per readings of one device, as the encoder makes it.
func batch(t testing.TB, encoder uplink.Encoder, n, per int) uplink.Message {
	t.Helper()
	var rs []reading.Reading
	for i := range per {
		seq := int64(n*per + i)
		rs = append(rs, reading.Reading{Device: "boiler", Metric: "temp", Unit: "Cel", Time: 1_700_000_000_000_000_000 + seq*1e9, Value: reading.Float(20 + float64(seq%17)/10)})
	}
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: 0x4d2, First: uint64(n*per + 1)}, rs)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := wire.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := encoder.Encode(nil, []wire.Block{b}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return uplink.Message{
		Key:   uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: b.Lane, First: b.First, Last: b.Last()},
		Count: per, ContentType: encoder.ContentType(), Body: body,
	}
}

// The real cloud takes what the real encoders make, once, and says how large a
// message may be.
func TestRealCloud(t *testing.T) {
	address, store := startCloud(t, cloud.ReceiverConfig{Tokens: map[string]string{"north-7": "s3cret"}, MaxBody: 1 << 20})
	for name, encoder := range map[string]uplink.Encoder{"Packed": encode.NewPacked("north-7"), "JSON": encode.NewJSON("north-7")} {
		t.Run(name, func(t *testing.T) {
			sink := newSink(t, Config{URL: "ws://" + address + "/v1/ingest", Token: secret(t, "s3cret"), Deflate: name == "JSON"})
			if about, err := sink.Probe(within(t)); err != nil || !strings.Contains(about, "tidegate-cloud") || sink.Limit() != 1<<20 {
				t.Errorf("%q, %v, limit %d", about, err, sink.Limit())
			}
			var tasks sync.WaitGroup
			for n := range 20 {
				m := batch(t, encoder, n, 50)
				for range 2 { // and once more
					tasks.Go(func() {
						if err := sink.Send(within(t), m); err != nil {
							t.Error(err)
						}
					})
				}
			}
			tasks.Wait()
		})
	}
	// One answer is for both of two messages with the same key, and may come before
	// the second has been counted.
	waitFor(t, func() bool {
		lanes, err := store.Ledger()
		return err == nil && len(lanes) == 1 && lanes[0].Readings == 1000 && lanes[0].Duplicates == 3000 && len(lanes[0].Missing) == 0
	})
	sink := newSink(t, Config{URL: "ws://" + address + "/v1/ingest", Token: secret(t, "s3cret")})
	bad := batch(t, encode.NewPacked("north-7"), 99, 50)
	bad.Body = append([]byte(nil), bad.Body...)
	bad.Body[30] ^= 1
	if err := sink.Send(within(t), bad); classOf(err) != permanent {
		t.Errorf("a flipped bit: %v", err)
	}
	large := message(1, 1<<20+1)
	if err := sink.Send(within(t), large); classOf(err) != tooLarge {
		t.Errorf("too large: %v", err)
	}
	stranger := batch(t, encode.NewPacked("south"), 1, 5)
	stranger.Gateway = "south"
	if err := sink.Send(within(t), stranger); classOf(err) != "1m0s" {
		t.Errorf("another's readings: %v", err)
	}
}

// wire counts what goes over connections, both ways, above TCP.
type wireBytes struct{ up, down atomic.Int64 }

type countedConn struct {
	net.Conn
	n *wireBytes
}

func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.down.Add(int64(n))
	return n, err
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.up.Add(int64(n))
	return n, err
}

func (w *wireBytes) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	return countedConn{conn, w}, err
}

// BenchmarkDelivery is what a message costs over a WebSocket and over HTTP/1.1 to
// the real cloud, which syncs: time on this machine, and bytes above TCP both ways
// beside those of the body. Sixteen are on their way at once.
func BenchmarkDelivery(b *testing.B) {
	for _, per := range []int{1, 50, 1000} {
		for _, door := range []string{"WebSocket", "HTTP"} {
			for _, form := range []string{"Packed", "JSON"} {
				b.Run(fmt.Sprintf("%s/%s/%d", door, form, per), func(b *testing.B) { deliver(b, door, form, per) })
			}
		}
	}
}

func deliver(b *testing.B, door, form string, per int) {
	address, _ := startCloud(b, cloud.ReceiverConfig{})
	var encoder uplink.Encoder = encode.NewPacked("north-7")
	if form == "JSON" {
		encoder = encode.NewJSON("north-7")
	}
	var sent wireBytes
	var sink uplink.Sink
	if door == "HTTP" {
		s, err := httpout.New(httpout.Config{URL: "http://" + address + "/v1/ingest", UserAgent: "tidegate/0.1", Connections: 16, Compression: httpout.Auto, Dial: sent.dial})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		sink = s
	} else {
		sink = newSink(b, Config{URL: "ws://" + address + "/v1/ingest", UserAgent: "tidegate/0.1", Dial: sent.dial, Deflate: form == "JSON"})
	}
	todo := make(chan uplink.Message)
	var tasks sync.WaitGroup
	for range 16 {
		tasks.Go(func() {
			for m := range todo {
				if err := sink.Send(b.Context(), m); err != nil {
					b.Error(err)
				}
			}
		})
	}
	var messages []uplink.Message // what comes again costs the same, up to the store
	for n := range 64 {
		messages = append(messages, batch(b, encoder, n, per))
	}
	n, bodies := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		m := messages[n%len(messages)]
		todo <- m
		n++
		bodies += len(m.Body)
	}
	close(todo)
	tasks.Wait()
	b.ReportMetric(float64(sent.up.Load())/float64(n), "up-B/message")
	b.ReportMetric(float64(sent.down.Load())/float64(n), "down-B/message")
	b.ReportMetric(float64(bodies)/float64(n), "body-B/message")
	b.ReportMetric(float64(n*per)/b.Elapsed().Seconds(), "readings/s")
}
