package wire

import (
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate/tidegate/reading"
)

// Decoder reads blocks. It keeps its working memory from block to block and is
// not safe for concurrent use.
type Decoder struct {
	zstd   *zstd.Decoder
	body   []byte
	in     content
	picker picker
}

// content is a decoded body: the same rows, groups and shapes that an Encoder
// works on, and the columns beside them.
type content struct {
	devices []string
	fields  []field
	shapes  []shape
	groups  []group
	parts   []int
	rows    []row // in canonical order; start is the row's index in its shape
	columns [][][]reading.Value
}

// NewDecoder returns a Decoder.
func NewDecoder() *Decoder {
	z, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxBody),
		zstd.WithDecodeAllCapLimit(true)) // to what the header promised
	if err != nil {
		panic(err) // the options are constants: only a bug in this line gets here
	}
	return &Decoder{zstd: z}
}

// Decode appends the block's readings to dst in canonical order: the i-th has
// the sequence number First+i. An error wraps ErrCorrupt and leaves dst as it
// was.
func (d *Decoder) Decode(dst []reading.Reading, b Block) ([]reading.Reading, error) {
	if err := d.open(b); err != nil {
		return dst, fmt.Errorf("block %d..%d: %w", b.First, b.Last(), err)
	}
	rs := slices.Grow(dst, b.Count)
	d.in.eachRow(func(r *row) {
		g := &d.in.groups[r.group]
		for f, id := range d.in.shapes[g.shape].fields {
			rs = append(rs, reading.Reading{
				Device: g.device,
				Metric: d.in.fields[id].metric,
				Unit:   d.in.fields[id].unit,
				Time:   r.time,
				Value:  d.in.columns[g.shape][f][r.start],
				Flags:  r.flags,
				Lane:   b.Lane,
			})
		}
	})
	return rs, nil
}

// open decodes the body into d.in.
func (d *Decoder) open(b Block) error {
	body, err := d.inflate(b)
	if err != nil {
		return err
	}
	r := &reader{b: body}
	d.in = content{}
	if !d.in.read(r, b) || r.failed || len(r.b) > 0 {
		return fmt.Errorf("body: %w", ErrCorrupt)
	}
	return nil
}

// inflate returns the body before compression, which is good until the next call.
func (d *Decoder) inflate(b Block) (body []byte, err error) {
	body = b.body
	if b.packed {
		d.body = slices.Grow(d.body[:0], b.rawLen)
		if body, err = d.zstd.DecodeAll(b.body, d.body[:0:b.rawLen]); err != nil {
			return nil, fmt.Errorf("decompress: %w (%v)", ErrCorrupt, err)
		}
	}
	if len(body) != b.rawLen {
		return nil, fmt.Errorf("body of %d bytes, header says %d: %w", len(body), b.rawLen, ErrCorrupt)
	}
	return body, nil
}

// read reads the sections in the order in which an Encoder writes them. It
// returns false as soon as one cannot be right.
func (c *content) read(r *reader, b Block) bool {
	if !c.readNames(r, b.Count) || !c.readShapes(r, b.Count) {
		return false
	}
	rows, ok := c.readGroups(r, b.Count)
	if !ok {
		return false
	}
	c.layOut(rows)
	return (!b.merged || c.readParts(r, b.Count)) &&
		c.readTimes(r, b.Header) &&
		c.readFlags(r) &&
		c.readColumns(r)
}

func (c *content) readNames(r *reader, count int) bool {
	c.devices = r.names(count)
	metrics := r.names(count)
	units := append([]string{""}, r.names(count)...)
	c.fields = make([]field, len(metrics))
	for i, m := range metrics {
		u := r.count(len(units) - 1)
		c.fields[i] = field{m, units[u]}
	}
	return !r.failed
}

func (c *content) readShapes(r *reader, count int) bool {
	n := r.count(min(count, len(r.b)))
	c.shapes = make([]shape, n)
	total := 0
	for i := range c.shapes {
		width := r.count(min(maxRow, count-total, len(r.b)))
		if width < 1 {
			return false
		}
		total += width // every shape is used, so their widths are part of count
		fields := make([]int32, width)
		for k := range fields {
			if len(c.fields) == 0 {
				return false
			}
			fields[k] = int32(r.count(len(c.fields) - 1))
		}
		c.shapes[i] = shape{fields: fields}
	}
	return !r.failed
}

