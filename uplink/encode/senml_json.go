package encode

import (
	"encoding/base64"
	"strconv"

	"github.com/tidegate/tidegate/reading"
)

// senmlJSON is the notation of RFC 8428 §5.
type senmlJSON struct{}

func (senmlJSON) contentType() string            { return SenMLJSONType }
func (senmlJSON) begin(dst []byte, _ int) []byte { return append(dst, '[') }
func (senmlJSON) end(dst []byte) []byte          { return append(dst[:len(dst)-1], ']') }
func (n senmlJSON) label(dst []byte, s string) []byte {
	return append(append(append(dst, '"'), s...), `":`...)
}

func (n senmlJSON) record(dst []byte, r *senmlRecord) []byte {
	dst = append(dst, '{')
	text := func(label, s string) {
		if s != "" {
			dst = append(appendText(n.label(dst, label), s), ',')
		}
	}
	if r.version != 0 {
		dst = append(strconv.AppendInt(n.label(dst, "bver"), int64(r.version), 10), ',')
	}
	dst = n.name(dst, "bn", r.baseName)
	if r.isBased {
		dst = append(appendSeconds(n.label(dst, "bt"), r.baseTime), ',')
	}
	text("bu", r.baseUnit)
	if r.first {
		text("bgw", r.head.gateway)
		text("bepoch", r.head.epoch)
		text("blane", r.head.lane.String())
	}
	if r.isNumbered {
		dst = append(strconv.AppendUint(n.label(dst, "bseq"), r.baseSeq, 10), ',')
	}
	dst = n.name(dst, "n", r.name)
	text("u", r.unit)
	if r.time != 0 {
		dst = append(appendSeconds(n.label(dst, "t"), r.time), ',')
	}
	dst = n.value(dst, r)
	if r.hasClock {
		dst = appendSeconds(n.label(append(dst, ','), "clock"), r.clock)
	}
	if r.quality != "" {
		dst = appendText(n.label(append(dst, ','), "quality"), r.quality)
	}
	return append(dst, "},"...)
}

// name appends a name, whose characters need no escapes.
func (n senmlJSON) name(dst []byte, label string, name []byte) []byte {
	if len(name) == 0 {
		return dst
	}
	dst = append(n.label(dst, label), '"')
	return append(append(dst, name...), `",`...)
}

func (n senmlJSON) value(dst []byte, r *senmlRecord) []byte {
	if s, ok := r.text(); ok {
		return appendText(n.label(dst, "vs"), s)
	}
	switch r.value.Kind() {
	case reading.KindBool:
		return strconv.AppendBool(n.label(dst, "vb"), r.value.Bool())
	case reading.KindBytes:
		dst = append(n.label(dst, "vd"), '"')
		dst = base64.RawURLEncoding.AppendEncode(dst, []byte(r.value.Text()))
		return append(dst, '"')
	}
	return appendValue(n.label(dst, "v"), r.value)
}

// appendSeconds appends nanoseconds as seconds, exactly.
func appendSeconds(dst []byte, ns int64) []byte {
	abs := uint64(ns)
	if ns < 0 {
		dst, abs = append(dst, '-'), -abs
	}
	dst = strconv.AppendUint(dst, abs/1e9, 10)
	rest := abs % 1e9
	if rest == 0 {
		return dst
	}
	dst = append(dst, '.')
	for unit := uint64(1e8); rest > 0; unit /= 10 {
		dst = append(dst, '0'+byte(rest/unit))
		rest %= unit
	}
	return dst
}
