package scalar

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Config describes a field.
type Config struct {
	Type  Type
	Order Order
	// Bit and Width cut a bit field out of an integer: Width bits, of which the
	// lowest is bit Bit, counted from 0 for the least significant one after
	// the bytes have been put in order. A signed type makes the field signed.
	// Width zero takes the whole number.
	Bit, Width int
	// Truth makes the value a truth: whether the integer, or the bit field, is
	// other than zero.
	Truth bool
	// Scale multiplies the number, and Offset is added after that, both
	// exactly as they are written in decimal. Scale zero means 1.
	Scale, Offset float64
	// Missing are values that mean "no reading", before scale and offset:
	// patterns of bits ("0x7FFF"), or numbers of the type ("-32768", "9999").
	// Floats that are no finite numbers need not be listed: they never are
	// readings.
	Missing []string
	// Widen takes f16 and f32 as the float64 that equals them exactly,
	// 21.3700008392334 for the f32 next to 21.37. Without it they are the
	// decimal with the fewest digits that is the same f16 or f32, 21.37.
	Widen bool
}

// The bounds of Config, which keep every exact result computable.
const (
	maxMissing = 32
	maxPower   = 40 // decimal exponents of scale and offset
)

// New returns a codec, or an error that says what in the configuration makes no
// sense.
func New(cfg Config) (*Codec, error) {
	if !cfg.Type.valid() {
		return nil, fmt.Errorf("no type — hint: one of %s", allTypes())
	}
	if cfg.Order > MidLittle {
		return nil, fmt.Errorf("byte order %d — hint: big, little, badc or cdab", cfg.Order)
	}
	size := cfg.Type.Size()
	if cfg.Order.swapped() && size%2 != 0 && size > 1 {
		return nil, fmt.Errorf("%s in order %s — hint: badc and cdab are made of 16-bit words; %s has %d bytes, so it is big or little", cfg.Type, cfg.Order, cfg.Type, size)
	}
	c := &Codec{typ: cfg.Type, order: cfg.Order, width: uint(8 * size), truth: cfg.Truth, widen: cfg.Widen}
	if err := c.cut(cfg); err != nil {
		return nil, err
	}
	if err := c.rescale(cfg); err != nil {
		return nil, err
	}
	if len(cfg.Missing) > maxMissing {
		return nil, fmt.Errorf("%d values that mean no reading — hint: at most %d", len(cfg.Missing), maxMissing)
	}
	for _, text := range cfg.Missing {
		if err := c.miss(text); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// cut takes the bit field.
func (c *Codec) cut(cfg Config) error {
	class := c.typ.class()
	whole := class == unsigned || class == signed
	if cfg.Truth && !whole {
		return fmt.Errorf("a truth of type %s — hint: take an integer type, u8 for one byte", c.typ)
	}
	if cfg.Bit == 0 && cfg.Width == 0 {
		return nil
	}
	if !whole {
		return fmt.Errorf("bits of a %s — hint: bit fields are cut out of integers", c.typ)
	}
	if cfg.Bit < 0 || cfg.Width < 1 || cfg.Bit+cfg.Width > 8*c.typ.Size() {
		return fmt.Errorf("%d bits from bit %d on of a %s — hint: bits are counted from 0, the least significant; a field has at least 1, and ends within the %d bits", cfg.Width, cfg.Bit, c.typ, 8*c.typ.Size())
	}
	c.bit, c.width = uint(cfg.Bit), uint(cfg.Width)
	return nil
}

// rescale takes scale and offset.
func (c *Codec) rescale(cfg Config) error {
	if cfg.Scale == 0 {
		cfg.Scale = 1
	}
	for _, n := range []float64{cfg.Scale, cfg.Offset} {
		if math.IsNaN(n) || math.IsInf(n, 0) || n != 0 && math.Abs(math.Log10(math.Abs(n))) > maxPower/2 {
			return fmt.Errorf("scale %v, offset %v — hint: scale and offset are numbers between 1e-%d and 1e%d", cfg.Scale, cfg.Offset, maxPower/2, maxPower/2)
		}
	}
	c.scaled = cfg.Scale != 1 || cfg.Offset != 0
	if c.scaled && cfg.Truth {
		return fmt.Errorf("a truth with scale or offset — hint: a truth is true or false")
	}
	c.scale, c.offset = FromFloat(cfg.Scale), FromFloat(cfg.Offset)
	return nil
}

// miss takes one value that means "no reading", as the bits it has in the
// payload.
func (c *Codec) miss(text string) error {
	bits, ok := c.pattern(strings.ToLower(strings.TrimSpace(text)))
	if !ok {
		return fmt.Errorf("missing value %q of a field of %d bits of type %s — hint: a pattern like 0x7FFF, or a number that the field can hold", text, c.width, c.typ)
	}
	c.missing = append(c.missing, bits)
	return nil
}

func (c *Codec) pattern(text string) (bits uint64, ok bool) {
	if hex, isHex := strings.CutPrefix(text, "0x"); isHex {
		bits, err := strconv.ParseUint(hex, 16, 64)
		return bits, err == nil && c.holds(bits)
	}
	switch class := c.typ.class(); {
	case class == floating && text == "nan":
		return math.Float64bits(math.NaN()), true // is one anyhow
	case class == floating:
		f, err := strconv.ParseFloat(text, 64)
		return c.floatPattern(f), err == nil
	case class == decimal:
		n, err := strconv.ParseUint(text, 16, 64) // its digits are its half-bytes
		_, digits := fromBCD(n)
		return n, err == nil && digits && c.holds(n)
	case strings.HasPrefix(text, "-"):
		n, err := strconv.ParseInt(text, 10, 64)
		low := int64(-1) << (c.width - 1)
		return uint64(n) & (math.MaxUint64 >> (64 - c.width)), err == nil && class == signed && n >= low
	default:
		n, err := strconv.ParseUint(text, 10, 64)
		return n, err == nil && c.holds(n)
	}
}

// holds says whether the field has as many bits.
func (c *Codec) holds(bits uint64) bool { return bits <= math.MaxUint64>>(64-c.width) }

func (c *Codec) floatPattern(f float64) uint64 {
	switch c.typ {
	case F16:
		return uint64(ToHalf(f))
	case F32:
		return uint64(math.Float32bits(float32(f)))
	}
	return math.Float64bits(f)
}

func allTypes() string {
	var names []string
	for t := U8; int(t) < len(types); t++ {
		names = append(names, t.String())
	}
	return strings.Join(names, ", ")
}
