package wire

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/tidegate/tidegate/reading"
)

// The tag of a column says how its values are written. FORMAT.md has each.
const (
	tagDecimal   = 0 // floats as decimal digits: scale, exceptions, then deltas
	tagDecimalD2 = 1 // the same as deltas of deltas
	tagXOR       = 2 // floats that are no short decimals
	tagInt       = 3 // integers as deltas
	tagIntD2     = 4 // the same as deltas of deltas
	tagBool      = 5 // eight to a byte, lowest bit first
	tagString    = 6 // lengths, then texts
	tagBytes     = 7 // lengths, then opaque bytes
	tagStringID  = 8 // a table of texts, then an index for each value
	tagBytesID   = 9 // the same for opaque bytes
	tagMixed     = 10
)

// column collects the values of one field and writes them in the shortest of
// the ways that fit.
type column struct {
	values []*reading.Value
	heads  []bool // value i is the first of its series in this block
	kind   reading.Kind
	mixed  bool

	digits     []int64
	exceptions []int
	table      map[string]int
}

func (c *column) reset() {
	clear(c.values)
	c.values, c.heads, c.mixed = c.values[:0], c.heads[:0], false
}

func (c *column) add(v *reading.Value, head bool) {
	if len(c.values) == 0 {
		c.kind = v.Kind()
	} else if v.Kind() != c.kind {
		c.mixed = true
	}
	c.values = append(c.values, v)
	c.heads = append(c.heads, head)
}

func (c *column) append(dst []byte) []byte {
	if c.mixed {
		return c.appendMixed(dst)
	}
	switch c.kind {
	case reading.KindFloat:
		return c.appendFloats(dst)
	case reading.KindInt:
		return c.appendInts(dst)
	case reading.KindBool:
		return c.appendBools(dst)
	case reading.KindString:
		return c.appendTexts(dst, tagString, tagStringID)
	default:
		return c.appendTexts(dst, tagBytes, tagBytesID)
	}
}

func (c *column) appendFloats(dst []byte) []byte {
	scale, ok := c.scaleDecimals()
	if !ok {
		return c.appendXOR(append(dst, tagXOR))
	}
	tag, second := c.cheaperDeltas(tagDecimal, tagDecimalD2)
	dst = append(dst, tag, byte(scale))
	dst = binary.AppendUvarint(dst, uint64(len(c.exceptions)))
	prev := 0
	for _, i := range c.exceptions {
		dst = binary.AppendUvarint(dst, uint64(i-prev))
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(c.values[i].Float()))
		prev = i
	}
	return c.appendDeltas(dst, second)
}

// pow10 holds the powers of ten that a float64 holds exactly.
var pow10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

const (
	maxScale = len(pow10) - 1
	// scaleJump is how many more decimals than the values before it a value
	// may have, and firstScale how many the first, before it is rather an
	// exception than a reason to give all of them longer digits.
	scaleJump  = 4
	firstScale = 9
	// An exception costs nine bytes, so only this share of a column may be one.
	exceptionShare = 8
)

// scaleDecimals finds the number of decimals with which the floats are exact,
// and fills in digits and exceptions. It is not ok when too many are no short
// decimals: measurements printed by firmware are, results of arithmetic are
// not.
func (c *column) scaleDecimals() (scale int, ok bool) {
	c.exceptions = c.exceptions[:0]
	limit := len(c.values) / exceptionShare
	for i, v := range c.values {
		f := v.Float()
		if _, exact := digits(f, scale); exact {
			continue
		}
		allowed := scale + scaleJump
		if i == 0 {
			allowed = firstScale
		}
		need, exact := decimals(f, scale+1, allowed)
		if !exact {
			c.exceptions = append(c.exceptions, i)
			if len(c.exceptions) > limit {
				return 0, false
			}
			continue
		}
		scale = need
	}
	return scale, c.scaleDigits(scale, limit)
}

// scaleDigits writes every value as digits of the final scale. A value too
// large for it, or an exception, repeats the digits before it.
func (c *column) scaleDigits(scale, limit int) bool {
	c.digits, c.exceptions = c.digits[:0], c.exceptions[:0]
	prev := int64(0)
	for i, v := range c.values {
		d, exact := digits(v.Float(), scale)
		if !exact {
			c.exceptions = append(c.exceptions, i)
			d = prev
		}
		c.digits = append(c.digits, d)
		prev = d
	}
	return len(c.exceptions) <= limit
}

// decimals returns the smallest scale in from..to with which f is exact.
func decimals(f float64, from, to int) (scale int, exact bool) {
	for s := from; s <= min(to, maxScale); s++ {
		if _, exact := digits(f, s); exact {
			return s, true
		}
	}
	return 0, false
}

// digits returns f·10^scale as an integer, and whether dividing it again gives
// back f to the bit. Division rounds correctly, so a decimal that was printed
// with at most scale decimals and 15 digits always comes back.
func digits(f float64, scale int) (int64, bool) {
	m := f * pow10[scale]
	if !(m >= -reading.MaxExactInt && m <= reading.MaxExactInt) { // also false for NaN
		return 0, false
	}
	d := int64(math.Round(m))
	return d, math.Float64bits(undigits(d, scale)) == math.Float64bits(f) // by bits: -0 is not 0
}

