package encode

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/tidegate/tidegate/wire"
)

// BenchmarkPacked reports the time and the bytes of a reading, and the bytes it
// would take without merging, by the number of devices in a commit.
func BenchmarkPacked(b *testing.B) {
	for _, c := range []struct{ blocks, devices int }{{200, 1}, {60, 25}, {20, 250}, {8, 2000}} {
		b.Run(fmt.Sprintf("blocks=%d/devices=%d", c.blocks, c.devices), func(b *testing.B) {
			blocks := commits(b, c.blocks, c.devices)
			plain, err := wire.AppendChunk(nil, wire.Chunk{Gateway: "gw", Blocks: blocks})
			if err != nil {
				b.Fatal(err)
			}
			p := NewPacked("gw")
			var body []byte
			for b.Loop() {
				if body, _, err = p.Encode(body[:0], blocks, math.MaxInt); err != nil {
					b.Fatal(err)
				}
			}
			n := float64(c.blocks * c.devices * 4)
			b.ReportMetric(float64(len(plain))/n, "B/reading-apart")
			b.ReportMetric(float64(len(body))/n, "B/reading")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/reading")
		})
	}
}

// BenchmarkEncodings writes the same 4,000 readings in every encoding and cut,
// and beside them in what encoding/json makes of them. The times of all but
// packed hold the decoding of the blocks.
func BenchmarkEncodings(b *testing.B) {
	blocks := commits(b, 10, 100)
	report := func(b *testing.B, size int) {
		b.ReportAllocs()
		b.ReportMetric(float64(size)/4000, "B/reading")
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4000, "ns/reading")
	}
	for _, name := range Encodings() {
		for per := range Per(pers) {
			e, err := New(Config{Gateway: "gw", Encoding: name, Per: per})
			if err != nil {
				continue
			}
			b.Run(name+"/"+per.String(), func(b *testing.B) {
				var body []byte
				for b.Loop() {
					if body, _, err = e.Encode(body[:0], blocks, math.MaxInt); err != nil {
						b.Fatal(err)
					}
				}
				report(b, len(body))
			})
		}
	}
	b.Run("encoding-json/batch", func(b *testing.B) {
		var body []byte
		for b.Loop() {
			body = marshalled(b, blocks)
		}
		report(b, len(body))
	})
}

// marshalled is the document as encoding/json writes it.
func marshalled(b *testing.B, blocks []wire.Block) []byte {
	type measured struct {
		Seq     uint64  `json:"seq"`
		Device  string  `json:"device"`
		Metric  string  `json:"metric"`
		Unit    string  `json:"unit,omitempty"`
		Time    int64   `json:"time"`
		Value   float64 `json:"value"`
		Quality string  `json:"quality"`
	}
	doc := struct {
		Gateway  string     `json:"gateway"`
		Epoch    string     `json:"epoch"`
		Lane     string     `json:"lane"`
		First    uint64     `json:"first"`
		Last     uint64     `json:"last"`
		Readings []measured `json:"readings"`
	}{Gateway: "gw", Epoch: "0000000000000005", Lane: "normal", First: 1, Last: 4000}
	for _, r := range decodeAll(b, blocks) {
		doc.Readings = append(doc.Readings, measured{Seq: r.seq, Device: r.Device, Metric: r.Metric, Unit: r.Unit, Time: r.Time, Value: r.Value.Float(), Quality: "good"})
	}
	body, err := json.Marshal(doc)
	if err != nil {
		b.Fatal(err)
	}
	return body
}
