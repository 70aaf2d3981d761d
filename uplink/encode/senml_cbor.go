package encode

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/tidegate/tidegate/reading"
)

// senmlCBOR is the notation of RFC 8428 §6: the same records with numbers for
// labels. Whole numbers are integers, others the shortest float that is exact.
type senmlCBOR struct{}

// The numbers of the labels (RFC 8428 §6, table 4). Extensions have texts.
const (
	cborBaseVersion = -1
	cborBaseName    = -2
	cborBaseTime    = -3
	cborBaseUnit    = -4
	cborName        = 0
	cborUnit        = 1
	cborValue       = 2
	cborStringValue = 3
	cborBoolValue   = 4
	cborTime        = 6
	cborDataValue   = 8
)

// The major types of CBOR (RFC 8949 §3.1), in place.
const (
	cborUnsigned = 0 << 5
	cborNegative = 1 << 5
	cborBytes    = 2 << 5
	cborText     = 3 << 5
	cborArray    = 4 << 5
	cborMap      = 5 << 5
	cborSimple   = 7 << 5

	cborFalse, cborTrue              = cborSimple | 20, cborSimple | 21
	cborHalf, cborSingle, cborDouble = cborSimple | 25, cborSimple | 26, cborSimple | 27
)

func (senmlCBOR) contentType() string   { return SenMLCBORType }
func (senmlCBOR) end(dst []byte) []byte { return dst }

func (senmlCBOR) begin(dst []byte, records int) []byte {
	return appendCBORHead(dst, cborArray, uint64(records))
}

func (n senmlCBOR) record(dst []byte, r *senmlRecord) []byte {
	at := len(dst)
	dst = append(dst, cborMap) // fields are counted as they come; a record has fewer than 24
	label := func(l int64) {
		dst[at]++
		dst = appendCBORInt(dst, l)
	}
	text := func(l int64, s string) {
		if s != "" {
			label(l)
			dst = appendCBORText(dst, s)
		}
	}
	extension := func(l string) {
		dst[at]++
		dst = appendCBORText(dst, l)
	}
	if r.version != 0 {
		label(cborBaseVersion)
		dst = appendCBORInt(dst, int64(r.version))
	}
	text(cborBaseName, string(r.baseName))
	if r.isBased {
		label(cborBaseTime)
		dst = appendCBORSeconds(dst, r.baseTime)
	}
	text(cborBaseUnit, r.baseUnit)
	if r.first {
		extension("bgw")
		dst = appendCBORText(dst, r.head.gateway)
		extension("bepoch")
		dst = appendCBORText(dst, r.head.epoch)
		extension("blane")
		dst = appendCBORText(dst, r.head.lane.String())
	}
	if r.isNumbered {
		extension("bseq")
		dst = appendCBORHead(dst, cborUnsigned, r.baseSeq)
	}
	text(cborName, string(r.name))
	text(cborUnit, r.unit)
	if r.time != 0 {
		label(cborTime)
		dst = appendCBORSeconds(dst, r.time)
	}
	dst[at]++
	dst = n.value(dst, r)
	if r.hasClock {
		extension("clock")
		dst = appendCBORSeconds(dst, r.clock)
	}
	if r.quality != "" {
		extension("quality")
		dst = appendCBORText(dst, r.quality)
	}
	return dst
}

func (senmlCBOR) value(dst []byte, r *senmlRecord) []byte {
	if s, ok := r.text(); ok {
		return appendCBORText(appendCBORInt(dst, cborStringValue), s)
	}
	switch v := r.value; v.Kind() {
	case reading.KindBool:
		dst = appendCBORInt(dst, cborBoolValue)
		if v.Bool() {
			return append(dst, cborTrue)
		}
		return append(dst, cborFalse)
	case reading.KindBytes:
		dst = appendCBORHead(appendCBORInt(dst, cborDataValue), cborBytes, uint64(len(v.Text())))
		return append(dst, v.Text()...)
	case reading.KindInt:
		return appendCBORInt(appendCBORInt(dst, cborValue), v.Int())
	default:
		return appendCBORFloat(appendCBORInt(dst, cborValue), v.Float())
	}
}

// appendCBORHead appends the head of an item in the fewest bytes.
func appendCBORHead(dst []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), n)
}

func appendCBORInt(dst []byte, i int64) []byte {
	if i < 0 {
		return appendCBORHead(dst, cborNegative, uint64(-1-i))
	}
	return appendCBORHead(dst, cborUnsigned, uint64(i))
}

// appendCBORText appends a text, which is UTF-8 in CBOR: other bytes become
// U+FFFD, as in JSON.
func appendCBORText(dst []byte, s string) []byte {
	s = strings.ToValidUTF8(s, "\ufffd")
	return append(appendCBORHead(dst, cborText, uint64(len(s))), s...)
}

// appendCBORSeconds appends nanoseconds as seconds. Those of fewer than 2^53
// units of what they are multiples of read back exactly, by their shortest
// decimal.
func appendCBORSeconds(dst []byte, ns int64) []byte {
	if ns%1000 == 0 {
		return appendCBORFloat(dst, float64(ns/1000)/1e6)
	}
	return appendCBORFloat(dst, float64(ns)/1e9)
}

// appendCBORFloat appends a finite number: an integer where it is whole, or else
// the shortest float that is the same number.
func appendCBORFloat(dst []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) <= reading.MaxExactInt && !(f == 0 && math.Signbit(f)) {
		return appendCBORInt(dst, int64(f))
	}
	single := float32(f)
	if float64(single) != f {
		return binary.BigEndian.AppendUint64(append(dst, cborDouble), math.Float64bits(f))
	}
	if half, ok := halfOf(single); ok {
		return binary.BigEndian.AppendUint16(append(dst, cborHalf), half)
	}
	return binary.BigEndian.AppendUint32(append(dst, cborSingle), math.Float32bits(single))
}

// halfOf returns the half-precision float of the same value, if there is a
// normal one, or a zero.
func halfOf(f float32) (uint16, bool) {
	const bias, halfBias, cut = 127, 15, 23 - 10 // cut is how many bits the fraction loses
	bits := math.Float32bits(f)
	sign := uint16(bits >> 31 << 15)
	exponent, fraction := int(bits>>23&0xff), bits&(1<<23-1)
	if exponent == 0 && fraction == 0 {
		return sign, true
	}
	exponent += halfBias - bias
	if fraction&(1<<cut-1) != 0 || exponent < 1 || exponent > 30 {
		return 0, false
	}
	return sign | uint16(exponent)<<10 | uint16(fraction>>cut), true
}
