package encode

import (
	"strconv"

	"github.com/tidegate/tidegate/reading"
)

// The media types of plain values.
const (
	OpaqueType = "application/octet-stream"
	TextType   = "text/plain; charset=utf-8"
)

// plain writes the value of a reading and nothing else, under one of two names:
// raw hands on payloads that were kept whole, with the device as their topic and
// the flags of their publish; value is for readers of single texts. Numbers have
// their shortest digits, or are NaN, +Inf and -Inf; booleans are true and false;
// opaque bytes are as they came.
type plain string

func (p plain) contentType() string {
	if p == rawName {
		return OpaqueType
	}
	return TextType
}

func (plain) append(dst []byte, p piece) ([]byte, int) {
	_, r := p.at(0)
	return appendPlain(dst, r.Value), 0
}

func appendPlain(dst []byte, v reading.Value) []byte {
	switch v.Kind() {
	case reading.KindFloat:
		return appendFloat(dst, v.Float())
	case reading.KindInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case reading.KindBool:
		return strconv.AppendBool(dst, v.Bool())
	}
	return append(dst, v.Text()...)
}
