package wire

import (
	"encoding/binary"
	"math/bits"

	"github.com/tidegate/tidegate/reading"
)

// skipColumn passes over a column of n values; see column.append for how it was
// written.
func (r *reader) skipColumn(n int) {
	switch tag := r.byte(); tag {
	case tagDecimal, tagDecimalD2:
		r.count(maxScale)
		for range r.count(min(n, len(r.b)/8)) {
			r.count(n)
			r.bytes(8)
		}
		r.skipVarints(n)
	case tagXOR:
		for range n {
			r.bytes(int(r.byte() & 15))
		}
	case tagInt, tagIntD2:
		r.skipVarints(n)
	case tagBool:
		r.bytes((n + 7) / 8)
	case tagString, tagBytes:
		r.skipTexts(n)
	case tagStringID, tagBytesID:
		r.skipTexts(r.count(min(n, len(r.b))))
		r.skipVarints(n)
	case tagMixed:
		r.skipMixed(n)
	default:
		r.fail()
	}
}

// skipVarints passes over n varints: eight bytes at a time, each of which ends one
// where its top bit is clear.
func (r *reader) skipVarints(n int) {
	const tops = 0x8080808080808080
	for n >= 8 && len(r.b) >= 8 {
		n -= bits.OnesCount64(^binary.LittleEndian.Uint64(r.b) & tops)
		r.b = r.b[8:]
	}
	for range n {
		r.uvarint()
	}
}

func (r *reader) skipTexts(n int) {
	if n > len(r.b) {
		r.fail()
		return
	}
	total := 0
	for range n {
		if total += r.count(len(r.b)); r.failed || total > len(r.b) { // every time, as in textList
			r.fail()
			return
		}
	}
	r.bytes(total)
}

func (r *reader) skipMixed(n int) {
	for _, k := range r.bytes(n) {
		switch reading.Kind(k) {
		case reading.KindFloat:
			r.bytes(8)
		case reading.KindInt, reading.KindBool:
			r.uvarint()
		case reading.KindString, reading.KindBytes:
			r.bytes(r.count(len(r.b)))
		default:
			r.fail()
			return
		}
	}
}
