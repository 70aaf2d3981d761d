package wire

import (
	"encoding/binary"
	"math"

	"github.com/tidegate/tidegate/reading"
)

// column reads one column of len(heads) values; see column.append for how it
// was written.
func (r *reader) column(heads []bool) []reading.Value {
	vs := make([]reading.Value, len(heads))
	r.columnInto(vs, heads)
	return vs
}

func (r *reader) columnInto(vs []reading.Value, heads []bool) {
	switch tag := r.byte(); tag {
	case tagDecimal, tagDecimalD2:
		r.floats(vs, heads, tag == tagDecimalD2)
	case tagXOR:
		r.xorFloats(vs)
	case tagInt, tagIntD2:
		r.deltas(heads, tag == tagIntD2, func(i int, d int64) { vs[i] = reading.Int(d) })
	case tagBool:
		r.bools(vs)
	case tagString:
		r.texts(vs, reading.String)
	case tagBytes:
		r.texts(vs, reading.Bytes)
	case tagStringID:
		r.indexedTexts(vs, reading.String)
	case tagBytesID:
		r.indexedTexts(vs, reading.Bytes)
	case tagMixed:
		r.mixed(vs)
	default:
		r.fail()
	}
}

func (r *reader) floats(vs []reading.Value, heads []bool, second bool) {
	scale := r.count(maxScale)
	type exception struct {
		at int
		v  reading.Value
	}
	exceptions := make([]exception, r.count(min(len(vs), len(r.b)/8)))
	at := 0
	for i := range exceptions {
		at += r.count(len(vs))
		exceptions[i] = exception{at, reading.Float(math.Float64frombits(r.uint64()))}
		if at >= len(vs) {
			r.fail()
			return
		}
	}
	r.deltas(heads, second, func(i int, d int64) { vs[i] = reading.Float(undigits(d, scale)) })
	for _, e := range exceptions {
		vs[e.at] = e.v
	}
}

// deltas undoes column.appendDeltas.
func (r *reader) deltas(heads []bool, second bool, set func(i int, d int64)) {
	var head, prev, delta int64
	for i, isHead := range heads {
		d := r.varint()
		switch {
		case isHead:
			head += d
			prev, delta = head, 0
		case second:
			delta += d
			prev += delta
		default:
			prev += d
		}
		set(i, prev)
	}
}

func (r *reader) xorFloats(vs []reading.Value) {
	prev := uint64(0)
	for i := range vs {
		c := r.byte()
		lead, n := int(c>>4), int(c&15)
		if lead+n > 8 {
			r.fail()
			return
		}
		var be [8]byte
		copy(be[lead:], r.bytes(n))
		prev ^= binary.BigEndian.Uint64(be[:])
		vs[i] = reading.Float(math.Float64frombits(prev))
	}
}

func (r *reader) bools(vs []reading.Value) {
	packed := r.bytes((len(vs) + 7) / 8)
	if r.failed {
		return
	}
	for i := range vs {
		vs[i] = reading.Bool(packed[i/8]>>(i%8)&1 != 0)
	}
}

func (r *reader) texts(vs []reading.Value, value func(string) reading.Value) {
	for i, s := range r.textList(len(vs)) {
		vs[i] = value(s)
	}
}

func (r *reader) indexedTexts(vs []reading.Value, value func(string) reading.Value) {
	table := r.textList(r.count(min(len(vs), len(r.b))))
	if len(table) == 0 {
		r.fail()
		return
	}
	for i := range vs {
		vs[i] = value(table[r.count(len(table)-1)])
	}
}

// textList reads n lengths and n texts. The texts share one copy.
func (r *reader) textList(n int) []string {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	lens, total := make([]int, n), 0
	for i := range lens {
		lens[i] = r.count(len(r.b))
		if total += lens[i]; r.failed || total > len(r.b) { // every time, so that it cannot wrap where int has 32 bits
			r.fail()
			return nil
		}
	}
	all := string(r.bytes(total))
	if r.failed {
		return nil
	}
	list := make([]string, n)
	for i, l := range lens {
		list[i], all = all[:l], all[l:]
	}
	return list
}

func (r *reader) mixed(vs []reading.Value) {
	kinds := r.bytes(len(vs))
	for i, k := range kinds {
		switch reading.Kind(k) {
		case reading.KindFloat:
			vs[i] = reading.Float(math.Float64frombits(r.uint64()))
		case reading.KindInt:
			vs[i] = reading.Int(r.varint())
		case reading.KindBool:
			vs[i] = reading.Bool(r.count(1) == 1)
		case reading.KindString:
			vs[i] = reading.String(string(r.bytes(r.count(len(r.b)))))
		case reading.KindBytes:
			vs[i] = reading.Bytes(string(r.bytes(r.count(len(r.b)))))
		default:
			r.fail()
			return
		}
	}
}
