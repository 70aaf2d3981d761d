package refine

import (
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/reading"
)

// decimal is m·10^e. Values that devices send have few decimal digits, and
// arithmetic on these is what people expect: 215 · 0.1 = 21.5, and 21.5 - 273.15
// = -251.65. Binary floats give neighbours of these, with 17 digits, which cost
// several times as much on the wire.
type decimal struct {
	m int64
	e int
}

const (
	// maxPlaces is how many decimal places are looked for in a value.
	maxPlaces = 9
	// maxPower is the largest power of ten that is a float.
	maxPower = 22
)

// powers are the powers of ten that are floats.
var powers = [maxPower + 1]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// decimalOf returns the decimal of at most maxPlaces places whose nearest float
// is f. ok is false if there is none.
func decimalOf(f float64) (d decimal, ok bool) {
	for places := range maxPlaces + 1 {
		m := math.Round(f * powers[places])
		if !(math.Abs(m) <= reading.MaxExactInt) {
			return d, false
		}
		if m/powers[places] == f {
			return decimal{int64(m), -places}, true
		}
	}
	return d, false
}

// parseDecimal returns the shortest decimal whose nearest float is f; ok is
// false if it has too many digits, or f is no number.
func parseDecimal(f float64) (d decimal, ok bool) {
	mantissa, exponent, found := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !found {
		return d, false
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	m, errM := strconv.ParseInt(whole+fraction, 10, 64)
	e, errE := strconv.Atoi(exponent)
	return decimal{m, e - len(fraction)}, errM == nil && errE == nil
}

// times returns d·o; ok is false if that does not fit.
func (d decimal) times(o decimal) (product decimal, ok bool) {
	m, ok := multiply(d.m, o.m)
	return decimal{m, d.e + o.e}, ok
}

// plus returns d+o; ok is false if that does not fit.
func (d decimal) plus(o decimal) (sum decimal, ok bool) {
	if d.m == 0 {
		return o, true
	}
	if o.m == 0 {
		return d, true
	}
	if d.e < o.e {
		d, o = o, d
	}
	if d.e-o.e > 18 {
		return sum, false
	}
	m, ok := multiply(d.m, int64(powers[d.e-o.e]))
	total := m + o.m
	overflow := (m > 0) == (o.m > 0) && (total > 0) != (m > 0)
	return decimal{total, o.e}, ok && !overflow
}

// multiply returns a·b; ok is false if that does not fit.
func multiply(a, b int64) (product int64, ok bool) {
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	if high != 0 || low > math.MaxInt64 {
		return 0, false
	}
	if (a < 0) != (b < 0) {
		return -int64(low), true
	}
	return int64(low), true
}

func magnitude(i int64) uint64 {
	if i < 0 {
		return -uint64(i)
	}
	return uint64(i)
}

// float returns the float that is nearest to d.
func (d decimal) float() float64 {
	for magnitude(d.m) > reading.MaxExactInt && d.m%10 == 0 {
		d.m, d.e = d.m/10, d.e+1
	}
	if magnitude(d.m) > reading.MaxExactInt || d.e < -maxPower || d.e > maxPower {
		return d.parse()
	}
	// Both operands are exact, so that this rounds once.
	if d.e < 0 {
		return float64(d.m) / powers[-d.e]
	}
	return float64(d.m) * powers[d.e]
}

// parse is float for what needs more digits than a float has.
func (d decimal) parse() float64 {
	var text [48]byte
	b := strconv.AppendInt(text[:0], d.m, 10)
	b = append(b, 'e')
	b = strconv.AppendInt(b, int64(d.e), 10)
	f, _ := strconv.ParseFloat(string(b), 64) // its only error is an infinite result
	return f
}

// shift returns f·10^power, exact to all of f's digits.
func shift(f float64, power int) float64 {
	var text [48]byte
	b := strconv.AppendFloat(text[:0], f, 'e', -1, 64)
	end := len(b) - 1
	for b[end] != 'e' {
		end--
	}
	e, _ := strconv.Atoi(string(b[end+1:])) // written by AppendFloat
	b = strconv.AppendInt(b[:end+1], int64(e+power), 10)
	f, _ = strconv.ParseFloat(string(b), 64) // its only error is an infinite result
	return f
}

// linear is v·scale + offset.
type linear struct {
	scale, offset   float64
	decimal         bool // the two that follow are the same numbers
	factor, summand decimal
	whole           bool // both are integers, which the two that follow are
	times, plus     int64
	powerOfTen      bool // factor.m is 1
}

func newLinear(scale, offset float64) linear {
	l := linear{scale: scale, offset: offset}
	var ok bool
	if l.factor, l.decimal = parseDecimal(scale); !l.decimal {
		return l
	}
	l.powerOfTen = l.factor.m == 1
	if l.summand, ok = parseDecimal(offset); !ok {
		l.decimal = false
		return l
	}
	l.times, ok = l.factor.integer()
	l.plus, l.whole = l.summand.integer()
	l.whole = l.whole && ok
	return l
}

// integer returns d if that is an integer.
func (d decimal) integer() (i int64, ok bool) {
	if d.m == 0 {
		return 0, true
	}
	if d.e < 0 || d.e > 18 {
		return 0, false
	}
	return multiply(d.m, int64(powers[d.e]))
}

// apply returns the value for a number, and other values as they are. Integers
// stay integers if scale and offset are, and they fit.
func (l *linear) apply(v reading.Value) reading.Value {
	switch v.Kind() {
	case reading.KindFloat:
		return reading.Float(l.float(v.Float()))
	case reading.KindInt:
		return l.integer(v.Int())
	}
	return v
}

func (l *linear) float(f float64) float64 {
	if d, ok := decimalOf(f); ok && l.decimal {
		if d, ok := l.exact(d); ok {
			return d.float()
		}
	}
	product := float64(f * l.scale)
	if l.powerOfTen && !math.IsNaN(f) && !math.IsInf(f, 0) {
		product = shift(f, l.factor.e)
	}
	return product + l.offset
}

func (l *linear) integer(i int64) reading.Value {
	if d, ok := l.exact(decimal{i, 0}); ok && l.decimal {
		if whole, ok := d.integer(); ok && l.whole {
			return reading.Int(whole)
		}
		return reading.Float(d.float())
	}
	return reading.Float(float64(float64(i)*l.scale) + l.offset)
}

func (l *linear) exact(d decimal) (result decimal, ok bool) {
	if result, ok = d.times(l.factor); !ok {
		return result, false
	}
	return result.plus(l.summand)
}

// distance returns how far two numbers are from each other: exactly, if they
// have few digits.
func distance(a, b reading.Value) float64 {
	if a.Kind() == reading.KindInt && b.Kind() == reading.KindInt {
		if low, high := min(a.Int(), b.Int()), max(a.Int(), b.Int()); low <= high {
			return float64(uint64(high) - uint64(low))
		}
	}
	x, _ := a.Number()
	y, _ := b.Number()
	if x == y { // infinite ones, too
		return 0
	}
	dx, okX := decimalOf(x)
	dy, okY := decimalOf(y)
	dy.m = -dy.m
	if d, ok := dx.plus(dy); ok && okX && okY {
		return math.Abs(d.float())
	}
	return math.Abs(x - y)
}