// readGroups reads the groups and counts their rows. It checks that the rows
// hold exactly count readings before anybody makes them.
func (c *content) readGroups(r *reader, count int) (rows int, ok bool) {
	n := r.count(min(count, len(r.b)))
	c.groups = make([]group, n)
	device := 0
	for i := range c.groups {
		device += r.count(1)
		if device >= len(c.devices) || len(c.shapes) == 0 {
			return 0, false
		}
		c.groups[i].device = c.devices[device]
	}
	for i := range c.groups {
		c.groups[i].shape = int32(r.count(len(c.shapes) - 1))
	}
	readings := 0
	for i := range c.groups {
		g := &c.groups[i]
		n := r.count(count)
		readings += n * len(c.shapes[g.shape].fields)
		if n < 1 || readings > count {
			return 0, false
		}
		g.rows = int32(n)
		rows += n
	}
	if r.failed || readings != count {
		return 0, false
	}
	return rows, true
}

// layOut makes the rows in canonical order, each with its place in the columns
// of its shape.
func (c *content) layOut(n int) {
	c.rows = make([]row, 0, n)
	used := make([]int32, len(c.shapes))
	for i := range c.groups {
		g := &c.groups[i]
		for range g.rows {
			c.rows = append(c.rows, row{group: int32(i), start: used[g.shape]})
			used[g.shape]++
		}
	}
	c.columns = make([][][]reading.Value, len(c.shapes))
	for s := range c.shapes {
		c.columns[s] = make([][]reading.Value, len(c.shapes[s].fields))
		c.shapes[s].rows = int(used[s])
	}
}

// readPartSizes reads how many readings each part has.
func (*content) readPartSizes(r *reader, count int) (parts []int, ok bool) {
	n := r.count(min(count, len(r.b)))
	parts = make([]int, n)
	total := 0
	for i := range parts {
		parts[i] = r.count(count)
		total += parts[i]
	}
	return parts, n >= 1 && total == count && !r.failed
}

func (c *content) readParts(r *reader, count int) (ok bool) {
	if c.parts, ok = c.readPartSizes(r, count); !ok {
		return false
	}
	n := len(c.parts)
	held := make([]int, n)
	for i := range c.rows {
		part := int32(r.count(n - 1))
		if i > 0 && c.rows[i-1].group == c.rows[i].group {
			part += c.rows[i-1].part
		}
		if r.failed || part >= int32(n) {
			return false
		}
		c.rows[i].part = part
		held[part] += len(c.shapes[c.groups[c.rows[i].group].shape].fields)
	}
	for i := range held {
		if held[i] != c.parts[i] || held[i] == 0 {
			return false
		}
	}
	return true
}

func (c *content) readTimes(r *reader, h Header) bool {
	unit := int(r.byte())
	if unit >= len(timeUnits) {
		return false
	}
	mul := timeUnits[unit]
	var head, last, delta int64
	for i := range c.rows {
		d := r.varint()
		if i == 0 || c.rows[i-1].group != c.rows[i].group {
			head += d
			last = head
		} else {
			delta += d
			last += delta
		}
		if last < 0 || last > h.Span/mul {
			return false
		}
		c.rows[i].time = h.Base + last*mul
	}
	return !r.failed
}

func (c *content) readFlags(r *reader) bool {
	switch r.byte() {
	case 0:
		f := reading.Flags(r.byte())
		for i := range c.rows {
			c.rows[i].flags = f
		}
	case 1:
		for i := range c.rows {
			c.rows[i].flags = reading.Flags(r.byte())
		}
	default:
		return false
	}
	return !r.failed
}

func (c *content) readColumns(r *reader) bool {
	heads := c.heads()
	for s := range c.shapes {
		if c.shapes[s].rows == 0 {
			return false // a shape that no group has is nothing an Encoder writes
		}
		for f := range c.columns[s] {
			c.columns[s][f] = r.column(heads[s])
			if r.failed {
				return false
			}
		}
	}
	return true
}

// heads marks, for each shape, the values of its columns that are the first of
// their group.
func (c *content) heads() [][]bool {
	heads := make([][]bool, len(c.shapes))
	for s := range heads {
		heads[s] = make([]bool, 0, c.shapes[s].rows)
	}
	for i := range c.groups {
		s := c.groups[i].shape
		for k := range c.groups[i].rows {
			heads[s] = append(heads[s], k == 0)
		}
	}
	return heads
}

// eachRow visits the rows in order of their sequence numbers: canonical order,
// within each part that was merged.
func (c *content) eachRow(visit func(r *row)) {
	if c.parts == nil {
		for i := range c.rows {
			visit(&c.rows[i])
		}
		return
	}
	ends := make([]int, len(c.parts)) // number of rows up to and including the part
	for i := range c.rows {
		ends[c.rows[i].part]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	order := make([]int32, len(c.rows))
	for i := len(c.rows) - 1; i >= 0; i-- {
		p := c.rows[i].part
		ends[p]--
		order[ends[p]] = int32(i)
	}
	for _, i := range order {
		visit(&c.rows[i])
	}
}
