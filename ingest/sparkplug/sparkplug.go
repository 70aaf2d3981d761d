// Package sparkplug reads the payloads of Sparkplug B, which are protocol
// buffers (the schema sparkplug_b.proto of Eclipse Tahu; the Sparkplug
// Specification 3.0, chapter 6). It knows the wire format and how values are
// packed into it, not what a topic means and what a birth has announced: that is
// for package dialect.
//
// It walks over the bytes and copies nothing, so whatever it returns as []byte
// lies in the payload. As the format demands, unknown fields are skipped and of
// a field that occurs twice the last counts.
package sparkplug

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrMalformed means that a payload is not what its format demands.
var ErrMalformed = errors.New("bad Sparkplug B")

// Payload is one message. Its metrics are read with Next.
type Payload struct {
	// Timestamp is when it was sent, in milliseconds since the Unix epoch; zero
	// if it does not say.
	Timestamp uint64
	// UUID says what Body is, see Inflate.
	UUID []byte
	// Body is whatever was put into the message beside metrics.
	Body []byte

	metrics reader
}

// Metric is one value of a message.
type Metric struct {
	// Name is empty where an Alias stands for it.
	Name []byte
	// Alias is a number that a birth has given to the name.
	Alias    uint64
	HasAlias bool
	// Timestamp is when it was measured, in milliseconds since the Unix epoch;
	// zero if it does not say.
	Timestamp uint64
	// Type is Unknown where a birth has told it.
	Type Type
	// Historical values come late, and Null ones are known to be unknown.
	Historical, Null bool
	// Properties is an encoded PropertySet, see Properties.Next.
	Properties Properties
	Value      Value
}

// Parse reads the head of a message.
func Parse(payload []byte) (Payload, error) {
	r := reader{rest: payload[:len(payload):len(payload)], size: len(payload)}
	p := Payload{metrics: r}
	var f field
	for r.next(&f) {
		switch f.number {
		case 1:
			p.Timestamp = f.integer(&r)
		case 2, 5:
			b := f.block(&r)
			if f.number == 5 {
				p.Body = b
			}
		case 3:
			f.integer(&r)
		case 4:
			p.UUID = f.text(&r)
		}
	}
	return p, r.err
}

// Next reads the next metric into m. It returns false after the last one, and
// when there is an error.
func (p *Payload) Next(m *Metric) (bool, error) {
	return p.metrics.metric(m, 2)
}

// metric reads the next field of that number as a metric.
func (r *reader) metric(m *Metric, number protowire.Number) (bool, error) {
	var f field
	for r.next(&f) {
		if f.number == number {
			in := r.within(f.block(r))
			*m = Metric{}
			m.read(&in)
			if r.err == nil {
				r.err = in.err
			}
			return r.err == nil, r.err
		}
	}
	return false, r.err
}

func (m *Metric) read(r *reader) {
	var f field
	for r.next(&f) {
		switch f.number {
		case 1:
			m.Name = f.text(r)
		case 2:
			m.Alias, m.HasAlias = f.integer(r), true
		case 3:
			m.Timestamp = f.integer(r)
		case 4:
			m.Type = f.datatype(r)
		case 5:
			m.Historical = f.integer(r) != 0
		case 7:
			m.Null = f.integer(r) != 0
		case 9:
			m.Properties = Properties{encoded: f.block(r), size: r.size}
		default:
			m.Value.read(&f, r, 10)
		}
	}
}

// field is one field of a message, and its content in the form of its wire type.
type field struct {
	number protowire.Number
	typ    protowire.Type
	bits   uint64
	bytes  []byte
}

// reader takes the fields of a message one after the other, until there are no
// more or there is an error. What it returns keeps the capacity up to the end
// of the outermost message, which tells where it is.
type reader struct {
	rest []byte
	size int // capacity of the outermost message
	err  error
}

func (r *reader) within(block []byte) reader { return reader{rest: block, size: r.size} }

func (r *reader) next(f *field) bool {
	if r.err != nil || len(r.rest) == 0 {
		return false
	}
	tag, n := varint(r.rest)
	number, typ := protowire.DecodeTag(tag)
	if n < 0 || number < protowire.MinValidNumber {
		return r.fail("no field begins", "the payload may have been cut short, or be of another format")
	}
	f.number, f.typ = number, typ
	body := r.rest[n:]
	switch typ {
	case protowire.VarintType:
		f.bits, n = varint(body)
	case protowire.Fixed32Type:
		var bits uint32
		bits, n = protowire.ConsumeFixed32(body)
		f.bits = uint64(bits)
	case protowire.Fixed64Type:
		f.bits, n = protowire.ConsumeFixed64(body)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(body)
	default:
		n = protowire.ConsumeFieldValue(number, typ, body)
	}
	if n < 0 {
		return r.fail(fmt.Sprintf("field %d does not end", number), "the payload may have been cut short")
	}
	r.rest = body[n:]
	return true
}

// varint is protowire.ConsumeVarint, quicker for the one byte that most have.
func varint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return protowire.ConsumeVarint(b)
}

// fail keeps the first error.
func (r *reader) fail(what, hint string) bool {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s at byte %d of %d — hint: %s", ErrMalformed, what, r.size-cap(r.rest), r.size, hint)
	}
	return false
}

func (f *field) is(typ protowire.Type, r *reader) bool {
	return f.typ == typ || r.fail(fmt.Sprintf("field %d is of another type, and ends", f.number), "is this Sparkplug B?")
}

func (f *field) integer(r *reader) uint64 {
	if !f.is(protowire.VarintType, r) {
		return 0
	}
	return f.bits
}

func (f *field) block(r *reader) []byte {
	if !f.is(protowire.BytesType, r) {
		return nil
	}
	return f.bytes
}

func (f *field) text(r *reader) []byte {
	b := f.block(r)
	if !utf8.Valid(b) {
		r.fail("a text ends that is not UTF-8", "raw bytes belong into a metric of type Bytes")
	}
	return b
}

func (f *field) datatype(r *reader) Type {
	n := f.integer(r)
	if n > math.MaxUint8 {
		r.fail(fmt.Sprintf("datatype %d is none, and ends", n), "Sparkplug 3.0 knows 1 to 34")
	}
	return Type(n)
}
