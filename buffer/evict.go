package buffer

import (
	"errors"
	"slices"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// loss is a gap in the making.
type loss struct {
	lane reading.Lane
	Gap
}

// evict takes lanes out of a segment. What is owed of them is declared first,
// block by block, so that numbers, times and epochs are exact, and joined where
// they go on. What cannot be read is lost as well, and declared as damaged.
func (b *Buffer) evict(info segmentInfo, lanes laneSet, reason string) error {
	return b.withHeadroom(func() error {
		left := info.without(lanes)
		if b.owedLanes(left) != (laneSet{}) {
			return b.evictFrom(info, left, lanes, reason)
		}
		if err := b.declareEvicted(info, lanes, reason); err != nil {
			return err
		}
		return b.release(info)
	})
}

// evictFrom leaves the rest of the segment, in a smaller file if that is worth it.
func (b *Buffer) evictFrom(info, left segmentInfo, lanes laneSet, reason string) error {
	var smaller segmentInfo
	_, worth := b.worth(info, lanes)
	if _, loose := b.isLoose(info); worth || loose {
		var unreadable *readError
		var err error // what is not freed, for want of room for the copy, must not be lost either
		if smaller, err = b.shrunk(left); err != nil && !errors.As(err, &unreadable) {
			return err
		}
	}
	if err := b.declareEvicted(info, lanes, reason); err != nil {
		return errors.Join(err, removeCopies(b.cfg.Dir, shrunkSuffix))
	}
	// From here on nobody looks for the lanes in this segment, whatever file it has.
	b.index.replace(left)
	if err := b.updateWithCursors(put(bucketSegments, numberKey(left.Number), left)); err != nil {
		b.log.Warn("evicted readings are forgotten, and might be delivered after a restart", "segment", left.Number, "err", err)
	}
	if smaller.End == 0 {
		return nil
	}
	return b.replaceFile(smaller, shrunkSuffix, nil)
}

func (b *Buffer) declareEvicted(info segmentInfo, lanes laneSet, reason string) error {
	if lanes.and(b.owedLanes(info)) == (laneSet{}) {
		return nil // and nothing is read
	}
	for _, l := range b.losses(info, lanes, reason) {
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

// losses lists what is owed of the segment's lanes, in order of numbers.
func (b *Buffer) losses(info segmentInfo, lanes laneSet, reason string) (all []*loss) {
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
		if !lanes[lane] {
			return
		}
		if first := max(next[lane], info.Lanes[lane].First); first <= last {
			add(lane, Gap{First: first, Last: last, Epoch: epoch, Reason: ReasonDamaged})
		}
	}
	if err := b.eachBlock(info, func(blk wire.Block) error {
		if !lanes[blk.Lane] {
			return nil
		}
		hole(blk.Lane, blk.First-1, blk.Epoch)
		add(blk.Lane, Gap{First: blk.First, Last: blk.Last(), From: blk.Base, To: blk.Base + blk.Span, Epoch: blk.Epoch, Reason: reason})
		return nil
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

// eachBlock visits the blocks of the segment, which are valid during the visit. When
// it is the segment that cannot be read, the error is a readError.
func (b *Buffer) eachBlock(info segmentInfo, visit func(wire.Block) error) error {
	s, err := openScanner(b.cfg.Dir, info.Number, info.End)
	if err != nil {
		return &readError{err}
	}
	defer s.close()
	for {
		rec, _, err := s.next()
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return &readError{err}
		}
		for _, blk := range rec.blocks {
			if err := visit(blk); err != nil {
				return err
			}
		}
	}
}

// passAll makes all cursors go on behind the numbers: one may still have the
// segment's file open, and must not deliver what was declared lost. Nor do sinks
// that are not there at present wait for them any more.
func (b *Buffer) passAll(lane reading.Lane, first, last uint64) {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	for _, c := range b.cursors {
		c.pass(lane, first, last)
	}
	for name, acked := range b.marks {
		if b.cursors[name] == nil {
			acked[lane] = acked[lane].add(first, last)
			b.marks[name] = acked
		}
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
