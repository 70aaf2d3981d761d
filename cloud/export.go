package cloud

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// Filter chooses readings. The zero value chooses all of them.
type Filter struct {
	// Gateway, Lane ("alarm", "normal", "bulk") and Device choose by name; ""
	// chooses every one.
	Gateway, Lane, Device string
	// FromSeq is the first sequence number.
	FromSeq uint64
	// Since and Until are the first time and the time before which readings
	// lie, in nanoseconds since the Unix epoch; 0 is no bound.
	Since, Until int64
}

func (f Filter) wants(id laneID) bool {
	return (f.Gateway == "" || f.Gateway == id.gateway) && (f.Lane == "" || f.Lane == id.lane.String())
}

// outside reports whether nothing from time first to last is wanted.
func (f Filter) outside(first, last int64) bool {
	return last < f.since() || f.Until != 0 && first >= f.Until
}

func (f Filter) since() int64 {
	if f.Since == 0 {
		return math.MinInt64
	}
	return f.Since
}

// Export writes the chosen readings to w, a JSON object a line:
//
//	{"gateway":"g","epoch":"00000000000000a1","lane":"normal","seq":123,"device":"d","metric":"temp",
//	 "unit":"Cel","time":1700000000123000000,"value":21.37,"quality":"good"}
//
// (on one line; unit is left out where nobody said). Opaque values have "bytes"
// in base64 in the place of "value"; what JSON has no number for is the text
// "NaN", "+Inf" or "-Inf". Lines are in the order of gateway, epoch, lane and
// seq. Memory does not depend on how much is exported, and a slow w delays
// nobody: the store is read a megabyte at a time. What arrives behind the
// place that the export has reached is not part of it.
//
// A block that cannot be read any more is left out, and the error says so at
// the end.
func (s *Store) Export(ctx context.Context, w io.Writer, f Filter) error {
	lanes, err := s.lanes(f)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	e := exporter{store: s, w: w, filter: f, dec: wire.NewDecoder()}
	for _, id := range lanes {
		if err := e.lane(ctx, id); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	if err := e.flush(0); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if e.damaged > 0 {
		return fmt.Errorf("export: %d blocks could not be read and are left out, the first: %w", e.damaged, e.first)
	}
	return nil
}

func (s *Store) lanes(f Filter) (ids []laneID, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		lanes := tx.Bucket(lanesBucket)
		if lanes == nil {
			return nil
		}
		return lanes.ForEach(func(k, _ []byte) error {
			if id, ok := parseLaneKey(k); ok && f.wants(id) {
				ids = append(ids, id)
			}
			return nil
		})
	})
	return ids, err
}

// exporter carries one export from block to block.
type exporter struct {
	store    *Store
	w        io.Writer
	filter   Filter
	dec      *wire.Decoder
	readings []reading.Reading
	row      rowWriter
	damaged  int
	first    error // the first damage
}

const (
	pageBytes = 1 << 20  // read from the store in one transaction
	flushAt   = 64 << 10 // written to the export at once
)

// stored is an extent that was read: the block and which of its readings count.
type stored struct {
	Range
	raw []byte
}

func (e *exporter) lane(ctx context.Context, id laneID) error {
	e.row.begin(id)
	for from := max(e.filter.FromSeq, 1); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := e.store.page(id, from)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, s := range page {
			if err := e.block(s); err != nil {
				return err
			}
		}
		from = page[len(page)-1].Last + 1
	}
}

// page copies the extents from the one that holds the number on, until they are
// a page. A read transaction that stayed open while w is slow would keep the
// file from growing, and gateways from being acknowledged.
func (s *Store) page(id laneID, from uint64) (page []stored, err error) {
	prefix, size := id.key(), 0
	err = s.view(func(tx *bbolt.Tx) error {
		blocks := tx.Bucket(blocksBucket)
		c := blocks.Cursor()
		for k, v := floor(c, prefix, from); k != nil && size < pageBytes; k, v = c.Next() {
			first, ok := seqOf(prefix, k)
			if !ok {
				break
			}
			x, err := parseExtent(v)
			if err == nil && x.holder != 0 {
				v = blocks.Get(seqKey(prefix, x.holder))
				holder, herr := parseExtent(v)
				x.raw, err = holder.raw, herr
			}
			if err != nil {
				return fmt.Errorf("%w: %s, readings from %d on: %w", ErrDamaged, id.gateway, first, err)
			}
			if x.last < from {
				continue // floor found the one before a hole
			}
			page = append(page, stored{Range{max(first, from), x.last}, bytes.Clone(x.raw)})
			size += len(x.raw)
		}
		return nil
	})
	return page, err
}

// block writes the readings of one extent.
func (e *exporter) block(s stored) error {
	b, _, err := wire.ParseBlock(s.raw)
	if err == nil && e.filter.outside(b.Base, b.Base+b.Span) {
		return nil
	}
	var rs []reading.Reading
	if err == nil {
		rs, err = e.dec.Decode(e.readings[:0], b)
	}
	if err == nil && (s.First < b.First || s.Last > b.Last()) {
		err = ErrDamaged
	}
	if err != nil {
		e.damaged++
		if e.first == nil {
			e.first = fmt.Errorf("readings %d..%d: %w", s.First, s.Last, err)
		}
		return nil
	}
	e.readings = rs
	rs = rs[s.First-b.First : s.Last-b.First+1]
	for i := range rs {
		r := &rs[i]
		if e.filter.outside(r.Time, r.Time) || e.filter.Device != "" && e.filter.Device != r.Device {
			continue
		}
		e.row.append(s.First+uint64(i), r)
		if err := e.flush(flushAt); err != nil {
			return err
		}
	}
	return nil
}

// flush writes out what has gathered when it is more than limit bytes.
func (e *exporter) flush(limit int) error {
	if len(e.row.buf) <= limit {
		return nil
	}
	_, err := e.w.Write(e.row.buf)
	e.row.buf = slices.Grow(e.row.buf[:0], flushAt)
	return err
}
