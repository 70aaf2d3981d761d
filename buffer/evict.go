package buffer

import (
	"errors"
	"slices"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// isOwed says whether some sink has not acknowledged all of the segment.
// Without any sink, everything is owed to the one that will come.
func (b *Buffer) isOwed(info segmentInfo) bool {
	for lane, s := range info.Lanes {
		if _, owed := b.waiting(reading.Lane(lane), s.First, s.Last); owed {
			return true
		}
	}
	return false
}

// waiting returns the sinks that have not acknowledged all of the numbers, and
// whether they are owed to anybody.
func (b *Buffer) waiting(lane reading.Lane, first, last uint64) (sinks []string, owed bool) {
	if last == 0 {
		return nil, false
	}
	b.curMu.Lock()
	defer b.curMu.Unlock()
	for name, c := range b.cursors {
		if !c.hasAcked(lane, first, last) {
			sinks = append(sinks, name)
		}
	}
	slices.Sort(sinks)
	return sinks, len(sinks) > 0 || len(b.cursors) == 0
}

// loss is a gap in the making.
type loss struct {
	lane reading.Lane
	Gap
}

// evict declares what is owed of the segment: block by block, so that numbers,
// times and epochs are exact, and joined where they go on. What cannot be read
// is lost as well, and declared as damaged.
func (b *Buffer) evict(info segmentInfo) error {
	for _, l := range b.losses(info) {
		if err := b.declare(l.lane, l.Gap); err != nil {
			return err
		}
		b.passAll(l.lane, l.First, l.Last)
		if l.lane == reading.Alarm {
			if err := b.reportAgain(l.Gap); err != nil {
				return err
			}
		}
	}
	return nil
}

// losses lists what is owed of the segment, in order of numbers.
func (b *Buffer) losses(info segmentInfo) (all []*loss) {
	var open [reading.Lanes]*loss
	var next [reading.Lanes]uint64
	add := func(lane reading.Lane, g Gap) {
		next[lane] = g.Last + 1
		var owed bool
		if g.Sinks, owed = b.waiting(lane, g.First, g.Last); !owed {
			return
		}
		if l := open[lane]; l == nil || !l.join(g) {
			open[lane] = &loss{lane, g}
			all = append(all, open[lane])
		}
	}
	hole := func(lane reading.Lane, last, epoch uint64) {
		if first := max(next[lane], info.Lanes[lane].First); first <= last {
			add(lane, Gap{First: first, Last: last, Epoch: epoch, Reason: ReasonDamaged})
		}
	}
	if err := b.eachBlock(info, func(blk wire.Block) {
		hole(blk.Lane, blk.First-1, blk.Epoch)
		add(blk.Lane, Gap{First: blk.First, Last: blk.Last(), From: blk.Base, To: blk.Base + blk.Span, Epoch: blk.Epoch, Reason: ReasonEvicted})
	}); err != nil {
		b.log.Error("segment cannot be read to its end and is evicted all the same", "segment", info.Number, "err", err)
	}
	for lane, s := range info.Lanes {
		if s.Last != 0 {
			hole(reading.Lane(lane), s.Last, s.Epoch)
		}
	}
	return all
}

// eachBlock visits the blocks of the segment.
func (b *Buffer) eachBlock(info segmentInfo, visit func(wire.Block)) error {
	s, err := openScanner(b.cfg.Dir, info.Number, info.End)
	if err != nil {
		return err
	}
	defer s.close()
	for {
		rec, _, err := s.next()
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, blk := range rec.blocks {
			visit(blk)
		}
	}
}

// passAll makes all cursors go on behind the numbers: one may still have the
// segment's file open, and must not deliver what was declared lost.
func (b *Buffer) passAll(lane reading.Lane, first, last uint64) {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	for _, c := range b.cursors {
		c.pass(lane, first, last)
	}
}

// join adds a loss that goes on where this one ends.
func (l *loss) join(g Gap) bool {
	if g.First != l.Last+1 || g.Epoch != l.Epoch || g.Reason != l.Reason || !slices.Equal(g.Sinks, l.Sinks) {
		return false
	}
	l.Last = g.Last
	l.From, l.To = min(l.From, g.From), max(l.To, g.To)
	return true
}
