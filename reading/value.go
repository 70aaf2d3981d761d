package reading

import (
	"math"
	"strconv"
)

// Kind is the type of a Value.
type Kind uint8

// The kinds of values. Their numbers are part of the wire format.
const (
	KindFloat Kind = iota
	KindInt
	KindBool
	KindString
	KindBytes

	// Kinds is the number of kinds.
	Kinds = 5
)

// Value is a float, an integer, a boolean, a text or opaque bytes. It is
// comparable, so tests and maps can use it; it never holds a pointer to memory
// that somebody else may change.
//
// Numbers of payloads are floats wherever a float holds them exactly, whole
// ones included, so that a metric that reads 21 now and 21.5 next keeps one
// kind. Integers beyond 2^53 are KindInt.
type Value struct {
	text string
	bits uint64
	kind Kind
}

// MaxExactInt is the largest integer up to which every integer is a float64.
const MaxExactInt = 1 << 53

// Float returns a floating-point value.
func Float(f float64) Value { return Value{kind: KindFloat, bits: math.Float64bits(f)} }

// Int returns an integer value.
func Int(i int64) Value { return Value{kind: KindInt, bits: uint64(i)} }

// Number returns the integer as a float where that is exact, and as an integer
// otherwise: the rule for numbers whose source does not say which they are.
func Number(i int64) Value {
	if i >= -MaxExactInt && i <= MaxExactInt {
		return Float(float64(i))
	}
	return Int(i)
}

// Bool returns a boolean value.
func Bool(b bool) Value {
	if b {
		return Value{kind: KindBool, bits: 1}
	}
	return Value{kind: KindBool}
}

// String returns a text value.
func String(s string) Value { return Value{kind: KindString, text: s} }

// Bytes returns an opaque value. The bytes travel as a string because that is
// Go's immutable byte sequence; they need not be UTF-8.
func Bytes(b string) Value { return Value{kind: KindBytes, text: b} }

// Kind returns the value's kind.
func (v Value) Kind() Kind { return v.kind }

// Float returns the number of a KindFloat; 0 for other kinds.
func (v Value) Float() float64 {
	if v.kind != KindFloat {
		return 0
	}
	return math.Float64frombits(v.bits)
}

// Int returns the number of a KindInt; 0 for other kinds.
func (v Value) Int() int64 {
	if v.kind != KindInt {
		return 0
	}
	return int64(v.bits)
}

// Bool returns the truth of a KindBool; false for other kinds.
func (v Value) Bool() bool { return v.kind == KindBool && v.bits != 0 }

// Text returns the text of a KindString or the bytes of a KindBytes; "" for
// other kinds.
func (v Value) Text() string { return v.text }

// Number returns the value as a float for plotting and thresholds, and whether
// it is a number at all. Booleans count as 0 and 1.
func (v Value) Number() (float64, bool) {
	switch v.kind {
	case KindFloat:
		return v.Float(), true
	case KindInt:
		return float64(v.Int()), true
	case KindBool:
		return float64(v.bits), true
	}
	return 0, false
}

// String formats the value for people and logs: numbers in their shortest
// form, opaque bytes quoted.
func (v Value) String() string {
	switch v.kind {
	case KindFloat:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case KindInt:
		return strconv.FormatInt(v.Int(), 10)
	case KindBool:
		return strconv.FormatBool(v.Bool())
	case KindString:
		return v.text
	}
	return strconv.Quote(v.text)
}
