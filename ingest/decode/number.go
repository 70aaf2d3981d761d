package decode

import (
	"math"
	"strconv"

	"github.com/tidegate/tidegate/reading"
)

// number is a decimal as it stands in its text: ±mantissa · 10^exponent.
type number struct {
	text     []byte
	mantissa uint64 // the first 19 significant digits
	exponent int
	negative bool
	whole    bool // written without fraction and exponent
	cut      bool // has more digits than the mantissa holds
}

// maxExponent stops the counting of exponents; anything beyond is infinite or
// zero.
const maxExponent = 1 << 16

// parseNumber reads the number at the start of b and returns the rest. Beyond
// JSON's grammar it takes a leading plus and leading zeros. ok is false when no
// complete number stands there.
func parseNumber(b []byte) (n number, rest []byte, ok bool) {
	i := 0
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		n.negative = b[i] == '-'
		i++
	}
	n.whole = true
	start := i
	i = n.digits(b, i, false)
	if i == start {
		return n, b, false
	}
	if i < len(b) && b[i] == '.' {
		n.whole = false
		start = i + 1
		i = n.digits(b, start, true)
		if i == start {
			return n, b, false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		n.whole = false
		if i, ok = n.power(b, i+1); !ok {
			return n, b, false
		}
	}
	n.text = b[:i]
	return n, b[i:], true
}

// digits reads digits from b[i] on and returns where they end.
func (n *number) digits(b []byte, i int, fraction bool) int {
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		if n.mantissa < 1e18 {
			n.mantissa = n.mantissa*10 + uint64(b[i]-'0')
			if fraction {
				n.exponent--
			}
			continue
		}
		n.cut = true
		if !fraction {
			n.exponent++
		}
	}
	return i
}

// power reads the exponent's sign and digits.
func (n *number) power(b []byte, i int) (end int, ok bool) {
	sign := 1
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		if b[i] == '-' {
			sign = -1
		}
		i++
	}
	start, e := i, 0
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		if e < maxExponent {
			e = e*10 + int(b[i]-'0')
		}
	}
	n.exponent += sign * e
	return i, i > start
}

// value returns the number as reading.Value describes: an integer beyond 2^53
// that fits is KindInt, anything else a float. ok is false when it is too large
// for a float.
func (n *number) value() (v reading.Value, ok bool) {
	if n.whole && !n.cut && n.mantissa > reading.MaxExactInt {
		if !n.negative && n.mantissa <= math.MaxInt64 {
			return reading.Int(int64(n.mantissa)), true
		}
		if n.negative && n.mantissa <= -math.MinInt64 {
			return reading.Int(-int64(n.mantissa)), true
		}
	}
	f, ok := n.float()
	return reading.Float(f), ok
}

// float returns the nearest float. When mantissa and power of ten are both
// exact floats, one operation rounds once, which is what nearest means (the
// first case of Clinger, "How to Read Floating Point Numbers Accurately").
func (n *number) float() (f float64, ok bool) {
	if n.cut || n.mantissa > reading.MaxExactInt || n.exponent < -maxExactPower || n.exponent > maxExactPower {
		f, err := strconv.ParseFloat(string(n.text), 64)
		return f, err == nil
	}
	f = float64(n.mantissa)
	if n.exponent < 0 {
		f /= exactPower[-n.exponent]
	} else {
		f *= exactPower[n.exponent]
	}
	if n.negative {
		f = -f
	}
	return f, true
}

// maxExactPower is the largest power of ten that is a float.
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
