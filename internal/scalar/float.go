package scalar

import (
	"math"
	"strconv"
)

// Half returns the half-precision float (IEEE 754 binary16) of the bits.
func Half(bits uint16) float64 {
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		f = math.Inf(1)
	default:
		f = math.Ldexp(1024+fraction, exponent-25)
	}
	if bits>>15 != 0 {
		return -f
	}
	return f
}

// ToHalf returns the bits of the half-precision float nearest to f, even ones
// of two that are equally near.
func ToHalf(f float64) uint16 {
	var sign uint16
	if math.Signbit(f) {
		sign = 1 << 15
	}
	f = math.Abs(f)
	switch {
	case math.IsNaN(f):
		return sign | 0x7e00
	case f >= 65520: // halfway between the largest one and what would follow
		return sign | 0x7c00
	case f < 0x1p-14:
		return sign | uint16(math.RoundToEven(math.Ldexp(f, 24)))
	}
	_, exponent := math.Frexp(f) // f is in [2^(exponent-1), 2^exponent)
	// A mantissa that rounds up to 2048 carries into the exponent, as it should.
	return sign | uint16(int(math.RoundToEven(math.Ldexp(f, 11-exponent)))+(exponent+13)<<10)
}

// maxDecimals is how many decimals are tried before strconv is asked. Up to 12
// an f32 times the power of ten is exact.
const maxDecimals = 12

// Shortest32 returns the decimal with the fewest decimals that is f when it is
// read back as a float32: 21.37, where float64(f) is 21.3700008392334. Whole
// numbers stay as they are. f is finite.
func Shortest32(f float32) float64 {
	exact := float64(f)
	for power := range exactPower[:maxDecimals+1] {
		m := math.RoundToEven(exact * exactPower[power])
		if math.Abs(m) > 1<<53 {
			break
		}
		if short := m / exactPower[power]; float32(short) == f && m != 0 {
			return short
		}
	}
	if f == 0 {
		return exact // keeps its sign
	}
	var buffer [32]byte
	short := fromText(strconv.AppendFloat(buffer[:0], exact, 'e', -1, 32)).Float()
	if float32(short) != f {
		return exact
	}
	return short
}

// ShortestHalf is Shortest32 for the half-precision float of the bits.
func ShortestHalf(bits uint16) float64 {
	exact := Half(bits)
	for power := range exactPower[:maxDecimals+1] {
		m := math.RoundToEven(exact * exactPower[power])
		if short := m / exactPower[power]; m != 0 && ToHalf(short) == bits {
			return short
		}
	}
	return exact
}
