package encode

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/tidegate/tidegate/reading"
)

// JSONType is the media type of a JSON body.
const JSONType = "application/json"

// NDJSONType is the media type of JSON objects, one a line.
const NDJSONType = "application/x-ndjson"

// NewJSON returns an encoder for the gateway that encodes a message as one JSON
// document (shown with line ends that it does not have):
//
//	{"gateway":"north-7","epoch":"00000000000004d2","lane":"normal","first":1,"last":4,
//	 "readings":[
//	  {"seq":1,"device":"boiler","metric":"temp","unit":"Cel","time":1700000000123000000,"value":21.37,"quality":"good"},
//	  {"seq":2,"device":"boiler","metric":"on","time":1700000000123000000,"value":true,"quality":"good"},
//	  {"seq":3,"device":"boiler","metric":"mode","time":1700000000123000000,"value":"eco","quality":"bad"},
//	  {"seq":4,"device":"modem","metric":"","time":1700000000123000000,"bytes":"AP8=","quality":"good"}]}
//
// epoch is 16 hexadecimal digits, because not every JSON reader keeps 64-bit
// integers whole. Together with gateway, lane and seq it names a reading for
// ever, so a receiver can drop what it has already. first and last are the
// lowest and the highest seq of the document; where it is one of several that a
// message was cut into, others may have numbers in between. time is in
// nanoseconds since the Unix epoch, UTC. unit is absent when unknown. value is a
// number, a boolean or a text; the numbers that JSON lacks are the texts "NaN",
// "+Inf" and "-Inf". Opaque readings have bytes, in base64, instead of a value.
// quality is good, uncertain or bad.
//
// New gives the same with Config.Per; a message per reading is one object, that
// of the list with gateway, epoch and lane before its seq. "ndjson" has these
// objects in lines.
func NewJSON(gateway string) *Cutter {
	c := newCutter(Config{Gateway: gateway})
	c.format = jsonFormat{}
	return c
}

// jsonFormat writes documents, or objects of lone readings.
type jsonFormat struct{ lone bool }

func (jsonFormat) contentType() string { return JSONType }

func (j jsonFormat) append(dst []byte, p piece) ([]byte, int) {
	if j.lone {
		seq, r := p.at(0)
		return appendReading(append(dst, p.head.flat...), seq, r), 0
	}
	first, last := p.span()
	dst = p.head.appendJSON(append(dst, '{'))
	dst = fmt.Appendf(dst, `,"first":%d,"last":%d,"readings":[`, first, last)
	for i := range p.len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		seq, r := p.at(i)
		dst = AppendReading(dst, seq, r)
	}
	return append(dst, "]}"...), 0
}

// ndjson writes a line a reading.
type ndjson struct{}

func (ndjson) contentType() string { return NDJSONType }

func (ndjson) append(dst []byte, p piece) ([]byte, int) {
	for i := range p.len() {
		seq, r := p.at(i)
		dst = append(appendReading(append(dst, p.head.flat...), seq, r), '\n')
	}
	return dst, 0
}

// AppendReading appends one of the readings of a document.
func AppendReading(dst []byte, seq uint64, r *reading.Reading) []byte {
	return appendReading(append(dst, '{'), seq, r)
}

// appendReading appends the members of a reading, and the end of the object.
func appendReading(dst []byte, seq uint64, r *reading.Reading) []byte {
	dst = append(dst, `"seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, `,"device":`...)
	dst = appendText(dst, r.Device)
	dst = append(dst, `,"metric":`...)
	dst = appendText(dst, r.Metric)
	if r.Unit != "" {
		dst = append(dst, `,"unit":`...)
		dst = appendText(dst, r.Unit)
	}
	dst = append(dst, `,"time":`...)
	dst = strconv.AppendInt(dst, r.Time, 10)
	dst = appendMember(dst, r.Value)
	dst = append(dst, `,"quality":"`...)
	dst = append(dst, quality(r.Flags)...)
	return append(dst, `"}`...)
}

// quality is what a reading's quality is called.
func quality(f reading.Flags) string {
	switch f.Quality() {
	case reading.Bad:
		return "bad"
	case reading.Uncertain:
		return "uncertain"
	}
	return "good"
}

// appendMember appends the member value, or bytes.
func appendMember(dst []byte, v reading.Value) []byte {
	if v.Kind() == reading.KindBytes {
		dst = append(dst, `,"bytes":`...)
	} else {
		dst = append(dst, `,"value":`...)
	}
	return appendValue(dst, v)
}

// appendValue appends the value in JSON, opaque bytes in base64.
func appendValue(dst []byte, v reading.Value) []byte {
	switch v.Kind() {
	case reading.KindFloat:
		if !finite(v.Float()) {
			return append(appendFloat(append(dst, '"'), v.Float()), '"')
		}
		return appendFloat(dst, v.Float())
	case reading.KindInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case reading.KindBool:
		return strconv.AppendBool(dst, v.Bool())
	case reading.KindBytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.Text()))
		return append(dst, '"')
	}
	return appendText(dst, v.Text())
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// appendFloat appends the shortest digits that read back as f, or NaN, +Inf and
// -Inf.
func appendFloat(dst []byte, f float64) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

// appendText appends a JSON string. Names are plain ASCII nearly always.
func appendText(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string never fails
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
