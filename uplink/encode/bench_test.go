package encode

import (
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

func BenchmarkJSON(b *testing.B) {
	blocks := commits(b, 10, 100)
	j := NewJSON("gw")
	var body []byte
	for b.Loop() {
		var err error
		if body, _, err = j.Encode(body[:0], blocks, math.MaxInt); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(body))/4000, "B/reading")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4000, "ns/reading")
}
