package scalar

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

func TestHalfFloatsAreThoseOfTheStandard(t *testing.T) {
	for bits, want := range map[uint16]float64{
		0x0000: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0400: 0x1p-14, 0x0001: 0x1p-24,
		0x03ff: 1023 * 0x1p-24, 0x3555: 0.333251953125, 0x7c00: math.Inf(1), 0xfc00: math.Inf(-1),
	} {
		if got := Half(bits); got != want {
			t.Errorf("%04x: %v, want %v", bits, got, want)
		}
	}
	if !math.IsNaN(Half(0x7e00)) || !math.Signbit(Half(0x8000)) {
		t.Error("NaN or minus zero")
	}
}

func TestEveryHalfFloatComesBack(t *testing.T) {
	for n := range 1 << 16 {
		bits := uint16(n)
		f := Half(bits)
		if math.IsNaN(f) {
			continue
		}
		if got := ToHalf(f); got != bits {
			t.Fatalf("%04x is %v, which is %04x", bits, f, got)
		}
		short := ShortestHalf(bits)
		if got := ToHalf(short); got != bits {
			t.Fatalf("%04x is %v for short, which is %04x", bits, short, got)
		}
		if len(strconv.FormatFloat(short, 'g', -1, 64)) > len(strconv.FormatFloat(f, 'g', -1, 64)) {
			t.Fatalf("%04x: %v is longer than %v", bits, short, f)
		}
	}
}

// TestToHalfRoundsToTheNearest tries the middles between neighbours, where the
// even one wins, and what is next to them.
func TestToHalfRoundsToTheNearest(t *testing.T) {
	for bits := range uint16(0x7bff) {
		middle := (Half(bits) + Half(bits+1)) / 2
		even := bits + bits&1
		if got := ToHalf(middle); got != even {
			t.Fatalf("%v: %04x, want %04x", middle, got, even)
		}
		if ToHalf(math.Nextafter(middle, 0)) != bits || ToHalf(math.Nextafter(middle, 1e9)) != bits+1 {
			t.Fatalf("beside %v", middle)
		}
	}
	if ToHalf(65519.99) != 0x7bff || ToHalf(65520) != 0x7c00 || ToHalf(math.NaN()) != 0x7e00 {
		t.Error("the ends")
	}
}

func TestShortestIsTheSameFloat32(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for range 300_000 {
		var f float32
		switch random.IntN(3) {
		case 0:
			f = math.Float32frombits(random.Uint32())
		case 1:
			f = float32(random.IntN(2_000_000)-1_000_000) / 1000
		case 2:
			f = float32(random.NormFloat64() * math.Pow10(random.IntN(12)-6))
		}
		if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
			continue
		}
		got := Shortest32(f)
		if float32(got) != f {
			t.Fatalf("%v became %v", float64(f), got)
		}
		want, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
		if err != nil {
			t.Fatal(err)
		}
		// Whole numbers are not made rounder than they are.
		if got != want && got != float64(f) {
			t.Fatalf("%v: %v, strconv says %v", float64(f), got, want)
		}
		if got != want && math.Abs(want) < 1<<24 && float32(want) == f {
			t.Fatalf("%v: %v, strconv says %v", float64(f), got, want)
		}
	}
}

// Half of a step beyond the largest half-precision float rounds to infinity, and
// what is less to that float.
func TestHalvesEndWhereTheyRoundUp(t *testing.T) {
	for f, want := range map[float64]uint16{65504: 0x7bff, 65519.99: 0x7bff, 65520: 0x7c00, -65520: 0xfc00} {
		if got := ToHalf(f); got != want {
			t.Errorf("%v: %#x, want %#x", f, got, want)
		}
	}
}
