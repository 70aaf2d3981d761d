package buffer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// Checked is what Check has looked at and what it found.
type Checked struct {
	Segments int    `json:"segments"`
	Records  uint64 `json:"records"`
	Readings uint64 `json:"readings"`
	Bytes    int64  `json:"bytes"`
	// Damage is in the order of the journal; empty when all is well.
	Damage []Damage `json:"damage"`
	// StateError says what is wrong with state.db; "" when nothing is.
	StateError string `json:"state_error,omitempty"`
}

// Damage is something in the journal that is not as it was written, and the
// readings that it costs.
type Damage struct {
	Segment uint64 `json:"segment"`
	What    string `json:"what"`
	// First to Last are the readings of the lane that are gone; without a lane
	// nobody knows of any.
	Lane  string `json:"lane,omitempty"`
	First uint64 `json:"first,omitempty"`
	Last  uint64 `json:"last,omitempty"`
	// Declared says that a gap tells the other side already.
	Declared bool `json:"declared,omitempty"`
	// Sinks did not have all of the readings; Delivered says that every one
	// that is configured did, if there is any.
	Sinks     []string `json:"sinks,omitempty"`
	Delivered bool     `json:"delivered,omitempty"`
}

// Check reads every record of the journal and decodes every block. It writes
// nothing and takes no lock, so a buffer that is in use may change meanwhile:
// whatever looks wrong is compared with a new inventory before it counts.
func Check(ctx context.Context, take func() (Inventory, error)) (Checked, error) {
	inv, err := take()
	if err != nil {
		return Checked{}, err
	}
	c := checker{inv: inv, take: take, dec: wire.NewDecoder()}
	c.found.StateError = inv.StateError
	for _, seg := range inv.Segments {
		if err := c.settle(ctx, seg); err != nil {
			return c.found, err
		}
	}
	return c.found, nil
}

// checker goes through the journal once.
type checker struct {
	inv      Inventory
	take     func() (Inventory, error)
	seen     [reading.Lanes]uint64 // the last number of each lane so far
	found    Checked
	dec      *wire.Decoder
	readings []reading.Reading
}

// settle checks a segment until what it finds is not explained by a change
// meanwhile.
func (c *checker) settle(ctx context.Context, seg Segment) error {
	for {
		once := *c
		once.found.Damage = nil
		err := once.segment(ctx, seg)
		changed := errors.Is(err, errChanged)
		if err != nil && !changed {
			return err
		}
		if !changed && len(once.found.Damage) == 0 {
			once.found.Damage = c.found.Damage
			*c = once
			return nil
		}
		if c.inv, err = c.take(); err != nil {
			return err
		}
		now, there := c.inv.segment(seg.Number)
		if !there {
			return nil // it has made room
		}
		if !changed && now.grewFrom(seg) {
			once.found.Damage = append(c.found.Damage, once.found.Damage...)
			once.inv = c.inv
			*c = once
			return nil
		}
		seg = now
	}
}

// grewFrom says that the segment still holds all that it did: what is wrong with
// it is not for want of something that made room.
func (s Segment) grewFrom(before Segment) bool {
	for lane, sp := range s.Lanes {
		if was := before.Lanes[lane]; was.Last != 0 && (sp.First != was.First || sp.Last < was.Last) {
			return false
		}
	}
	return s.Bytes >= before.Bytes
}

func (inv Inventory) segment(number uint64) (Segment, bool) {
	for _, s := range inv.Segments {
		if s.Number == number {
			return s, true
		}
	}
	return Segment{}, false
}

func (c *checker) segment(ctx context.Context, seg Segment) error {
	c.found.Segments++
	r, err := c.inv.view().open(seg)
	if err == nil {
		defer r.close()
		err = c.records(ctx, seg, r)
	} else {
		err = &readError{err}
	}
	if errors.Is(err, errChanged) || ctx.Err() != nil {
		return err
	}
	if bad := (*readError)(nil); errors.As(err, &bad) {
		what := bad.error.Error()
		if errors.Is(bad.error, fs.ErrNotExist) {
			what = "the file is missing"
		}
		c.damaged(Damage{Segment: seg.Number, What: what})
	}
	for lane, sp := range seg.Lanes {
		if sp.Last != 0 {
			c.expect(seg, reading.Lane(lane), sp.Last+1)
		}
	}
	return nil
}

// records checks the records of the segment.
func (c *checker) records(ctx context.Context, seg Segment, r *segmentReader) error {
	for {
		at, broken := r.off, r.broken
		rec, err := r.read(ctx)
		if errors.Is(err, errEnd) {
			if left := seg.Bytes - r.off; left > 0 {
				c.damaged(Damage{Segment: seg.Number, What: fmt.Sprintf("%d bytes at its end, from %d on, are not what was written", left, r.off)})
			}
			return nil
		}
		if err != nil {
			return err
		}
		if n := r.broken - broken; n > 0 {
			c.damaged(Damage{Segment: seg.Number, What: fmt.Sprintf("%d bytes from %d on are not what was written", n, at)})
		}
		if rec.unknown {
			c.damaged(Damage{Segment: seg.Number, What: fmt.Sprintf("record %d is of another version", rec.number)})
		}
		c.found.Records++
		c.found.Bytes += int64(rec.size)
		for _, blk := range rec.blocks {
			c.block(seg, blk)
		}
	}
}

func (c *checker) block(seg Segment, blk wire.Block) {
	c.expect(seg, blk.Lane, blk.First)
	c.seen[blk.Lane] = max(c.seen[blk.Lane], blk.Last())
	rs, err := c.dec.Decode(c.readings[:0], blk)
	if err != nil {
		c.lost(seg, blk.Lane, blk.First, blk.Last(), "cannot be decoded")
		return
	}
	c.found.Readings += uint64(len(rs))
	clear(rs) // lets go of the texts
	c.readings = rs
}

// expect notices numbers that should have come before this one.
func (c *checker) expect(seg Segment, lane reading.Lane, number uint64) {
	first := c.seen[lane] + 1
	if first == 1 {
		first = seg.Lanes[lane].First
	}
	if first < number && !leapt(first, number) {
		c.lost(seg, lane, first, number-1, "are gone")
		c.seen[lane] = number - 1
	}
}

// lost reports readings that are not there. Between segments of which nothing is
// damaged that is no news when a gap says why, or when some sink has them: they
// were delivered and made room, and a sink that is new begins behind them.
func (c *checker) lost(seg Segment, lane reading.Lane, first, last uint64, what string) {
	d := Damage{Segment: seg.Number, What: what, Lane: lane.String(), First: first, Last: last, Declared: c.inv.declared(lane, first, last)}
	configured, known := false, d.Declared
	for _, s := range c.inv.Sinks {
		has := s.Acked[lane].has(first, last)
		configured, known = configured || s.Active, known || has
		if s.Active && !has {
			d.Sinks = append(d.Sinks, s.Name)
		}
	}
	d.Delivered = configured && len(d.Sinks) == 0
	beside := len(c.found.Damage) > 0 && c.found.Damage[len(c.found.Damage)-1].Segment == seg.Number
	if beside || !known {
		c.damaged(d)
	}
}

// declared says whether gaps cover all of the numbers.
func (inv Inventory) declared(lane reading.Lane, first, last uint64) bool {
	var known ranges
	for _, g := range inv.Gaps {
		if g.Lane == lane.String() && g.Last >= first && g.First <= last {
			known = known.add(g.First, g.Last)
		}
	}
	return known.has(first, last)
}

func (c *checker) damaged(d Damage) { c.found.Damage = append(c.found.Damage, d) }
