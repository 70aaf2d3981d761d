package wire

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// fleet returns telemetry of four metrics: devices that report in turn, n
// samples each, with a clock jitter of ±15 ms and values that walk.
func fleet(devices, samples int) []reading.Reading {
	rng := rand.New(rand.NewPCG(1, 2))
	type state struct{ temp, hum, bat, rssi float64 }
	states := make([]state, devices)
	for i := range states {
		states[i] = state{15 + 10*rng.Float64(), 40 + 20*rng.Float64(), 3.6 + 0.5*rng.Float64(), -60 - 20*rng.Float64()}
	}
	round := func(f float64, decimals int) reading.Value {
		p := math.Pow10(decimals)
		return reading.Float(math.Round(f*p) / p)
	}
	var rs []reading.Reading
	for s := range samples {
		for d := range devices {
			st := &states[d]
			st.temp += 0.05 * rng.NormFloat64()
			st.hum += 0.1 * rng.NormFloat64()
			st.bat -= 0.00002
			st.rssi += rng.NormFloat64()
			at := 1_700_000_000*second + int64(s)*30*second + int64(d)*31*1e6 + int64(rng.IntN(30))*1e6
			r := reading.Reading{Device: fmt.Sprintf("dev-%04d", d), Time: at}
			for _, f := range []struct {
				metric string
				v      reading.Value
			}{{"temp", round(st.temp, 2)}, {"hum", round(st.hum, 1)}, {"bat", round(st.bat, 3)}, {"rssi", round(st.rssi, 0)}} {
				r.Metric, r.Value = f.metric, f.v
				rs = append(rs, r)
			}
		}
	}
	return rs
}

// BenchmarkEncode reports the time and the bytes that a reading takes, by the
// number of samples a series in a block.
func BenchmarkEncode(b *testing.B) {
	for _, c := range []struct{ devices, samples int }{{1, 1}, {25, 1}, {500, 1}, {2000, 1}, {200, 10}, {20, 100}} {
		b.Run(fmt.Sprintf("devices=%d/samples=%d", c.devices, c.samples), func(b *testing.B) {
			rs := fleet(c.devices, c.samples)
			enc := NewEncoder()
			var raw []byte
			for b.Loop() {
				raw, _ = enc.AppendBlock(raw[:0], Header{Epoch: 1, First: 1}, rs)
			}
			b.ReportMetric(float64(len(raw))/float64(len(rs)), "B/reading")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rs)), "ns/reading")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	rs := fleet(200, 10)
	raw, _ := NewEncoder().AppendBlock(nil, Header{Epoch: 1, First: 1}, rs)
	dec := NewDecoder()
	var out []reading.Reading
	for b.Loop() {
		blk, _, _ := ParseBlock(raw)
		out, _ = dec.Decode(out[:0], blk)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rs)), "ns/reading")
}

// BenchmarkMerge merges the commits of ten seconds, one a second, into a chunk.
func BenchmarkMerge(b *testing.B) {
	rs := fleet(200, 10)
	var blocks []Block
	next := uint64(1)
	small := 0
	for part := range 10 {
		raw, _ := NewEncoder().AppendBlock(nil, Header{Epoch: 1, First: next}, rs[part*800:(part+1)*800])
		blk, _, _ := ParseBlock(raw)
		blocks, next, small = append(blocks, blk), blk.Last()+1, small+len(raw)
	}
	m := NewMerger()
	var raw []byte
	for b.Loop() {
		raw, _ = m.Merge(raw[:0], blocks)
	}
	b.ReportMetric(float64(small)/float64(len(rs)), "B/reading-apart")
	b.ReportMetric(float64(len(raw))/float64(len(rs)), "B/reading-merged")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rs)), "ns/reading")
}
