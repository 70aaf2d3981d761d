package decode

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/reading"
)

const fuzzNow = 1_700_000_000_000_000_000

// seeds adds the payloads of the golden cases whose names match.
func seeds(f *testing.F, pattern string, add func(payload []byte)) {
	files, err := filepath.Glob("testdata/" + pattern + "/in*")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		if filepath.Ext(file) == ".hex" {
			add(hexPayload(f, file))
			continue
		}
		payload, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		add(payload)
	}
}

func hexPayload(f *testing.F, file string) []byte {
	text, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	payload, err := unhexed(string(text))
	if err != nil {
		f.Fatal(err)
	}
	return payload
}

// decodeSoundly decodes a payload and checks what holds for any: it is not
// changed, is taken whole or not at all, and gives no reading that a later storey
// would have to be afraid of.
func decodeSoundly(t *testing.T, d Decoder, payload []byte, most int) ([]reading.Reading, error) {
	t.Helper()
	before := bytes.Clone(payload)
	rs, err := d.Decode(nil, Frame{Device: "dev", Payload: payload, Now: fuzzNow})
	if !bytes.Equal(before, payload) {
		t.Fatal("the payload was changed")
	}
	if err != nil {
		if !errors.Is(err, ErrMalformed) || rs != nil || !strings.Contains(err.Error(), " — hint: ") {
			t.Fatalf("%v, %v", rs, err)
		}
		return nil, err
	}
	if len(rs) > most {
		t.Fatalf("%d readings", len(rs))
	}
	for _, r := range rs {
		if len(r.Metric) > maxName || r.Device == "" || !utf8.ValidString(r.Device+r.Metric+r.Unit) {
			t.Fatalf("%+v", r)
		}
		if r.Time != 0 && !plausible(r.Time) && r.Flags&reading.Stamped == 0 || r.Time < 0 || r.Time >= latest {
			t.Fatalf("time of %+v", r)
		}
		if v, _ := r.Value.Number(); math.IsNaN(v) || math.IsInf(v, 0) {
			t.Fatalf("not finite: %+v", r)
		}
		if r.Value.Kind() == reading.KindString && !utf8.ValidString(r.Value.Text()) {
			t.Fatalf("not UTF-8: %+v", r)
		}
	}
	return rs, nil
}

// FuzzCBOR checks that nothing is taken that the library would not take, and
// that a flat map means the same to both.
func FuzzCBOR(f *testing.F) {
	seeds(f, "cbor-*", func(payload []byte) { f.Add(payload) })
	d := newCBOR(CBORConfig{MaxReadings: 64, TimeKeys: []string{"\x00"}})
	timed := newCBOR(CBORConfig{MaxReadings: 64, ShortFloats: true})
	mode, err := cbor.DecOptions{
		MaxNestedLevels: 4 * maxDepth, DupMapKey: cbor.DupMapKeyEnforcedAPF, BigIntDec: cbor.BigIntDecodeValue,
		TimeTag: cbor.DecTagIgnored, UnrecognizedTagToAny: cbor.UnrecognizedTagContentToAny,
	}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if _, err := decodeSoundly(t, timed, payload, 64); err == nil && mode.Wellformed(payload) != nil {
			t.Fatalf("%x: taken, and %v", payload, mode.Wellformed(payload))
		}
		rs, err := decodeSoundly(t, d, payload, 64)
		if err != nil {
			return
		}
		var flat map[string]any
		if mode.Unmarshal(payload, &flat) != nil || len(flat) != len(rs) {
			return
		}
		for _, r := range rs {
			want, ok := flat[r.Metric]
			if !ok {
				return // nested
			}
			if !sameAsLibrary(r.Value, want) {
				t.Fatalf("%x: %q is %v, want %v", payload, r.Metric, r.Value, want)
			}
		}
	})
}

// sameAsLibrary compares values of the kinds that both have.
func sameAsLibrary(v reading.Value, want any) bool {
	switch want := want.(type) {
	case uint64:
		n, _ := v.Number()
		return n == float64(want) || v.Kind() == reading.KindInt && uint64(v.Int()) == want
	case int64:
		n, _ := v.Number()
		return n == float64(want)
	case float64:
		return v.Float() == want
	case string:
		return v == reading.String(want)
	case []byte:
		return v == reading.Bytes(string(want))
	case bool:
		return v == reading.Bool(want)
	}
	return true
}

