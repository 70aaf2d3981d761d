package scalar

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// TestLinearRoundsOnce compares with exact fractions.
func TestLinearRoundsOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	number := func() float64 {
		switch random.IntN(4) {
		case 0:
			return math.Pow10(random.IntN(20) - 10)
		case 1:
			return float64(random.IntN(2000)-1000) / 1000
		case 2:
			return 0
		}
		return (random.Float64() - 0.5) * math.Pow10(random.IntN(20)-10)
	}
	for range 100_000 {
		d := Decimal{Mantissa: random.Uint64() >> random.IntN(64), Negative: random.IntN(2) == 0}
		scale, offset := number(), number()
		got := linear(d, FromFloat(scale), FromFloat(offset)).asFloat()
		exact := d.big()
		exact.Mul(exact, FromFloat(scale).big()).Add(exact, FromFloat(offset).big())
		want, _ := exact.Float64()
		if got != want {
			t.Fatalf("%+v * %v + %v: %v, want %v", d, scale, offset, got, want)
		}
	}
}

func TestDecimalsAreWhatWasWritten(t *testing.T) {
	for f, want := range map[float64]Decimal{
		0.1:      {Mantissa: 1, Exponent: -1},
		-0.5:     {Mantissa: 5, Exponent: -1, Negative: true},
		1e-7:     {Mantissa: 1, Exponent: -7},
		273.15:   {Mantissa: 27315, Exponent: -2},
		1.5e20:   {Mantissa: 15, Exponent: 19},
		-1000000: {Mantissa: 1000000, Negative: true},
	} {
		if got := FromFloat(f); got != want {
			t.Errorf("%v: %+v", f, got)
		}
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range 100_000 {
		f := math.Float64frombits(random.Uint64())
		if !math.IsNaN(f) && !math.IsInf(f, 0) && FromFloat(f).Float() != f {
			t.Fatalf("%v became %v", f, FromFloat(f).Float())
		}
	}
}

func TestSumsOfDecimalsAreExact(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	taken := 0
	for range 100_000 {
		pick := func() Decimal {
			return Decimal{Mantissa: random.Uint64() >> random.IntN(64), Exponent: random.IntN(24) - 12, Negative: random.IntN(2) == 0}
		}
		a, b := pick(), pick()
		sum, ok := a.Add(b)
		if !ok {
			continue
		}
		taken++
		if want := new(big.Rat).Add(a.big(), b.big()); sum.big().Cmp(want) != 0 {
			t.Fatalf("%+v + %+v = %+v", a, b, sum)
		}
	}
	if taken < 10_000 {
		t.Errorf("only %d sums", taken)
	}
}

func TestDecimalsThatCancelAreZeroWithoutASign(t *testing.T) {
	sum, ok := Decimal{Mantissa: 5, Negative: true}.Add(Decimal{Mantissa: 5})
	if !ok || sum.Negative || sum.Mantissa != 0 {
		t.Errorf("%+v, %v", sum, ok)
	}
}

func TestSecondsBeyondWhatNanosecondsHoldAreNone(t *testing.T) {
	for _, d := range []Decimal{{Mantissa: 1, Exponent: 10}, {Mantissa: 10_000_000_000}, {Mantissa: 1 << 63}} {
		if ns, ok := d.Nanoseconds(); ok {
			t.Errorf("%+v: %d", d, ns)
		}
	}
	if ns, ok := (Decimal{Mantissa: 9_223_372_036, Negative: true}).Nanoseconds(); !ok || ns != -9_223_372_036_000_000_000 {
		t.Errorf("%d, %v", ns, ok)
	}
}
