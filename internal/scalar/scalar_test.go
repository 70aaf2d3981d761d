package scalar

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
)

func codec(t *testing.T, cfg Config) *Codec {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatalf("%+v: %v", cfg, err)
	}
	return c
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryTypeReadsItsBytes(t *testing.T) {
	whole := func(n int64) Value { return Value{Kind: Int, Int: n} }
	float := func(f float64) Value { return Value{Float: f} }
	for _, c := range []struct {
		typ   Type
		order Order
		in    string
		want  Value
	}{
		{U8, Big, "ff", whole(255)},
		{I8, Big, "ff", whole(-1)},
		{I8, MidLittle, "80", whole(-128)},
		{U16, Big, "0102", whole(0x0102)},
		{U16, Little, "0102", whole(0x0201)},
		{U16, MidBig, "0102", whole(0x0201)},
		{U16, MidLittle, "0102", whole(0x0102)},
		{I16, Big, "fffe", whole(-2)},
		{I16, Little, "feff", whole(-2)},
		{U24, Big, "ffffff", whole(1<<24 - 1)},
		{U24, Little, "010203", whole(0x030201)},
		{I24, Big, "800000", whole(-1 << 23)},
		{I24, Little, "feffff", whole(-2)},
		{U32, Big, "aabbccdd", whole(0xaabbccdd)},
		{U32, Little, "ddccbbaa", whole(0xaabbccdd)},
		{U32, MidBig, "bbaaddcc", whole(0xaabbccdd)},
		{U32, MidLittle, "ccddaabb", whole(0xaabbccdd)},
		{I32, Big, "80000000", whole(math.MinInt32)},
		{U48, Big, "010203040506", whole(0x010203040506)},
		{U48, MidLittle, "050603040102", whole(0x010203040506)},
		{U48, MidBig, "020104030605", whole(0x010203040506)},
		{I48, Little, "ffffffffffff", whole(-1)},
		{U64, Big, "7fffffffffffffff", whole(math.MaxInt64)},
		{U64, Big, "8000000000000000", float(1 << 63)},
		{U64, MidLittle, "0708050603040102", whole(0x0102030405060708)},
		{U64, MidBig, "0201040306050807", whole(0x0102030405060708)},
		{I64, Big, "8000000000000000", whole(math.MinInt64)},
		{I64, Little, "ffffffffffffffff", whole(-1)},
		{F16, Big, "3c00", float(1)},
		{F16, Big, "3555", float(0.3333)},
		{F32, Big, "41aaf5c3", float(21.37)},
		{F32, MidLittle, "f5c341aa", float(21.37)},
		{F32, Little, "c3f5aa41", float(21.37)},
		{F32, Big, "80000000", float(math.Copysign(0, -1))},
		{F64, Big, "40355eb851eb851f", float(21.37)},
		{F64, Little, "1f85eb51b85e3540", float(21.37)},
		{BCD8, Big, "42", whole(42)},
		{BCD16, Little, "3412", whole(1234)},
		{BCD32, Big, "12345678", whole(12345678)},
		{BCD64, Big, "9999999999999999", whole(9999999999999999)},
	} {
		v, err := codec(t, Config{Type: c.typ, Order: c.order}).Get(unhex(t, c.in))
		if err != nil || v.Kind != c.want.Kind || v.Int != c.want.Int || math.Float64bits(v.Float) != math.Float64bits(c.want.Float) {
			t.Errorf("%s %s %s: got %+v, %v, want %+v", c.typ, c.order, c.in, v, err, c.want)
		}
	}
}

func TestTooFewBytesAreNoNumber(t *testing.T) {
	for typ := U8; typ.valid(); typ++ {
		c := codec(t, Config{Type: typ})
		if _, err := c.Get(make([]byte, typ.Size()-1)); !errors.Is(err, ErrShort) {
			t.Errorf("%s: %v", typ, err)
		}
		if v, err := c.Get(make([]byte, typ.Size()+1)); err != nil || v.asFloat() != 0 {
			t.Errorf("%s: %+v, %v", typ, v, err)
		}
	}
}

