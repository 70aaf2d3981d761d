package wire

import (
	"fmt"
	"slices"
	"sort"

	"github.com/tidegate/tidegate/reading"
)

// Picked is a reading that [Decoder.DecodeSeries] has found. Its sequence number
// is the block's First plus Index.
type Picked struct {
	Index int
	Time  int64 // nanoseconds since 1970
	Value reading.Value
	Flags reading.Flags
}

// DecodeSeries appends the block's readings of one series to dst, in order of
// their sequence numbers. It passes over the values of others without building
// them, and over a block that does not name the series as soon as that is clear:
// so it finds fewer damages than [Decoder.Decode] does behind a checksum that is
// right. An error wraps ErrCorrupt and leaves dst as it was.
func (d *Decoder) DecodeSeries(dst []Picked, b Block, s reading.Series) ([]Picked, error) {
	body, err := d.inflate(b)
	if err != nil {
		return dst, fmt.Errorf("block %d..%d: %w", b.First, b.Last(), err)
	}
	p := &d.picker
	*p = picker{reader: reader{b: body}, series: s, values: dst, rows: p.rows[:0], column: p.column[:0], heads: p.heads[:0]}
	ok := p.pick(b)
	picked := p.values
	p.content, p.values = content{}, nil // lets go of the names, and of what is the caller's
	if !ok || p.failed {
		return dst, fmt.Errorf("block %d..%d: body: %w", b.First, b.Last(), ErrCorrupt)
	}
	if found := picked[len(dst):]; p.mixed {
		sort.Slice(found, func(i, k int) bool { return found[i].Index < found[k].Index })
	}
	return picked, nil
}

// picker decodes one series out of a body.
type picker struct {
	reader
	content
	series reading.Series
	wanted []bool // by field: it is the series' metric in its unit
	holds  []bool // by shape: it has a wanted field
	values []Picked
	mixed  bool // the values are not in order of their numbers

	// Memory that is kept from block to block.
	rows   []pickedRow
	column []reading.Value
	heads  []bool
}

// pickedRow is a row of the series' device that has a wanted field.
type pickedRow struct {
	shape int32
	at    int32 // index of the row in its shape's columns
	index int   // of its first reading in the block
	time  int64
	flags reading.Flags
}

// pick reads the sections in the order in which they are written, as far as it
// needs them. It returns false as soon as one cannot be right.
func (p *picker) pick(b Block) bool {
	if !p.readNames(&p.reader, b.Count) {
		return false
	}
	if !p.findFields() {
		return true
	}
	if !p.readShapes(&p.reader, b.Count) {
		return false
	}
	total, ok := p.readGroups(&p.reader, b.Count)
	if !ok {
		return false
	}
	p.findRows()
	if len(p.rows) == 0 {
		return true
	}
	return (!b.merged || p.numberRows(b.Count)) && p.timeRows(b.Header) && p.flagRows(total) && p.pickColumns()
}

// findFields says whether the tables of names have the series' device and field.
func (p *picker) findFields() (any bool) {
	if !slices.Contains(p.devices, p.series.Device) {
		return false
	}
	p.wanted = make([]bool, len(p.fields))
	for i, f := range p.fields {
		p.wanted[i] = f == field{p.series.Metric, p.series.Unit}
		any = any || p.wanted[i]
	}
	return any
}

// wants says whether the group's rows are among those that are picked.
func (p *picker) wants(g *group) bool { return p.holds[g.shape] && g.device == p.series.Device }

// findRows lists the rows, with their numbers in a block that is not merged, and
// counts those of each shape.
func (p *picker) findRows() {
	p.holds = make([]bool, len(p.shapes))
	for i, s := range p.shapes {
		p.holds[i] = slices.ContainsFunc(s.fields, func(f int32) bool { return p.wanted[f] })
	}
	index := 0
	for i := range p.groups {
		g := &p.groups[i]
		s := &p.shapes[g.shape]
		if p.wants(g) {
			for k := range g.rows {
				p.rows = append(p.rows, pickedRow{shape: g.shape, at: int32(s.rows) + k, index: index + int(k)*len(s.fields)})
			}
		}
		s.rows += int(g.rows)
		index += int(g.rows) * len(s.fields)
	}
}

