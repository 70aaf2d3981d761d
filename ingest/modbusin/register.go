package modbusin

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/reading"
)

// Register is one metric of a slave and where it lies.
type Register struct {
	// Metric and Unit name the series; Unit may be empty.
	Metric, Unit string
	// Table and Address say where it begins; addresses count from 0.
	Table   Table
	Address uint16
	// Every is how often it is read; 0 stands for the slave's interval.
	Every time.Duration
	// Format says what its bits mean.
	Format Format
}

// Format says what the bits of a register mean.
type Format struct {
	// Type is bool, bits, string, or a number type of package scalar whose bytes
	// fill words: u16, i16, u32, f32 and so on. Empty stands for bool in tables
	// of bits, and for u16 in tables of words.
	Type string
	// Order is that of the bytes of a number; of texts, whether the bytes of
	// each word are swapped.
	Order scalar.Order
	// Bit and Width cut a field out of an integer, Bit 0 being the least
	// significant. A bool is the one bit Bit if Width is 1, and otherwise
	// whether the word is other than zero.
	Bit, Width int
	// Words is how long a string is.
	Words int
	// Scale and Offset are applied exactly as they are written in decimal, Scale
	// first. Scale 0 stands for 1.
	Scale, Offset float64
	// Missing are the values that mean "no value"; see scalar.Config.
	Missing []string
	// Enum gives texts to integers. One that has none becomes its digits, so
	// that the metric stays a text.
	Enum map[int64]string
}

// Check returns an error, ending in a hint, for a register that cannot be.
func (r Register) Check() error {
	f, err := newFormat(r.Table, r.Format)
	if err != nil {
		return err
	}
	if last := int(r.Address) + int(f.count) - 1; last > 0xffff {
		return fmt.Errorf("ends at address %d — hint: the last address of a table is 65535", last)
	}
	return nil
}

// Last is the last address that belongs to the register, once Check has found it
// right.
func (r Register) Last() uint16 { return uint16(r.span().end() - 1) }

// Shares reports whether two registers that overlap do so on purpose: they are
// fields of the same words.
func (r Register) Shares(other Register) bool {
	return r.span() == other.span() && (r.Format.Type == other.Format.Type || r.Format.cuts() && other.Format.cuts())
}

// Overlaps reports whether two registers have addresses in common.
func (r Register) Overlaps(other Register) bool {
	a, b := r.span(), other.span()
	return a.table == b.table && int(a.address) < b.end() && int(b.address) < a.end()
}

// cuts says whether the format is of a part of its words.
func (f Format) cuts() bool { return f.Width > 0 || f.Type == "bits" || f.Type == "bool" }

func (r Register) span() span { return span{r.Table, r.Address, r.Format.count(r.Table)} }

// count is how many elements of the table the format covers, at least one. Check
// says what is wrong with a format.
func (f Format) count(t Table) uint16 {
	words := 1
	if f.Type == "string" {
		words = f.Words
	} else if number, ok := scalar.ParseType(f.Type); ok {
		words = number.Size() / 2
	}
	if t.Bits() || words < 1 || words > MaxRegisters {
		return 1
	}
	return uint16(words)
}

// format is a Format that makes sense.
type format struct {
	count uint16 // elements of the table
	codec *scalar.Codec
	order scalar.Order
	text  bool
	enum  map[int64]string
}

func newFormat(t Table, cfg Format) (format, error) {
	if t.Bits() {
		if cfg.Type != "" && cfg.Type != "bool" || cfg.Width != 0 || cfg.Scale != 0 || cfg.Offset != 0 || len(cfg.Missing)+len(cfg.Enum) > 0 {
			return format{}, fmt.Errorf("the elements of the %s table are single bits — hint: take type bool, without bit, scale, offset, missing and enum", t)
		}
		return format{count: 1}, nil
	}
	if cfg.Type == "string" {
		return newText(cfg)
	}
	if cfg.Words != 0 {
		return format{}, fmt.Errorf("words belong to the type string — hint: the type %s says how long it is", cfg.Type)
	}
	number, err := cfg.number()
	if err != nil {
		return format{}, err
	}
	codec, err := scalar.New(number)
	if err != nil {
		return format{}, err
	}
	if number.Truth && len(cfg.Enum) > 0 {
		return format{}, errors.New("a bool with enum texts — hint: take type bits")
	}
	if len(cfg.Enum) > 0 && (number.Type == scalar.F16 || number.Type == scalar.F32 || number.Type == scalar.F64 || cfg.Scale != 0 || cfg.Offset != 0) {
		return format{}, errors.New("enum texts for a number that may have decimals — hint: take an integer type, without scale and offset")
	}
	return format{count: cfg.count(t), codec: codec, order: cfg.Order, enum: cfg.Enum}, nil
}

func newText(cfg Format) (format, error) {
	if cfg.Words < 1 || cfg.Words > MaxRegisters {
		return format{}, fmt.Errorf("a string of %d words — hint: set words to a number from 1 to %d, two characters each", cfg.Words, MaxRegisters)
	}
	if cfg.Width != 0 || cfg.Scale != 0 || cfg.Offset != 0 || len(cfg.Missing)+len(cfg.Enum) > 0 {
		return format{}, errors.New("a string with bit, scale, offset, missing or enum — hint: these are for numbers")
	}
	return format{count: cfg.count(Holding), order: cfg.Order, text: true}, nil
}

// number is the configuration of the codec.
func (f Format) number() (scalar.Config, error) {
	cfg := scalar.Config{
		Order: f.Order, Bit: f.Bit, Width: f.Width, Scale: f.Scale, Offset: f.Offset, Missing: f.Missing,
		Truth: f.Type == "bool",
	}
	switch f.Type {
	case "", "bool", "bits":
		cfg.Type = scalar.U16
		return cfg, nil
	}
	t, ok := scalar.ParseType(f.Type)
	if !ok || t.Size()%2 != 0 {
		return cfg, fmt.Errorf("%q is no type that fills words of 16 bits — hint: one of u16, i16, u32, i32, u64, i64, f32, f64, bool, bits, string", f.Type)
	}
	cfg.Type = t
	return cfg, nil
}

// errNoText means that a string register holds no UTF-8.
var errNoText = errors.New("not a text in UTF-8")

// value reads the element at the place offset, counted in elements, of the data
// of an answer. The error is one of package scalar, or errNoText.
func (f *format) value(data []byte, offset int) (reading.Value, error) {
	switch {
	case f.text:
		text, ok := scalar.Text(data[2*offset:2*(offset+int(f.count))], f.order)
		if !ok {
			return reading.Value{}, errNoText
		}
		return reading.String(text), nil
	case f.codec == nil:
		return reading.Bool(data[offset/8]>>(offset%8)&1 != 0), nil
	}
	v, err := f.codec.Get(data[2*offset:])
	if err != nil {
		return reading.Value{}, err
	}
	switch {
	case v.Kind == scalar.Truth:
		return reading.Bool(v.Int != 0), nil
	case v.Kind == scalar.Float:
		return reading.Float(v.Float), nil
	case len(f.enum) > 0:
		return reading.String(cmp.Or(f.enum[v.Int], strconv.FormatInt(v.Int, 10))), nil
	}
	return reading.Number(v.Int), nil
}