func TestBitFieldsAreCutOutAfterOrdering(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		in   string
		want int64
	}{
		{Config{Type: U8, Bit: 4, Width: 4}, "a5", 10},
		{Config{Type: U8, Bit: 0, Width: 4}, "a5", 5},
		{Config{Type: U8, Bit: 7, Width: 1}, "80", 1},
		{Config{Type: I8, Bit: 4, Width: 4}, "f0", -1},
		{Config{Type: I16, Bit: 4, Width: 12}, "8000", -2048},
		{Config{Type: U16, Order: Little, Bit: 8, Width: 8}, "01ff", 255},
		{Config{Type: U64, Bit: 63, Width: 1}, "8000000000000000", 1},
		{Config{Type: U16, Bit: 12, Width: 1, Truth: true}, "1000", 1},
		{Config{Type: U16, Bit: 12, Width: 1, Truth: true}, "efff", 0},
		{Config{Type: U8, Truth: true}, "02", 1},
	} {
		v, err := codec(t, c.cfg).Get(unhex(t, c.in))
		want := Int
		if c.cfg.Truth {
			want = Truth
		}
		if err != nil || v.Kind != want || v.Int != c.want {
			t.Errorf("%+v of %s: %+v, %v", c.cfg, c.in, v, err)
		}
	}
}

func TestScalesAreExactInDecimal(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		in   string
		want float64
	}{
		{Config{Type: I16, Scale: 0.1}, "00d7", 21.5},
		{Config{Type: I16, Scale: 0.1}, "0003", 0.3},
		{Config{Type: I16, Scale: 0.01, Offset: -40}, "0929", -16.55},
		{Config{Type: U8, Scale: 0.5}, "3f", 31.5},
		{Config{Type: U16, Scale: 0.001, Offset: 0.0005}, "0001", 0.0015},
		{Config{Type: I16, Scale: -0.1}, "00d7", -21.5},
		{Config{Type: U32, Scale: 1e-7}, "12345678", 30.5419896},
		{Config{Type: F32, Scale: 0.1}, "41aaf5c3", 2.137},
		{Config{Type: F64, Scale: 3}, "3fb999999999999a", 0.3}, // 0.1 three times
		{Config{Type: BCD16, Scale: 0.01}, "1234", 12.34},
		{Config{Type: U64, Scale: 0.1}, "ffffffffffffffff", 1844674407370955161.5},
		{Config{Type: U64, Scale: 0.3333333333333333, Offset: 0.1}, "ffffffffffffffff", 6148914691236516590.1},
		{Config{Type: F32, Widen: true}, "41aaf5c3", 21.3700008392333984375},
	} {
		v, err := codec(t, c.cfg).Get(unhex(t, c.in))
		if err != nil || v.Kind != Float || v.Float != c.want {
			t.Errorf("%+v of %s: %+v, %v, want %v", c.cfg, c.in, v, err, c.want)
		}
	}
	for _, cfg := range []Config{{Type: U16, Scale: 10}, {Type: U16, Scale: 1, Offset: 90}} {
		if v, err := codec(t, cfg).Get([]byte{0, 10}); err != nil || v != (Value{Kind: Int, Int: 100}) {
			t.Errorf("%+v: %+v, %v: whole numbers stay whole", cfg, v, err)
		}
	}
}

func TestMissingValuesAreNoReadings(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		in   string
		miss bool
	}{
		{Config{Type: I16, Missing: []string{"0x7FFF"}, Scale: 0.1}, "7fff", true},
		{Config{Type: I16, Missing: []string{"0x7FFF"}}, "7ffe", false},
		{Config{Type: I16, Missing: []string{"-32768", "0x7fff"}}, "8000", true},
		{Config{Type: I16, Missing: []string{"0x8000"}}, "8000", true},
		{Config{Type: I16, Order: Little, Missing: []string{"-32768"}}, "0080", true},
		{Config{Type: U8, Missing: []string{"255"}}, "ff", true},
		{Config{Type: U8, Bit: 4, Width: 4, Missing: []string{"15"}}, "f3", true},
		{Config{Type: I8, Bit: 4, Width: 4, Missing: []string{"-8"}}, "8f", true},
		{Config{Type: U64, Missing: []string{"18446744073709551615"}}, "ffffffffffffffff", true},
		{Config{Type: F32}, "7fc00000", true},
		{Config{Type: F16, Order: Little}, "01fc", true},
		{Config{Type: F32}, "ff800000", true},
		{Config{Type: F32, Missing: []string{"nan"}}, "7fc00000", true},
		{Config{Type: F32, Missing: []string{"-9999.9"}}, "c61c3f9a", true},
		{Config{Type: F32, Missing: []string{"0x7F7FFFFF"}}, "7f7fffff", true},
		{Config{Type: F16, Missing: []string{"-1"}}, "bc00", true},
		{Config{Type: F64, Missing: []string{"-1"}}, "bff0000000000000", true},
		{Config{Type: BCD16, Missing: []string{"9999"}}, "9999", true},
		{Config{Type: BCD16, Missing: []string{"0xFFFF"}}, "ffff", true},
	} {
		_, err := codec(t, c.cfg).Get(unhex(t, c.in))
		if c.miss != errors.Is(err, ErrMissing) || !c.miss && err != nil {
			t.Errorf("%+v of %s: %v", c.cfg, c.in, err)
		}
	}
}

