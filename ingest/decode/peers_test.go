package decode

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/tidegate/tidegate/reading"
)

// TestCBORReadsWhatTheLibraryWrites has the library write random values in the
// widths that it chooses, which never change a value.
func TestCBORReadsWhatTheLibraryWrites(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 14))
	mode, err := cbor.EncOptions{
		ShortestFloat: cbor.ShortestFloat16, BigIntConvert: cbor.BigIntConvertNone,
		Time: cbor.TimeUnix, TimeTag: cbor.EncTagRequired,
	}.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	d := newCBOR(CBORConfig{})
	at := time.Unix(1_700_000_000, 0)
	for range 20_000 {
		want := randomValue(random)
		payload, err := mode.Marshal(struct {
			Time  time.Time `cbor:"time"`
			Value any       `cbor:"motor"`
		}{at, []any{map[string]any{"x": want}}})
		if err != nil {
			t.Fatal(err)
		}
		rs, err := d.Decode(nil, Frame{Device: "dev", Payload: payload})
		if err != nil || len(rs) != 1 || rs[0].Metric != "motor.0.x" || rs[0].Time != at.UnixNano() {
			t.Fatalf("%v as %x: %v, %v", want, payload, rs, err)
		}
		if !sameAsLibrary(rs[0].Value, want) {
			t.Fatalf("%v as %x: %v", want, payload, rs[0].Value)
		}
	}
}

func randomValue(random *rand.Rand) any {
	switch random.IntN(7) {
	case 0:
		return random.Uint64() >> random.IntN(64)
	case 1:
		return -int64(random.Uint64() >> (1 + random.IntN(63)))
	case 2:
		return math.Round(random.NormFloat64()*1e4) / 100
	case 3:
		return float64(float32(random.NormFloat64()))
	case 4:
		return random.IntN(2) == 0
	case 5:
		return strings.Repeat("ä", random.IntN(40))
	}
	return bytes.Repeat([]byte{byte(random.Uint32())}, random.IntN(300))
}

// TestCutPayloadsAreRefused cuts every payload of the golden cases that one of
// these decoders takes at every byte: none of their formats can end early.
func TestCutPayloadsAreRefused(t *testing.T) {
	cut := 0
	for pattern, d := range map[string]Decoder{
		"cbor-*":       newCBOR(CBORConfig{}),
		"senml-cbor-*": senmlCBORDecoder(t, SenMLConfig{}),
		"senml-rfc*":   senmlJSONDecoder(t, SenMLConfig{}),
		"lpp-spec-gps": lppDecoder(t, LPPConfig{}),
	} {
		files, err := filepath.Glob("testdata/" + pattern + "/in*")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no payloads: %v", pattern, err)
		}
		for _, file := range files {
			payload := bytes.TrimSpace(payloadOf(t, file))
			f := Frame{Device: "dev", Payload: payload, Now: fuzzNow}
			if _, err := d.Decode(nil, f); err != nil {
				continue
			}
			for n := range payload {
				f.Payload = payload[:n:n]
				if rs, err := d.Decode(nil, f); err == nil {
					t.Fatalf("%s: the first %d bytes of %d give %v", file, n, len(payload), rs)
				}
				cut++
			}
		}
	}
	if cut < 2000 {
		t.Errorf("only %d cuts", cut)
	}
}

// TestBinaryAgreesWithEncodingBinary reads random bytes with a layout, and with
// the struct that a program would declare.
func TestBinaryAgreesWithEncodingBinary(t *testing.T) {
	type layout struct {
		A uint8
		B int8
		C uint16
		D int16
		E uint32
		F int32
		G uint64
		H int64
		I float32
		J float64
	}
	random := rand.New(rand.NewPCG(15, 16))
	types := []string{"u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"}
	for _, order := range []string{"big", "little"} {
		cfg := BinaryConfig{Order: order}
		for i, typ := range types {
			cfg.Fields = append(cfg.Fields, BinaryField{Name: fmt.Sprint(i), Type: typ, Widen: true})
		}
		d := binaryDecoder(t, cfg)
		for range 5000 {
			payload := make([]byte, binary.Size(layout{}))
			for i := range payload {
				payload[i] = byte(random.Uint32())
			}
			var l layout
			var by binary.ByteOrder = binary.BigEndian
			if order == "little" {
				by = binary.LittleEndian
			}
			if err := binary.Read(bytes.NewReader(payload), by, &l); err != nil {
				t.Fatal(err)
			}
			wide := reading.Float(float64(l.G))
			if l.G <= math.MaxInt64 {
				wide = reading.Number(int64(l.G))
			}
			want := map[string]reading.Value{
				"0": reading.Number(int64(l.A)), "1": reading.Number(int64(l.B)), "2": reading.Number(int64(l.C)),
				"3": reading.Number(int64(l.D)), "4": reading.Number(int64(l.E)), "5": reading.Number(int64(l.F)),
				"6": wide, "7": reading.Number(l.H), "8": reading.Float(float64(l.I)), "9": reading.Float(l.J),
			}
			for name, v := range want {
				if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
					delete(want, name)
				}
			}
			rs, err := d.Decode(nil, Frame{Payload: payload})
			if err != nil || len(rs) != len(want) {
				t.Fatalf("%s of %x: %v, %v", order, payload, rs, err)
			}
			for _, r := range rs {
				if r.Value != want[r.Metric] {
					t.Fatalf("%s of %x: %s is %v, want %v", order, payload, r.Metric, r.Value, want[r.Metric])
				}
			}
		}
	}
}
