package decode

import (
	"math"

	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/reading"
)

// cborNumber is a number as it stands in the payload.
type cborNumber struct {
	scalar.Decimal
	float   float64
	isFloat bool // float counts
}

// value follows the rule of reading.Value; finite is false for a NaN and the
// infinities, which are no readings.
func (n cborNumber) value() (v reading.Value, finite bool) {
	switch {
	case n.isFloat:
		return reading.Float(n.float), !math.IsNaN(n.float) && !math.IsInf(n.float, 0)
	case n.Exponent == 0 && !n.Negative && n.Mantissa <= math.MaxInt64:
		return reading.Number(int64(n.Mantissa)), true
	case n.Exponent == 0 && n.Negative && n.Mantissa <= -math.MinInt64 && n.Mantissa > 0:
		return reading.Number(-int64(n.Mantissa)), true
	}
	f := n.Float()
	return reading.Float(f), !math.IsInf(f, 0)
}

// exact returns the number as a decimal; a float as the shortest one that reads
// back as the same, which is what somebody wrote. It must be finite.
func (n cborNumber) exact() scalar.Decimal {
	if n.isFloat {
		return scalar.FromFloat(n.float)
	}
	return n.Decimal
}

// time reads a number as JSON's decoder reads one.
func (n cborNumber) time(unit TimeUnit) (ns int64, ok bool) {
	if _, finite := n.value(); !finite {
		return 0, false
	}
	d := n.exact()
	as := number{mantissa: d.Mantissa, exponent: d.Exponent, negative: d.Negative}
	return as.time(unit)
}

// numberOf takes the rest of a number: an integer, a float, a bignum of 64 bits,
// a decimal fraction or a binary one. ok is false, and nothing is taken beyond
// the head, when it is none.
func (r *cborReader) numberOf(h cborHead, short bool) (n cborNumber, ok bool, err error) {
	switch {
	case h.major == cborUint:
		n.Mantissa = h.arg
	case h.major == cborNegative && h.arg == math.MaxUint64:
		n.float, n.isFloat = -0x1p64, true
	case h.major == cborNegative:
		n.Mantissa, n.Negative = h.arg+1, true
	case h.major == cborSimple && h.info >= 25 && h.info <= 27:
		n.float, n.isFloat = floatOf(h, short), true
	case h.major == cborTag && (h.arg == tagBignum || h.arg == tagNegBignum):
		n, err = r.bignum(h.arg == tagNegBignum)
	case h.major == cborTag && (h.arg == tagDecimal || h.arg == tagBinaryFloat):
		n, err = r.fraction(h.arg == tagDecimal)
	default:
		return n, false, nil
	}
	return n, err == nil, err
}

func floatOf(h cborHead, short bool) float64 {
	switch {
	case h.info == 27:
		return math.Float64frombits(h.arg)
	case h.info == 26:
		f := math.Float32frombits(uint32(h.arg))
		if wide := float64(f); !short || math.IsNaN(wide) || math.IsInf(wide, 0) {
			return wide
		}
		return scalar.Shortest32(f)
	}
	if wide := scalar.Half(uint16(h.arg)); !short || math.IsNaN(wide) || math.IsInf(wide, 0) {
		return wide
	}
	return scalar.ShortestHalf(uint16(h.arg))
}

// bignum takes the byte string of tags 2 and 3.
func (r *cborReader) bignum(negative bool) (n cborNumber, err error) {
	h, err := r.head()
	if err != nil {
		return n, err
	}
	if h.major != cborBytes {
		return n, r.fail("a bignum that is no byte string", "tags 2 and 3 stand before byte strings")
	}
	b, err := r.bytesOf(h)
	if err != nil {
		return n, err
	}
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	if len(b) > 8 {
		return n, r.fail("a bignum of more than 64 bits", "send it as a float, or as a text")
	}
	for _, c := range b {
		n.Mantissa = n.Mantissa<<8 | uint64(c)
	}
	switch {
	case negative && n.Mantissa == math.MaxUint64:
		n = cborNumber{float: -0x1p64, isFloat: true}
	case negative:
		n.Mantissa, n.Negative = n.Mantissa+1, true
	}
	return n, nil
}

// maxFraction bounds the exponents of tags 4 and 5: what is beyond is zero or
// infinite.
const maxFraction = 2000

// fraction takes the array [exponent, mantissa] of tag 4 (powers of ten) or
// tag 5 (powers of two).
func (r *cborReader) fraction(ten bool) (n cborNumber, err error) {
	const hint = "tags 4 and 5 stand before an array of two integers, exponent and mantissa"
	if r.peek() != cborArray<<5|2 {
		return n, r.fail("a fraction of another shape", hint)
	}
	r.pos++
	var parts [2]cborNumber
	for i := range parts {
		h, err := r.head()
		if err != nil {
			return n, err
		}
		part, ok, err := r.integerOf(h, i == 1)
		if err != nil {
			return n, err
		}
		if !ok || part.isFloat {
			return n, r.fail("a fraction of another shape", hint)
		}
		parts[i] = part
	}
	if parts[0].Mantissa > maxFraction {
		return n, r.fail("an exponent that is too large", "floats end at 1.8e308")
	}
	exponent := int(parts[0].Mantissa)
	if parts[0].Negative {
		exponent = -exponent
	}
	n = parts[1]
	if ten {
		n.Exponent = exponent
		return n, nil
	}
	return cborNumber{float: math.Ldexp(n.Float(), exponent), isFloat: true}, nil
}

// integerOf is numberOf for integers, of which only some may be bignums.
func (r *cborReader) integerOf(h cborHead, big bool) (cborNumber, bool, error) {
	isBig := h.major == cborTag && (h.arg == tagBignum || h.arg == tagNegBignum)
	if h.major > cborNegative && !(big && isBig) {
		return cborNumber{}, false, nil
	}
	return r.numberOf(h, false)
}
