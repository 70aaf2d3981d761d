package cloud

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tidegate/tidegate/reading"
)

// rowWriter appends readings as lines of JSON. It is written by hand because an
// export is millions of lines of one shape.
type rowWriter struct {
	buf  []byte
	head []byte // what all lines of the lane begin with
}

// begin sets the lane of the lines that follow.
func (w *rowWriter) begin(id laneID) {
	w.head = append(w.head[:0], `{"gateway":`...)
	w.head = appendText(w.head, id.gateway)
	w.head = fmt.Appendf(w.head, `,"epoch":"%016x","lane":"%s","seq":`, id.epoch, id.lane)
}

func (w *rowWriter) append(seq uint64, r *reading.Reading) {
	b := append(w.buf, w.head...)
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, `,"device":`...)
	b = appendText(b, r.Device)
	b = append(b, `,"metric":`...)
	b = appendText(b, r.Metric)
	if r.Unit != "" {
		b = append(b, `,"unit":`...)
		b = appendText(b, r.Unit)
	}
	b = append(b, `,"time":`...)
	b = strconv.AppendInt(b, r.Time, 10)
	b = appendValue(b, r.Value)
	b = append(b, `,"quality":"`...)
	b = append(b, qualityName(r.Flags)...)
	w.buf = append(b, "\"}\n"...)
}

func appendValue(b []byte, v reading.Value) []byte {
	if v.Kind() == reading.KindBytes {
		b = append(b, `,"bytes":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(v.Text()))
		return append(b, '"')
	}
	b = append(b, `,"value":`...)
	switch v.Kind() {
	case reading.KindFloat:
		return appendFloat(b, v.Float())
	case reading.KindInt:
		return strconv.AppendInt(b, v.Int(), 10)
	case reading.KindBool:
		return strconv.AppendBool(b, v.Bool())
	}
	return appendText(b, v.Text())
}

// appendFloat writes the shortest digits that give the number back, without an
// exponent where people would not write one.
func appendFloat(b []byte, f float64) []byte {
	size := math.Abs(f)
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		b = append(b, '"')
		b = strconv.AppendFloat(b, f, 'g', -1, 64)
		return append(b, '"')
	case size != 0 && (size < 1e-6 || size >= 1e21):
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

// appendText writes s as a JSON string. Bytes that are not UTF-8 become the
// replacement character.
func appendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0 // of what is not yet written
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if c >= utf8.RuneSelf && (r != utf8.RuneError || size > 1) {
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, "\uFFFD"...)
		}
		i += size
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func qualityName(f reading.Flags) string {
	switch f.Quality() {
	case 0:
		return "good"
	case reading.Uncertain:
		return "uncertain"
	}
	return "bad"
}

// parseQuality is the inverse of qualityName; no name means good.
func parseQuality(name string) (reading.Flags, bool) {
	switch name {
	case "", "good":
		return 0, true
	case "uncertain":
		return reading.Uncertain, true
	case "bad":
		return reading.Bad, true
	}
	return 0, false
}
