package refine

import (
	"math"
	"math/big"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
)

func TestScaleAndOffsetAreDecimal(t *testing.T) {
	f, i := reading.Float, reading.Int
	for _, c := range []struct {
		v             reading.Value
		scale, offset float64
		want          reading.Value
	}{
		{f(215), 0.1, 0, f(21.5)},
		{f(3), 0.1, 0, f(0.3)}, // 3*0.1 is 0.30000000000000004
		{f(3), 0.05, 0, f(0.15)},
		{f(-215), 0.1, 0, f(-21.5)},
		{f(21.37), 0.1, 0, f(2.137)},
		{f(21.37), 0.001, 0, f(0.02137)},
		{f(21.5), 1, -273.15, f(-251.65)}, // 21.5-273.15 is -251.64999999999998
		{f(4095), 0.25, -12.5, f(1011.25)},
		{f(68), 0.5, -16, f(18)},
		{f(1.1), 1.1, 0, f(1.21)}, // 1.1*1.1 is 1.2100000000000002
		{f(0), 0.1, 0, f(0)},
		{f(0), 0.1, 1.5, f(1.5)},
		{f(5), 1e3, 0, f(5000)},
		{f(5), 1e-12, 0, f(5e-12)},
		{f(0.30000000000000004), 10, 0, f(3.0000000000000004)}, // every digit, one place to the left
		{f(1e300), 1e10, 0, f(math.Inf(1))},
		{f(1e300), 1e-10, 0, f(1e290)},
		{f(math.Inf(-1)), 0.1, 5, f(math.Inf(-1))},
		{i(7), 10, 0, i(70)},
		{i(7), 10, -3, i(67)},
		{i(7), -1, 0, i(-7)},
		{i(215), 0.1, 0, f(21.5)},
		{i(210), 0.1, 0, f(21)}, // the metric keeps one kind
		{i(reading.MaxExactInt + 1), 1, 5, i(reading.MaxExactInt + 6)},
		{i(9007199254740995), 0.001, 0, f(9007199254740.995)},
		{i(math.MaxInt64), 10, 0, f(92233720368547758070)},
		{i(math.MinInt64), 2, 0, f(-18446744073709551616)},
		{i(math.MaxInt64), 1, 1, f(9223372036854775808)},
		{reading.Bool(true), 0.1, 3, reading.Bool(true)},
		{reading.String("215"), 0.1, 3, reading.String("215")},
		{reading.Bytes("215"), 0.1, 3, reading.Bytes("215")},
	} {
		l := newLinear(c.scale, c.offset)
		if got := l.apply(c.v); got != c.want {
			t.Errorf("%v · %v + %v: got %v, want %v", c.v, c.scale, c.offset, got, c.want)
		}
	}
	l := newLinear(0.1, 1)
	if got := l.apply(f(math.NaN())); !math.IsNaN(got.Float()) {
		t.Errorf("not a number became %v", got)
	}
}

// A decimal of few digits gives the float that is nearest to the exact result.
func TestLinearIsNearestToTheExactResult(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string, most int64) (float64, *big.Rat) {
			m := rapid.Int64Range(-most, most).Draw(t, name)
			places := rapid.IntRange(0, 4).Draw(t, name+" places")
			exact := new(big.Rat).Quo(new(big.Rat).SetInt64(m), new(big.Rat).SetInt64(int64(powers[places])))
			f, _ := exact.Float64()
			return f, exact
		}
		v, exactV := draw("value", 10_000_000)
		scale, exactScale := draw("scale", 100_000)
		offset, exactOffset := draw("offset", 10_000)
		exact := exactV.Mul(exactV, exactScale)
		want, _ := exact.Add(exact, exactOffset).Float64()
		l := newLinear(scale, offset)
		if got := l.apply(reading.Float(v)).Float(); got != want {
			t.Fatalf("%v · %v + %v: got %v, want %v", v, scale, offset, got, want)
		}
	})
}

// Whatever the digits, a power of ten moves the point and nothing else.
func TestPowersOfTenMoveThePoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Float64Range(-1e15, 1e15).Draw(t, "value")
		power := rapid.IntRange(-12, 12).Draw(t, "power")
		scale, _ := strconv.ParseFloat("1e"+strconv.Itoa(power), 64)
		exact, _ := new(big.Rat).SetString(strconv.FormatFloat(v, 'g', -1, 64))
		ten, _ := new(big.Rat).SetString("1e" + strconv.Itoa(power))
		want, _ := exact.Mul(exact, ten).Float64()
		l := newLinear(scale, 0)
		if got := l.apply(reading.Float(v)).Float(); got != want {
			t.Fatalf("%v · %v: got %v, want %v", v, scale, got, want)
		}
	})
}

func TestIntegersStayExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64().Draw(t, "value")
		scale := rapid.Int64Range(-1000, 1000).Filter(func(s int64) bool { return s != 0 }).Draw(t, "scale")
		offset := rapid.Int64Range(-1_000_000, 1_000_000).Draw(t, "offset")
		exact := new(big.Int).Mul(big.NewInt(v), big.NewInt(scale))
		exact.Add(exact, big.NewInt(offset))
		l := newLinear(float64(scale), float64(offset))
		got := l.apply(reading.Int(v))
		if got.Kind() == reading.KindInt {
			if !exact.IsInt64() || got.Int() != exact.Int64() {
				t.Fatalf("%d · %d + %d: got %v, want %v", v, scale, offset, got, exact)
			}
			return
		}
		want, _ := new(big.Float).SetInt(exact).Float64()
		if exact.IsInt64() && exact.BitLen() < 62 || math.Abs(got.Float()-want) > math.Abs(want)*1e-15 {
			t.Fatalf("%d · %d + %d: got %v, want %v", v, scale, offset, got, exact)
		}
	})
}

func TestDistancesAreDecimal(t *testing.T) {
	f, i := reading.Float, reading.Int
	for _, c := range []struct {
		a, b reading.Value
		want float64
	}{
		{f(21.5), f(21.6), 0.1}, {f(21.6), f(21.7), 0.1}, {f(-0.1), f(0.2), 0.3}, {f(7), f(7), 0},
		{i(math.MaxInt64), i(math.MaxInt64 - 3), 3}, {i(math.MinInt64), i(math.MaxInt64), 18446744073709551615},
		{i(3), f(2.5), 0.5}, {f(math.Inf(1)), f(math.Inf(1)), 0}, {f(math.Inf(1)), f(1), math.Inf(1)},
		{f(0.1), f(0.30000000000000004), 0.20000000000000004},
	} {
		if got, back := distance(c.a, c.b), distance(c.b, c.a); got != c.want || back != c.want {
			t.Errorf("%v to %v: %v and %v, want %v", c.a, c.b, got, back, c.want)
		}
	}
}
