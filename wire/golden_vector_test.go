package wire

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate/tidegate/reading"
)

// goldenFrame describes a frame: a block when Gateway is empty, else a chunk.
type goldenFrame struct {
	About   string        `json:"about"`
	Gateway goldenText    `json:"gateway,omitempty"`
	Blocks  []goldenBlock `json:"blocks"`
}

type goldenBlock struct {
	Epoch    uint64          `json:"epoch,string"`
	Lane     string          `json:"lane"`
	First    uint64          `json:"first,string"`
	Count    int             `json:"count"`
	Boot     uint32          `json:"boot"`
	Clock    string          `json:"clock"`
	Base     int64           `json:"base,string"`
	Span     int64           `json:"span,string"`
	Uptime   int64           `json:"uptime,string"`
	Packed   bool            `json:"packed"`
	Parts    []int           `json:"parts,omitempty"` // of a merged block
	TimeUnit int             `json:"time_unit"`
	Tags     []int           `json:"tags"`
	Readings []goldenReading `json:"readings"`
}

type goldenReading struct {
	Device goldenText    `json:"device"`
	Metric goldenText    `json:"metric"`
	Unit   goldenText    `json:"unit"`
	Time   int64         `json:"time,string"`
	Flags  reading.Flags `json:"flags"`
	Value  goldenValue   `json:"value"`
}

// packed reports whether a block of g is compressed.
func (g goldenFrame) packed() bool {
	return slices.ContainsFunc(g.Blocks, func(b goldenBlock) bool { return b.Packed })
}

// encodeGolden encodes what g describes. Readings of a merged block are those
// of its parts, one after another.
func encodeGolden(t testing.TB, g goldenFrame) []byte {
	t.Helper()
	var blocks []Block
	for _, b := range g.Blocks {
		h, rs := b.header(t), make([]reading.Reading, len(b.Readings))
		for i, r := range b.Readings {
			rs[i] = reading.Reading{Device: string(r.Device), Metric: string(r.Metric), Unit: string(r.Unit),
				Time: r.Time, Flags: r.Flags, Value: r.Value.Value, Lane: h.Lane}
		}
		if b.Parts == nil {
			blocks = append(blocks, mustBlock(t, h, rs))
			continue
		}
		var parts []Block
		for _, n := range b.Parts {
			parts = append(parts, mustBlock(t, h, rs[:n]))
			h.First, rs = h.First+uint64(n), rs[n:]
		}
		raw, err := NewMerger().Merge(nil, parts)
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, parseOne(t, raw))
	}
	if g.Gateway == "" {
		return blocks[0].Raw
	}
	raw, err := AppendChunk(nil, Chunk{Gateway: string(g.Gateway), Blocks: blocks})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (b goldenBlock) header(t testing.TB) Header {
	t.Helper()
	lane, ok := reading.ParseLane(b.Lane)
	h := Header{Epoch: b.Epoch, Lane: lane, First: b.First, Boot: b.Boot, Uptime: b.Uptime}
	for h.Clock.String() != b.Clock && h.Clock <= Stepped {
		h.Clock++
	}
	if !ok || h.Clock > Stepped {
		t.Fatalf("lane %q, clock %q", b.Lane, b.Clock)
	}
	return h
}