func undigits(d int64, scale int) float64 { return float64(d) / pow10[scale] }

func (c *column) appendInts(dst []byte) []byte {
	c.digits = c.digits[:0]
	for _, v := range c.values {
		c.digits = append(c.digits, v.Int())
	}
	tag, second := c.cheaperDeltas(tagInt, tagIntD2)
	return c.appendDeltas(append(dst, tag), second)
}

// cheaperDeltas compares what deltas and deltas of deltas would take and
// returns the tag of the shorter.
func (c *column) cheaperDeltas(first, second byte) (tag byte, isSecond bool) {
	cost1, cost2 := 0, 0
	var prev, delta int64
	for i, d := range c.digits {
		if c.heads[i] {
			prev, delta = d, 0 // both write heads alike
			continue
		}
		cost1 += bitsOf(d - prev)
		cost2 += bitsOf(d - prev - delta)
		prev, delta = d, d-prev
	}
	if cost2 < cost1 {
		return second, true
	}
	return first, false
}

func bitsOf(d int64) int { return bits.Len64(uint64(d<<1 ^ d>>63)) }

// appendDeltas writes digits as zigzag varints: the head of a series against
// the head of the series before, every other against its predecessor, or
// against its predecessor plus the last delta. Arithmetic wraps, which undoes
// itself when read.
func (c *column) appendDeltas(dst []byte, second bool) []byte {
	var head, prev, delta int64
	for i, d := range c.digits {
		if c.heads[i] {
			dst = binary.AppendVarint(dst, d-head)
			head, prev, delta = d, d, 0
			continue
		}
		if second {
			dst = binary.AppendVarint(dst, d-prev-delta)
			delta = d - prev
		} else {
			dst = binary.AppendVarint(dst, d-prev)
		}
		prev = d
	}
	return dst
}

// appendXOR writes each float as the bytes that differ from the one before: a
// byte with the number of leading zero bytes and of the bytes that follow.
func (c *column) appendXOR(dst []byte) []byte {
	prev := uint64(0)
	for _, v := range c.values {
		b := math.Float64bits(v.Float())
		x := b ^ prev
		prev = b
		if x == 0 {
			dst = append(dst, 0)
			continue
		}
		lead, trail := bits.LeadingZeros64(x)/8, bits.TrailingZeros64(x)/8
		n := 8 - lead - trail
		dst = append(dst, byte(lead<<4|n))
		var be [8]byte
		binary.BigEndian.PutUint64(be[:], x)
		dst = append(dst, be[lead:lead+n]...)
	}
	return dst
}

func (c *column) appendBools(dst []byte) []byte {
	dst = append(dst, tagBool)
	for i, v := range c.values {
		if i%8 == 0 {
			dst = append(dst, 0)
		}
		if v.Bool() {
			dst[len(dst)-1] |= 1 << (i % 8)
		}
	}
	return dst
}

// appendTexts writes a table and indices where values repeat, and lengths and
// texts where they do not.
func (c *column) appendTexts(dst []byte, plain, indexed byte) []byte {
	if c.table == nil {
		c.table = map[string]int{}
	}
	clear(c.table)
	limit := len(c.values) / 2
	var distinct []string
	for _, v := range c.values {
		if _, ok := c.table[v.Text()]; ok {
			continue
		}
		if len(distinct) >= limit {
			return appendTextList(append(dst, plain), len(c.values), func(i int) string { return c.values[i].Text() })
		}
		c.table[v.Text()] = len(distinct)
		distinct = append(distinct, v.Text())
	}
	dst = binary.AppendUvarint(append(dst, indexed), uint64(len(distinct)))
	dst = appendTextList(dst, len(distinct), func(i int) string { return distinct[i] })
	for _, v := range c.values {
		dst = binary.AppendUvarint(dst, uint64(c.table[v.Text()]))
	}
	return dst
}

func appendTextList(dst []byte, n int, text func(int) string) []byte {
	for i := range n {
		dst = binary.AppendUvarint(dst, uint64(len(text(i))))
	}
	for i := range n {
		dst = append(dst, text(i)...)
	}
	return dst
}

// appendMixed writes a kind for each value, then the values one by one.
func (c *column) appendMixed(dst []byte) []byte {
	dst = append(dst, tagMixed)
	for _, v := range c.values {
		dst = append(dst, byte(v.Kind()))
	}
	for _, v := range c.values {
		switch v.Kind() {
		case reading.KindFloat:
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Float()))
		case reading.KindInt:
			dst = binary.AppendVarint(dst, v.Int())
		case reading.KindBool:
			b := byte(0)
			if v.Bool() {
				b = 1
			}
			dst = append(dst, b)
		default:
			dst = binary.AppendUvarint(dst, uint64(len(v.Text())))
			dst = append(dst, v.Text()...)
		}
	}
	return dst
}