// FuzzCBORReadsAsJSON checks that a JSON text and its twin in CBOR give the same
// readings, or are both refused.
func FuzzCBORReadsAsJSON(f *testing.F) {
	files, _ := filepath.Glob("testdata/*/in.json")
	for _, file := range files {
		payload, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	ours, twins := NewJSON(JSONConfig{MaxReadings: 64}), newCBOR(CBORConfig{MaxReadings: 64})
	f.Fuzz(func(t *testing.T, text []byte) {
		twin, err := cborTwin(text, nil)
		if err != nil || !utf8.Valid(text) {
			return
		}
		frame := Frame{Device: "dev", Metric: "m", Payload: text}
		want, err := ours.Decode(nil, frame)
		frame.Payload = twin
		got, twinErr := twins.Decode(nil, frame)
		if (err == nil) != (twinErr == nil) || !slices.Equal(got, want) {
			t.Fatalf("%s: %v, %v\n%x: %v, %v", text, want, err, twin, got, twinErr)
		}
	})
}

// FuzzSenMLJSON checks that a pack and its twin in CBOR give the same readings,
// or are both refused.
func FuzzSenMLJSON(f *testing.F) {
	seeds(f, "senml-[^c]*", func(payload []byte) { f.Add(payload) })
	d, err := NewSenMLJSON(SenMLConfig{MaxReadings: 64})
	if err != nil {
		f.Fatal(err)
	}
	twins, err := NewSenMLCBOR(SenMLConfig{MaxReadings: 64})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		want, err := decodeSoundly(t, d, payload, 64)
		twin, noTwin := cborTwin(payload, senmlLabels)
		if noTwin != nil || manyDigits(payload) || !utf8.Valid(payload) {
			return
		}
		got, twinErr := decodeSoundly(t, twins, twin, 64)
		if (err == nil) != (twinErr == nil) || !slices.Equal(got, want) {
			t.Fatalf("%s: %v, %v\n%x: %v, %v", payload, want, err, twin, got, twinErr)
		}
	})
}

// manyDigits says whether a number might be longer than a float's digits, or its
// version a float: sums of it differ between the notations.
func manyDigits(payload []byte) bool {
	digits := 0
	for _, c := range payload {
		if c >= '0' && c <= '9' || c == '.' {
			digits++
		} else if c != 'e' && c != 'E' && c != '-' && c != '+' {
			digits = 0
		}
		if digits > 15 {
			return true
		}
	}
	return false
}

func FuzzSenMLCBOR(f *testing.F) {
	seeds(f, "senml-cbor-*", func(payload []byte) { f.Add(payload) })
	for _, split := range []string{"last", "base", "none"} {
		if _, err := NewSenMLCBOR(SenMLConfig{Split: split}); err != nil {
			f.Fatal(err)
		}
	}
	d, _ := NewSenMLCBOR(SenMLConfig{MaxReadings: 64, AnyName: true})
	base, _ := NewSenMLCBOR(SenMLConfig{MaxReadings: 64, Split: "base", AnyName: true})
	f.Fuzz(func(t *testing.T, payload []byte) {
		rs, err := decodeSoundly(t, d, payload, 64)
		other, baseErr := decodeSoundly(t, base, payload, 64)
		if (err == nil) != (baseErr == nil) || len(rs) != len(other) {
			t.Fatalf("%v, %v, and divided at the base %v, %v", rs, err, other, baseErr)
		}
		if err == nil && cbor.Wellformed(payload) != nil && !bytes.Contains(payload, []byte{0xd9, 0xd9, 0xf7}) {
			mode, err := cbor.DecOptions{MaxNestedLevels: 4 * maxDepth}.DecMode()
			if err != nil || mode.Wellformed(payload) != nil {
				t.Fatalf("%x: taken, and %v", payload, cbor.Wellformed(payload))
			}
		}
	})
}