// numberRows reads the parts of a merged block: numbers ascend part by part, and
// within one in canonical order.
func (p *picker) numberRows(count int) bool {
	next, ok := p.readPartSizes(&p.reader, count)
	if !ok {
		return false
	}
	total := 0
	for i, n := range next { // from here on, the number of the part's next reading
		next[i] = total
		total += n
	}
	ends := append(slices.Clone(next[1:]), total)
	picked := 0
	for i := range p.groups {
		g := &p.groups[i]
		width, wanted, part := len(p.shapes[g.shape].fields), p.wants(g), 0
		for range g.rows {
			part += p.count(len(next) - 1)
			if p.failed || part >= len(next) {
				return false
			}
			if wanted {
				p.rows[picked].index = next[part]
				picked++
			}
			next[part] += width
		}
	}
	return slices.Equal(next, ends)
}

// timeRows reads the times of all rows, because each leans on the one before.
func (p *picker) timeRows(h Header) bool {
	unit := int(p.byte())
	if unit >= len(timeUnits) {
		return false
	}
	mul := timeUnits[unit]
	latest := h.Span / mul
	var head, last, delta int64
	picked := 0
	for i := range p.groups {
		g := &p.groups[i]
		wanted := p.wants(g)
		for k := range g.rows {
			d := p.varint()
			if k == 0 {
				head += d
				last = head
			} else {
				delta += d
				last += delta
			}
			if last < 0 || last > latest {
				return false
			}
			if wanted {
				p.rows[picked].time = h.Base + last*mul
				picked++
			}
		}
	}
	return !p.failed
}

func (p *picker) flagRows(total int) bool {
	mode := p.byte()
	if mode == 0 {
		f := reading.Flags(p.byte())
		for i := range p.rows {
			p.rows[i].flags = f
		}
		return !p.failed
	}
	flags := p.bytes(total)
	if mode != 1 || p.failed {
		return false
	}
	row, picked := 0, 0
	for i := range p.groups {
		n := int(p.groups[i].rows)
		if p.wants(&p.groups[i]) {
			for _, f := range flags[row : row+n] {
				p.rows[picked].flags = reading.Flags(f)
				picked++
			}
		}
		row += n
	}
	return true
}

// pickColumns reads the wanted columns and passes over the others, up to the last
// one that is wanted.
func (p *picker) pickColumns() bool {
	needed := make([]bool, len(p.shapes)) // a shape may hold the field and be another device's
	for _, r := range p.rows {
		needed[r.shape] = true
	}
	for s := range p.shapes {
		rows := p.shapes[s].rows
		if rows == 0 {
			return false // as in readColumns
		}
		for f, id := range p.shapes[s].fields {
			if needed[s] && p.wanted[id] {
				p.take(int32(s), f)
			} else {
				p.skipColumn(rows)
			}
			if p.failed {
				return false
			}
		}
		needed[s] = false
		if !slices.Contains(needed, true) {
			break
		}
	}
	return true
}

// take picks the values of a column, which is the f-th of the shape.
func (p *picker) take(s int32, f int) {
	n := p.shapes[s].rows
	p.heads = slices.Grow(p.heads[:0], n)[:n]
	clear(p.heads)
	at := 0
	for i := range p.groups {
		if p.groups[i].shape == s {
			p.heads[at] = true // as in heads()
			at += int(p.groups[i].rows)
		}
	}
	p.column = slices.Grow(p.column[:0], n)[:n]
	p.columnInto(p.column, p.heads)
	for i := range p.rows {
		if r := &p.rows[i]; r.shape == s && !p.failed {
			n := len(p.values)
			p.mixed = p.mixed || n > 0 && p.values[n-1].Index > r.index+f
			p.values = append(p.values, Picked{r.index + f, r.time, p.column[r.at], r.flags})
		}
	}
	clear(p.column) // lets go of the texts
}
