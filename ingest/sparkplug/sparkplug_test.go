package sparkplug

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidegate/tidegate/reading"
)

func integerField(out []byte, number protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(out, number, protowire.VarintType), n)
}

func blockField(out []byte, number protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), b)
}

// valueOf returns a value in the form that a metric's field has.
func valueOf(t *testing.T, encoded []byte) Value {
	t.Helper()
	p, err := Parse(blockField(nil, 2, encoded))
	if err != nil {
		t.Fatal(err)
	}
	var m Metric
	if ok, err := p.Next(&m); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := p.Next(&m); ok || err != nil {
		t.Fatal(ok, err)
	}
	return m.Value
}

// Integers are two's complement of their datatype's width, whether or not the
// sender has extended the sign (Sparkplug 3.0, 6.4.16).
func TestIntegersHaveTheSignOfTheirDatatype(t *testing.T) {
	const short, long = 10, 11
	for _, c := range []struct {
		t     Type
		field protowire.Number
		bits  uint64
		want  string // empty: refused
	}{
		{Int8, short, 0x7f, "127"}, {Int8, short, 0x80, "-128"}, {Int8, short, 0xff, "-1"}, {Int8, short, 0xffffffff, "-1"},
		{Int8, short, 0xffffff80, "-128"}, {Int8, short, 0x100, ""}, {Int8, short, 0xffffff7f, ""}, {Int8, short, math.MaxUint64, "-1"},
		{Int16, short, 0xffff, "-1"}, {Int16, short, 0x8000, "-32768"}, {Int16, short, 0x10000, ""},
		{Int32, short, 0xffffffff, "-1"}, {Int32, short, 0x80000000, "-2.147483648e+09"}, {Int32, long, math.MaxUint64, "-1"}, {Int32, long, 0x100000000, ""},
		{Int64, long, math.MaxUint64, "-1"}, {Int64, long, 1 << 63, "-9223372036854775808"}, {Int64, short, 5, "5"},
		{UInt8, short, 255, "255"}, {UInt8, short, 256, ""}, {UInt16, short, 65535, "65535"}, {UInt16, short, 65536, ""},
		{UInt32, short, math.MaxUint32, "4.294967295e+09"}, {UInt32, long, math.MaxUint32, "4.294967295e+09"}, {UInt32, long, 1 << 32, ""},
		{UInt64, long, math.MaxUint64, "1.8446744073709552e+19"}, {UInt64, long, math.MaxInt64, "9223372036854775807"},
		{DateTime, long, 1486144502122, "1.486144502122e+12"},
		{Unknown, short, 1, ""}, {Float, short, 1, ""}, {Boolean, short, 1, ""}, {String, long, 1, ""}, {Int8Array, short, 1, ""},
	} {
		v := valueOf(t, integerField(nil, c.field, c.bits))
		got, err := v.Scalar(c.t)
		if c.want == "" {
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), " — hint: ") {
				t.Errorf("datatype %d, %#x: %v, %v", c.t, c.bits, got, err)
			}
			continue
		}
		if err != nil || got.String() != c.want {
			t.Errorf("datatype %d, %#x: got %v, %v, want %s", c.t, c.bits, got, err, c.want)
		}
	}
}

func TestFloatsAreTheShortestDecimal(t *testing.T) {
	for _, f := range []float32{0, 21.37, -0.1, 1e-45, 3.4028235e38, 16777216, 1e10, float32(math.Inf(1))} {
		field := protowire.AppendFixed32(protowire.AppendTag(nil, 12, protowire.Fixed32Type), math.Float32bits(f))
		v := valueOf(t, field)
		got, err := v.Scalar(Float)
		if err != nil || float32(got.Float()) != f {
			t.Errorf("%v: %v, %v", f, got, err)
		}
	}
	v := valueOf(t, protowire.AppendFixed32(protowire.AppendTag(nil, 12, protowire.Fixed32Type), math.Float32bits(21.37)))
	if got, _ := v.Scalar(v.DefaultType()); got.Float() != 21.37 {
		t.Errorf("got %v", got)
	}
	v = valueOf(t, protowire.AppendFixed32(protowire.AppendTag(nil, 12, protowire.Fixed32Type), 0x7fc00000))
	if got, err := v.Scalar(Float); err != nil || !math.IsNaN(got.Float()) {
		t.Errorf("got %v, %v", got, err)
	}
}

// The short way to a decimal agrees with strconv's.
func FuzzDecimal(f *testing.F) {
	for _, v := range []float32{0, 21.37, -0.1, 89.341, 1e-45, 999999.9, 0.3, 5e-10} {
		f.Add(math.Float32bits(v))
	}
	f.Fuzz(func(t *testing.T, bits uint32) {
		v := math.Float32frombits(bits)
		got := decimal(v)
		if v != v {
			return
		}
		if float32(got) != v || math.Signbit(got) != math.Signbit(float64(v)) {
			t.Fatalf("%v became %v", v, got)
		}
		short := strconv.FormatFloat(float64(v), 'g', -1, 32)
		if want, _ := strconv.ParseFloat(short, 64); got != want && float64(v) != math.Trunc(float64(v)) {
			if len(strconv.FormatFloat(got, 'g', -1, 64)) > len(short) {
				t.Fatalf("%v became %v, want %v", v, got, want)
			}
		}
	})
}

