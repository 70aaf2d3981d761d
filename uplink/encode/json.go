package encode

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/wire"
)

// JSONType is the media type of a JSON body.
const JSONType = "application/json"

// JSON encodes blocks as one JSON document (shown with line ends that it does
// not have):
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
// ever, so a receiver can drop what it has already. time is in nanoseconds
// since the Unix epoch, UTC. unit is absent when unknown. value is a number, a
// boolean or a text; the numbers that JSON lacks are the texts "NaN", "+Inf"
// and "-Inf". Opaque readings have bytes, in base64, instead of a value.
// quality is good, uncertain or bad.
type JSON struct {
	gateway  string
	decoder  *wire.Decoder
	readings []reading.Reading
}

// NewJSON returns a JSON encoder for the gateway.
func NewJSON(gateway string) *JSON {
	return &JSON{gateway: gateway, decoder: wire.NewDecoder()}
}

// ContentType returns JSONType.
func (j *JSON) ContentType() string { return JSONType }

// Encode appends the document to dst. An error that wraps wire.ErrCorrupt means
// that a block cannot be decoded.
func (j *JSON) Encode(dst []byte, blocks []wire.Block, _ int) ([]byte, []uplink.Part, error) {
	if len(blocks) == 0 {
		return dst, nil, errors.New("encode json: no blocks")
	}
	body := j.appendHead(dst, blocks[0], blocks[len(blocks)-1])
	for i, b := range blocks {
		var err error
		if j.readings, err = j.decoder.Decode(j.readings[:0], b); err != nil {
			return dst, nil, fmt.Errorf("encode json: %w", err)
		}
		if i > 0 {
			body = append(body, ',')
		}
		body = appendReadings(body, b.First, j.readings)
	}
	return append(body, "]}"...), nil, nil
}

func (j *JSON) appendHead(dst []byte, first, last wire.Block) []byte {
	dst = append(dst, `{"gateway":`...)
	dst = appendText(dst, j.gateway)
	dst = fmt.Appendf(dst, `,"epoch":"%016x","lane":"%s","first":%d,"last":%d,"readings":[`,
		first.Epoch, first.Lane, first.First, last.Last())
	return dst
}

func appendReadings(dst []byte, seq uint64, rs []reading.Reading) []byte {
	for i := range rs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendReading(dst, seq+uint64(i), &rs[i])
	}
	return dst
}

// AppendReading appends one of the readings of a document.
func AppendReading(dst []byte, seq uint64, r *reading.Reading) []byte {
	dst = append(dst, `{"seq":`...)
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
	dst = appendValue(dst, r.Value)
	switch r.Flags.Quality() {
	case reading.Bad:
		dst = append(dst, `,"quality":"bad"}`...)
	case reading.Uncertain:
		dst = append(dst, `,"quality":"uncertain"}`...)
	default:
		dst = append(dst, `,"quality":"good"}`...)
	}
	return dst
}

func appendValue(dst []byte, v reading.Value) []byte {
	if v.Kind() == reading.KindBytes {
		dst = append(dst, `,"bytes":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.Text()))
		return append(dst, '"')
	}
	dst = append(dst, `,"value":`...)
	switch v.Kind() {
	case reading.KindFloat:
		return appendFloat(dst, v.Float())
	case reading.KindInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case reading.KindBool:
		return strconv.AppendBool(dst, v.Bool())
	}
	return appendText(dst, v.Text())
}

// appendFloat appends the shortest digits that read back as f.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		dst = append(dst, '"')
		dst = strconv.AppendFloat(dst, f, 'g', -1, 64)
		return append(dst, '"')
	}
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
