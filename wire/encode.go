package wire

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate/tidegate/reading"
)

// Encoder writes blocks. It keeps its working memory from block to block and
// is not safe for concurrent use; nothing of one block influences the next.
//
// How a block is laid out: consecutive readings of one device, time and flags
// are a row; rows of one device with the same fields (metric and unit) are a
// group; groups are sorted by device, then by their fields. Reading order
// within the block is therefore its canonical order: group by group, row by
// row, field by field. Sequence numbers count in that order.
type Encoder struct {
	zstd *zstd.Encoder

	rs     []reading.Reading
	rows   []row
	groups []group
	shapes []shape
	fields []field

	lastOf  map[string]int32   // device → the group of its last row, for a quick guess
	groupOf map[groupKey]int32 // device and shape → group, of groups that were once the last
	shapeOf map[string]int32   // field list as bytes → shape
	fieldOf map[field]int32
	scratch []byte
	order   []int32 // rows, sorted by group
	ids     []int32 // working memory of sorts
	strings []string
	body    []byte
	column  column
}

// row is one instant of one device: consecutive readings in Encoder.rs.
type row struct {
	group int32
	start int32 // index of its first reading
	part  int32 // index of the merged block that it came in
	flags reading.Flags
	time  int64
}

// group is all rows of one device that have one shape.
type group struct {
	device   string
	shape    int32
	rows     int32
	deviceID int32
	at       int32 // its first row in Encoder.order
}

type groupKey struct {
	device string
	shape  int32
}

// shape is a list of fields in the order in which the payload has them.
type shape struct {
	fields []int32
	rows   int // of all its groups; the Decoder's
}

// field is what a column holds: a metric in a unit.
type field struct {
	metric, unit string
}

// NewEncoder returns an Encoder.
func NewEncoder() *Encoder {
	z, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), // the block has its own
		zstd.WithWindowSize(256<<10),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants: only a bug in this line gets here
	}
	return &Encoder{
		zstd:    z,
		lastOf:  map[string]int32{},
		groupOf: map[groupKey]int32{},
		shapeOf: map[string]int32{},
		fieldOf: map[field]int32{},
	}
}

// AppendBlock appends one block of the readings to dst. h supplies Epoch, Lane,
// First, Boot, Clock and Uptime; Count, Base and Span are computed. Lane of the
// readings is not looked at. The readings get the sequence numbers from h.First
// on in canonical order, which a Decoder returns them in.
func (e *Encoder) AppendBlock(dst []byte, h Header, rs []reading.Reading) ([]byte, error) {
	if len(rs) < 1 || len(rs) > MaxReadings {
		return dst, fmt.Errorf("block of %d readings, want 1 to %d: %w", len(rs), MaxReadings, ErrTooLarge)
	}
	if h.First < 1 || h.First+uint64(len(rs))-1 < h.First || h.Lane >= reading.Lanes || h.Clock > Stepped {
		return dst, fmt.Errorf("block from %d on in lane %d with clock %d: no such block", h.First, h.Lane, h.Clock)
	}
	e.reset(rs)
	for i := 0; i < len(rs); {
		n := rowLength(rs[i:])
		e.addRow(i, n, 0)
		i += n
	}
	return e.finish(dst, h, nil)
}

// maxRow bounds the readings of a row: a longer payload becomes several rows.
const maxRow = 1024

// rowLength returns how many of the first readings are one row: same device,
// time and flags, and no metric a second time at its head.
func rowLength(rs []reading.Reading) int {
	first := &rs[0]
	limit := min(len(rs), maxRow)
	for n := 1; n < limit; n++ {
		r := &rs[n]
		if r.Time != first.Time || r.Flags != first.Flags || r.Device != first.Device || r.Metric == first.Metric {
			return n
		}
	}
	return limit
}

func (e *Encoder) reset(rs []reading.Reading) {
	e.rs = rs
	e.rows, e.groups, e.shapes, e.fields = e.rows[:0], e.groups[:0], e.shapes[:0], e.fields[:0]
	clear(e.lastOf)
	clear(e.groupOf)
	clear(e.shapeOf)
	clear(e.fieldOf)
	e.body = e.body[:0]
}

// addRow files the n readings from start on as a row of its group.
func (e *Encoder) addRow(start, n int, part int32) {
	rs := e.rs[start : start+n]
	device := rs[0].Device
	g, known := e.lastOf[device]
	if !known || !e.hasShape(e.groups[g].shape, rs) {
		if known {
			e.groupOf[groupKey{device, e.groups[g].shape}] = g
		}
		g = e.group(device, e.shape(rs), known)
		e.lastOf[device] = g
	}
	e.groups[g].rows++
	e.rows = append(e.rows, row{group: g, start: int32(start), part: part, flags: rs[0].Flags, time: rs[0].Time})
}

// group finds or makes the group of the device's rows of one shape.
func (e *Encoder) group(device string, shape int32, known bool) int32 {
	if known {
		if g, ok := e.groupOf[groupKey{device, shape}]; ok {
			return g
		}
	}
	e.groups = append(e.groups, group{device: device, shape: shape})
	return int32(len(e.groups) - 1)
}

func (e *Encoder) hasShape(s int32, rs []reading.Reading) bool {
	fields := e.shapes[s].fields
	if len(fields) != len(rs) {
		return false
	}
	for i, f := range fields {
		if e.fields[f].metric != rs[i].Metric || e.fields[f].unit != rs[i].Unit {
			return false
		}
	}
	return true
}

