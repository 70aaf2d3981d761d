package scalar

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
)

// Decimal is the exact number ±Mantissa · 10^Exponent.
type Decimal struct {
	Mantissa uint64
	Exponent int
	Negative bool
}

// maxExactPower is the largest power of ten that is a float64.
const maxExactPower = 22

// exactPower and wholePower are constants that Go cannot declare as such.
var (
	exactPower = [maxExactPower + 1]float64{
		1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
		1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
	}
	wholePower = [...]uint64{
		1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
		1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
	}
)

// FromFloat returns the decimal with the fewest digits that is f when it is
// read back, which is the one that somebody wrote who wrote 0.1. f is finite.
func FromFloat(f float64) Decimal {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return Decimal{Mantissa: uint64(math.Abs(f)), Negative: math.Signbit(f)}
	}
	var buffer [32]byte
	return fromText(strconv.AppendFloat(buffer[:0], f, 'e', -1, 64))
}

// fromText reads what strconv writes in format 'e'.
func fromText(text []byte) (d Decimal) {
	var i int
	point := false
	for i = 0; i < len(text) && text[i] != 'e'; i++ {
		switch c := text[i]; c {
		case '-':
			d.Negative = true
		case '.':
			point = true
		default:
			d.Mantissa = d.Mantissa*10 + uint64(c-'0')
			if point {
				d.Exponent--
			}
		}
	}
	sign, power := 1, 0
	for i++; i < len(text); i++ {
		switch c := text[i]; c {
		case '-':
			sign = -1
		case '+':
		default:
			power = power*10 + int(c-'0')
		}
	}
	d.Exponent += sign * power
	return d
}

// Float returns the nearest float64; one beyond their range is infinite.
func (d Decimal) Float() float64 {
	var f float64
	switch {
	case d.Exponent == 0:
		f = float64(d.Mantissa)
	case d.Mantissa <= 1<<53 && d.Exponent < 0 && d.Exponent >= -maxExactPower:
		f = float64(d.Mantissa) / exactPower[-d.Exponent] // both exact: rounds once
	case d.Mantissa <= 1<<53 && d.Exponent > 0 && d.Exponent <= maxExactPower:
		f = float64(d.Mantissa) * exactPower[d.Exponent]
	default:
		var buffer [48]byte
		text := append(strconv.AppendUint(buffer[:0], d.Mantissa, 10), 'e')
		f, _ = strconv.ParseFloat(string(strconv.AppendInt(text, int64(d.Exponent), 10)), 64)
	}
	if d.Negative {
		return -f
	}
	return f
}

// value returns a decimal without decimals as an integer if int64 holds it,
// anything else as a float.
func (d Decimal) value() Value {
	if d.Exponent >= 0 && d.Exponent < len(wholePower) {
		if high, n := bits.Mul64(d.Mantissa, wholePower[d.Exponent]); high == 0 {
			if n <= math.MaxInt64 && !d.Negative {
				return Value{Kind: Int, Int: int64(n)}
			}
			if n <= -math.MinInt64 && d.Negative {
				return Value{Kind: Int, Int: -int64(n)}
			}
		}
	}
	return Value{Float: d.Float()}
}

// Add returns d + e; ok is false when that has more than 19 digits.
func (d Decimal) Add(e Decimal) (sum Decimal, ok bool) {
	if d.Mantissa == 0 {
		return e, true
	}
	if e.Mantissa == 0 {
		return d, true
	}
	if d.Exponent < e.Exponent {
		d, e = e, d
	}
	shift := d.Exponent - e.Exponent
	if shift >= len(wholePower) {
		return sum, false
	}
	high, low := bits.Mul64(d.Mantissa, wholePower[shift])
	if high != 0 {
		return sum, false
	}
	sum = Decimal{Mantissa: low, Exponent: e.Exponent, Negative: d.Negative}
	switch {
	case d.Negative == e.Negative:
		var carry uint64
		sum.Mantissa, carry = bits.Add64(low, e.Mantissa, 0)
		return sum, carry == 0
	case low >= e.Mantissa:
		sum.Mantissa = low - e.Mantissa
		sum.Negative = d.Negative && sum.Mantissa != 0
	default:
		sum.Mantissa, sum.Negative = e.Mantissa-low, e.Negative
	}
	return sum, true
}

// linear returns d · scale + offset, rounded once.
func linear(d, scale, offset Decimal) Value {
	high, low := bits.Mul64(d.Mantissa, scale.Mantissa)
	product := Decimal{Mantissa: low, Exponent: d.Exponent + scale.Exponent, Negative: d.Negative != scale.Negative}
	if high == 0 {
		if sum, ok := product.Add(offset); ok {
			return sum.value()
		}
	}
	p, q := d.big(), offset.big()
	v, _ := p.Mul(p, scale.big()).Add(p, q).Float64()
	return Value{Float: v}
}

// big is for numbers beyond 64 bits, which hardly any payload has.
func (d Decimal) big() *big.Rat {
	n := new(big.Int).SetUint64(d.Mantissa)
	if d.Negative {
		n.Neg(n)
	}
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(d.Exponent, -d.Exponent))), nil)
	if d.Exponent < 0 {
		return new(big.Rat).SetFrac(n, power)
	}
	return new(big.Rat).SetInt(n.Mul(n, power))
}

// Nanoseconds returns the number of seconds d in nanoseconds; what is finer is
// cut off. ok is false when int64 does not hold it.
func (d Decimal) Nanoseconds() (ns int64, ok bool) {
	shift := d.Exponent + 9
	switch {
	case d.Mantissa == 0 || shift <= -len(wholePower):
		return 0, true
	case shift >= len(wholePower):
		return 0, false
	}
	n := d.Mantissa
	if shift < 0 {
		n /= wholePower[-shift]
	} else {
		var high uint64
		if high, n = bits.Mul64(n, wholePower[shift]); high != 0 {
			return 0, false
		}
	}
	if n > math.MaxInt64 {
		return 0, false
	}
	if d.Negative {
		return -int64(n), true
	}
	return int64(n), true
}
