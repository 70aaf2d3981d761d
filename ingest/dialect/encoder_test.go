package dialect

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/hex"
	"encoding/json"
	"io"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// message is a Sparkplug message as the golden cases write it.
type message struct {
	Timestamp uint64   `json:"ts"`
	Seq       uint64   `json:"seq"`
	Metrics   []metric `json:"metrics"`
	Compress  string   `json:"compress"` // GZIP or DEFLATE
}

// metric has one of the values, as the schema calls them.
type metric struct {
	Name       string           `json:"name"`
	Alias      *uint64          `json:"alias"`
	Timestamp  uint64           `json:"ts"`
	Type       uint64           `json:"type"`
	Historical bool             `json:"historical"`
	Transient  bool             `json:"transient"`
	Null       bool             `json:"null"`
	Properties map[string]value `json:"properties"`
	value
	Bytes    *string   `json:"bytes"` // hexadecimal
	DataSet  *dataSet  `json:"dataset"`
	Template *template `json:"template"`
}

type value struct {
	Int     *uint32  `json:"int"`
	Long    *uint64  `json:"long"`
	Float   *float32 `json:"float"`
	Double  *float64 `json:"double"`
	Boolean *bool    `json:"boolean"`
	String  *string  `json:"string"`
	Of      uint64   `json:"of"` // the datatype of a property
}

type dataSet struct {
	Columns []string  `json:"columns"`
	Types   []uint64  `json:"types"`
	Rows    [][]value `json:"rows"`
}

type template struct {
	Definition bool     `json:"definition"`
	Metrics    []metric `json:"metrics"`
}

func encodeSparkplug(t testing.TB, text string) []byte {
	t.Helper()
	var m message
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if m.Compress == "" {
		return m.encode()
	}
	var body bytes.Buffer
	var w io.WriteCloser = zlib.NewWriter(&body)
	if m.Compress == "GZIP" {
		w = gzip.NewWriter(&body)
	}
	if _, err := w.Write(m.encode()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var out []byte
	algorithm := metric{Name: "algorithm", Type: 12, value: value{String: &m.Compress}}
	out = appendBlock(out, 2, algorithm.encode())
	out = appendBlock(out, 4, []byte("SPBV1.0_COMPRESSED"))
	return appendBlock(out, 5, body.Bytes())
}

func (m message) encode() (out []byte) {
	if m.Timestamp > 0 {
		out = appendInteger(out, 1, m.Timestamp)
	}
	for _, metric := range m.Metrics {
		out = appendBlock(out, 2, metric.encode())
	}
	return appendInteger(out, 3, m.Seq)
}

func (m metric) encode() (out []byte) {
	if m.Name != "" {
		out = appendBlock(out, 1, []byte(m.Name))
	}
	if m.Alias != nil {
		out = appendInteger(out, 2, *m.Alias)
	}
	if m.Timestamp > 0 {
		out = appendInteger(out, 3, m.Timestamp)
	}
	if m.Type > 0 {
		out = appendInteger(out, 4, m.Type)
	}
	for number, set := range []bool{5: m.Historical, 6: m.Transient, 7: m.Null} {
		if set {
			out = appendInteger(out, protowire.Number(number), 1)
		}
	}
	if len(m.Properties) > 0 {
		var set []byte
		for key, v := range m.Properties {
			set = appendBlock(set, 1, []byte(key))
			set = appendBlock(set, 2, v.encode(appendInteger(nil, 1, v.Of), 3))
		}
		out = appendBlock(out, 9, set)
	}
	out = m.value.encode(out, 10)
	if m.Bytes != nil {
		b, err := hex.DecodeString(*m.Bytes)
		if err != nil {
			panic(err)
		}
		out = appendBlock(out, 16, b)
	}
	if m.DataSet != nil {
		out = appendBlock(out, 17, m.DataSet.encode())
	}
	if m.Template != nil {
		out = appendBlock(out, 18, m.Template.encode())
	}
	return out
}

func (v value) encode(out []byte, first protowire.Number) []byte {
	switch {
	case v.Int != nil:
		out = appendInteger(out, first, uint64(*v.Int))
	case v.Long != nil:
		out = appendInteger(out, first+1, *v.Long)
	case v.Float != nil:
		out = protowire.AppendTag(out, first+2, protowire.Fixed32Type)
		out = protowire.AppendFixed32(out, math.Float32bits(*v.Float))
	case v.Double != nil:
		out = protowire.AppendTag(out, first+3, protowire.Fixed64Type)
		out = protowire.AppendFixed64(out, math.Float64bits(*v.Double))
	case v.Boolean != nil:
		out = appendInteger(out, first+4, protowire.EncodeBool(*v.Boolean))
	case v.String != nil:
		out = appendBlock(out, first+5, []byte(*v.String))
	}
	return out
}

func (d dataSet) encode() (out []byte) {
	out = appendInteger(out, 1, uint64(len(d.Columns)))
	for _, c := range d.Columns {
		out = appendBlock(out, 2, []byte(c))
	}
	for _, t := range d.Types {
		out = appendInteger(out, 3, t)
	}
	for _, row := range d.Rows {
		var cells []byte
		for _, v := range row {
			cells = appendBlock(cells, 1, v.encode(nil, 1))
		}
		out = appendBlock(out, 4, cells)
	}
	return out
}

func (t template) encode() (out []byte) {
	for _, m := range t.Metrics {
		out = appendBlock(out, 2, m.encode())
	}
	return appendInteger(out, 5, protowire.EncodeBool(t.Definition))
}

func appendInteger(out []byte, number protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(out, number, protowire.VarintType), n)
}

func appendBlock(out []byte, number protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), b)
}
