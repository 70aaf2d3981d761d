package buffer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// SeriesQuery chooses the readings of one series, in the order in which they were
// taken into custody.
type SeriesQuery struct {
	// Series is named exactly: "*" in a name is a character like others.
	Series reading.Series
	// From is the first time and To the time before which readings were
	// measured, in nanoseconds since the Unix epoch; 0 is no bound.
	From, To int64
	// NewestFirst turns the order round.
	NewestFirst bool
	// Within ends a page after about so much time; 0 is no limit. However little
	// it is, a page gets ahead.
	Within time.Duration
	// After goes on behind the page that returned the token.
	After Token
}

// Sample is a reading of a series and what is known of how it came.
type Sample struct {
	Time       int64 // nanoseconds since the Unix epoch
	Value      reading.Value
	Flags      reading.Flags
	Lane       reading.Lane
	Clock      wire.ClockState // of the gateway, when it was committed
	Epoch, Seq uint64
}

// SeriesPage says how far a page went.
type SeriesPage struct {
	// Next goes on behind it; "" when nothing follows.
	Next Token
	// Reached is the earliest time in the last block that was looked at, or the
	// time of the reading that visit refused, in nanoseconds since the Unix
	// epoch: about where the page ends. 0 when it looked at nothing.
	Reached int64
}

// Series visits the readings of one series until visit returns an error; the next
// page begins with the reading that it returned that for. It is what
// [Buffer.History] is, at a fraction of the work: other series' values are not
// decoded.
//
// What cannot be read is passed over; the error is ErrLeftOut then, and the page is
// good beside it.
func (b *Buffer) Series(ctx context.Context, q SeriesQuery, visit func(Sample) error) (SeriesPage, error) {
	return b.view().series(ctx, q, visit)
}

// Earliest returns when the earliest reading on flash was measured, in nanoseconds
// since the Unix epoch, as far as that was noted; 0 when there is none.
func (b *Buffer) Earliest() (earliest int64) {
	for _, s := range b.index.all() {
		for _, sp := range s.Lanes {
			if sp.Last != 0 && sp.From != 0 && (earliest == 0 || sp.From < earliest) {
				earliest = sp.From
			}
		}
	}
	return earliest
}

func (v view) series(ctx context.Context, q SeriesQuery, visit func(Sample) error) (SeriesPage, error) {
	s := seriesPage{series: q.Series, visit: visit}
	s.query = Query{From: q.From, To: q.To, NewestFirst: q.NewestFirst}
	if q.Within > 0 {
		s.ends = time.Now().Add(q.Within)
	}
	s.dec = wire.NewDecoder()
	var err error
	if s.place, err = q.After.place(q.NewestFirst); err != nil {
		return SeriesPage{}, err
	}
	w := walk{view: v, newestFirst: q.NewestFirst, mayHold: s.mayHold, wants: s.wants, visit: s.block, left: s.leave}
	err = w.run(ctx)
	full := errors.Is(err, errFull)
	if full || err == nil {
		err = errors.Join(w.unread, s.damage)
		if err == nil && w.broken > 0 {
			err = fmt.Errorf("%w: some bytes of the journal are not what was written", ErrLeftOut)
		}
		if !full {
			return SeriesPage{Reached: s.reached}, err
		}
	}
	return SeriesPage{s.place.token(), s.reached}, err
}

// seriesPage is one page of a SeriesQuery.
type seriesPage struct {
	history
	series  reading.Series
	visit   func(Sample) error
	ends    time.Time // zero for never
	reached int64
	picked  []wire.Picked
}

// block visits what there is of the series in a block, from the place on.
func (s *seriesPage) block(b wire.Block) error {
	picked, err := s.dec.DecodeSeries(s.picked[:0], b, s.series)
	if err != nil && s.damage == nil {
		s.damage = fmt.Errorf("%w: %w", ErrLeftOut, err)
	}
	defer clear(picked) // lets go of the texts
	s.picked = picked
	first, last := s.place.ahead(b)
	for n := range picked {
		if s.query.NewestFirst {
			n = len(picked) - 1 - n
		}
		p := &picked[n]
		seq := b.First + uint64(p.Index)
		if seq < first || seq > last || !s.query.overlaps(p.Time, p.Time) {
			continue
		}
		if err := s.visit(Sample{p.Time, p.Value, p.Flags, b.Lane, b.Clock, b.Epoch, seq}); err != nil {
			s.reached = p.Time
			return err
		}
		s.place.pass(b.Lane, seq, seq)
	}
	s.place.pass(b.Lane, b.First, b.Last())
	s.reached = b.Base
	return s.whether()
}

// leave passes a segment that the walk is through with, whatever could be read of
// it, so that no page begins with it again.
func (s *seriesPage) leave(seg Segment) error {
	for lane, sp := range seg.Lanes {
		if sp.Last != 0 && s.place.leavesLane(lane, sp) {
			s.place.pass(reading.Lane(lane), sp.First, sp.Last)
		}
	}
	return s.whether()
}

// whether ends the page when its time is over.
func (s *seriesPage) whether() error {
	if !s.ends.IsZero() && time.Now().After(s.ends) {
		return errFull
	}
	return nil
}
