package sparkplug

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidegate/tidegate/reading"
)

// Properties are what a metric says about itself beside its value.
type Properties struct {
	encoded []byte
	size    int
}

// Property is one of them. Its value is one of the scalar datatypes, or not
// set.
type Property struct {
	Key   []byte
	Type  Type
	Value Value
}

// maxProperties bounds those of one metric.
const maxProperties = 1024

// All returns the properties in their order. Sets within sets have no value here.
func (p Properties) All() ([]Property, error) {
	if len(p.encoded) == 0 {
		return nil, nil
	}
	r := reader{rest: p.encoded, size: p.size}
	var all []Property
	var f field
	values := 0
	for r.next(&f) {
		switch f.number {
		case 1:
			if all = append(all, Property{Key: f.text(&r)}); len(all) > maxProperties {
				r.fail("too many properties end", fmt.Sprintf("a metric may have %d", maxProperties))
			}
		case 2:
			in := r.within(f.block(&r))
			var v Property
			v.read(&in)
			if r.err == nil {
				r.err = in.err
			}
			if values == len(all) {
				r.fail("a property ends that has no key", "keys and values are two lists")
				return nil, r.err
			}
			all[values].Type, all[values].Value = v.Type, v.Value
			values++
		}
	}
	if r.err == nil && values != len(all) {
		r.fail(fmt.Sprintf("%d keys and %d values of properties end", len(all), values), "each property needs both")
	}
	return all, r.err
}

func (p *Property) read(r *reader) {
	var f field
	null := false
	for r.next(&f) {
		switch f.number {
		case 1:
			p.Type = f.datatype(r)
		case 2:
			null = f.integer(r) != 0
		default:
			p.Value.read(&f, r, 3)
		}
	}
	if null {
		p.Value = Value{}
	}
}

// IsArray reports whether values of the datatype are read with Elements.
func (t Type) IsArray() bool { return t >= Int8Array && t <= DateTimeArray }

// MaxElements bounds the elements of an array, and the cells of a data set: they
// may be as small as a bit.
const MaxElements = 4096

// Elements returns the values of an array: numbers in little endian, booleans as
// bits behind their number, texts each with a NUL at their end (§6.4.17).
func (v *Value) Elements(t Type) ([]reading.Value, error) {
	if v.form != bytesForm || !t.IsArray() {
		return nil, v.misfit(t)
	}
	var out []reading.Value
	ok := false
	switch t {
	case BooleanArray:
		out, ok = booleans(v.block)
	case StringArray:
		out, ok = texts(v.block)
	default:
		out, ok = numbers(v.block, t)
	}
	if !ok {
		return nil, fmt.Errorf("%w: an array of datatype %d has %d bytes that are none — hint: see Sparkplug 3.0, 6.4.17, and send at most %d elements",
			ErrMalformed, t, len(v.block), MaxElements)
	}
	return out, nil
}

// elementTypes say what the arrays of numbers are made of, and how many bytes
// an element has.
var elementTypes = map[Type]struct {
	of    Type
	bytes int
}{
	Int8Array: {Int8, 1}, Int16Array: {Int16, 2}, Int32Array: {Int32, 4}, Int64Array: {Int64, 8},
	UInt8Array: {UInt8, 1}, UInt16Array: {UInt16, 2}, UInt32Array: {UInt32, 4}, UInt64Array: {UInt64, 8},
	FloatArray: {Float, 4}, DoubleArray: {Double, 8}, DateTimeArray: {DateTime, 8},
}

func numbers(b []byte, t Type) ([]reading.Value, bool) {
	e := elementTypes[t]
	if len(b)%e.bytes != 0 || len(b)/e.bytes > MaxElements {
		return nil, false
	}
	out := make([]reading.Value, 0, len(b)/e.bytes)
	var wide [8]byte
	for ; len(b) > 0; b = b[e.bytes:] {
		wide = [8]byte{}
		copy(wide[:], b[:e.bytes])
		bits := binary.LittleEndian.Uint64(wide[:])
		switch e.of {
		case Float:
			out = append(out, reading.Float(decimal(math.Float32frombits(uint32(bits)))))
		case Double:
			out = append(out, reading.Float(math.Float64frombits(bits)))
		default:
			n, ok := integer(e.of, bits)
			if !ok {
				return nil, false
			}
			out = append(out, n)
		}
	}
	return out, true
}

