// Package scalar reads single numbers out of binary layouts: the fields of a
// LoRa payload, the registers of a Modbus device. It knows widths, byte orders,
// bit fields, scales and the patterns that mean "no reading", and gives what
// the bytes say exactly: 215 with a scale of 0.1 is 21.5 to the last bit.
//
// A Codec is made once from a Config, which is checked then; its Get costs no
// allocation, and it is safe for concurrent use.
package scalar

import (
	"encoding/binary"
	"errors"
	"math"
)

// The reasons for which Get returns no value. They carry no position: whoever
// cut the bytes out knows it.
var (
	// ErrMissing means that the bytes say "no reading": one of Config.Missing,
	// or a float that is no finite number, or becomes none when it is scaled.
	ErrMissing = errors.New("no reading")
	// ErrDigits means that a half-byte of a BCD number is no digit.
	ErrDigits = errors.New("not a decimal digit in a BCD number")
	// ErrShort means that there are fewer bytes than Size.
	ErrShort = errors.New("too few bytes")
)

// Order is the order of a number's bytes. The zero value is Big.
type Order uint8

// The four orders, with the names that users of Modbus know for the 32-bit
// number 0xAABBCCDD. The last two are made of 16-bit words, so they need an even
// number of bytes.
const (
	Big       Order = iota // abcd
	Little                 // dcba
	MidBig                 // badc: the words in order, the bytes of each swapped
	MidLittle              // cdab: the words swapped, the bytes of each in order
)

// ParseOrder returns the order that configuration files call name: "big" or
// "abcd" (also ""), "little" or "dcba", "badc", "cdab".
func ParseOrder(name string) (Order, bool) {
	switch name {
	case "", "big", "abcd":
		return Big, true
	case "little", "dcba":
		return Little, true
	case "badc":
		return MidBig, true
	case "cdab":
		return MidLittle, true
	}
	return Big, false
}

// String returns the order's name in configuration files.
func (o Order) String() string {
	return [...]string{"big", "little", "badc", "cdab"}[o&3]
}

// swapped says whether the bytes of each word are the other way round than the
// words are.
func (o Order) swapped() bool { return o == MidBig || o == MidLittle }

// load reads an unsigned number from all bytes of b, at most eight.
func (o Order) load(b []byte) (v uint64) {
	switch {
	case o == Big || o == MidBig:
		switch len(b) {
		case 2:
			v = uint64(binary.BigEndian.Uint16(b))
		case 4:
			v = uint64(binary.BigEndian.Uint32(b))
		case 8:
			v = binary.BigEndian.Uint64(b)
		default:
			for _, c := range b {
				v = v<<8 | uint64(c)
			}
		}
	case len(b) == 2:
		v = uint64(binary.LittleEndian.Uint16(b))
	case len(b) == 4:
		v = uint64(binary.LittleEndian.Uint32(b))
	case len(b) == 8:
		v = binary.LittleEndian.Uint64(b)
	default:
		for i := len(b) - 1; i >= 0; i-- {
			v = v<<8 | uint64(b[i])
		}
	}
	if o.swapped() && len(b) > 1 {
		v = v&0x00ff00ff00ff00ff<<8 | v>>8&0x00ff00ff00ff00ff
	}
	return v
}

// Kind says which field of a Value counts.
type Kind uint8

// The kinds of values.
const (
	Float Kind = iota
	Int
	Truth
)

// Value is one number or truth. Integers are Int only where that is what they
// are: without a scale that has decimals, and within int64; the unsigned ones
// beyond are the nearest Float.
type Value struct {
	Kind  Kind
	Float float64
	Int   int64 // for Truth, 0 or 1
}

// Codec reads the numbers of one field.
type Codec struct {
	typ           Type
	order         Order
	bit, width    uint // width counts for integers: all of their bits, or those of a bit field
	truth         bool
	widen         bool
	scaled        bool
	scale, offset Decimal
	missing       []uint64
}

// Size returns how many bytes Get reads.
func (c *Codec) Size() int { return c.typ.Size() }

// Get returns the number at the start of b, or one of ErrMissing, ErrDigits and
// ErrShort.
func (c *Codec) Get(b []byte) (Value, error) {
	size := c.typ.Size()
	if len(b) < size {
		return Value{}, ErrShort
	}
	raw := c.order.load(b[:size])
	class := c.typ.class()
	if class == unsigned || class == signed {
		raw = raw >> c.bit & (math.MaxUint64 >> (64 - c.width))
	}
	for _, m := range c.missing {
		if raw == m {
			return Value{}, ErrMissing
		}
	}
	switch class {
	case floating:
		return c.float(raw)
	case decimal:
		digits, ok := fromBCD(raw)
		if !ok {
			return Value{}, ErrDigits
		}
		return c.integer(Decimal{Mantissa: digits}), nil
	case signed:
		if v := int64(raw<<(64-c.width)) >> (64 - c.width); v < 0 {
			return c.integer(Decimal{Mantissa: -uint64(v), Negative: true}), nil
		}
	}
	return c.integer(Decimal{Mantissa: raw}), nil
}

// integer finishes a whole number.
func (c *Codec) integer(d Decimal) Value {
	if c.truth {
		if d.Mantissa != 0 {
			return Value{Kind: Truth, Int: 1}
		}
		return Value{Kind: Truth}
	}
	if c.scaled {
		return linear(d, c.scale, c.offset)
	}
	return d.value()
}

// float finishes a floating-point number of the bits raw.
func (c *Codec) float(raw uint64) (Value, error) {
	var f float64
	switch c.typ {
	case F16:
		f = Half(uint16(raw))
	case F32:
		f = float64(math.Float32frombits(uint32(raw)))
	default:
		f = math.Float64frombits(raw)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}, ErrMissing
	}
	switch {
	case c.widen || c.typ == F64:
	case c.typ == F16:
		f = ShortestHalf(uint16(raw))
	default:
		f = Shortest32(float32(f))
	}
	if c.scaled {
		if f = linear(FromFloat(f), c.scale, c.offset).asFloat(); math.IsInf(f, 0) {
			return Value{}, ErrMissing
		}
	}
	return Value{Float: f}, nil
}

func (v Value) asFloat() float64 {
	if v.Kind == Int {
		return float64(v.Int)
	}
	return v.Float
}

// fromBCD reads two decimal digits of each byte.
func fromBCD(raw uint64) (digits uint64, ok bool) {
	for shift := 60; shift >= 0; shift -= 4 {
		digit := raw >> shift & 15
		if digit > 9 {
			return 0, false
		}
		digits = digits*10 + digit
	}
	return digits, true
}
