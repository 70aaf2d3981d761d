package dialect

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

const benchMetrics = 10

// tenMetrics returns the birth of a device, a message of ten aliased metrics,
// and what that says as JSON.
func tenMetrics(b *testing.B) (birth, data, json []byte) {
	b.Helper()
	var born, told, plain []string
	for i := range benchMetrics {
		born = append(born, fmt.Sprintf(`{"name":"Inputs/Channel %d","alias":%d,"type":9,"float":0,"properties":{"engUnit":{"of":12,"string":"°C"}}}`, i, i))
		told = append(told, fmt.Sprintf(`{"alias":%d,"ts":1772366400000,"float":%d.37}`, i, 20+i))
		plain = append(plain, fmt.Sprintf(`"Inputs/Channel %d":%d.37`, i, 20+i))
	}
	birth = encodeSparkplug(b, `{"ts":1772366400000,"metrics":[`+strings.Join(born, ",")+`]}`)
	data = encodeSparkplug(b, `{"ts":1772366400000,"metrics":[`+strings.Join(told, ",")+`]}`)
	return birth, data, []byte(`{"ts":1772366400000,` + strings.Join(plain, ",") + `}`)
}

// BenchmarkTenMetrics decodes ten floats: Sparkplug with aliases, and the same
// content as JSON with its names.
func BenchmarkTenMetrics(b *testing.B) {
	birth, data, json := tenMetrics(b)
	memory := ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now).Memory()
	d := NewSparkplug()
	if _, err := d.Decode(nil, decode.Frame{Topic: "spBv1.0/g/DBIRTH/n/d", Payload: birth, Memory: memory}); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		decoder decode.Decoder
		topic   string
		payload []byte
	}{
		{"sparkplug", d, "spBv1.0/g/DDATA/n/d", data},
		{"json", decode.NewJSON(decode.JSONConfig{}), "g/n/d", json},
		{"thin-edge", NewThinEdge(), "te/device/d///m/inputs", json},
		{"tasmota", NewTasmota(), "tele/d/SENSOR", json},
		{"zigbee2mqtt", NewZigbee2MQTT(), "zigbee2mqtt/d", json},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := decode.Frame{Topic: c.topic, Device: c.topic, Payload: c.payload, Memory: memory}
			var rs []reading.Reading
			b.ReportAllocs()
			b.SetBytes(int64(len(c.payload)))
			for b.Loop() {
				var err error
				if rs, err = c.decoder.Decode(rs[:0], f); err != nil || len(rs) < benchMetrics {
					b.Fatal(rs, err)
				}
			}
			b.ReportMetric(benchMetrics*float64(b.N)/b.Elapsed().Seconds(), "values/s")
		})
	}
}
