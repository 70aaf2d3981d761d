package decode

import (
	"encoding/json"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

const fourMetrics = `{"ts":1700000000123,"temp":21.37,"hum":48.2,"bat":3.71,"rssi":-67}`

func BenchmarkJSONFourMetrics(b *testing.B) {
	f := Frame{Device: "boiler-3", Payload: []byte(fourMetrics)}
	b.Run("tidegate", func(b *testing.B) {
		d := NewJSON(JSONConfig{})
		var rs []reading.Reading
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if rs, err = d.Decode(rs[:0], f); err != nil || len(rs) != 4 {
				b.Fatal(rs, err)
			}
		}
		b.ReportMetric(4*float64(b.N)/b.Elapsed().Seconds(), "values/s")
	})
	b.Run("encoding-json-map", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m map[string]any
			if err := json.Unmarshal(f.Payload, &m); err != nil || len(m) != 5 {
				b.Fatal(m, err)
			}
		}
		b.ReportMetric(4*float64(b.N)/b.Elapsed().Seconds(), "values/s")
	})
}