// The values are those of the examples in 6.4.17.
func TestArraysOfTheSpecification(t *testing.T) {
	for _, c := range []struct {
		t     Type
		bytes string
		want  []string
	}{
		{Int8Array, "\xe9\x7b", []string{"-23", "123"}},
		{Int16Array, "\x30\x8a\x7d\xd8", []string{"-30160", "-10115"}},
		{Int32Array, "\xff\xff\xff\xff\x01\x00\x00\x00", []string{"-1", "1"}},
		{Int64Array, "\xff\xff\xff\xff\xff\xff\xff\xff", []string{"-1"}},
		{UInt8Array, "\x17\xfa", []string{"23", "250"}},
		{UInt16Array, "\x1e\x00\x88\xcc", []string{"30", "52360"}},
		{UInt32Array, "\x34\x00\x00\x00", []string{"52"}},
		{UInt64Array, "\x34\x00\x00\x00\x00\x00\x00\x00", []string{"52"}},
		{FloatArray, "\xa4\x70\x9d\x3f\x98\xae\xb2\x42", []string{"1.23", "89.341"}},
		{DoubleArray, "\x00\x00\x00\x00\x00\x00\xf0\x3f", []string{"1"}},
		{BooleanArray, "\x0c\x00\x00\x00\x34\xd0", []string{"false", "false", "true", "true", "false", "true", "false", "false", "true", "true", "false", "true"}},
		{StringArray, "ABC\x00hello\x00", []string{"ABC", "hello"}},
		{StringArray, "\x00", []string{""}},
		{DateTimeArray, "\xc7\xd0\x90\x75\x24\x01\x00\x00\xb8\xba\xb8\x97\x81\x01\x00\x00", []string{"1.256102875335e+12", "1.656107875e+12"}},
		{Int8Array, "", nil}, {StringArray, "", nil}, {BooleanArray, "\x00\x00\x00\x00", nil},
	} {
		v := valueOf(t, blockField(nil, 16, []byte(c.bytes)))
		all, err := v.Elements(c.t)
		var got []string
		for _, one := range all {
			got = append(got, one.String())
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("datatype %d: got %v, %v, want %v", c.t, got, err, c.want)
		}
	}
	for _, c := range []struct {
		t     Type
		bytes string
	}{
		{Int16Array, "\x00"}, {DoubleArray, "\x00"}, {BooleanArray, ""}, {BooleanArray, "\x01\x00\x00\x00"}, {BooleanArray, "\x01\x00\x00\x00\x00\x00"},
		{BooleanArray, "\xff\xff\xff\xff"}, {StringArray, "ABC"}, {StringArray, "\xff\x00"}, {Int8Array, strings.Repeat("a", MaxElements+1)}, {Bytes, "a"},
	} {
		v := valueOf(t, blockField(nil, 16, []byte(c.bytes)))
		if got, err := v.Elements(c.t); !errors.Is(err, ErrMalformed) {
			t.Errorf("datatype %d, %q: %v, %v", c.t, c.bytes, got, err)
		}
	}
}

// sample has every kind of field.
func sample() []byte {
	var m []byte
	m = blockField(m, 1, []byte("name"))
	m = integerField(m, 2, 5)
	m = integerField(m, 3, 1486144502122)
	m = integerField(m, 4, uint64(Int32))
	m = integerField(m, 5, 1)
	m = blockField(m, 8, []byte("metadata"))
	m = blockField(m, 9, blockField(blockField(nil, 1, []byte("engUnit")), 2, blockField(integerField(nil, 1, 12), 8, []byte("V"))))
	m = integerField(m, 10, 7)
	p := integerField(nil, 1, 1486144502122)
	p = blockField(p, 2, m)
	p = integerField(p, 3, 2)
	p = protowire.AppendTag(p, 99, protowire.StartGroupType) // unknown fields are skipped
	p = protowire.AppendTag(p, 99, protowire.EndGroupType)
	p = blockField(p, 4, []byte("uuid"))
	return blockField(p, 5, []byte("body"))
}

func TestAMessageIsReadWhole(t *testing.T) {
	p, err := Parse(sample())
	if err != nil || p.Timestamp != 1486144502122 || string(p.UUID) != "uuid" || string(p.Body) != "body" {
		t.Fatalf("%+v, %v", p, err)
	}
	var m Metric
	if ok, err := p.Next(&m); !ok || err != nil {
		t.Fatal(err)
	}
	if string(m.Name) != "name" || m.Alias != 5 || !m.HasAlias || m.Timestamp != p.Timestamp || m.Type != Int32 || !m.Historical || m.Null {
		t.Errorf("%+v", m)
	}
	properties, err := m.Properties.All()
	if err != nil || len(properties) != 1 || string(properties[0].Key) != "engUnit" || properties[0].Type != String {
		t.Fatalf("%+v, %v", properties, err)
	}
	if v, err := properties[0].Value.Scalar(String); err != nil || v != reading.String("V") {
		t.Error(v, err)
	}
}

// A message that was cut short is refused, or lacks only what stood at its end:
// nothing else is ever read from it.
func TestMessagesThatWereCutShort(t *testing.T) {
	whole := sample()
	for end := range len(whole) {
		p, err := Parse(whole[:end])
		if err != nil {
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), " — hint: ") {
				t.Fatalf("%d bytes: %v", end, err)
			}
			continue
		}
		var m Metric
		ok, err := p.Next(&m)
		if err != nil {
			t.Fatalf("%d bytes: the head is right, the metric is not: %v", end, err)
		}
		if ok && (string(m.Name) != "name" || m.Value.bits != 7) {
			t.Fatalf("%d bytes: %+v", end, m)
		}
	}
}

func TestTheLastOfFieldsThatOccurTwiceCounts(t *testing.T) {
	v := valueOf(t, blockField(integerField(integerField(nil, 10, 1), 11, 2), 15, []byte("x")))
	if got, err := v.Scalar(String); err != nil || got != reading.String("x") {
		t.Error(got, err)
	}
}
