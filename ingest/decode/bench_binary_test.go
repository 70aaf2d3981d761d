package decode

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/tidegate/tidegate/reading"
)

// benchDecoder measures payloads of four values.
func benchDecoder(b *testing.B, name string, d Decoder, payload []byte) {
	b.Run(name, func(b *testing.B) {
		f := Frame{Device: "boiler-3", Payload: payload, Now: fuzzNow}
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
}

// benchBaseline measures how others read the same four values.
func benchBaseline(b *testing.B, name string, read func() error) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := read(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(4*float64(b.N)/b.Elapsed().Seconds(), "values/s")
	})
}

func BenchmarkCBORFourMetrics(b *testing.B) {
	payload := fourCBOR(b)
	benchDecoder(b, "tidegate", newCBOR(CBORConfig{}), payload)
	benchDecoder(b, "tidegate-json", NewJSON(JSONConfig{}), []byte(fourMetrics))
	benchBaseline(b, "fxamacker-map", func() error {
		var m map[string]any
		return cbor.Unmarshal(payload, &m)
	})
	benchBaseline(b, "encoding-json-map", func() error {
		var m map[string]any
		return json.Unmarshal([]byte(fourMetrics), &m)
	})
}

// senmlRecord is what a program would declare that reads SenML with a library.
type senmlRecord struct {
	BaseName string  `json:"bn" cbor:"-2,keyasint,omitempty"`
	BaseTime float64 `json:"bt" cbor:"-3,keyasint,omitempty"`
	Name     string  `json:"n" cbor:"0,keyasint,omitempty"`
	Unit     string  `json:"u" cbor:"1,keyasint,omitempty"`
	Value    float64 `json:"v" cbor:"2,keyasint,omitempty"`
}

func BenchmarkSenMLFourMetrics(b *testing.B) {
	payload := fourSenMLCBOR(b)
	benchDecoder(b, "tidegate-json", senmlJSONDecoder(b, SenMLConfig{}), []byte(fourSenML))
	benchDecoder(b, "tidegate-cbor", senmlCBORDecoder(b, SenMLConfig{}), payload)
	benchBaseline(b, "encoding-json-structs", func() error {
		var records []senmlRecord
		return json.Unmarshal([]byte(fourSenML), &records)
	})
	benchBaseline(b, "fxamacker-structs", func() error {
		var records []senmlRecord
		return cbor.Unmarshal(payload, &records)
	})
}

func BenchmarkLPPFourMetrics(b *testing.B) {
	benchDecoder(b, "tidegate", lppDecoder(b, LPPConfig{}), []byte(fourLPP))
	benchBaseline(b, "encoding-json-map", func() error {
		var m map[string]any
		return json.Unmarshal([]byte(fourMetrics), &m)
	})
}

func BenchmarkBinaryFourMetrics(b *testing.B) {
	benchDecoder(b, "tidegate", binaryDecoder(b, fourBinaryLayout()), []byte(fourBinary))
	benchBaseline(b, "encoding-binary-read", func() error {
		var layout struct {
			Time     uint32
			Temp     int16
			Hum, Bat uint16
			RSSI     int8
		}
		return binary.Read(bytes.NewReader([]byte(fourBinary)), binary.BigEndian, &layout)
	})
	benchBaseline(b, "encoding-json-map", func() error {
		var m map[string]any
		return json.Unmarshal([]byte(fourMetrics), &m)
	})
}
