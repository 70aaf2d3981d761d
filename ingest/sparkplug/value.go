package sparkplug

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/reading"
)

// Type is a datatype of Sparkplug 3.0 (§6.4.16).
type Type uint8

// The datatypes.
const (
	Unknown Type = iota
	Int8
	Int16
	Int32
	Int64
	UInt8
	UInt16
	UInt32
	UInt64
	Float
	Double
	Boolean
	String
	DateTime
	Text
	UUID
	DataSet
	Bytes
	File
	Template
	PropertySet
	PropertySetList
	Int8Array
	Int16Array
	Int32Array
	Int64Array
	UInt8Array
	UInt16Array
	UInt32Array
	UInt64Array
	FloatArray
	DoubleArray
	BooleanArray
	StringArray
	DateTimeArray
)

// form is the field of the schema that a value came in.
type form uint8

const (
	noForm form = iota
	intForm
	longForm
	floatForm
	doubleForm
	booleanForm
	stringForm
	bytesForm
	dataSetForm
	templateForm
)

// Value is a value as it stands in the message. What it means depends on a
// datatype, which the message may leave out.
type Value struct {
	form form
	// bits hold a number or a boolean, block everything else.
	bits  uint64
	block []byte
	size  int // of the outermost message
}

// IsSet reports whether there is a value.
func (v *Value) IsSet() bool { return v.form != noForm }

// wireTypes are the wire types of the forms.
var wireTypes = [...]protowire.Type{
	intForm: protowire.VarintType, longForm: protowire.VarintType,
	floatForm: protowire.Fixed32Type, doubleForm: protowire.Fixed64Type,
	booleanForm: protowire.VarintType, stringForm: protowire.BytesType,
	bytesForm: protowire.BytesType, dataSetForm: protowire.BytesType, templateForm: protowire.BytesType,
}

// read takes the field if it is one of those that hold a value. All messages
// have these in the same order; first is the number of the first. Only metrics
// have those from bytesForm on.
func (v *Value) read(f *field, r *reader, first protowire.Number) {
	at := f.number - first
	if at < 0 || first+at > 18 || first != 10 && at > 5 {
		return
	}
	form := intForm + form(at)
	if !f.is(wireTypes[form], r) {
		return
	}
	*v = Value{form: form, bits: f.bits, block: f.bytes, size: r.size}
	switch form {
	case intForm:
		v.bits = uint64(uint32(f.bits))
	case stringForm:
		v.block = f.text(r)
	}
}

// DefaultType is the datatype that the form of a value tells when nobody has
// said it: Unknown for integers, whose sign it would decide, and for what is
// not one value.
func (v *Value) DefaultType() Type {
	switch v.form {
	case floatForm:
		return Float
	case doubleForm:
		return Double
	case booleanForm:
		return Boolean
	case stringForm:
		return String
	case bytesForm:
		return Bytes
	case dataSetForm:
		return DataSet
	case templateForm:
		return Template
	}
	return Unknown
}

// Scalar returns the value as a reading's, given its datatype, which is none of
// those that have parts. DateTimes are numbers of milliseconds since the Unix
// epoch.
func (v *Value) Scalar(t Type) (reading.Value, error) {
	switch v.form {
	case intForm, longForm:
		if r, ok := integer(t, v.bits); ok {
			return r, nil
		}
	case floatForm:
		if t == Float || t == Double {
			return reading.Float(decimal(math.Float32frombits(uint32(v.bits)))), nil
		}
	case doubleForm:
		if t == Float || t == Double {
			return reading.Float(math.Float64frombits(v.bits)), nil
		}
	case booleanForm:
		if t == Boolean {
			return reading.Bool(v.bits != 0), nil
		}
	case stringForm:
		if t == String || t == Text || t == UUID {
			return reading.String(string(v.block)), nil
		}
	case bytesForm:
		if t == Bytes || t == File {
			return reading.Bytes(string(v.block)), nil
		}
	}
	return reading.Value{}, v.misfit(t)
}

func (v *Value) misfit(t Type) error {
	if v.form == noForm {
		return fmt.Errorf("%w: there is no value — hint: a metric without one must say is_null", ErrMalformed)
	}
	if t == Unknown {
		return fmt.Errorf("%w: nobody has said the datatype of an integer — hint: a birth must name every metric before its data comes", ErrMalformed)
	}
	return fmt.Errorf("%w: the value does not fit datatype %d — hint: see Sparkplug 3.0, 6.4.16", ErrMalformed, t)
}

// integer returns the number that bits are in a datatype.
func integer(t Type, bits uint64) (v reading.Value, ok bool) {
	switch t {
	case Int8, Int16, Int32:
		n, ok := signed(bits, 8<<(t-Int8))
		return reading.Number(n), ok
	case Int64:
		return reading.Number(int64(bits)), true
	case UInt8, UInt16, UInt32:
		return reading.Number(int64(bits)), bits>>(8<<(t-UInt8)) == 0
	case UInt64, DateTime:
		if bits > math.MaxInt64 {
			return reading.Float(float64(bits)), true
		}
		return reading.Number(int64(bits)), true
	}
	return reading.Value{}, false
}

// signed returns what bits are in two's complement of a width. Some peers
// extend the sign to the 32 or 64 bits of the field, some do not.
func signed(bits uint64, width int) (n int64, ok bool) {
	n = int64(bits<<(64-width)) >> (64 - width)
	return n, bits>>width == 0 || bits == uint64(n) || bits == uint64(uint32(n))
}

// decimal returns the decimal with the fewest digits that is f: 21.37, where
// float64(f) is 21.3700008392334. Nobody has measured the digits that binary
// adds.
func decimal(f float32) float64 {
	if d := float64(f); math.IsNaN(d) || math.IsInf(d, 0) {
		return d
	}
	return scalar.Shortest32(f)
}
