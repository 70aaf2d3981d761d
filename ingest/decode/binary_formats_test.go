package decode

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/reading"
)

// made returns a decoder, or ends the test.
func made[D Decoder](t testing.TB, d D, err error) Decoder {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func senmlJSONDecoder(t testing.TB, cfg SenMLConfig) Decoder {
	d, err := NewSenMLJSON(cfg)
	return made(t, d, err)
}

func senmlCBORDecoder(t testing.TB, cfg SenMLConfig) Decoder {
	d, err := NewSenMLCBOR(cfg)
	return made(t, d, err)
}

func lppDecoder(t testing.TB, cfg LPPConfig) Decoder {
	d, err := NewLPP(cfg)
	return made(t, d, err)
}

func binaryDecoder(t testing.TB, cfg BinaryConfig) Decoder {
	d, err := NewBinary(cfg)
	return made(t, d, err)
}

// The same four metrics in every format.
const (
	fourSenML = `[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1700000000.123,"n":"temp","u":"Cel","v":21.37},` +
		`{"n":"hum","u":"%RH","v":48.2},{"n":"bat","u":"V","v":3.71},{"n":"rssi","u":"dBm","v":-67}]`
	fourLPP    = "\x01\x85\x65\x53\xf1\x00\x01\x67\x00\xd5\x02\x68\x60\x03\x02\x01\x73\x04\x02\xe5\xd4"
	fourBinary = "\x65\x53\xf1\x00\x08\x59\x12\xd4\x0e\x7e\xbd"
)

func fourBinaryLayout() BinaryConfig {
	return BinaryConfig{Fields: []BinaryField{
		{Type: "u32", Time: "s"},
		{Name: "temp", Type: "i16", Scale: 0.01, Unit: "Cel", Missing: []string{"0x7FFF"}},
		{Name: "hum", Type: "u16", Scale: 0.01, Unit: "%RH"},
		{Name: "bat", Type: "u16", Scale: 0.001, Unit: "V"},
		{Name: "rssi", Type: "i8", Unit: "dBm"},
	}}
}

// fourCBOR is fourMetrics in CBOR.
func fourCBOR(t testing.TB) []byte {
	payload, err := cborTwin([]byte(fourMetrics), nil)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func fourSenMLCBOR(t testing.TB) []byte {
	payload, err := cborTwin([]byte(fourSenML), senmlLabels)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func TestBinaryFormatsCostNoAllocationOnceNamesAreKnown(t *testing.T) {
	rs := make([]reading.Reading, 0, 32)
	rows := BinaryConfig{Repeat: []BinaryField{{Name: "a", Type: "f32"}}, Number: true, RowSeconds: 60}
	items := BinaryConfig{LengthSize: 1, Cases: []BinaryCase{{Tag: "01", Fields: []BinaryField{{Name: "a", Type: "u8"}}}}}
	for name, c := range map[string]struct {
		d       Decoder
		payload []byte
	}{
		"cbor":       {newCBOR(CBORConfig{}), fourCBOR(t)},
		"cbor-short": {newCBOR(CBORConfig{ShortFloats: true}), []byte("\x82\xfa\x41\xaa\xf5\xc3\xf9\x2e\x66")},
		"senml-json": {senmlJSONDecoder(t, SenMLConfig{}), []byte(fourSenML)},
		"senml-sum":  {senmlJSONDecoder(t, SenMLConfig{}), []byte(`[{"n":"a/b","bv":0.1,"v":2,"s":3.25,"t":-1}]`)},
		"senml-base": {senmlJSONDecoder(t, SenMLConfig{Split: "base"}), []byte(fourSenML)},
		"senml-cbor": {senmlCBORDecoder(t, SenMLConfig{}), fourSenMLCBOR(t)},
		"lpp":        {lppDecoder(t, LPPConfig{}), []byte(fourLPP)},
		"binary":     {binaryDecoder(t, fourBinaryLayout()), []byte(fourBinary)},
		"rows":       {binaryDecoder(t, rows), []byte("\x41\xaa\xf5\xc3\x41\xaa\xf5\xc3")},
		"items":      {binaryDecoder(t, items), []byte("\x01\x01\x02\x09\x01\x00")},
	} {
		f := Frame{Device: "dev", Payload: c.payload, Now: fuzzNow}
		if n := testing.AllocsPerRun(100, func() {
			if out, err := c.d.Decode(rs, f); err != nil || len(out) == 0 {
				t.Error(out, err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestHostileBinaryPayloadsCostMemoryInProportion measures what decoding
// allocates for payloads that make the most of one byte.
func TestHostileBinaryPayloadsCostMemoryInProportion(t *testing.T) {
	const size = 64 << 10
	fill := func(head, unit string) []byte {
		return append([]byte(head), bytes.Repeat([]byte(unit), size/len(unit))...)
	}
	ours := newCBOR(CBORConfig{})
	pack := senmlCBORDecoder(t, SenMLConfig{})
	text := senmlJSONDecoder(t, SenMLConfig{})
	lpp := lppDecoder(t, LPPConfig{})
	rows := binaryDecoder(t, BinaryConfig{Repeat: []BinaryField{{Name: "a", Type: "u8"}}})
	items := binaryDecoder(t, BinaryConfig{Cases: []BinaryCase{{Tag: "00", Fields: []BinaryField{{Name: "a", Type: "skip", Size: 1}}}}})
	for name, c := range map[string]struct {
		d       Decoder
		payload []byte
	}{
		"cbor numbers":        {ours, fill("\x9f", "\x01")},
		"cbor announced":      {ours, fill("\x9b\x00\x00\x00\x00\x00\x00\xff\xff", "\x01")},
		"cbor arrays":         {ours, fill("", "\x81")},
		"cbor indefinite":     {ours, fill("", "\x9f")},
		"cbor maps":           {ours, fill("", "\xa1\x60")},
		"cbor tags":           {ours, fill("", "\xc6")},
		"cbor nulls":          {ours, fill("\x9f", "\xf6")},
		"cbor empty chunks":   {ours, fill("\x5f", "\x40")},
		"cbor chunks":         {ours, fill("\x7f", "\x61a")},
		"cbor names":          {ours, fill("\xbf", "\x63\xc3\xbcx\xf6")},
		"cbor bignum":         {ours, fill("\xc2\x5f", "\x41\x01")},
		"senml empty records": {pack, fill("\x9f", "\xa0")},
		"senml skipped":       {pack, fill("\x81\xbf", "\x09\x80")},
		"senml nested":        {pack, fill("\x81\xa1\x09", "\x81")},
		"senml records":       {pack, fill("\x9f", "\xa2\x00\x61a\x02\x01")},
		"senml json records":  {text, fill("[", `{"n":"a","v":1},`)},
		"senml json skipped":  {text, fill(`[{"x":`, "[")},
		"senml json data":     {text, fill(`[{"vd":"`, "AAAA")},
		"lpp":                 {lpp, fill("", "\x01\x87\x01\x02\x03")},
		"lpp polylines":       {lpp, fill("", "\x01\xf0\x09\x01\x00\x00\x00\x00\x00\x00\x11")},
		"rows":                {rows, fill("", "\x01")},
		"items":               {items, fill("", "\x00\x00\x00")},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if rs, err := c.d.Decode(nil, Frame{Device: "dev", Payload: c.payload, Now: fuzzNow}); err == nil {
			t.Errorf("%s: taken, %d readings", name, len(rs))
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 64*size {
			t.Errorf("%s: %d bytes allocated for %d", name, got, len(c.payload))
		}
	}
}

// TestLPPValuesAreTheirNumbers reads random data of each public type of one
// number, and compares with what the specification says it is.
func TestLPPValuesAreTheirNumbers(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	d := lppDecoder(t, LPPConfig{})
	for id, c := range map[byte]struct {
		size    int
		signed  bool
		divisor float64
	}{
		0: {1, false, 1}, 1: {1, false, 1}, 2: {2, true, 100}, 3: {2, true, 100}, 100: {4, false, 1}, 101: {2, false, 1},
		103: {2, true, 10}, 104: {1, false, 2}, 115: {2, false, 10}, 116: {2, false, 100}, 117: {2, false, 1000},
		118: {4, false, 1}, 120: {1, false, 1}, 121: {2, true, 1}, 125: {2, false, 1}, 128: {2, false, 1},
		130: {4, false, 1000}, 131: {4, false, 1000}, 132: {2, false, 1},
	} {
		for range 200 {
			raw := random.Uint32() >> (32 - 8*c.size)
			data := binary.BigEndian.AppendUint32(nil, raw)[4-c.size:]
			want := float64(raw)
			if c.signed && raw>>(8*c.size-1) != 0 {
				want -= math.Pow(256, float64(c.size))
			}
			rs, err := d.Decode(nil, Frame{Device: "dev", Payload: append([]byte{7, id}, data...)})
			if err != nil || len(rs) != 1 || rs[0].Value != reading.Float(want/c.divisor) {
				t.Fatalf("type %d of %x: %v, %v, want %v", id, data, rs, err, want/c.divisor)
			}
		}
	}
}

func TestSenMLNamesAreDivided(t *testing.T) {
	for name, want := range map[string][2]string{
		"temp":                                 {"", "temp"},
		"boiler:temp":                          {"boiler", "temp"},
		"site/boiler/temp":                     {"site/boiler", "temp"},
		"site/boiler:temp":                     {"site/boiler", "temp"},
		"urn:dev:ow:10e2073a01080063":          {"urn:dev:ow:10e2073a01080063", ""},
		"urn:dev:ow:10e2073a01080063:temp":     {"urn:dev:ow:10e2073a01080063", "temp"},
		"urn:dev:ow:10e2073a01080063:a:b":      {"urn:dev:ow:10e2073a01080063:a", "b"},
		"urn:dev:ow:10e2073a01080063_temp":     {"urn:dev:ow:10e2073a01080063", "temp"},
		"urn:dev:ow:10e2073a01080063_temp_max": {"urn:dev:ow:10e2073a01080063", "temp_max"},
		"urn:dev:ow:10e2073a01080063/temp_max": {"urn:dev:ow:10e2073a01080063", "temp_max"},
		"urn:uuid:f81d4fae-7dec":               {"urn:uuid:f81d4fae-7dec", ""},
		"urn:uuid:f81d4fae-7dec/temp_max":      {"urn:uuid:f81d4fae-7dec", "temp_max"},
		"urn:dev:ow":                           {"urn:dev:ow", ""},
		"urn:":                                 {"urn:", ""},
		"2001:db8::1":                          {"2001:db8::1", ""},
		"2001:db8::1/temp":                     {"2001:db8::1", "temp"},
		"12:34:56:78":                          {"12:34:56", "78"},
		"temp/":                                {"temp", ""},
		"/3303/0/5700":                         {"/3303/0", "5700"},
	} {
		if device, metric := splitName(name); device != want[0] || metric != want[1] {
			t.Errorf("%s: %q and %q, want %q", name, device, metric, want)
		}
	}
}

func TestNumbersOfPackageScalarFollowTheRuleOfReadingValue(t *testing.T) {
	for v, want := range map[scalar.Value]reading.Value{
		{Kind: scalar.Int, Int: 1 << 53}:   reading.Float(1 << 53),
		{Kind: scalar.Int, Int: 1<<53 + 1}: reading.Int(1<<53 + 1),
		{Kind: scalar.Float, Float: 21.5}:  reading.Float(21.5),
		{Kind: scalar.Truth, Int: 1}:       reading.Bool(true),
		{Kind: scalar.Truth}:               reading.Bool(false),
	} {
		if got := Scalar(v); got != want {
			t.Errorf("%+v: %v, want %v", v, got, want)
		}
	}
}

// TestRelativeTimesFollowTheGatewaysClock makes sure that a gateway whose clock is not set
// yet, and says 1970, dates what it is told with it: Stamped marks such times,
// and they are set right with the clock.
func TestRelativeTimesFollowTheGatewaysClock(t *testing.T) {
	const uptime = 90_000_000_000
	payload := []byte(`[{"n":"a:x","t":-30,"v":1},{"n":"a:x","t":-120,"v":2},{"n":"a:x","v":3}]`)
	rs, err := senmlJSONDecoder(t, SenMLConfig{}).Decode(nil, Frame{Payload: payload, Now: uptime})
	if err != nil || len(rs) != 3 {
		t.Fatal(rs, err)
	}
	if rs[0].Time != 60_000_000_000 || rs[1].Time != 1 || rs[2].Time != 0 {
		t.Errorf("%v", rs)
	}
	if rs[0].Flags != reading.Stamped || rs[1].Flags != reading.Stamped || rs[2].Flags != 0 {
		t.Errorf("%v", rs)
	}
}

// newCBOR is NewCBOR for configurations that make sense.
func newCBOR(cfg CBORConfig) *CBOR {
	d, err := NewCBOR(cfg)
	if err != nil {
		panic(err)
	}
	return d
}
