package cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// document is a delivery as JSON.
type document struct {
	Gateway  string           `json:"gateway"`
	Epoch    string           `json:"epoch"`
	Lane     string           `json:"lane"`
	First    uint64           `json:"first"`
	Last     uint64           `json:"last"`
	Readings documentReadings `json:"readings"`
}

type documentReadings []documentReading

// maxDocument bounds the readings of a document: "{}," is three bytes of body
// and sixty times that in memory.
const maxDocument = wire.MaxReadings

// errTooMany means that a document exceeds maxDocument.
var errTooMany = errors.New("too many readings in a document")

// UnmarshalJSON reads one reading after the other, so that the bound holds
// before the memory is taken.
func (rs *documentReadings) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.New("readings are not a list")
	}
	for dec.More() {
		if len(*rs) == maxDocument {
			return errTooMany
		}
		var r documentReading
		if err := dec.Decode(&r); err != nil {
			return err
		}
		*rs = append(*rs, r)
	}
	return nil
}

type documentReading struct {
	Seq     uint64          `json:"seq"`
	Device  string          `json:"device"`
	Metric  string          `json:"metric"`
	Unit    string          `json:"unit"`
	Time    int64           `json:"time"`
	Value   json.RawMessage `json:"value"`
	Bytes   []byte          `json:"bytes"`
	Quality string          `json:"quality"`
}

// transcoder turns documents into chunks at the border, so that behind it there
// is one form. It keeps its memory from document to document.
type transcoder struct {
	enc      *wire.Encoder // made when it is first needed, like dec
	dec      *wire.Decoder
	readings []reading.Reading
}

// chunk returns a document as a chunk with the same sequence numbers. An error
// wraps wire.ErrCorrupt or errTooMany.
func (t *transcoder) chunk(body []byte) (wire.Chunk, error) {
	var d document
	if err := json.Unmarshal(body, &d); errors.Is(err, errTooMany) {
		return wire.Chunk{}, err
	} else if err != nil {
		return wire.Chunk{}, fmt.Errorf("document: %w (%v)", wire.ErrCorrupt, err)
	}
	return t.of(d)
}

// of is chunk for a document that has been read.
func (t *transcoder) of(d document) (wire.Chunk, error) {
	if t.enc == nil {
		t.enc, t.dec = wire.NewEncoder(), wire.NewDecoder()
	}
	h, err := d.header()
	if err != nil {
		return wire.Chunk{}, fmt.Errorf("document: %w: %w", wire.ErrCorrupt, err)
	}
	rs := make([]reading.Reading, len(d.Readings))
	for i := range d.Readings {
		if rs[i], err = d.Readings[i].reading(h.Lane); err != nil {
			return wire.Chunk{}, fmt.Errorf("document: reading %d: %w: %w", d.Readings[i].Seq, wire.ErrCorrupt, err)
		}
	}
	c := wire.Chunk{Gateway: d.Gateway}
	for from := 0; from < len(rs); {
		to := from + 1 // the end of the run of numbers without a hole
		for to < len(rs) && to-from < wire.MaxReadings && d.Readings[to].Seq == d.Readings[to-1].Seq+1 {
			to++
		}
		h.First = d.Readings[from].Seq
		if c.Blocks, err = t.appendBlocks(c.Blocks, h, rs[from:to]); err != nil {
			return wire.Chunk{}, fmt.Errorf("document: %w: %w", wire.ErrCorrupt, err)
		}
		from = to
	}
	return c, nil
}

// header checks the frame of the document.
func (d *document) header() (h wire.Header, err error) {
	if len(d.Epoch) != 16 {
		return h, fmt.Errorf("epoch %.40q, want 16 hexadecimal digits", d.Epoch)
	}
	if h.Epoch, err = strconv.ParseUint(d.Epoch, 16, 64); err != nil {
		return h, fmt.Errorf("epoch: %w", err)
	}
	var ok bool
	if h.Lane, ok = reading.ParseLane(d.Lane); !ok {
		return h, fmt.Errorf("lane %.40q", d.Lane)
	}
	n := len(d.Readings)
	if len(d.Gateway) < 1 || len(d.Gateway) > wire.MaxGateway || n < 1 {
		return h, errors.New("no gateway or no readings")
	}
	if d.First < 1 || d.Readings[0].Seq != d.First || d.Readings[n-1].Seq != d.Last {
		return h, fmt.Errorf("first %d and last %d are not those of the readings", d.First, d.Last)
	}
	for i := range d.Readings[1:] {
		if d.Readings[i+1].Seq <= d.Readings[i].Seq {
			return h, fmt.Errorf("numbers do not ascend after %d", d.Readings[i].Seq)
		}
	}
	return h, nil
}

// appendBlocks appends blocks that give the readings the numbers from h.First
// on. An Encoder sorts what it is given, so a run whose order would change is
// halved until it does not.
func (t *transcoder) appendBlocks(blocks []wire.Block, h wire.Header, rs []reading.Reading) ([]wire.Block, error) {
	raw, err := t.enc.AppendBlock(nil, h, rs)
	if err == nil {
		b, _, err := wire.ParseBlock(raw)
		if err != nil {
			return nil, err
		}
		if t.readings, err = t.dec.Decode(t.readings[:0], b); err != nil {
			return nil, err
		}
		if slices.Equal(t.readings, rs) {
			return append(blocks, b), nil
		}
	}
	if len(rs) == 1 {
		return nil, fmt.Errorf("reading %d does not fit into a block", h.First)
	}
	half := len(rs) / 2
	if blocks, err = t.appendBlocks(blocks, h, rs[:half]); err != nil {
		return nil, err
	}
	h.First += uint64(half)
	return t.appendBlocks(blocks, h, rs[half:])
}

func (d *documentReading) reading(lane reading.Lane) (reading.Reading, error) {
	flags, ok := parseQuality(d.Quality)
	if !ok {
		return reading.Reading{}, fmt.Errorf("quality %.40q", d.Quality)
	}
	r := reading.Reading{Device: d.Device, Metric: d.Metric, Unit: d.Unit, Time: d.Time, Flags: flags, Lane: lane}
	if d.Bytes != nil {
		r.Value = reading.Bytes(string(d.Bytes))
		return r, nil
	}
	var err error
	r.Value, err = parseValue(string(d.Value))
	return r, err
}

// parseValue reads a JSON text, truth value or number. Numbers are floats where
// those hold them exactly, as everywhere in tidegate.
func parseValue(s string) (reading.Value, error) {
	switch {
	case s == "true" || s == "false":
		return reading.Bool(s == "true"), nil
	case strings.HasPrefix(s, `"`):
		var text string
		err := json.Unmarshal([]byte(s), &text)
		return reading.String(text), err
	case !strings.ContainsAny(s, ".eE") && s != "-0":
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return reading.Number(n), nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return reading.Value{}, fmt.Errorf("value %.40q", s)
	}
	return reading.Float(f), nil
}
