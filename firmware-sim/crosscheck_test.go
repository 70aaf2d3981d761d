package firmwaresim

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/frame"
)

// framings are what a gateway is configured with for each encoding.
func framings() map[Encoding]frame.Config {
	return map[Encoding]frame.Config{
		JSONLine: {Checksum: frame.CRC16CCITT, Form: frame.Hex}, // summed
		CSV:      {Checksum: frame.CRC16CCITT, Form: frame.Hex},
		KeyValue: {Checksum: frame.CRC16CCITT, Form: frame.Hex},
		NMEA:     {Checksum: frame.NMEA},
		SLIP:     {Kind: frame.SLIP, Checksum: frame.CRC16CCITT},
		COBS:     {Kind: frame.COBS, Checksum: frame.CRC16CCITT},
		Length:   {Kind: frame.Length, Sync: "\xAA\x55", Length: frame.LengthField{Offset: 2}, Checksum: frame.CRC16CCITT},
		STXETX:   {Kind: frame.STXETX, Envelope: frame.Envelope{SumAfterEnd: true}, Checksum: frame.XOR8},
		Fixed:    {Kind: frame.Fixed, Size: 21, Sync: "\x01\x03\x10", Checksum: frame.CRC16Modbus},
	}
}

// The gateway's framings share no code with the encodings. What they cut out of
// a stream with every fault in it must be payloads that were sent, each at most
// as often, and most of them.
func TestTheGatewayCutsTheFramesThatWereSent(t *testing.T) {
	faults := Faults{Split: .3, Merge: .2, Noise: .05, Corrupt: .05, Drop: .02, Duplicate: .03}
	const n = 2000
	for _, e := range Encodings() {
		for name, f := range map[string]Faults{"none": {}, "all": faults} {
			scanner, err := frame.New(framings()[e])
			if err != nil {
				t.Fatal(err)
			}
			device, stream := NewDevice(1, 0, JSON4, true), f.Stream(1, 0)
			sent, got := make(map[string]int), 0
			write := func(pieces []Piece) {
				for _, p := range pieces {
					scanner.Write(p.Bytes)
					for cut, ok := scanner.Next(); ok; cut, ok = scanner.Next() {
						if sent[string(cut)]--; sent[string(cut)] < 0 {
							t.Errorf("%s, %s faults: %q was never sent, or not so often", e, name, cut)
						}
						got++
					}
				}
			}
			for i := range n {
				payload := e.Payload(nil, "", device.Measure(time.UnixMilli(1_700_000_000_000+int64(i))))
				pieces, copies := stream.Frame(e.Frame(nil, payload, e.line()))
				sent[string(bytes.Clone(payload))] += copies
				write(pieces)
			}
			write(stream.Flush())
			if name == "none" && got != n || got < n*8/10 {
				t.Errorf("%s, %s faults: %d of %d frames, %+v", e, name, got, n, scanner.Stats())
			}
		}
	}
}

// decoders are what a gateway is configured with for each encoding.
func decoders(t *testing.T) map[Encoding]decode.Decoder {
	t.Helper()
	columns := func(names ...string) (columns []decode.Column) {
		for _, name := range names {
			c := decode.Column{Name: name}
			if name == "ts" {
				c.Type = "time"
			}
			columns = append(columns, c)
		}
		return columns
	}
	record := decode.BinaryConfig{Order: "little", Fields: []decode.BinaryField{
		{Name: "seq", Type: "u32"}, {Type: "u64", Time: "ms"}, {Name: "temp", Type: "i16", Scale: .01}, {Name: "hum", Type: "u16", Scale: .1},
		{Name: "bat", Type: "u16", Scale: .01}, {Name: "rssi", Type: "i16"}, {Name: "lux", Type: "u16"}}}
	registers := decode.BinaryConfig{Fields: []decode.BinaryField{
		{Name: "seq", Type: "u32"}, {Type: "u32", Time: "s"}, {Name: "temp", Type: "i16", Scale: .01}, {Name: "hum", Type: "u16", Scale: .1},
		{Name: "bat", Type: "u16", Scale: .01}, {Name: "rssi", Type: "i16"}}}
	csv, err1 := decode.NewCSV(decode.CSVConfig{Columns: columns("seq", "ts", "temp", "hum", "bat", "rssi")})
	pairs, err2 := decode.NewKeyValue(decode.KeyValueConfig{})
	nmea, err3 := decode.NewNMEA(decode.NMEAConfig{NoChecksum: true})
	binary, err4 := decode.NewBinary(record)
	modbus, err5 := decode.NewBinary(registers)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	return map[Encoding]decode.Decoder{
		JSONLine: decode.NewJSON(decode.JSONConfig{}), CSV: csv, STXETX: csv, KeyValue: pairs, NMEA: nmea,
		SLIP: binary, COBS: binary, Length: binary, Fixed: modbus,
	}
}

func TestTheGatewayDecodesWhatWasMeasured(t *testing.T) {
	for e, decoder := range decoders(t) {
		device := NewDevice(1, 0, JSON4, true)
		for i := range 500 {
			m := device.Measure(time.UnixMilli(1_700_000_000_123 + int64(i)))
			payload := e.Payload(nil, "", m)
			rs, err := decoder.Decode(nil, decode.Frame{Device: "d", Payload: payload})
			if err != nil {
				t.Fatalf("%s: %q: %v", e, payload, err)
			}
			got := make(map[string]float64)
			for _, r := range rs {
				got[r.Metric], _ = r.Value.Number()
				if at := time.Unix(0, r.Time); r.Time != 0 && at.Unix() != m.At.Unix() {
					t.Fatalf("%s: %q is of %v", e, payload, at)
				}
			}
			for metric, want := range map[string]float64{"seq": float64(m.Seq), "temp": float64(m.Temp) / 100, "hum": float64(m.Hum) / 10, "bat": float64(m.Bat) / 100} {
				if got[metric] != want {
					t.Fatalf("%s: %q: %s is %v, want %v; %v", e, payload, metric, got[metric], want, got)
				}
			}
		}
	}
}