func booleans(b []byte) ([]reading.Value, bool) {
	if len(b) < 4 {
		return nil, false
	}
	n := int64(binary.LittleEndian.Uint32(b))
	bits := b[4:]
	if n > MaxElements || int64(len(bits)) != (n+7)/8 {
		return nil, false
	}
	out := make([]reading.Value, n)
	for i := range out {
		out[i] = reading.Bool(bits[i/8]>>(7-i%8)&1 != 0)
	}
	return out, true
}

func texts(b []byte) ([]reading.Value, bool) {
	n := bytes.Count(b, []byte{0})
	if n > MaxElements || len(b) > 0 && b[len(b)-1] != 0 || !utf8.Valid(b) {
		return nil, false
	}
	out := make([]reading.Value, 0, n)
	for len(b) > 0 {
		text, rest, _ := bytes.Cut(b, []byte{0})
		out = append(out, reading.String(string(text)))
		b = rest
	}
	return out, true
}

// Table is a data set: rows of cells in named columns.
type Table struct {
	Columns []string
	// Rows have as many cells as there are columns each. Cells without a value
	// are not set.
	Rows [][]Value
	// Types are those of the columns.
	Types []Type
}

// Table reads a value of datatype DataSet.
func (v *Value) Table() (Table, error) {
	var t Table
	if v.form != dataSetForm {
		return t, v.misfit(DataSet)
	}
	r := reader{rest: v.block, size: v.size}
	var f field
	cells := 0
	for r.next(&f) {
		switch f.number {
		case 2:
			t.Columns = append(t.Columns, string(f.text(&r)))
		case 3:
			t.types(&f, &r)
		case 4:
			row := r.row(f.block(&r), MaxElements-cells)
			t.Rows = append(t.Rows, row)
			cells += 1 + len(row) // empty rows are rows, too
		}
	}
	if r.err == nil && !t.fits() {
		r.fail("the columns, types and rows of a data set do not fit", "each row needs a cell for each column, each column a type")
	}
	return t, r.err
}

// types takes datatypes, which may be packed into one field.
func (t *Table) types(f *field, r *reader) {
	if f.typ != protowire.BytesType {
		t.Types = append(t.Types, f.datatype(r))
		return
	}
	for _, b := range f.bytes { // a datatype is less than 128, hence one byte
		t.Types = append(t.Types, Type(b))
	}
}

func (t *Table) fits() bool {
	for _, row := range t.Rows {
		if len(row) != len(t.Columns) {
			return false
		}
	}
	return len(t.Types) == len(t.Columns)
}

// row reads the cells of a row, of which there may be room many.
func (r *reader) row(block []byte, room int) []Value {
	in := r.within(block)
	var row []Value
	var f field
	if room < 0 {
		in.fail("a data set has too many rows, which end", fmt.Sprintf("it may have %d cells: send it in parts", MaxElements))
	}
	for in.next(&f) {
		if f.number == 1 {
			cell := in.within(f.block(&in))
			var v Value
			var g field
			for cell.next(&g) {
				v.read(&g, &cell, 1)
			}
			if in.err == nil {
				in.err = cell.err
			}
			row = append(row, v)
			if len(row) > room {
				in.fail("a data set has too many cells, which end", fmt.Sprintf("it may have %d: send it in parts", MaxElements))
			}
		}
	}
	if r.err == nil {
		r.err = in.err
	}
	return row
}

// Members are the metrics of a template.
type Members struct {
	// IsDefinition says that the template describes others and measures nothing.
	IsDefinition bool

	metrics reader
}

// Members reads the head of a value of datatype Template.
func (v *Value) Members() (Members, error) {
	if v.form != templateForm {
		return Members{}, v.misfit(Template)
	}
	r := reader{rest: v.block, size: v.size}
	m := Members{metrics: r}
	var f field
	for r.next(&f) {
		if f.number == 5 {
			m.IsDefinition = f.integer(&r) != 0
		}
	}
	return m, r.err
}

// Next reads the next metric into m; see Payload.Next.
func (m *Members) Next(metric *Metric) (bool, error) {
	return m.metrics.metric(metric, 2)
}