// shape finds or makes the shape of the row. The newest shape is tried first:
// most fleets have one.
func (e *Encoder) shape(rs []reading.Reading) int32 {
	if n := len(e.shapes); n > 0 && e.hasShape(int32(n-1), rs) {
		return int32(n - 1)
	}
	key := e.scratch[:0]
	for i := range rs {
		key = binary.AppendUvarint(key, uint64(e.field(rs[i].Metric, rs[i].Unit)))
	}
	e.scratch = key
	if s, ok := e.shapeOf[string(key)]; ok {
		return s
	}
	fields := make([]int32, len(rs))
	for i := range rs {
		fields[i] = e.field(rs[i].Metric, rs[i].Unit)
	}
	s := int32(len(e.shapes))
	e.shapes = append(e.shapes, shape{fields: fields})
	e.shapeOf[string(key)] = s
	return s
}

func (e *Encoder) field(metric, unit string) int32 {
	f := field{metric, unit}
	if id, ok := e.fieldOf[f]; ok {
		return id
	}
	id := int32(len(e.fields))
	e.fields = append(e.fields, f)
	e.fieldOf[f] = id
	return id
}

// finish sorts what was added, writes the body and wraps it up. parts are the
// numbers of readings of merged blocks, nil for a block of its own.
func (e *Encoder) finish(dst []byte, h Header, parts []int) ([]byte, error) {
	h.Count = len(e.rs)
	h.Base, h.Span = e.timeSpan()
	if h.Span < 0 {
		return dst, fmt.Errorf("block of times more than 292 years apart: %w", ErrTooLarge)
	}
	e.sortFields()
	e.sortShapes()
	e.sortGroups()
	e.sortRows()
	e.appendNameTables()
	e.appendGroups()
	if parts != nil {
		e.appendParts(parts)
	}
	e.appendTimes(h.Base)
	e.appendFlags()
	e.appendColumns()
	if len(e.body) > MaxBody {
		return dst, fmt.Errorf("block body of %d bytes, want at most %d: %w", len(e.body), MaxBody, ErrTooLarge)
	}
	return e.seal(dst, h, parts != nil), nil
}

func (e *Encoder) seal(dst []byte, h Header, merged bool) []byte {
	flags := byte(0)
	if merged {
		flags |= flagMerged
	}
	start := len(dst)
	dst = appendHeader(dst, h, len(e.body), flags|flagPacked)
	head := len(dst)
	dst = e.zstd.EncodeAll(e.body, dst)
	if len(dst)-head >= len(e.body) { // short bodies do not pay for a frame
		dst = appendHeader(dst[:start], h, len(e.body), flags)
		dst = append(dst, e.body...)
	}
	sealFrame(dst, start)
	return dst
}

func (e *Encoder) timeSpan() (base, span int64) {
	lo, hi := e.rows[0].time, e.rows[0].time
	for i := range e.rows {
		lo, hi = min(lo, e.rows[i].time), max(hi, e.rows[i].time)
	}
	return lo, hi - lo
}

// sortFields puts the fields in order of metric and unit, and renames them in
// the shapes.
func (e *Encoder) sortFields() {
	ids := e.sortedIDs(len(e.fields), func(a, b int32) int {
		x, y := e.fields[a], e.fields[b]
		return cmp.Or(cmp.Compare(x.metric, y.metric), cmp.Compare(x.unit, y.unit))
	})
	e.fields = permute(e.fields, ids)
	rank := ranks(ids)
	for _, s := range e.shapes {
		for i, f := range s.fields {
			s.fields[i] = rank[f]
		}
	}
}

// sortShapes puts the shapes in order of their fields, and renames them in the
// groups.
func (e *Encoder) sortShapes() {
	ids := e.sortedIDs(len(e.shapes), func(a, b int32) int {
		return slices.Compare(e.shapes[a].fields, e.shapes[b].fields)
	})
	e.shapes = permute(e.shapes, ids)
	rank := ranks(ids)
	for i := range e.groups {
		e.groups[i].shape = rank[e.groups[i].shape]
	}
}

// sortGroups puts the groups in order of device and shape, and renames them in
// the rows.
func (e *Encoder) sortGroups() {
	ids := e.sortedIDs(len(e.groups), func(a, b int32) int {
		x, y := &e.groups[a], &e.groups[b]
		return cmp.Or(cmp.Compare(x.device, y.device), cmp.Compare(x.shape, y.shape))
	})
	e.groups = permute(e.groups, ids)
	rank := ranks(ids)
	for i := range e.rows {
		e.rows[i].group = rank[e.rows[i].group]
	}
}

// sortRows orders the rows by group and keeps their order within a group.
func (e *Encoder) sortRows() {
	offsets := slices.Grow(e.ids[:0], len(e.groups))[:len(e.groups)]
	at := int32(0)
	for i := range e.groups {
		offsets[i] = at
		at += e.groups[i].rows
	}
	e.order = slices.Grow(e.order[:0], len(e.rows))[:len(e.rows)]
	for i := range e.rows {
		g := e.rows[i].group
		e.order[offsets[g]] = int32(i)
		offsets[g]++
	}
	e.ids = offsets
}

// sortedIDs returns the numbers below n in the order that compare gives.
func (e *Encoder) sortedIDs(n int, compare func(a, b int32) int) []int32 {
	ids := slices.Grow(e.ids[:0], n)[:n]
	for i := range ids {
		ids[i] = int32(i)
	}
	slices.SortFunc(ids, compare)
	e.ids = ids
	return ids
}

func permute[T any](items []T, ids []int32) []T {
	sorted := make([]T, len(ids))
	for i, id := range ids {
		sorted[i] = items[id]
	}
	copy(items, sorted)
	return items
}

func ranks(ids []int32) []int32 {
	rank := make([]int32, len(ids))
	for i, id := range ids {
		rank[id] = int32(i)
	}
	return rank
}