func TestBCDRefusesWhatIsNoDigit(t *testing.T) {
	c := codec(t, Config{Type: BCD16})
	for n := range 1 << 16 {
		var b [2]byte
		binary.BigEndian.PutUint16(b[:], uint16(n))
		v, err := c.Get(b[:])
		digits := true
		want := int64(0)
		for shift := 12; shift >= 0; shift -= 4 {
			digit := n >> shift & 15
			digits = digits && digit <= 9
			want = want*10 + int64(digit)
		}
		if digits != (err == nil) || digits && v.Int != want || !digits && !errors.Is(err, ErrDigits) {
			t.Fatalf("%04x: %+v, %v", n, v, err)
		}
	}
}

func TestConfigurationsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, cfg := range []Config{
		{},
		{Type: 99},
		{Type: U8, Order: 7},
		{Type: U24, Order: MidLittle},
		{Type: BCD24, Order: MidBig},
		{Type: U8, Bit: 8, Width: 1},
		{Type: U8, Bit: 4, Width: 5},
		{Type: U8, Bit: -1, Width: 1},
		{Type: U8, Bit: 3},
		{Type: U8, Width: -1},
		{Type: F32, Bit: 1, Width: 2},
		{Type: F32, Truth: true},
		{Type: U8, Truth: true, Scale: 2},
		{Type: U8, Scale: math.NaN()},
		{Type: U8, Scale: 1e300},
		{Type: U8, Offset: math.Inf(1)},
		{Type: U8, Missing: []string{"0x100"}},
		{Type: U8, Missing: []string{"-1"}},
		{Type: I8, Missing: []string{"-129"}},
		{Type: U8, Missing: []string{"x"}},
		{Type: U8, Missing: []string{""}},
		{Type: BCD8, Missing: []string{"100"}},
		{Type: U8, Missing: make([]string, 33)},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestNamesOfConfigurationFiles(t *testing.T) {
	for typ := U8; typ.valid(); typ++ {
		if got, ok := ParseType(typ.String()); !ok || got != typ {
			t.Errorf("%s: %v, %v", typ, got, ok)
		}
	}
	if _, ok := ParseType(""); ok {
		t.Error("an empty type is taken")
	}
	for o := Big; o <= MidLittle; o++ {
		if got, ok := ParseOrder(o.String()); !ok || got != o {
			t.Errorf("%s: %v, %v", o, got, ok)
		}
	}
	for name, want := range map[string]Order{"": Big, "abcd": Big, "dcba": Little} {
		if got, ok := ParseOrder(name); !ok || got != want {
			t.Errorf("%q: %v, %v", name, got, ok)
		}
	}
	if _, ok := ParseOrder("middle"); ok {
		t.Error("middle is taken")
	}
}

func TestTextsEndWhereDevicesEndThem(t *testing.T) {
	for _, c := range []struct {
		in    string
		order Order
		want  string
		ok    bool
	}{
		{"abc", Big, "abc", true},
		{"abc\x00xyz", Big, "abc", true},
		{"abc   ", Big, "abc", true},
		{"abc\xff\xff", Big, "abc", true},
		{"\x00", Big, "", true},
		{"", Big, "", true},
		{"badc\x00e", MidBig, "abcde", true},
		{"bac", Little, "abc", true},
		{"a\xffb", Big, "", false},
		{"caf\xe9", Big, "", false},
		{"grün", Big, "grün", true},
	} {
		if got, ok := Text([]byte(c.in), c.order); ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %q, %v", c.in, got, ok)
		}
	}
}

func TestGetCostsNoAllocation(t *testing.T) {
	for _, cfg := range []Config{
		{Type: I16, Scale: 0.1, Missing: []string{"0x7FFF"}},
		{Type: F32, Order: MidLittle},
		{Type: F32, Scale: 0.1},
		{Type: F64, Scale: 0.1, Offset: 3},
		{Type: BCD64, Scale: 0.001},
	} {
		c := codec(t, cfg)
		b := []byte{0x40, 0x35, 0x12, 0x34, 0x12, 0x34, 0x12, 0x34}
		if n := testing.AllocsPerRun(100, func() {
			if _, err := c.Get(b); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%+v: %v allocations", cfg, n)
		}
	}
}