// describe is the inverse of encodeGolden.
func describe(t testing.TB, about string, raw []byte) goldenFrame {
	t.Helper()
	g := goldenFrame{About: about}
	if c, err := ParseChunk(raw); err == nil {
		g.Gateway = goldenText(c.Gateway)
	}
	for _, b := range blocksOf(t, raw) {
		rs, err := NewDecoder().Decode(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		d := goldenBlock{Epoch: b.Epoch, Lane: b.Lane.String(), First: b.First, Count: b.Count, Boot: b.Boot,
			Clock: b.Clock.String(), Base: b.Base, Span: b.Span, Uptime: b.Uptime, Packed: b.packed}
		d.Parts, d.TimeUnit, d.Tags = sections(t, b)
		for _, r := range rs {
			d.Readings = append(d.Readings, goldenReading{Device: goldenText(r.Device), Metric: goldenText(r.Metric),
				Unit: goldenText(r.Unit), Time: r.Time, Flags: r.Flags, Value: goldenValue{r.Value}})
		}
		g.Blocks = append(g.Blocks, d)
	}
	return g
}

// sections reads of a block what a Decoder does not tell: its parts, the unit
// of its times and the tags of its columns.
func sections(t testing.TB, b Block) (parts []int, unit int, tags []int) {
	t.Helper()
	var c content
	r := &reader{b: inflate(t, b)}
	ok := c.readNames(r, b.Count) && c.readShapes(r, b.Count)
	rows, fit := c.readGroups(r, b.Count)
	c.layOut(rows)
	ok = ok && fit && (!b.merged || c.readParts(r, b.Count))
	unit = int(r.b[0])
	if !ok || !c.readTimes(r, b.Header) || !c.readFlags(r) {
		t.Fatal("a section cannot be read")
	}
	for s := range c.shapes {
		for range c.shapes[s].fields {
			tags = append(tags, int(r.b[0]))
			r.column(c.heads()[s])
		}
	}
	return c.parts, unit, tags
}

func inflate(t testing.TB, b Block) []byte {
	t.Helper()
	if !b.packed {
		return b.body
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	body, err := z.DecodeAll(b.body, nil)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// blocksOf returns the blocks of a chunk, or the one block that raw is.
func blocksOf(t testing.TB, raw []byte) []Block {
	t.Helper()
	if c, err := ParseChunk(raw); err == nil {
		return c.Blocks
	}
	return []Block{parseOne(t, raw)}
}

// file is g as it is kept: JSON with a line for each reading.
func (g goldenFrame) file(t testing.TB) []byte {
	t.Helper()
	text, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.NewReplacer(`{"device":`, "\n"+`{"device":`, `{"epoch":`, "\n"+`{"epoch":`, `]}`, "\n]}",
		"\u202e", `\u202e`) // which would turn what follows it around on a screen
	return []byte(lines.Replace(string(text)) + "\n")
}

// goldenText is bytes that are usually text: a JSON string, or {"hex": "ff"}
// when they are not UTF-8.
type goldenText string

// MarshalJSON is the form above.
func (s goldenText) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(s)) {
		return json.Marshal(string(s))
	}
	return json.Marshal(map[string]string{"hex": hex.EncodeToString([]byte(s))})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (s *goldenText) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		return json.Unmarshal(text, (*string)(s))
	}
	var form struct{ Hex string }
	if err := json.Unmarshal(text, &form); err != nil {
		return err
	}
	b, err := hex.DecodeString(form.Hex)
	*s = goldenText(b)
	return err
}

// goldenValue is an object with one key, the kind: {"float": "21.5"},
// {"int": "-3"}, {"bool": true}, {"string": "on"}, {"bytes": {"hex": "00ff"}}.
// Numbers are strings because most languages read JSON's numbers as floats; a
// NaN is the sixteen hex digits of its bits.
type goldenValue struct{ reading.Value }

// MarshalJSON is the form above.
func (v goldenValue) MarshalJSON() ([]byte, error) {
	switch v.Kind() {
	case reading.KindFloat:
		text := strconv.FormatFloat(v.Float(), 'g', -1, 64)
		if math.IsNaN(v.Float()) {
			text = fmt.Sprintf("nan:%016x", math.Float64bits(v.Float()))
		}
		return json.Marshal(map[string]string{"float": text})
	case reading.KindInt:
		return json.Marshal(map[string]string{"int": strconv.FormatInt(v.Int(), 10)})
	case reading.KindBool:
		return json.Marshal(map[string]bool{"bool": v.Bool()})
	case reading.KindString:
		return json.Marshal(map[string]goldenText{"string": goldenText(v.Text())})
	}
	return json.Marshal(map[string]goldenText{"bytes": goldenText(v.Text())})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (v *goldenValue) UnmarshalJSON(text []byte) error {
	var form struct {
		Float, Int    *string
		Bool          *bool
		String, Bytes *goldenText
	}
	err := json.Unmarshal(text, &form)
	switch {
	case err != nil:
	case form.Float != nil && strings.HasPrefix(*form.Float, "nan:"):
		var bits uint64
		bits, err = strconv.ParseUint((*form.Float)[4:], 16, 64)
		v.Value = reading.Float(math.Float64frombits(bits))
	case form.Float != nil:
		var f float64
		f, err = strconv.ParseFloat(*form.Float, 64)
		v.Value = reading.Float(f)
	case form.Int != nil:
		var i int64
		i, err = strconv.ParseInt(*form.Int, 10, 64)
		v.Value = reading.Int(i)
	case form.Bool != nil:
		v.Value = reading.Bool(*form.Bool)
	case form.String != nil:
		v.Value = reading.String(string(*form.String))
	case form.Bytes != nil:
		v.Value = reading.Bytes(string(*form.Bytes))
	}
	return err
}
