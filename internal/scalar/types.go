package scalar

// Type is the width of a number and how its bits are meant. The zero value is
// no type.
type Type uint8

// The types. Signed integers are two's complement; floats are IEEE 754; the BCD
// types hold two decimal digits in each byte.
const (
	U8 Type = iota + 1
	I8
	U16
	I16
	U24
	I24
	U32
	I32
	U48
	I48
	U64
	I64
	F16
	F32
	F64
	BCD8
	BCD16
	BCD24
	BCD32
	BCD48
	BCD64
)

// class is what the bits of a type mean.
type class uint8

const (
	unsigned class = iota
	signed
	floating
	decimal
)

// types says of each Type what it is called in configuration files, how many
// bytes it has and what they mean.
var types = [...]struct {
	name  string
	size  int
	class class
}{
	U8: {"u8", 1, unsigned}, I8: {"i8", 1, signed},
	U16: {"u16", 2, unsigned}, I16: {"i16", 2, signed},
	U24: {"u24", 3, unsigned}, I24: {"i24", 3, signed},
	U32: {"u32", 4, unsigned}, I32: {"i32", 4, signed},
	U48: {"u48", 6, unsigned}, I48: {"i48", 6, signed},
	U64: {"u64", 8, unsigned}, I64: {"i64", 8, signed},
	F16: {"f16", 2, floating}, F32: {"f32", 4, floating}, F64: {"f64", 8, floating},
	BCD8: {"bcd8", 1, decimal}, BCD16: {"bcd16", 2, decimal}, BCD24: {"bcd24", 3, decimal},
	BCD32: {"bcd32", 4, decimal}, BCD48: {"bcd48", 6, decimal}, BCD64: {"bcd64", 8, decimal},
}

// ParseType returns the type that configuration files call name: "u16", "f32",
// "bcd8" and so on.
func ParseType(name string) (Type, bool) {
	for t := U8; int(t) < len(types); t++ {
		if types[t].name == name {
			return t, true
		}
	}
	return 0, false
}

// String returns the type's name in configuration files.
func (t Type) String() string {
	if !t.valid() {
		return "no type"
	}
	return types[t].name
}

// Size returns the number of bytes; 0 of what is no type.
func (t Type) Size() int {
	if !t.valid() {
		return 0
	}
	return types[t].size
}

func (t Type) valid() bool { return t >= U8 && int(t) < len(types) }

func (t Type) class() class { return types[t].class }
