package modbusin

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/reading"
)

func TestRegistersMeanWhatTheirFormatSays(t *testing.T) {
	u16, i32 := Format{Type: "u16"}, Format{Type: "i32"}
	with := func(f Format, change func(*Format)) Format { change(&f); return f }
	for _, c := range []struct {
		name   string
		format Format
		data   string
		want   reading.Value
	}{
		{"the default", Format{}, "0102", reading.Float(258)},
		{"u16", u16, "ffff", reading.Float(65535)},
		{"i16", Format{Type: "i16"}, "fffe", reading.Float(-2)},
		{"i16 with scale", Format{Type: "i16", Scale: 0.1}, "ff29", reading.Float(-21.5)},
		{"with offset", Format{Type: "u16", Scale: 0.1, Offset: -273.15}, "0b98", reading.Float(23.65)},
		{"i32", i32, "fffffffe", reading.Float(-2)},
		{"u32 abcd", Format{Type: "u32"}, "00010203", reading.Float(66051)},
		{"u32 cdab", Format{Type: "u32", Order: scalar.MidLittle}, "02030001", reading.Float(66051)},
		{"u32 badc", Format{Type: "u32", Order: scalar.MidBig}, "01000302", reading.Float(66051)},
		{"u32 dcba", Format{Type: "u32", Order: scalar.Little}, "03020100", reading.Float(66051)},
		{"u64 beyond 2^53", Format{Type: "u64"}, "0020000000000001", reading.Int(1<<53 + 1)},
		{"i64", Format{Type: "i64"}, "8000000000000000", reading.Int(math.MinInt64)},
		{"f32", Format{Type: "f32"}, "41aaf5c3", reading.Float(21.37)},
		{"f32 cdab", Format{Type: "f32", Order: scalar.MidLittle}, "f5c341aa", reading.Float(21.37)},
		{"f64", Format{Type: "f64"}, "40355eb851eb851f", reading.Float(21.37)},
		{"bool of a word", Format{Type: "bool"}, "0200", reading.Bool(true)},
		{"bool of a bit", Format{Type: "bool", Bit: 9, Width: 1}, "0200", reading.Bool(true)},
		{"bool of another bit", Format{Type: "bool", Bit: 8, Width: 1}, "0200", reading.Bool(false)},
		{"bits", Format{Type: "bits", Bit: 4, Width: 3}, "00d0", reading.Float(5)},
		{"bits of 32", Format{Type: "u32", Bit: 28, Width: 4}, "a0000000", reading.Float(10)},
		{"string", Format{Type: "string", Words: 3}, "41424320ff00", reading.String("ABC")},
		{"string with swapped bytes", Format{Type: "string", Words: 2, Order: scalar.MidBig}, "42414400", reading.String("AB")},
		{"enum", with(u16, func(f *Format) { f.Enum = map[int64]string{2: "heating"} }), "0002", reading.String("heating")},
		{"enum without a text", with(u16, func(f *Format) { f.Enum = map[int64]string{2: "heating"} }), "0003", reading.String("3")},
		{"bcd", Format{Type: "bcd32"}, "00123456", reading.Float(123456)},
	} {
		f, err := newFormat(Holding, c.format)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		data := append([]byte{0xaa, 0xaa}, unhex(t, c.data)...)
		if got, err := f.value(data, 1); err != nil || got != c.want {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
		if int(f.count) != len(c.data)/4 && c.name != "string with swapped bytes" {
			t.Errorf("%s: %d words", c.name, f.count)
		}
	}
}

func TestNoValueIsNoReading(t *testing.T) {
	for _, c := range []struct {
		format Format
		data   string
		want   error
	}{
		{Format{Type: "i16", Missing: []string{"0x8000"}}, "8000", scalar.ErrMissing},
		{Format{Type: "u32", Missing: []string{"4294967295"}}, "ffffffff", scalar.ErrMissing},
		{Format{Type: "f32"}, "7fc00000", scalar.ErrMissing},
		{Format{Type: "bcd16"}, "00fa", scalar.ErrDigits},
		{Format{Type: "string", Words: 1}, "80c0", errNoText},
	} {
		f, err := newFormat(Input, c.format)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := f.value(unhex(t, c.data), 0); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, %v", c.format, v, err)
		}
	}
}

func TestBitsOfTablesAreBooleans(t *testing.T) {
	f, err := newFormat(Coil, Format{})
	if err != nil {
		t.Fatal(err)
	}
	data := []byte{0xcd, 0x6b, 0x05} // the specification's example: coils 20 to 38
	want := "1011001111010110101"
	for i := range 19 {
		if v, err := f.value(data, i); err != nil || v != reading.Bool(want[i] == '1') {
			t.Errorf("coil %d: %v, %v", 20+i, v, err)
		}
	}
}

func TestRegistersThatMakeNoSenseAreRefused(t *testing.T) {
	for name, r := range map[string]Register{
		"a number in a table of bits":   {Table: Coil, Format: Format{Type: "u16"}},
		"a scale in a table of bits":    {Table: Discrete, Format: Format{Scale: 2}},
		"half a word":                   {Table: Holding, Format: Format{Type: "u8"}},
		"a word and a half":             {Table: Holding, Format: Format{Type: "u24"}},
		"no such type":                  {Table: Holding, Format: Format{Type: "float"}},
		"a string without length":       {Table: Holding, Format: Format{Type: "string"}},
		"a string of a kilometre":       {Table: Holding, Format: Format{Type: "string", Words: 126}},
		"a string with a scale":         {Table: Holding, Format: Format{Type: "string", Words: 1, Scale: 2}},
		"a number with a length":        {Table: Holding, Format: Format{Type: "u16", Words: 2}},
		"a bit beyond the word":         {Table: Holding, Format: Format{Type: "bits", Bit: 14, Width: 3}},
		"bits of a float":               {Table: Holding, Format: Format{Type: "f32", Width: 3}},
		"a bool with texts":             {Table: Holding, Format: Format{Type: "bool", Enum: map[int64]string{1: "x"}}},
		"a missing value out of range":  {Table: Holding, Format: Format{Type: "u16", Missing: []string{"65536"}}},
		"beyond the end of the table":   {Table: Holding, Address: 65535, Format: Format{Type: "f32"}},
		"far beyond the end of a table": {Table: Input, Address: 65500, Format: Format{Type: "string", Words: 100}},
	} {
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Register{Table: Holding, Address: 65534, Format: Format{Type: "f32"}}).Check(); err != nil {
		t.Error(err)
	}
}

func TestOverlapsAreSeen(t *testing.T) {
	word := Register{Table: Holding, Address: 10, Format: Format{Type: "u16"}}
	float := Register{Table: Holding, Address: 9, Format: Format{Type: "f32"}}
	bit := Register{Table: Holding, Address: 10, Format: Format{Type: "bits", Bit: 3, Width: 1}}
	truth := Register{Table: Holding, Address: 10, Format: Format{Type: "bool", Bit: 4, Width: 1}}
	input := Register{Table: Input, Address: 10, Format: Format{Type: "u16"}}
	for _, c := range []struct {
		a, b             Register
		overlaps, shares bool
	}{
		{word, float, true, false}, {word, bit, true, false}, {bit, truth, true, true}, {word, word, true, true},
		{word, input, false, false}, {float, input, false, false},
	} {
		if c.a.Overlaps(c.b) != c.overlaps || c.b.Overlaps(c.a) != c.overlaps || c.a.Shares(c.b) != c.shares {
			t.Errorf("%+v and %+v", c.a, c.b)
		}
	}
}
