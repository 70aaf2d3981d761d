package httpout

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/wire"
)

// fleet returns a block of 100 devices that report four metrics 10 times.
func fleet(b *testing.B) wire.Block {
	b.Helper()
	var rs []reading.Reading
	for s := range 10 {
		for d := range 100 {
			r := reading.Reading{Device: fmt.Sprintf("dev-%04d", d), Time: began + int64(s)*1_000_000_000 + int64(d)*1_000_000}
			walk := math.Sin(float64(s*100 + d*37))
			for metric, v := range map[string]float64{"temp": 20 + walk, "hum": 50 + 3*walk, "bat": 3.7, "rssi": -60} {
				r.Metric, r.Value = metric, reading.Float(math.Round(v*100)/100)
				rs = append(rs, r)
			}
		}
	}
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: 7, First: 1}, rs)
	if err != nil {
		b.Fatal(err)
	}
	block, _, err := wire.ParseBlock(raw)
	if err != nil {
		b.Fatal(err)
	}
	return block
}

// BenchmarkCompression compresses the same 4,000 readings in each encoding.
func BenchmarkCompression(b *testing.B) {
	blocks := []wire.Block{fleet(b)}
	for _, name := range []string{"packed", "json", "senml+json", "senml+cbor", "line"} {
		e, err := encode.New(encode.Config{Gateway: "north-7", Encoding: name})
		if err != nil {
			b.Fatal(err)
		}
		body, _, err := e.Encode(nil, blocks, math.MaxInt)
		if err != nil {
			b.Fatal(err)
		}
		for _, how := range []Compression{None, Gzip, Zstd} {
			b.Run(name+"/"+string(how), func(b *testing.B) {
				p, err := newPacker(how)
				if err != nil {
					b.Fatal(err)
				}
				defer p.close()
				var packed []byte
				for b.Loop() {
					if packed, _, err = p.pack(e.ContentType(), body); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				b.ReportMetric(float64(len(packed))/4000, "B/reading")
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4000, "ns/reading")
			})
		}
	}
}

// BenchmarkSend sends messages of 4,000 readings over loopback, one after the
// other.
func BenchmarkSend(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	block := fleet(b)
	for _, name := range []string{"packed", "json", "line"} {
		b.Run(name, func(b *testing.B) {
			e, err := encode.New(encode.Config{Gateway: "north-7", Encoding: name})
			if err != nil {
				b.Fatal(err)
			}
			sink, err := New(Config{URL: server.URL, TrustStatus: true, Compression: Auto})
			if err != nil {
				b.Fatal(err)
			}
			defer sink.Close()
			for b.Loop() {
				body, parts, err := e.Encode(nil, []wire.Block{block}, math.MaxInt)
				if err != nil {
					b.Fatal(err)
				}
				m := uplink.Message{Key: key, Count: block.Count, ContentType: e.ContentType(), Body: body, Parts: parts}
				if err := sink.Send(b.Context(), m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ReportMetric(4000*float64(b.N)/b.Elapsed().Seconds(), "readings/s")
		})
	}
}