func FuzzLPP(f *testing.F) {
	seeds(f, "lpp-*", func(payload []byte) { f.Add(payload) })
	d, err := NewLPP(LPPConfig{MaxReadings: 64})
	if err != nil {
		f.Fatal(err)
	}
	padded, err := NewLPP(LPPConfig{MaxReadings: 64, ZeroPadded: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		rs, err := decodeSoundly(t, d, payload, 64)
		if err == nil && len(rs) == 0 {
			t.Fatal("taken, and nothing found")
		}
		if _, err := decodeSoundly(t, padded, append(payload, 0, 0, 0), 64); err != nil && rs != nil && !bytes.Contains(payload, []byte{0, 0}) && len(rs) < 64 {
			t.Fatalf("%x with padding: %v", payload, err)
		}
	})
}

// FuzzBinary makes a layout of any bytes, and reads any payload with it.
func FuzzBinary(f *testing.F) {
	f.Add([]byte{3, 0, 14, 1, 22, 5}, []byte{2, 0x81}, []byte{0x10}, byte(1), int8(60), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{1}, []byte{}, []byte{1, 2, 3}, byte(2), int8(0), bytes.Repeat([]byte{0x17, 1}, 20))
	f.Fuzz(func(t *testing.T, fields, repeat, item []byte, lengthSize byte, step int8, payload []byte) {
		cfg := BinaryConfig{
			Fields: fuzzFields(fields), Repeat: fuzzFields(repeat), LengthSize: int(lengthSize % 5),
			RowSeconds: float64(step), Number: step%2 == 0, MaxReadings: 64,
		}
		if len(repeat) == 0 {
			cfg.Cases = []BinaryCase{{Tag: "17", Fields: fuzzFields(item)}, {Tag: "01", Repeat: fuzzFields(item)}}
		}
		d, err := NewBinary(cfg)
		if err != nil {
			if !strings.Contains(err.Error(), " — hint: ") {
				t.Fatal(err)
			}
			return
		}
		rs, err := decodeSoundly(t, d, payload, 64)
		if err == nil && len(payload) == 0 {
			t.Fatalf("an empty payload: %v", rs)
		}
	})
}

// fuzzFields makes a field of each pair of bytes.
func fuzzFields(b []byte) (fields []BinaryField) {
	names := []string{"", "a", "b", "c"}
	for len(b) >= 2 && len(fields) < 20 {
		kind, how := b[0], b[1]
		b = b[2:]
		f := BinaryField{Name: names[how&3], Order: scalar.Order(how >> 2 & 3).String(), Same: how&0x10 != 0}
		switch {
		case kind%26 < 21:
			f.Type = scalar.Type(kind%26 + 1).String()
		default:
			f.Type = []string{"bool", "string", "bytes", "skip", "u32"}[kind%26-21]
		}
		switch how >> 5 {
		case 1:
			f.Scale = 0.1
		case 2:
			f.Time = "s"
		case 3:
			f.Time = "ago"
		case 4:
			bit := int(kind & 7)
			f.Bit = &bit
		case 5:
			f.Missing = []string{"0x7F"}
		case 6:
			at := int(kind)
			f.At, f.Same = &at, false
		case 7:
			f.Size = int(kind & 7)
		}
		fields = append(fields, f)
	}
	return fields
}

// TestConfigurationsHaveFlatKeys makes sure that each key of a configuration
// file is one exported field, of a kind that such files have.
func TestConfigurationsHaveFlatKeys(t *testing.T) {
	for _, cfg := range []any{CBORConfig{}, SenMLConfig{}, LPPConfig{}, LPPType{}, BinaryConfig{}, BinaryCase{}, BinaryField{}} {
		typ := reflect.TypeOf(cfg)
		for i := range typ.NumField() {
			field := typ.Field(i)
			kind := field.Type.Kind()
			if !field.IsExported() || field.Anonymous || kind == reflect.Map || kind == reflect.Interface || kind == reflect.Func {
				t.Errorf("%s.%s is a %s", typ.Name(), field.Name, kind)
			}
		}
	}
}
